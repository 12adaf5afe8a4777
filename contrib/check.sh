#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Checks everything on a Debian 12 machine, also a fresh one: installs what is missing, builds, tests.
# usage: sh contrib/check.sh [unit|lint|clang|asan|distcheck|registry|system]...   (default: all of them, in this order)
#
# The last line is `N passed, N failed`, with `, N skipped` if there are any; exit status 1 if anything failed or
# nothing ran. Every failure is shown with its log. CB_NO_INSTALL=1: install nothing.
set -u
here=$(cd "$(dirname "$0")" && pwd) || exit 1
# shellcheck source=contrib/lib.sh
. "$here/lib.sh"
CB_TOP=$(cb_top) || exit 1
export CB_TOP
cd "$CB_TOP" || exit 1

all_parts='unit lint clang asan distcheck registry system'
passed=0 failed=0 skipped=0
running=
PATH=$PATH:/usr/sbin:/sbin
# Whatever is started here can be told by this, and is looked for at the end.
CB_CHECK_MARK=$$.$(date +%s)
export PATH CB_CHECK_MARK
logs=$(mktemp -d) || exit 1

stop()
{
    trap - EXIT INT TERM HUP
    [ -z "$running" ] || { kill -TERM "$running" 2>/dev/null; wait "$running"; }
    rm -rf "$logs"
    exit "$1"
}
trap 'stop 130' INT
trap 'stop 143' TERM HUP
trap 'stop $?' EXIT

# limited SECONDS LOG COMMAND...: runs it with its output in LOG. At the end of its time, or when we are told to stop,
# its process group ends with it.
limited()
{
    seconds=$1 log=$2
    shift 2
    timeout --kill-after=20 "$seconds" "$@" >"$log" 2>&1 </dev/null &
    running=$!
    wait "$running"
    status=$?
    running=
    if [ "$status" -eq 124 ]; then
        echo "ended after $seconds seconds" >>"$log"
    fi
    return "$status"
}

# A hundred test programs are linked: mold takes a tenth of the time. cbpush is linked by the default linker.
linker=
build_gcc()
{
    # shellcheck disable=SC2016 # the other shell expands it
    limited 1800 "$1" env CC=gcc CFLAGS='-O2 -g1' sh -c '. "$CB_TOP/contrib/lib.sh"; cb_build build-check/gcc'
}

count_pass()
{
    passed=$((passed + $1))
}

# count_fail WHAT LOG
count_fail()
{
    failed=$((failed + 1))
    echo "FAILED: $1"
    sed 's/^/    /' "$2"
}

# One thing that passes or fails as a whole.
whole()
{
    if [ "$1" -eq 0 ]; then
        count_pass 1
    else
        tail -n 200 "$3" >"$3.tail"
        count_fail "$2" "$3.tail"
    fi
}

# ---- cmocka: one .log and one .trs a program

# The counts of one program's log: passed failed skipped. Every case counts once; the list at the end repeats some.
cmocka_counts()
{
    awk '
        /\[       OK \]/ { ok++ }
        /\[  SKIPPED \] (tests: )?[0-9]+ test\(s\)/ { sub(/.*\] (tests: )?/, ""); skip += $1 }
        /\[  FAILED  \] (tests: )?[0-9]+ test\(s\)/ { sub(/.*\] (tests: )?/, ""); fail += $1 }
        END { printf "%d %d %d\n", ok, fail, skip }' "$1"
}

# skip() has no reason in cmocka: what the test printed since it began is taken for it.
cmocka_skips()
{
    awk -v program="$2" '
        /\[ RUN      \]/ { said = "" ; next }
        /\[  SKIPPED \] (tests: )?[0-9]+ test\(s\)/ { exit }
        /\[  SKIPPED \]/ { sub(/.*\] /, ""); print "SKIPPED: " program " " $0 (said == "" ? "" : ":" said); next }
        { said = said " " $0 }' "$1"
}

