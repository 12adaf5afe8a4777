# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# How the tests build: a context in ./ctx, a registry named reg that has library/busybox and stands for Docker Hub.
# `load helpers`, `load build`, and in setup_file `rig_setup_file; build_setup_file`, in setup `rig_setup; build_setup`.
#
#   write FILE [MODE]         standard input becomes FILE (relative to the working directory), its directories too
#   dockerfile                standard input becomes ctx/Dockerfile
#   build [ARG…]              cbpush build --push REG/test/app:1 of ./ctx, plain progress; fails as cbpush fails
#   built [ARG…]              build, and what came out is judged: skopeo copies it, umoci unpacks it. Then
#                             $log is what cbpush printed, $oci the OCI layout, $rootfs the root file system
#   ran COMMAND…              runc runs it in what was built; prints the output
#   config [-r] FILTER        jq of the image config, as skopeo has it
#   manifest [-r] FILTER      jq of the manifest
#   diff_ids                  the diffIDs, one a line
#   layer_names N             the names in layer number N (-1: the last), sorted, in one line
#   mode_of PATH              mode and owner of a path of $rootfs: "644 0:0"
#   refused STATUS [ARG…]     build fails with that status; its output is in $output
#   metadata [-r] FILTER      jq of --metadata-file of the last build

build_setup_file()
{
    registry_start reg
    push_busybox reg
}

# busybox, python:3.9-slim … are those of the registry reg.
build_setup()
{
    mirror_conf "$(registry_addr reg)"
    reg=$(registry_addr reg)
    mkdir ctx
}

write()
{
    mkdir -p "$(dirname "$1")"
    cat >"$1"
    [ -z "${2-}" ] || chmod "$2" "$1"
}

dockerfile()
{
    write ctx/Dockerfile
}

# busy_dockerfile [LINE…]: a bit of everything, with RUNs that tell each run from every other.
busy_dockerfile()
{
    {
        cat <<'END'
FROM busybox AS first
WORKDIR /src
COPY a.txt .
RUN cat /proc/sys/kernel/random/uuid >uuid
FROM busybox
ENV A=1
COPY --from=first /src /src
RUN cat /proc/sys/kernel/random/uuid >/uuid
END
        [ $# -eq 0 ] || printf '%s\n' "$@"
        cat <<'END'
COPY b.txt /
CMD ["cat", "/uuid"]
END
    } | dockerfile
    echo a >ctx/a.txt
    echo b >ctx/b.txt
}

build()
{
    rm -f metadata.json
    cbpush build --progress plain --push "$reg/test/app:1" --metadata-file metadata.json "$@" ctx
}

built()
{
    local status=0
    build "$@" >build.log 2>&1 || status=$?
    log=$(cat build.log)
    [ "$status" -eq 0 ] || rig_fail "cbpush build: exit status $status: $log" || return
    judged test/app:1
}

# judged REPO:TAG: skopeo and umoci look at it.
judged()
{
    oci=$(judge_skopeo reg "$1") && bundle=$(judge_bundle "$oci" judged) && rootfs=$bundle/rootfs
}

ran()
{
    judge_run "$oci" judged "$@"
}

config()
{
    skopeo inspect --config --raw "oci:$oci:judged" | jq -cS "$@"
}

manifest()
{
    judge_manifest "$oci" judged | jq -cS "$@"
}

diff_ids()
{
    config -r '.rootfs.diff_ids[]'
}

layer_names()
{
    judge_blob "$oci" "$(manifest -r ".layers[$1].digest")" | tar -tz | sort | paste -s -d ' '
}

mode_of()
{
    stat -c '%a %u:%g' "$rootfs$1"
}

refused()
{
    local wanted=$1
    shift
    run build "$@"
    assert_status "$wanted"
}

metadata()
{
    jq -cS "$@" metadata.json
}

# peak COMMAND…: its largest memory in KiB, on standard output.
peak()
{
    python3 -c '
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:], stdout=2)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)' "$@"
}
