# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# A way to the registry reg that does not answer everything. `load helpers`, `load build`, `load silent`.
#
#   silent REGEX [HELD [STATUS]]   begins one at $proxy, whose log is $silent/out (silent_proxy.py)
#   all_closed                     something was not answered, and waits until the client has given all of that up
#   until_proxy WHAT               a RUN that fails when a request that is not answered has been there (silent), or was
#                                  given up too (closed)

silent()
{
    silent=$(mktemp -d "$(rig_dir)/silent.XXXXXX")
    rig_spawn "$silent" python3 -B "$RIG_HERE/silent_proxy.py" "${reg?}" "$silent/port" "$@"
    until [ -s "$silent/port" ]; do sleep 0.05; done
    proxy=localhost:$(cat "$silent/port")
}

all_closed()
{
    grep -q '^silent' "$silent/out"
    until [ "$(grep -c '^closed' "$silent/out")" = "$(grep -c '^silent' "$silent/out")" ]; do sleep 0.05; done
}

until_proxy()
{
    printf 'RUN until wget -q -O /dev/null http://%s/%s 2>/dev/null; do sleep 0.1; done; exit 7\n' "$proxy" "$1" >>ctx/Dockerfile
}
