#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# One index of platforms that are built on different machines: each has a store of its own.

load helpers
load build

EXPECT=linux/amd64,linux/arm64

setup_file()
{
    rig_setup_file
    build_setup_file
    registry_start second
}

setup()
{
    rig_setup
    build_setup
    name=j$BATS_TEST_NUMBER/app
    one=$reg/$name two=$(registry_addr second)/$name
}

teardown()
{
    rig_teardown
}

# machine ARCH TEXT [ARG…]: a build on a machine of that architecture.
machine()
{
    local arch=$1 text=$2
    shift 2
    mkdir -p "ctx-$arch"
    printf '%s\n' "$text" >"ctx-$arch/x"
    printf 'FROM scratch\nCOPY x /\n' >"ctx-$arch/Dockerfile"
    CBPUSH_ROOT=$PWD/store-$arch cbpush build --progress plain --push --platform "linux/$arch" --join 42 --expect "$EXPECT" \
        "$@" "ctx-$arch" >"$arch.log" 2>&1
}

# tags HOST: of the repository, in one line.
tags()
{
    curl -sS "http://$1/v2/$name/tags/list" | jq -r '.tags // [] | sort | join(" ")'
}

@test "the last one in makes the index and moves the tags; no other tag is left" {
    machine amd64 one -t "$one:1" -t "$one:latest" --receipt first.json
    assert_contains "$(cat amd64.log)" 'waiting for linux/arm64'
    refute_contains " $(tags "$reg") " ' 1 '
    machine arm64 two -t "$one:latest" -t "$one:1" --receipt last.json --metadata-file metadata.json
    assert_equal "$(tags "$reg")" '1 latest'
    assert_equal "$(judge_index "$one:1")" 'amd64 one
arm64 two'
    assert_equal "$(jq -r '.tags[].new' last.json | sort -u)" "$(metadata -r '.["cbpush.joined"].digest')"
    assert_equal "$(jq '.tags | length' first.json last.json | paste -s -d ' ')" '0 2'
    cbpush rollback last.json >/dev/null 2>&1
    assert_equal "$(tags "$reg")" ''
}

@test "run again: the same changes nothing, another takes its place" {
    machine arm64 two -t "$one:1"
    machine amd64 one -t "$one:1"
    judge_index "$one:1" >/dev/null
    local before
    before=$(sha256sum <index.json)
    machine amd64 one -t "$one:1"
    machine arm64 two -t "$one:1"
    judge_index "$one:1" >/dev/null
    assert_equal "$(sha256sum <index.json)" "$before"
    machine arm64 three -t "$one:1"
    assert_equal "$(judge_index "$one:1")" 'amd64 one
arm64 three'
    assert_equal "$(tags "$reg")" 1
    # Another release does not take over what the one before made.
    machine amd64 four -t "$one:1" --join 43
    assert_contains "$(cat amd64.log)" 'waiting for linux/arm64'
    assert_equal "$(judge_index "$one:1" | head -n 1)" 'amd64 one'
}

@test "--immutable: what is refused leaves no tag, and those that are run again do not find it" {
    local before
    machine amd64 one -t "$one:1" --immutable
    machine arm64 two -t "$one:1" --immutable
    before=$(judge_index "$one:1"; sha256sum <index.json)
    run machine arm64 three -t "$one:1" --immutable
    assert_status 7
    assert_contains "$(cat arm64.log)" '--immutable lets no tag move'
    assert_equal "$(tags "$reg")" 1
    machine amd64 one -t "$one:1" --immutable
    assert_equal "$(judge_index "$one:1"; sha256sum <index.json)" "$before"
    # Nor does a release with another ID.
    machine amd64 one -t "$one:1" --immutable --join 43
    run machine arm64 two -t "$one:1" --immutable --join 43
    assert_status 7
    assert_equal "$(tags "$reg")" 1
}

@test "both at once, and in two registries" {
    local first
    machine amd64 one -t "$one:1" -t "$two:1" &
    first=$!
    machine arm64 two -t "$one:1" -t "$two:1"
    wait "$first"
    # Whoever came last saw the other.
    assert_equal "$(judge_index "$one:1")" "$(judge_index "$two:1")"
    assert_equal "$(tags "$reg") $(tags "$(registry_addr second)")" '1 1'
}

@test "what cannot be joined is refused before anything is built" {
    EXPECT=linux/arm64 run machine amd64 one -t "$one:1"
    assert_status 2
    assert_contains "$(cat amd64.log)" 'linux/amd64 is built here, and --expect does not name it'
    printf 'FROM scratch\nCOPY Dockerfile /\n' >ctx/Dockerfile
    run cbpush build --join 1 -t "$one:1" --push ctx
    assert_status 2
    assert_contains "$output" 'go together'
    run cbpush build --join 1 --expect "$EXPECT" -t x ctx
    assert_status 2
    run cbpush build --join 1 --expect "$EXPECT" --platform "$EXPECT" -t "$one:1" --push ctx
    assert_status 2
    assert_contains "$output" 'for the push of one platform'
}
