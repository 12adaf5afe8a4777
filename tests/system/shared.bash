# shellcheck shell=bash disable=SC2034,SC2154
# SPDX-License-Identifier: Apache-2.0
# A build cache that machines share, for tests: $cache in the registry reg, "${both[@]}" the options that read and write it.
# `load helpers`, `load build`, `load shared`, and in setup `rig_setup; build_setup; shared_setup`.

shared_setup()
{
    cache_repo=cache/t$BATS_TEST_NUMBER
    cache=$reg/$cache_repo
    both=(--cache-from "type=registry,ref=$cache" --cache-to "type=registry,ref=$cache")
}

# machine NAME: from here on, another one, whose store is empty the first time.
machine()
{
    export CBPUSH_ROOT=$BATS_TEST_TMPDIR/store.$1
}

digest()
{
    metadata -r '.["containerimage.digest"]'
}

# assert_cached N OF: so many steps were cached.
assert_cached()
{
    assert_equal "$(metadata '[.["cbpush.cached"], .["cbpush.steps"]]')" "[$1,$2]" 'steps that were cached, all steps'
}

# The requests that carried bytes of blobs: what was fetched, and what was sent.
moved()
{
    registry_requests "${1-reg}" '"(GET /v2/[^ ]*/blobs/sha256|PATCH|PUT /v2/[^ ]*/blobs/)'
}

# What busy_dockerfile has, a RUN that changes nothing, and --link.
busier_dockerfile()
{
    busy_dockerfile 'RUN true' 'COPY --link b.txt /linked/'
}

# quick ARG…: build of $target without a look at what came out; what cbpush says is in $log.
quick()
{
    local status=0
    rm -f metadata.json
    cbpush build --progress plain --push "${target:-$reg/test/app:1}" --metadata-file metadata.json "$@" ctx \
        >build.log 2>&1 || status=$?
    log=$(cat build.log)
    [ "$status" -eq 0 ] || rig_fail "cbpush build: exit status $status: $log"
}

tags()
{
    registry_curl "${2-reg}" "/v2/${1-$cache_repo}/tags/list?n=1000" | head -n 1 | jq -r '.tags[]?' | sort
}

# keys: the tags of steps; run_tag: that of the run index.
keys()
{
    tags "$@" | grep -xE '[0-9a-f]{64}'
}

run_tag()
{
    # A claim that has ended may be left where the registry did not delete it.
    tags "$@" | grep -vxE '(claim-)?[0-9a-f]{64}'
}

# forget_tables: removes every table that artifacts of the cache name.
forget_tables()
{
    local key digest
    for key in $(tags); do
        for digest in $(registry_skopeo reg inspect --raw "docker://$cache:$key" |
            jq -r '.layers[] | select(.mediaType == "application/vnd.cbpush.toc.v1").digest'); do
            registry_curl reg "/v2/$cache_repo/blobs/$digest" -X DELETE >/dev/null
        done
    done
}