# automake_sum DIR: adds up what make check left in DIR; fails if there is nothing.
automake_sum()
{
    programs=0
    for trs in "$1"/tests/unit/*.trs; do
        [ -e "$trs" ] || continue
        programs=$((programs + 1))
        log=${trs%.trs}.log
        name=$(basename "$log" .log)
        # shellcheck disable=SC2046 # three numbers
        set -- "$1" $(cmocka_counts "$log")
        passed=$((passed + $2)) failed=$((failed + $3)) skipped=$((skipped + $4))
        [ "$4" -eq 0 ] || cmocka_skips "$log" "$name"
        if [ "$3" -gt 0 ]; then
            echo "FAILED: $name: $3 of $(($2 + $3))"
            grep -v '\[       OK \]\|\[ RUN      \]' "$log" | tail -n 200 | sed 's/^/    /'
        elif ! grep -q '^:test-result: *\(PASS\|SKIP\)' "$trs"; then
            tail -n 200 "$log" >"$logs/program"
            count_fail "$name: the program itself" "$logs/program"
        elif [ "$(($2 + $3 + $4))" -eq 0 ]; then
            count_fail "$name ran no test" "$log"
        fi
    done
    [ "$programs" -gt 0 ]
}

# unit_check DIR STATUS LOG: sums; a make check that failed without any failed test is a failure too.
unit_check()
{
    before=$failed
    automake_sum "$1" || { count_fail 'no unit test ran' "$3"; return; }
    if [ "$2" -ne 0 ] && [ "$failed" -eq "$before" ]; then
        tail -n 200 "$3" >"$3.tail"
        count_fail 'make check' "$3.tail"
    fi
}

# ---- TAP

# tap_sum LOG STATUS WHAT: adds up TAP. Tests that the plan names and that never came are failures.
tap_sum()
{
    tap_ok=$(grep '^ok ' "$1" | grep -vci '# skip')
    tap_skip=$(grep -ci '^ok .*# skip' "$1")
    tap_bad=$(grep -c '^not ok ' "$1")
    tap_plan=$(sed -n 's/^1\.\.\([0-9]*\).*/\1/p' "$1" | head -n 1)
    passed=$((passed + tap_ok)) failed=$((failed + tap_bad)) skipped=$((skipped + tap_skip))
    sed -n 's/^ok [0-9-]* *\(.*[^ ]\) *# skip */SKIPPED: \1: /ip' "$1"
    awk '/^ok |^1\.\./ { bad = 0 } /^not ok / { bad = 1; sub(/^not ok/, "FAILED:") ; print; next } bad { print "    " $0 }' "$1"
    tap_lost=$((${tap_plan:-0} - tap_ok - tap_skip - tap_bad))
    if [ "$tap_lost" -gt 0 ]; then
        failed=$((failed + tap_lost))
        echo "FAILED: $3: $tap_lost of the $tap_plan planned tests did not run"
        tail -n 50 "$1" | sed 's/^/    /'
    elif [ "$2" -ne 0 ] && [ "$tap_bad" -eq 0 ] || [ "$((tap_ok + tap_skip + tap_bad))" -eq 0 ]; then
        count_fail "$3 (status $2)" "$1"
    fi
}

# ---- the parts

# The gcc build is made once, whichever part needs it first.
need_build()
{
    case ${gcc_build-} in
        '')
            build_gcc "$logs/gcc"
            gcc_build=$?
            [ "$gcc_build" -eq 0 ] || whole 1 'the build by gcc' "$logs/gcc" ;;
    esac
    return "$gcc_build"
}

# shellcheck disable=SC2016 # make expands it
part_unit()
{
    need_build || return
    find build-check/gcc/tests -name '*.trs' -exec rm -f {} +
    limited 1800 "$logs/unit" make -C build-check/gcc -j"$(cb_jobs)" -k check "LDFLAGS=$linker" \
        'TESTS=$(check_PROGRAMS)'
    unit_check build-check/gcc "$?" "$logs/unit"
}

part_lint()
{
    limited 300 "$logs/lint" sh tests/lint/run.sh --tap
    tap_sum "$logs/lint" "$?" tests/lint/run.sh
}

# One build shows that clang has nothing to say, tests included, and is what asan runs.
part_clang()
{
    limited 1800 "$logs/clang" sh contrib/ci/asan.sh build "LDFLAGS=$linker"
    whole "$?" 'the build by clang' "$logs/clang"
}

part_asan()
{
    find build-check/asan/tests -name '*.trs' -exec rm -f {} + 2>/dev/null
    limited 3600 "$logs/asan" sh contrib/ci/asan.sh check "LDFLAGS=$linker"
    unit_check build-check/asan "$?" "$logs/asan"
}

