# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What every system test has. `load helpers` at the top of NN-topic.bats gives:
#
#   setup_file, teardown_file, setup, teardown   defaults; a file that needs more writes its own and calls
#                                                rig_setup_file, rig_teardown_file, rig_setup, rig_teardown in them
#   cbpush ARGS…                                 the program under test ($CBPUSH)
#   registry_* token_*                           real registries, see registry.bash
#   make_* push_*                                base images that cbpush did not make, see images.bash
#   judge_*                                      programs that share no code with cbpush, see judges.bash
#   assert_* rig_*                               below
#
# Each test has its own HOME, XDG_* and CBPUSH_ROOT below BATS_TEST_TMPDIR (RIG_SHARED_STORE=1 before rig_setup: one
# CBPUSH_ROOT for the whole file). What a test starts is stopped after it, what setup_file starts after the file. When
# a test ends no process, mount or temporary file of it may be left, or it fails.

RIG_HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CB_TOP=$(cd "$RIG_HERE/../.." && pwd)
# shellcheck source=contrib/lib.sh
. "$CB_TOP/contrib/lib.sh"
# shellcheck source=tests/system/registry.bash
. "$RIG_HERE/registry.bash"
# shellcheck source=tests/system/images.bash
. "$RIG_HERE/images.bash"
# shellcheck source=tests/system/judges.bash
. "$RIG_HERE/judges.bash"

setup_file() { rig_setup_file; }
teardown_file() { rig_teardown_file; }
setup() { rig_setup; }
teardown() { rig_teardown; }

# Fails the test with a message.
rig_fail()
{
    printf '%s\n' "$*" >&2
    return 1
}

# The directory of what is started now: of the test, or of the file in setup_file.
rig_dir()
{
    printf '%s\n' "${BATS_TEST_TMPDIR:-$BATS_FILE_TMPDIR}/rig"
}

# The directory of a thing started earlier, by the test or by the file.
rig_find()
{
    local dir
    for dir in "${BATS_TEST_TMPDIR:-/nonexistent}/rig/$1" "$BATS_FILE_TMPDIR/rig/$1"; do
        if [ -d "$dir" ]; then
            printf '%s\n' "$dir"
            return
        fi
    done
    rig_fail "nothing named $1 was started"
}

# bats keeps a stack trace of every command that a shell runs, which costs half a millisecond a command. From here on
# it keeps none: for what says itself what went wrong, and goes over whole lists.
rig_untraced()
{
    trap - DEBUG
}

# The directory of what one run makes once, whatever its files are (run.sh); with bats alone, of this file.
rig_run_dir()
{
    printf '%s\n' "${CBPUSH_TEST_WORK:-$BATS_FILE_TMPDIR/rig}"
}

# rig_once NAME COMMAND…: prints the path of NAME in that directory, which COMMAND PATH makes the first time.
rig_once()
{
    local dir
    dir=$(rig_run_dir)/$1
    shift
    printf '%s\n' "$dir"
    [ ! -d "$dir" ] || return 0
    (
        rig_untraced
        flock 9
        [ ! -d "$dir" ] || exit 0
        rm -rf "$dir.new"
        "$@" "$dir.new" && mv -T "$dir.new" "$dir"
    ) 9>"$dir.lock"
}

# ---- environment

rig_clean_environment()
{
    local name
    while read -r name; do
        case $name in
            CBPUSH | CBPUSH_TEST_*) ;;
            CBPUSH_* | DOCKER_* | REGISTRY_* | BUILDKIT_* | BUILDX_* | BUILDAH_* | CONTAINERS_* | SOURCE_DATE_EPOCH | NO_COLOR) unset "$name" ;;
        esac
    done < <(compgen -e)
    export NO_PROXY="${NO_PROXY:+$NO_PROXY,}127.0.0.1,localhost" no_proxy="${no_proxy:+$no_proxy,}127.0.0.1,localhost"
}

# rig_home DIR: HOME, XDG_*, TMPDIR below DIR.
rig_home()
{
    export HOME=$1/home TMPDIR=$1/tmp
    export XDG_CONFIG_HOME=$HOME/.config XDG_DATA_HOME=$HOME/.local/share XDG_CACHE_HOME=$HOME/.cache
    export XDG_RUNTIME_DIR=$1/run
    mkdir -p "$XDG_CONFIG_HOME" "$XDG_DATA_HOME" "$XDG_CACHE_HOME" "$XDG_RUNTIME_DIR" "$TMPDIR"
    chmod 0700 "$XDG_RUNTIME_DIR"
}

