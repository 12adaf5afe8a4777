#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Measures cbpush beside buildah and BuildKit in one run. usage: run.sh [CASE…]   README.md has cases and variables.
# CBPUSH=program to measure (default: ./cbpush, else build/cbpush). Needs root.
#
# Everything works in a mount and a process namespace of its own: when its first process ends, so does all that was
# started or mounted.
set -u
here=$(cd "$(dirname "$0")" && pwd) || exit 2
CB_TOP=$(cd "$here/../.." && pwd) || exit 2
# shellcheck source=contrib/lib.sh
. "$CB_TOP/contrib/lib.sh"
PATH=$PATH:/usr/sbin:/sbin

# What the peers' root file system has; another list makes another root.
sid_packages=ca-certificates,docker.io,docker-cli,docker-buildx,containerd,runc,crun,buildah,netavark,skopeo,crane,oras
sid_mirror=${BENCH_MIRROR:-http://deb.debian.org/debian}
cache=${BENCH_CACHE:-/var/cache/cbpush-bench}

[ "$(id -u)" -eq 0 ] || cb_die 'the peers need root'
for program in bash busybox curl docker-registry jq mmdebstrap openssl python3 skopeo ss umoci unshare; do
    command -v "$program" >/dev/null 2>&1 ||
        cb_die "$program is missing: sh contrib/check.sh installs what the tests need"
done
for candidate in "${CBPUSH-}" ./cbpush "$CB_TOP/build/cbpush"; do
    [ -n "$candidate" ] && [ -x "$candidate" ] && [ ! -d "$candidate" ] && break
    candidate=
done
[ -n "$candidate" ] || cb_die 'no program to measure: make, or set CBPUSH'
CBPUSH=$(cd "$(dirname "$candidate")" && pwd)/$(basename "$candidate")

# Debian sid with dockerd and the newest buildah, made once. Not to be had: the table says so and why.
make_sid_root()
{
    key=$(printf '%s\n' "$sid_packages" | sha256sum | cut -c1-16)
    BENCH_SID_ROOT=$cache/sid-$key
    BENCH_SID_WHY=
    [ ! -d "$BENCH_SID_ROOT" ] || return 0
    cb_say "making $BENCH_SID_ROOT (once; some minutes)"
    new=$(mktemp -d "$cache/new.XXXXXX") || return 1
    chmod 0755 "$new"
    if cb_quietly mmdebstrap env TMPDIR=/tmp mmdebstrap --variant=minbase --include="$sid_packages" \
        --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='APT::Install-Recommends "false"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' sid "$new" "$sid_mirror" 2>"$new.log"; then
        mv -T "$new" "$BENCH_SID_ROOT"
    else
        BENCH_SID_WHY="no root file system of Debian sid: $(grep -v '^ *$' "$new.log" | tail -n 1)"
        rm -rf "$new"
    fi
    rm -f "$new.log"
}

# The kernel keeps a cgroup after its last process; only those of this run, only empty ones.
remove_cgroups()
{
    find /sys/fs/cgroup -depth -type d \( -name "$BENCH_CGROUP" -o -path "*/$BENCH_CGROUP/*" \) -exec rmdir {} + \
        2>/dev/null
}

inner=
finish()
{
    trap - EXIT INT TERM HUP
    if [ -n "$inner" ]; then
        # unshare ignores the gentle signals; its child, the first process inside, dies with it and ends all others.
        kill -KILL "$inner" 2>/dev/null
        wait "$inner" 2>/dev/null
    fi
    tries=0
    while ! rm -rf "$work" 2>/dev/null && [ "$tries" -lt 50 ]; do
        sleep 0.2
        tries=$((tries + 1))
    done
    [ ! -d "$work" ] || cb_say "could not remove $work"
    remove_cgroups
    exit "$1"
}

mkdir -p "$cache" || exit 2
(
    flock 9
    make_sid_root 9>&-
    printf '%s\n%s\n' "$BENCH_SID_ROOT" "$BENCH_SID_WHY" >&8
) 8>"$cache/root.$$" 9>"$cache/lock" || exit 2
{ read -r BENCH_SID_ROOT; read -r BENCH_SID_WHY; } <"$cache/root.$$"
rm -f "$cache/root.$$"

work=$(mktemp -d "${BENCH_DIR:-${TMPDIR:-/var/tmp}}/cbpush-bench.XXXXXX") || exit 2
chmod 0755 "$work"
BENCH_CGROUP=cbpush-bench-$$
trap 'finish 130' INT
trap 'finish 143' TERM HUP
trap 'finish $?' EXIT
export PATH CBPUSH CB_TOP BENCH_SID_ROOT BENCH_SID_WHY BENCH_CGROUP
export BENCH_WORK="$work"
unshare --mount --pid --fork --kill-child --mount-proc python3 -B "$here/bench.py" "$@" &
inner=$!
wait "$inner"
status=$?
inner=
finish "$status"
