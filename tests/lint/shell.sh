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

# judge OPTION: the files that standard input names, on every processor
judge()
{
    xargs -r -P "$(nproc)" -n 6 shellcheck -x -f gcc "$1" | sed -E 's/^([^:]+:[0-9]+):[0-9]+:/\1:/' | sort -t : -k 1,1 -k 2,2n
}

found=$(
    files -name '*.sh' -o -name '*.bash' -o -path '.ci/*' -o -path 'contrib/completions/bash/*' | judge --severity=style
    files -name '*.bats' | judge --severity=error
)
[ -n "$found" ] || exit 0
printf '%s\n' "$found"
exit 1
