#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What is made of the verbs' tables. Completion: what `cbpush __complete` answers, the function of bash, and TABs in real
# shells. The manual: a page for each verb.

load helpers

setup()
{
    rig_setup
    cd "$BATS_TEST_TMPDIR" || return 1
    mkdir bin work "work/my dir"
    ln -s "$CBPUSH" bin/cbpush
    PATH=$PWD/bin:$PATH
    touch "work/my dir/Dockerfile"
    printf 'FROM scratch\nLABEL a=b\n' >work/Dockerfile.one
    cbpush build -q -f work/Dockerfile.one -t one:2 -t here:5000/team/app:1 work
}

# made LINE…: the words that bash makes of each, by the function alone: it is given what bash gives it.
made()
{
    local line COMP_LINE COMP_POINT COMP_CWORD COMP_WORDS COMPREPLY
    . <(cbpush completion bash)
    for line; do
        COMP_LINE=$line COMP_POINT=${#line}
        # As readline has it: = and : alone are words.
        mapfile -t COMP_WORDS < <(sed 's/[=:][=:]*/\n&\n/g; s/  */\n\n/g' <<<"$line" | grep .)
        [[ $line != *' ' ]] || COMP_WORDS+=('')
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        COMPREPLY=()
        _cbpush
        printf '%s\n' "${COMPREPLY[*]}"
    done
}

@test "answers are quick, make no store and need no network" {
    local before
    assert_equal "$(CBPUSH_ROOT=$PWD/none cbpush __complete run '')" 'words '
    assert_equal "$(cbpush __complete push --root none nosuch.example/x '')" 'words '
    [ ! -e none ]
    # Nothing is loaded or begun that a verb would need.
    strace -f -o trace -e trace=network,clone,clone3,fork,vfork,mkdir,mkdirat,openat "$CBPUSH" __complete run o
    grep -q '/index.json\|"index.json"' trace
    run grep -E 'socket|connect|clone|fork|mkdir|O_CREAT|O_WRONLY|O_RDWR|libcurl' <(grep -v /dev/null trace)
    assert_status 1
    before=$(date +%s%N)
    for _ in 1 2 3 4 5 6 7 8 9 10; do cbpush __complete build --p >/dev/null; done
    [ $((($(date +%s%N) - before) / 10000000)) -lt 100 ] # ms each
    run cbpush __complete
    assert_status 0
}

@test "the function of bash: words, options, values, names" {
    made 'cbpush bui' 'cbpush manifest g' 'cbpush buildx b' 'cbpush build --prog' 'cbpush build --progress ' \
        'cbpush build --progress=pl' 'cbpush build --platform linux/amd64,linux/arm6' 'cbpush run on' 'cbpush run here:5000/t' \
        'cbpush copy store:here:5' 'cbpush build -o type=oci,compression=zs' 'cbpush build  -t  here:1  --isolation  n' \
        'cbpush nosuch ' >got
    diff - got <<'END'
build build-using-dockerfile builder buildx
get
b build
--progress
auto tty plain quiet rawjson
plain
linux/amd64,linux/arm64
one:2
5000/team/app:1
5000/team/app:1
zstd zstd:chunked
native

END
}

@test "the function of bash: words that end at blanks only, and a cursor within the line" {
    local COMP_WORDBREAKS=$' \t\n' COMP_LINE COMP_POINT COMP_CWORD COMP_WORDS COMPREPLY=()
    . <(cbpush completion bash)
    COMP_LINE='cbpush build --progress=pl' COMP_POINT=26 COMP_CWORD=2 COMP_WORDS=(cbpush build --progress=pl)
    _cbpush
    assert_equal "${COMPREPLY[*]}" --progress=plain
    COMP_LINE='cbpush build --progress=pl' COMP_POINT=10 COMP_CWORD=1 COMP_WORDS=(cbpush build --progress=pl)
    _cbpush
    assert_equal "${COMPREPLY[*]}" 'build build-using-dockerfile builder buildx'
}

# in_shell SHELL: what is typed and completed is the same in all of them.
in_shell()
{
    command -v "$1" >/dev/null || skip "no $1"
    cbpush completion "$1" >script
    cmp script "$CB_TOP"/contrib/completions/"$1"/*cbpush*
    python3 -B "$RIG_HERE/tab.py" "$1" "$PWD/script" "$PWD/work" \
        'cbpush valid' 'cbpush manifest he' 'cbpush build --met' 'cbpush build --progress=pl' 'cbpush build --progress pl' \
        'cbpush run o' 'cbpush push here:50' "cbpush rmi 'here:5000/te" 'cbpush copy store:o' 'cbpush build -o type=ci' \
        'cbpush build -o type=cacheonly,compr' 'cbpush build -f Dock' 'cbpush build --secret id=x,src=Dock' \
        'cbpush build --file=my\ dir/D' 'cbpush copy oci-archive:D' 'cbpush build Dock' >got
    diff - got <<'END'
<cbpush><validate>
<cbpush><manifest><head>
<cbpush><build><--metadata-file>
<cbpush><build><--progress=plain>
<cbpush><build><--progress><plain>
<cbpush><run><one:2>
<cbpush><push><here:5000/team/app:1>
<cbpush><rmi><here:5000/team/app:1>
<cbpush><copy><store:one:2>
<cbpush><build><-o><type=ci>
<cbpush><build><-o><type=cacheonly,compression>
<cbpush><build><-f><Dockerfile.one>
<cbpush><build><--secret><id=x,src=Dockerfile.one>
<cbpush><build><--file=my dir/Dockerfile>
<cbpush><copy><oci-archive:Dockerfile.one>
<cbpush><build><Dock>
END
    python3 -B "$RIG_HERE/tab.py" "$1" "$PWD/script" "$PWD/work" 'cbpush build --progress !!' 'cbpush manifest !!' >listed
    cat listed
    grep -q 'plain.*tty\|tty.*plain' listed
    grep -q 'get .*head' listed
    # bash lists words alone.
    [ "$1" = bash ] || grep -q 'print the digest, by HEAD' listed
}

@test "TABs in bash" {
    in_shell bash
}

@test "TABs in zsh" {
    in_shell zsh
}

@test "TABs in fish" {
    in_shell fish
}

@test "completion SHELL: another shell is a usage error" {
    run cbpush completion csh
    assert_status 2
    assert_contains "$output" 'bash, zsh, fish'
    run cbpush completion
    assert_status 2
}

@test "the manual has every verb, and a page of each with every option of --help" {
    local verb word
    rig_untraced
    cbpush __man >verbs
    [ "$(wc -l <verbs)" -gt 40 ]
    while read -r verb; do
        cbpush __man "$verb" | sed 's/\\-/-/g' >page
        grep -q "^cbpush-$verb - ." page
        [ "$verb" != executor ] || continue # its options are Kaniko's
        grep -Eq "\*${verb}[* ]" "$CB_TOP/doc/cbpush.1.scd" || rig_fail "cbpush.1 does not tell of $verb"
        cbpush "$verb" --help | grep -oE '^ {2}(-., | {4})--[a-z0-9-]+' >options || continue
        while read -r word; do
            grep -qF -- "\\fB--${word##*--}\\fR" page || rig_fail "$verb: no $word"
        done <options
    done <verbs
    cbpush __man manifest | grep -qF 'cbpush manifest put'
    if command -v groff >/dev/null; then
        while read -r verb; do cbpush __man "$verb" | groff -Kutf8 -Tutf8 -man -ww -z 2>&1; done <verbs >warnings
        assert_equal "$(cat warnings)" ''
    fi
    run cbpush __man nosuch
    assert_status 2
}
