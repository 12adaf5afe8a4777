#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The system tests. usage: run.sh [BATS-OPTION…] [FILE…]   TAP on standard output.
# CBPUSH=program to test (default: ./cbpush, else build/cbpush); CBPUSH_TEST_CACHE=where base images are kept;
# CBPUSH_TEST_TIMEOUT=seconds a test (300); CBPUSH_TEST_JOBS=files at a time (three for two processors);
# CBPUSH_TEST_TIMES=1: how long each test took stands behind its name.
set -u
here=$(cd "$(dirname "$0")" && pwd) || exit 2

for program in bats curl docker-registry jq mmdebstrap nginx openssl perl python3 runc skopeo ss umoci; do
    command -v "$program" >/dev/null 2>&1 || PATH=$PATH:/usr/sbin:/sbin
    command -v "$program" >/dev/null 2>&1 || {
        echo "run.sh: $program is missing: sh contrib/check.sh installs what the tests need" >&2
        exit 2
    }
done
# Where python3 is a script that looks for one (pyenv), it looks once.
PATH=$(dirname "$(python3 -c 'import sys; print(sys.executable)')"):$PATH

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

jobs=${CBPUSH_TEST_JOBS:-$(($(nproc 2>/dev/null || echo 1) * 3 / 2))}
only_files=1
for argument; do
    case $argument in
        *.bats) ;;
        *) only_files=0 ;;
    esac
done

# What the files of one run share (rig_once), and what belongs to each while it runs.
CBPUSH_TEST_WORK=$(mktemp -d) || exit 2
CBPUSH_TEST_MEMORY=
mounted=
leave()
{
    trap - EXIT INT TERM HUP
    [ -z "$mounted" ] || umount -l "$mounted"
    rm -rf "$CBPUSH_TEST_WORK"
    exit "$1"
}
trap 'leave $?' EXIT
trap 'leave 130' INT
trap 'leave 143' TERM HUP
chmod 0755 "$CBPUSH_TEST_WORK"

# When a process began (field 22 of proc_pid_stat(5)): its number alone may be another's by now.
began()
{
    sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20
}

# A run that was killed has left its memory mounted. Whose it is stands in the mount's name.
clear_dead()
{
    [ "$(id -u)" -eq 0 ] || return 0
    awk '{ for (i = 7; i < NF && $i != "-"; i++); }
        $(i + 1) == "tmpfs" && $(i + 2) ~ /^cbpush-test:[0-9]+:[0-9]+$/ && $5 ~ /\/memory$/ { print $5, $(i + 2) }' \
        /proc/self/mountinfo | while IFS=' :' read -r point _ pid time; do
        [ "$(began "$pid")" != "$time" ] || continue
        umount -l "$point" && rm -rf --one-file-system "${point%/memory}"
    done
}
clear_dead

# The tests make and remove a million files. In memory that takes a fraction of the time, where there is a lot of it, we
# are root, and its file system can do what the disk's can.
memory()
{
    [ "$(id -u)" -eq 0 ] || return
    available=$(awk '$1 == "MemAvailable:" { print int($2 / 1024) }' /proc/meminfo)
    [ "${available:-0}" -ge 8192 ] || return
    mkdir "$CBPUSH_TEST_WORK/memory" || return
    mount -t tmpfs -o "size=$((available / 2))m,mode=1777" "cbpush-test:$$:$(began $$)" "$CBPUSH_TEST_WORK/memory" 2>/dev/null || return
    mounted=$CBPUSH_TEST_WORK/memory
    CBPUSH_TEST_MEMORY=$mounted
    python3 -c 'import os, sys; os.setxattr(sys.argv[1], "user.cbpush", b"1")' "$CBPUSH_TEST_MEMORY" 2>/dev/null && return
    CBPUSH_TEST_MEMORY=
}
memory
export CBPUSH_TEST_WORK CBPUSH_TEST_MEMORY

if [ "$only_files" -eq 0 ] || [ "$jobs" -le 1 ] || [ $# -eq 1 ]; then
    for argument; do
        ! grep -qs '^# On the disk:' -- "$argument" || CBPUSH_TEST_MEMORY=
    done
    TMPDIR=${CBPUSH_TEST_MEMORY:-${TMPDIR-/tmp}} bats --tap --jobs 1 "$@"
    exit
fi

# Files side by side, each with a program of its own: what a test leaves behind is told by the program's path. Each
# file's lines come out in one piece, numbered over all. The longest begins first. There is one more at a time than there
# are processors for two, because tests also wait. What says "On the disk:" has its files there, to have tests on both.
ls -S "$@" >"$CBPUSH_TEST_WORK/files"
printf '1..%s\n' "$(bats --count "$@")"
: >"$CBPUSH_TEST_WORK/lock"
: >"$CBPUSH_TEST_WORK/status"
# shellcheck disable=SC2016 # the other shell expands it
xargs -P "$jobs" -n 1 sh -c '
    dir=$(mktemp -d "$CBPUSH_TEST_WORK/XXXXXX") || exit 2
    cp "$CBPUSH" "$dir/cbpush" || exit 2
    grep -q "^# On the disk:" "$1" || TMPDIR=${CBPUSH_TEST_MEMORY:-${TMPDIR-/tmp}}
    export TMPDIR="${TMPDIR-/tmp}"
    CBPUSH=$dir/cbpush bats --tap ${CBPUSH_TEST_TIMES:+--timing} --jobs 1 "$1" >"$dir/tap" 2>&1 ||
        echo failed >>"$CBPUSH_TEST_WORK/status"
    flock "$CBPUSH_TEST_WORK/lock" sed "/^1\.\.[0-9]*$/d" "$dir/tap"
    rm -f "$dir/cbpush"' sh <"$CBPUSH_TEST_WORK/files" |
    awk '/^(not )?ok [0-9]+/ { n++; sub(/ok [0-9]+/, "ok " n) } { print; fflush() }'
[ ! -s "$CBPUSH_TEST_WORK/status" ]
