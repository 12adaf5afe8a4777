#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The system tests. usage: run.sh [BATS-OPTION…] [FILE…]   TAP on standard output.
# CBPUSH=program to test (default: ./cbpush, else build/cbpush); CBPUSH_TEST_CACHE=where base images are kept;
# CBPUSH_TEST_TIMEOUT=seconds a test (300).
set -u
here=$(cd "$(dirname "$0")" && pwd) || exit 2

for program in bats curl docker-registry jq mmdebstrap openssl perl python3 runc skopeo ss umoci; do
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
exec bats --tap --jobs 1 "$@"
