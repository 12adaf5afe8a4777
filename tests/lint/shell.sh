#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs shellcheck on every shell script; of bats files only errors count. usage: shell.sh ROOT
# Prints one line a finding, exits 1 if there is any.
set -eu
cd "$1"

# files FIND-TEST…: the tree's files that pass
files()
{
    find src registry auth tests contrib .ci autogen.sh -path tests/data -prune -o -type f \( "$@" \) -print 2>/dev/null | sort
}

# judge OPTION FILE…
judge()
{
    [ $# -gt 1 ] || return 0
    shellcheck -x -f gcc "$@" | sed -E 's/^([^:]+:[0-9]+):[0-9]+:/\1:/'
}

# shellcheck disable=SC2046 # one word a path: names in the tree have no blanks
found=$(
    judge --severity=style $(files -name '*.sh' -o -name '*.bash' -o -path '.ci/*')
    judge --severity=error $(files -name '*.bats')
)
[ -n "$found" ] || exit 0
printf '%s\n' "$found"
exit 1
