#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds with ASan and UBSan in build-check/asan, test programs too, and runs the unit tests there; a leak is a failure.
# usage: asan.sh [build|check [MAKE-ARGUMENT…]]   build: runs nothing. By clang, unless CC says otherwise.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=contrib/lib.sh
. "$here/../lib.sh"

what=${1:-check}
[ $# -eq 0 ] || shift
CB_TOP=$(cb_top)
export CC="${CC:-clang}" CFLAGS="${CFLAGS:--O1 -g1}"
cb_build build-check/asan --enable-sanitizers
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0
export UBSAN_OPTIONS=print_stacktrace=1
# shellcheck disable=SC2016 # make expands it
case $what in
    build) set -- TESTS= "$@" ;;
    check) set -- 'TESTS=$(check_PROGRAMS)' "$@" ;;
    *) cb_die "$what is neither build nor check" ;;
esac
exec make -C "$CB_TOP/build-check/asan" -j"$(cb_jobs)" -k check "$@"
