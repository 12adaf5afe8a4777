#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The system tests. usage: run.sh [BATS-OPTION…] [FILE…]   TAP on standard output.
# CBPUSH=program to test (default: ./cbpush, else build/cbpush); CBPUSH_TEST_CACHE=where base images are kept;
# CBPUSH_TEST_TIMEOUT=seconds a test (300); CBPUSH_TEST_JOBS=files at a time (as many as processors).
set -u
here=$(cd "$(dirname "$0")" && pwd) || exit 2

for program in bats curl docker-registry jq mmdebstrap nginx openssl perl python3 runc skopeo ss umoci; do
    command -v "$program" >/dev/null 2>&1 || PATH=$PATH:/usr/sbin:/sbin
    command -v "$program" >/dev/null 2>&1 || {
        echo "run.sh: $program is missing: sh contrib/check.sh installs what the tests need" >&2
        exit 2
    }
done

for candidate in "${CBPUSH-}" ./cbpush "$here/../../build/cbpush"; do
    [ -n "$candidate" ] && [ -x "$candidate" ] && [ ! -d "$candidate" ] && break
    candidate=
done
if [ -z "$candidate" ]; then
    echo "run.sh: no program to test: make, or set CBPUSH" >&2
    exit 2
fi
CBPUSH=$(cd "$(dirname "$candidate")" && pwd)/$(basename "$candidate")
if [ -z "${CBPUSH_TEST_CACHE-}" ]; then
    CBPUSH_TEST_CACHE=/var/cache/cbpush-test
    [ "$(id -u)" -eq 0 ] || CBPUSH_TEST_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/cbpush-test
fi
export PATH CBPUSH CBPUSH_TEST_CACHE
export BATS_TEST_TIMEOUT="${CBPUSH_TEST_TIMEOUT:-300}"

# With files named, the last argument is one of them.
last=
for last; do :; done
case $last in
    *.bats) ;;
    *) set -- "$@" "$here"/[0-9][0-9]-*.bats ;;
esac

jobs=${CBPUSH_TEST_JOBS:-$(nproc 2>/dev/null || echo 1)}
only_files=1
for argument; do
    case $argument in
        *.bats) ;;
        *) only_files=0 ;;
    esac
done
if [ "$only_files" -eq 0 ] || [ "$jobs" -le 1 ] || [ $# -eq 1 ]; then
    exec bats --tap --jobs 1 "$@"
fi

# Files side by side, each with a program of its own: what a test leaves behind is told by the program's path. Each
# file's lines come out in one piece, numbered over all.
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
# What takes longest begins first.
ls -S "$@" >"$work/files"
printf '1..%s\n' "$(bats --count "$@")"
: >"$work/lock"
: >"$work/status"
CBPUSH_TEST_WORK=$work
export CBPUSH_TEST_WORK
# shellcheck disable=SC2016 # the other shell expands it
xargs -P "$jobs" -n 1 sh -c '
    dir=$(mktemp -d "$CBPUSH_TEST_WORK/XXXXXX") || exit 2
    cp "$CBPUSH" "$dir/cbpush" || exit 2
    CBPUSH=$dir/cbpush bats --tap --jobs 1 "$1" >"$dir/tap" 2>&1 || echo failed >>"$CBPUSH_TEST_WORK/status"
    flock "$CBPUSH_TEST_WORK/lock" sed "/^1\.\.[0-9]*$/d" "$dir/tap"
    rm -f "$dir/cbpush"' sh <"$work/files" |
    awk '/^(not )?ok [0-9]+/ { n++; sub(/ok [0-9]+/, "ok " n) } { print; fflush() }'
[ ! -s "$work/status" ]
