# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Programs in Go that Debian 12 does not have, at the versions that their go.mod and go.sum say. Loaded by what needs one.
#
#   go_has MINOR                 whether there is a Go 1.MINOR or later
#   go_programs MODULE PACKAGE…  builds the programs of tests/system/MODULE, once, and keeps them with the other things that
#                                tests keep; prints their directory

# Go's caches are the user's, not a test's.
export RIG_OLD_HOME=${RIG_OLD_HOME-$HOME} RIG_OLD_CACHE=${RIG_OLD_CACHE-${XDG_CACHE_HOME:-$HOME/.cache}}

go_here()
{
    command -v go || { [ -x /usr/local/go/bin/go ] && echo /usr/local/go/bin/go; }
}

go_has()
{
    local go minor
    go=$(go_here) || return
    minor=$("$go" env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
    [ "${minor:-0}" -ge "$1" ]
}

go_build()
{
    local dir=$1 module=$2
    shift 2
    cd "$RIG_HERE/$module" || return
    HOME=$RIG_OLD_HOME GOCACHE=${GOCACHE:-$RIG_OLD_CACHE/go-build} GOFLAGS="-mod=readonly -tags=exclude_graphdriver_btrfs" \
        cb_quietly "the build of $module" "$(go_here)" build -buildvcs=false -trimpath -ldflags='-s -w' -o "$dir.new/" "$@" &&
        mv -T "$dir.new" "$dir"
}

# One at a time: files of tests run side by side. What is in use is kept by its time (rig_cache_python).
go_programs()
{
    local module=$1 cache=${CBPUSH_TEST_CACHE:-$BATS_FILE_TMPDIR} dir
    dir=$cache/go-$module-$(cd "$RIG_HERE/$module" && find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -c1-16)
    mkdir -p "$cache"
    (
        flock 9
        [ -d "$dir" ] || go_build "$dir" "$@" 9>&-
    ) 9>"$cache/lock.go" || return
    touch "$dir"
    printf '%s\n' "$dir"
}
