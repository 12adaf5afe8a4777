#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds every target of tests/fuzz with libFuzzer, ASan and UBSan in build-check/fuzz, and runs each for FUZZ_SECONDS
# (60), one after the other. Words on the command line choose targets: contrib/ci/fuzz.sh parse lint. What is found is
# in build-check/fuzz/found/TARGET-*; new inputs go into build-check/fuzz/corpus, not into the source.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=contrib/lib.sh
. "$here/../lib.sh"

top=$(cb_top)
out=$top/build-check/fuzz
seconds=${FUZZ_SECONDS:-60}
cc=${FUZZ_CC:-clang}
flags="-std=gnu17 -g -O1 -pthread -D_FILE_OFFSET_BITS=64 -fno-omit-frame-pointer -fno-sanitize-recover=undefined"
includes="-I$top/src -I$top -I$out -include config.h -include util/banned.h"

# What reads text and answers of others; what the targets do not reach is not linked.
build_objects()
{
    sanitize="-fsanitize=fuzzer-no-link,address,undefined"
    for source in "$top"/src/util/*.c "$top"/src/oci/*.c "$top"/src/dockerfile/*.c "$top"/src/http/*.c \
        "$top"/src/progress/*.c "$top"/src/layer/foreign*.c "$top"/src/layer/reader_entry.c \
        "$top"/src/layer/toc*.c "$top"/src/layer/xattr.c "$top"/src/layer/archive_lib.c \
        "$top"/src/cache/artifact.c "$top"/src/cache/records.c "$top"/auth/*.c "$top"/registry/*.c \
        "$top"/src/image/helper_link.c "$top"/src/image/helper_reader.c "$top"/src/image/helper_wire.c \
        "$top"/src/cmd/template*.c; do
        object=$out/obj/$(printf '%s' "${source#"$top"/}" | tr / _).o
        # shellcheck disable=SC2086 # lists of words
        $cc $flags $sanitize $includes -c "$source" -o "$object"
    done
    rm -f "$out/objects.a"
    ar rc "$out/objects.a" "$out"/obj/*.o
}

build_target()
{
    # shellcheck disable=SC2086 # lists of words
    $cc $flags -fsanitize=fuzzer,address,undefined $includes "$top/tests/fuzz/fuzz_$1.c" "$out/objects.a" \
        -ljansson -lcrypto -lcurl -larchive -o "$out/fuzz_$1"
}

run_target()
{
    mkdir -p "$out/corpus/$1" "$out/found"
    printf 'fuzz: %s for %s s\n' "$1" "$seconds"
    "$out/fuzz_$1" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=4096 -print_final_stats=1 \
        -artifact_prefix="$out/found/$1-" "$out/corpus/$1" "$top/tests/fuzz/corpus/$1" >"$out/$1.log" 2>&1 || {
        tail -n 60 "$out/$1.log" >&2
        return 1
    }
    grep -E 'stat::number_of_executed_units' "$out/$1.log"
}

mkdir -p "$out/obj"
if [ ! -f "$out/config.h" ]; then
    (cd "$out" && CC=$cc "$top/configure" >configure.log)
fi
build_objects
targets=$*
if [ -z "$targets" ]; then
    for source in "$top"/tests/fuzz/fuzz_*.c; do
        name=${source##*/fuzz_}
        targets="$targets ${name%.c}"
    done
fi
status=0
for target in $targets; do
    build_target "$target"
    run_target "$target" || status=1
done
exit $status