# The tarball builds elsewhere from a tree that cannot be written, passes tests there, installs, uninstalls and cleans
# up. Where git can tell that it has every file of the tree, unit and lint have tested what is in it: then of the unit
# tests only those run that look for files, and nothing is optimized, which takes half of the time.
part_distcheck()
{
    need_build || return
    set -- 'DISTCHECK_CONFIGURE_FLAGS=--enable-werror CC=gcc'
    if tracked >"$logs/tracked"; then
        # shellcheck disable=SC2016 # make expands it
        set -- 'DISTCHECK_CONFIGURE_FLAGS=--enable-werror CC=gcc CFLAGS="-O0 -U_FORTIFY_SOURCE"' \
            check_PROGRAMS="$(programs_with_data)" 'TESTS=$(check_PROGRAMS)'
    fi
    limited 3600 "$logs/distcheck" env XZ_OPT=-1 make -C build-check/gcc -j"$(cb_jobs)" distcheck "$@"
    whole "$?" 'make distcheck' "$logs/distcheck"
    [ -s "$logs/tracked" ] || return
    tar -tf build-check/gcc/cbpush-*.tar.xz | sed 's,^[^/]*/,,' | sort | comm -23 "$logs/tracked" - >"$logs/untold"
    [ ! -s "$logs/untold" ]
    whole "$?" 'the tarball lacks files' "$logs/untold"
}

# The files that a tarball has to have, sorted.
tracked()
{
    git -c safe.directory="$CB_TOP" ls-files 2>/dev/null | grep -v '^\.' | sort | grep .
}

# The unit tests that read files of the source tree.
programs_with_data()
{
    # shellcheck disable=SC2046 # one word a path
    headers=$(basename -a $(grep -l CB_TEST_DATA tests/unit/*.h) | paste -s -d '|' | sed 's/|/\\|/g')
    grep -l "CB_TEST_DATA\|\"\(unit/\)\?\($headers\)\"" tests/unit/*.c | sed 's/\.c$//' | paste -s -d ' '
}

# cbpush against registries that misbehave, and the rig against itself.
part_registry()
{
    need_build || return
    for table in '' broken.txt; do
        limited 1800 "$logs/registry" env CBPUSH="$CB_TOP/build-check/gcc/cbpush" \
            python3 -B tests/registry/matrix.py ${table:+"tests/registry/$table"}
        tap_sum "$logs/registry" "$?" "tests/registry/matrix.py $table"
    done
}

part_system()
{
    need_build || return
    limited 7200 "$logs/system" env CBPUSH="$CB_TOP/build-check/gcc/cbpush" sh tests/system/run.sh
    tap_sum "$logs/system" "$?" tests/system/run.sh
}

# ---- all together

install_packages()
{
    [ -z "${CB_NO_INSTALL-}" ] || return 0
    # shellcheck disable=SC2086 # a list of packages
    cb_need_packages $CB_BUILD_PACKAGES $CB_TEST_PACKAGES
}

# Processes that were started by this check and still run are a failure; they are ended.
check_processes()
{
    for tries in 1 2 3 4 5; do
        grep -lzxF "CB_CHECK_MARK=$CB_CHECK_MARK" /proc/[0-9]*/environ >"$logs/marked" 2>/dev/null
        left=
        while read -r environ; do
            pid=${environ#/proc/}
            pid=${pid%/environ}
            [ -z "$(tr -d '\0' <"/proc/$pid/cmdline" 2>/dev/null)" ] || left="$left $pid"
        done <"$logs/marked"
        [ -n "$left" ] || return 0
        [ "$tries" -eq 5 ] || sleep 1
    done
    for pid in $left; do
        echo "$pid $(tr '\0' ' ' <"/proc/$pid/cmdline")"
    done >"$logs/left"
    count_fail 'processes were left running' "$logs/left"
    # shellcheck disable=SC2086 # a list of pids
    kill -KILL $left 2>/dev/null
}

parts=${*:-$all_parts}
for part in $parts; do
    case " $all_parts " in
        *" $part "*) ;;
        *) cb_die "$part is no part; the parts are: $all_parts" ;;
    esac
done

start=$(date +%s)
echo '== packages'
install_packages || cb_die 'the packages could not be installed'
if command -v mold >/dev/null 2>&1; then
    linker=-fuse-ld=mold
fi
for part in $parts; do
    echo "== $part"
    part_start=$(date +%s)
    "part_$part"
    echo "== $part: $(($(date +%s) - part_start)) s"
done
check_processes
echo "== all: $(($(date +%s) - start)) s"

skips=
[ "$skipped" -eq 0 ] || skips=", $skipped skipped"
echo "$passed passed, $failed failed$skips"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
