# SPDX-License-Identifier: Apache-2.0
# Completion of cbpush for fish: asks `cbpush __complete` what may stand next.

function __cbpush_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l plain (string unescape -- "$current")
    and set current "$plain"
    set -l program cbpush
    # What is typed may be an alias.
    string match -q -- '*/*' $words[1]
    and set program (string replace -r -- '^~/' "$HOME/" $words[1])
    set -e words[1]
    set -l answer ($program __complete $words "$current" 2>/dev/null)
    set -l kind (string split -m 1 -- ' ' "$answer[1]")
    set -e answer[1]
    set -l path (string sub -s (math 1 + (string length -- "$kind[2]")) -- "$current")
    switch "$kind[1]"
        case files
            printf '%s\n' "$kind[2]"(__fish_complete_path "$path")
        case dirs
            printf '%s\n' "$kind[2]"(__fish_complete_directories "$path")
        case '*'
            printf '%s\n' $answer
    end
end

complete -c cbpush -f -a '(__cbpush_complete)'