rig_setup_file()
{
    bats_require_minimum_version 1.5.0
    rig_clean_environment
    export RIG_FILE_MARK=$BATS_FILE_TMPDIR
    rig_home "$BATS_FILE_TMPDIR"
    mkdir -p "$(rig_dir)"
}

rig_setup()
{
    export RIG_TEST_MARK=$BATS_TEST_TMPDIR
    rig_home "$BATS_TEST_TMPDIR"
    mkdir -p "$(rig_dir)"
    export CBPUSH_ROOT=$BATS_TEST_TMPDIR/store
    [ -z "${RIG_SHARED_STORE-}" ] || export CBPUSH_ROOT=$BATS_FILE_TMPDIR/store
    cd "$BATS_TEST_TMPDIR" || return 1
}

rig_teardown()
{
    local status=0
    rig_untraced
    cd /
    rig_stop_all "$(rig_dir)"
    [ -n "${RIG_ALLOW_LEFTOVERS-}" ] || assert_no_leftovers || status=1
    rig_kill_marked RIG_TEST_MARK "$BATS_TEST_TMPDIR" || status=1
    rig_umount "$BATS_TEST_TMPDIR"
    # Memory is given back at once.
    if [ -n "${CBPUSH_TEST_MEMORY-}" ] && [ -n "${BATS_TEST_COMPLETED-}" ] && [ "$status" -eq 0 ]; then
        find "$BATS_TEST_TMPDIR" -xdev -mindepth 1 -delete || status=1
    fi
    return "$status"
}

rig_teardown_file()
{
    local status=0
    rig_untraced
    cd /
    rig_stop_all "$BATS_FILE_TMPDIR/rig"
    rig_kill_marked RIG_FILE_MARK "$BATS_FILE_TMPDIR" || status=1
    rig_umount "$BATS_FILE_TMPDIR"
    return "$status"
}

cbpush()
{
    [ -x "${CBPUSH-}" ] || rig_fail 'CBPUSH does not name the program under test' || return
    "$CBPUSH" "$@"
}

# ---- files

# rig_damage FILE OFFSET: that byte becomes another one, whatever it was.
rig_damage()
{
    dd if="$1" bs=1 skip="$2" count=1 status=none | tr '\000-\377' '\001-\377\000' |
        dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# ---- processes

# rig_alive PID: runs and is no zombie.
rig_alive()
{
    local stat=
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    [[ $stat == *\)\ [!ZX]\ * ]]
}

# rig_spawn DIR COMMAND…: starts it in the background, output to DIR/out and DIR/err, its pid in DIR/pid.
rig_spawn()
{
    local dir=$1
    shift
    "$@" </dev/null >>"$dir/out" 2>>"$dir/err" 3>&- 4>&- &
    printf '%s\n' "$!" >"$dir/pid"
    disown "$!"
}

# rig_await PID: a child that has been told to end; where it does not within a minute, what each of its threads, and of
# the processes below it, waits for, and a failure.
rig_await()
{
    local tries pid task
    for ((tries = 0; tries < 1200; tries++)); do
        rig_alive "$1" || return 0
        sleep 0.05
    done
    for pid in "$1" $(pgrep -P "$1"); do
        for task in /proc/"$pid"/task/*; do
            printf '%s %s: %s\n' "${task##*/}" "$(cat "$task/comm")" "$(cat "$task/syscall" "$task/stack" | tr '\n' ' ')"
        done
    done >&2
    kill -KILL "$1"
    rig_fail "process $1 does not end"
}

# rig_stop PID…: TERM, and KILL after five seconds; returns when they are gone.
rig_stop()
{
    local pid tries
    kill -TERM "$@" 2>/dev/null || :
    for pid; do
        for ((tries = 0; tries < 100; tries++)); do
            rig_alive "$pid" || continue 2
            sleep 0.05
        done
        kill -KILL "$pid" 2>/dev/null || :
        while rig_alive "$pid"; do
            sleep 0.05
        done
    done
}

