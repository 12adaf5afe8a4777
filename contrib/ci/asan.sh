#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds with ASan and UBSan in build-check/asan and runs the unit tests there; a leak is a failure.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=contrib/lib.sh
. "$here/../lib.sh"

CB_TOP=$(cb_top)
cb_build build-check/asan --enable-sanitizers
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0
export UBSAN_OPTIONS=print_stacktrace=1
# shellcheck disable=SC2016 # make expands it
exec make -C "$CB_TOP/build-check/asan" -j"$(cb_jobs)" -k check 'TESTS=$(check_PROGRAMS)'
