#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs every lint over the tree, and the lints' own test. usage: run.sh [--tap] [ROOT]
# Prints one line a finding (`file:line: message`), exits 1 if there is any. --tap: one TAP line a check, for
# contrib/check.sh. With ROOT another tree is checked, without the self-test.
set -u
here=$(cd "$(dirname "$0")" && pwd) || exit 2
tap=
if [ "${1-}" = --tap ]; then
    tap=1
    shift
fi
root=${1-$here/../..}
root=$(cd "$root" && pwd) || exit 2
python=$(command -v python3) || { echo "lint: python3 is missing" >&2; exit 2; }
out=$(mktemp) || exit 2
trap 'rm -f "$out"' EXIT
checks=0 findings=0 skipped=

# check NAME TOOL COMMAND...: one lint; not run if TOOL is missing. No output and a status of 1 is a broken lint.
check()
{
    name=$1 tool=$2
    shift 2
    if ! command -v "$tool" >/dev/null 2>&1; then
        skipped="$skipped $name ($tool is not installed)"
        [ -z "$tap" ] || echo "ok - lint $name # skip $tool is not installed"
        return
    fi
    checks=$((checks + 1))
    "$@" >"$out" 2>&1
    status=$?
    if [ "$status" -ne 0 ] && { [ "$status" -ne 1 ] || [ ! -s "$out" ]; }; then
        echo "tests/lint/run.sh:1: lint $name broke with status $status" >>"$out"
    fi
    count=$(grep -c . "$out")
    findings=$((findings + count))
    if [ -n "$tap" ]; then
        [ "$count" -eq 0 ] && echo "ok - lint $name" || echo "not ok - lint $name"
        sed 's/^/# /' "$out"
    else
        cat "$out"
    fi
}

check include-law "$python" "$python" -B "$here/include_law.py" "$root"
check cycles "$python" "$python" -B "$here/cycles.py" "$root"
check budgets ctags "$python" -B "$here/budgets.py" "$root"
check style "$python" "$python" -B "$here/style.py" "$root"
check sources "$python" "$python" -B "$here/sources.py" "$root"
check docs "$python" "$python" -B "$here/docs.py" "$root"
check shell shellcheck sh "$here/shell.sh" "$root"
[ $# -gt 0 ] || check selftest ctags sh "$here/selftest.sh"

[ -n "$tap" ] || echo "lint: $checks checks, $findings findings${skipped:+; not run:$skipped}"
[ "$findings" -eq 0 ]