rig_stop_all()
{
    local pidfile
    for pidfile in "$1"/*/pid; do
        [ -e "$pidfile" ] || continue
        rig_stop "$(cat "$pidfile")"
        rm -f "$pidfile"
    done
}

# The pids of this shell, its ancestors and what the rig itself started, in one line.
rig_own_pids()
{
    local pid=$BASHPID own=" " stat
    while [ "${pid:-0}" -gt 1 ]; do
        own+="$pid "
        stat=
        read -r stat 2>/dev/null <"/proc/$pid/stat" || :
        stat=${stat##*) }
        pid=${stat#* }
        pid=${pid%% *}
    done
    printf '%s%s\n' "$own" "$(cat "$BATS_FILE_TMPDIR"/rig/*/pid "$(rig_dir)"/*/pid 2>/dev/null | tr '\n' ' ')"
}

# rig_marked NAME VALUE: the pids of processes that were started with NAME=VALUE in their environment, and are not ours.
rig_marked()
{
    local file pid own found
    own=$(rig_own_pids)
    # Who looks has the mark, too, and must have ended before it is asked who is alive.
    found=$(grep -lzxF "$1=$2" /proc/[0-9]*/environ 2>/dev/null) || :
    for file in $found; do
        pid=${file//[!0-9]/}
        [[ $own == *" $pid "* ]] || ! rig_alive "$pid" || printf '%s\n' "$pid"
    done
}

# Kills what carries the mark and should be gone; fails if there was any. What is just ending gets two seconds.
rig_kill_marked()
{
    local pids tries
    for ((tries = 0; tries < 20; tries++)); do
        pids=$(rig_marked "$1" "$2")
        [ -n "$pids" ] || return 0
        sleep 0.1
    done
    rig_say_processes "$pids"
    # shellcheck disable=SC2086 # one word a pid
    rig_stop $pids
    return 1
}

rig_say_processes()
{
    local pid
    for pid in $1; do
        printf 'left running: %s %s\n' "$pid" "$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null)" >&2
    done
}

# The pids of processes whose program is $CBPUSH, or whose root or working directory is below the test's directory.
rig_cbpush_processes()
{
    local link target pid last='' own exe
    own=$(rig_own_pids)
    exe=$(readlink -f "${CBPUSH:-/nonexistent}") || exe=/nonexistent
    while IFS=' ' read -r link target; do
        case $target in
            "$BATS_TEST_TMPDIR"/* | "$CBPUSH_ROOT"/* | "$exe" | "$exe (deleted)") ;;
            *) continue ;;
        esac
        pid=${link#/proc/}
        pid=${pid%%/*}
        if [ "$pid" != "$last" ] && [[ $own != *" $pid "* ]] && rig_alive "$pid"; then
            printf '%s\n' "$pid"
        fi
        last=$pid
    done < <(find /proc/[0-9]*/root /proc/[0-9]*/cwd /proc/[0-9]*/exe -maxdepth 0 -printf '%p %l\n' 2>/dev/null)
}

# ---- mounts

# The mount points below a directory, the deepest first.
rig_mounts()
{
    awk -v d="$1/" 'index($5 "/", d) == 1 { print $5 }' /proc/self/mountinfo | sort -r
}

rig_umount()
{
    local point
    while read -r point; do
        umount -l "$(printf '%b' "$point")" || :
    done < <(rig_mounts "$1")
}

# ---- assertions

# Nothing of the test is left: no process of cbpush or below the test's directory, no mount, no temporary file in the
# store or in TMPDIR. What setup_file started is not meant.
assert_no_leftovers()
{
    local pids mounts files tries status=0
    for ((tries = 0; tries < 20; tries++)); do
        pids=$(rig_cbpush_processes)
        [ -n "$pids" ] || break
        sleep 0.1
    done
    [ -z "$pids" ] || { rig_say_processes "$pids"; status=1; }
    mounts=$(rig_mounts "$BATS_TEST_TMPDIR"; rig_mounts "$CBPUSH_ROOT")
    [ -z "$mounts" ] || { printf 'left mounted: %s\n' "$mounts" >&2; status=1; }
    files=$(find "$CBPUSH_ROOT/tmp" -mindepth 1 -maxdepth 1 2>/dev/null; find "$TMPDIR" -mindepth 1 -name '*cbpush*' 2>/dev/null)
    [ -z "$files" ] || { printf 'left behind: %s\n' "$files" >&2; status=1; }
    return "$status"
}

# assert_equal GOT WANTED [WORDS]
assert_equal()
{
    [ "$1" = "$2" ] || rig_fail "${3:+$3: }got «$1», wanted «$2»"
}

# assert_contains TEXT PART, refute_contains TEXT PART
assert_contains()
{
    [[ $1 == *"$2"* ]] || rig_fail "«$2» is not in: $1"
}

refute_contains()
{
    [[ $1 != *"$2"* ]] || rig_fail "«$2» is in: $1"
}

# assert_status N: the status of the last `run`.
assert_status()
{
    # shellcheck disable=SC2154 # set by run
    [ "$status" -eq "$1" ] || rig_fail "exit status $status, wanted $1; output: $output"
}
