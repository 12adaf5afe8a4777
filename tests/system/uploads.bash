# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What the tests of large blobs need: another registry, and a proxy before one. `load helpers`, `load uploads`.
#
#   olareg_start NAME             olareg, a registry that shares no code with Distribution and knows how far an upload is
#                                 after its connection broke; fails where there is no Go 1.21 to build it with (olareg_builds)
#   proxy_start NAME TO [ARG…]    proxy.py before the registry TO, with what ARG says; then NAME is a registry, too
#   proxy_sent NAME               how many bytes it has passed on to the registry

# shellcheck source=tests/system/go.bash
. "$RIG_HERE/go.bash"

# As go.mod says: 1.21, which Debian 12's own is not.
olareg_builds()
{
    go_has 21
}

olareg_start()
{
    local dir program port tries
    program=$(go_programs olareg .)/olareg || return
    dir=$(rig_dir)/$1
    mkdir -p "$dir/storage"
    port=$(cb_free_port) || return
    printf '%s\n' "$port" >"$dir/port"
    printf 'http\n' >"$dir/scheme"
    rig_spawn "$dir" "$program" "127.0.0.1:$port" "$dir/storage"
    for ((tries = 0; tries < 200; tries++)); do
        ! registry_curl "$1" /v2/ >/dev/null 2>&1 || return 0
        rig_alive "$(cat "$dir/pid")" || break
        sleep 0.05
    done
    rig_fail "olareg did not start: $(cat "$dir/err")"
}

proxy_start()
{
    local name=$1 to=$2 dir tries
    shift 2
    dir=$(rig_dir)/$name
    mkdir -p "$dir"
    registry_scheme "$to" >"$dir/scheme"
    rig_spawn "$dir" python3 -B "$RIG_HERE/proxy.py" --to "$(registry_addr "$to")" --port-file "$dir/port" \
        --count "$dir/count" "$@"
    for ((tries = 0; tries < 200; tries++)); do
        [ ! -s "$dir/port" ] || return 0
        sleep 0.05
    done
    rig_fail "the proxy did not start: $(cat "$dir/err")"
}

proxy_sent()
{
    local dir text
    dir=$(rig_find "$1") || return
    text=$(cat "$dir/count")
    printf '%s\n' "$((10#${text:-0}))"
}
