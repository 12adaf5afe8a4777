#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A release as one act: several tags in several registries move together or not at all, only from where they were
# expected to be, and back by the receipt.

load helpers
load build

setup_file()
{
    rig_setup_file
    build_setup_file
    registry_start second
    registry_start --auth-token --user alice:s3cret --reader bob:readonly tokens
}

setup()
{
    rig_setup
    build_setup
    second=$(registry_addr second)
    name=r$BATS_TEST_NUMBER
    one=$reg/$name/app two=$second/$name/app
    registry_forget reg
    registry_forget second
}

teardown()
{
    rig_teardown
}

# release TEXT [ARG…]: an image with TEXT in it, pushed to what -t names.
release()
{
    printf 'FROM busybox\nRUN echo %s >/x\n' "$1" >ctx/Dockerfile
    shift
    cbpush build --progress plain --toc=false --push "$@" ctx >build.log 2>&1
}

# refuses STATUS TEXT [ARG…]
refuses()
{
    local wanted=$1 text=$2 status=0
    shift 2
    release "$text" "$@" || status=$?
    log=$(cat build.log)
    [ "$status" -eq "$wanted" ] || rig_fail "exit status $status, wanted $wanted: $log"
}

# digest_of REF: what a tag stands for, by the registry's own word.
digest_of()
{
    local host=${1%%/*} rest=${1#*/}
    curl -sSfI -H 'Accept: application/vnd.oci.image.manifest.v1+json' \
        "http://$host/v2/${rest%:*}/manifests/${rest##*:}" 2>/dev/null |
        tr -d '\r' | sed -n 's/^Docker-Content-Digest: //Ip'
}

# The access log in the order of time: puts NAME prints the tags and digests of manifests that were stored. release builds
# without tables, whose artifacts go beside.
puts()
{
    registry_requests "$1" '"PUT /v2/.*/manifests/.* 201 ' | sed 's|.*/manifests/\([^ ]*\) HTTP.*|\1|'
}

@test "the tags move when everything is everywhere, and the receipt says from where" {
    release first -t "$one:1"
    local first
    first=$(digest_of "$one:1")
    release second -t "$one:1" -t "$one:latest" -t "$two:1" --receipt receipt.json
    local second
    second=$(digest_of "$one:1")
    [ "$first" != "$second" ] || rig_fail 'nothing was released'
    assert_equal "$(digest_of "$one:latest") $(digest_of "$two:1")" "$second $second"
    assert_equal "$(jq -c '[.version, .complete, .digest]' receipt.json)" "[1,true,\"$second\"]"
    assert_equal "$(jq -c '.tags[] | [.name, .old, .new, .moved]' receipt.json)" \
        "[\"$one:1\",\"$first\",\"$second\",true]
[\"$one:latest\",null,\"$second\",true]
[\"$two:1\",null,\"$second\",true]"
    # By its digest before any tag.
    assert_equal "$(puts second | head -n 1)" "$second"
    registry_skopeo second inspect "docker://$two:1" >/dev/null
}

@test "a name that is said twice is one: in the receipt, and for rollback" {
    local output
    release first -t "$one:1" -t "$one:1" -o "type=image,name=$one:1,push=true" --receipt receipt.json
    assert_equal "$(jq -c '.tags | map(.name)' receipt.json)" "[\"$one:1\"]"
    run -0 cbpush rollback receipt.json
    assert_equal "$(digest_of "$one:1")" ''
    printf 'FROM busybox\nLABEL b=1\n' >ctx/Dockerfile
    cbpush build -q -t local ctx >/dev/null
    cbpush push --receipt receipt.json local "$one:1" "$one:1" 2>/dev/null
    assert_equal "$(jq -c '.tags | map(.name)' receipt.json)" "[\"$one:1\"]"
    run -0 cbpush rollback receipt.json
}

@test "rollback makes every tag what it was, and only those" {
    local first second
    release first -t "$one:1"
    first=$(digest_of "$one:1")
    release second -t "$one:1" -t "$one:new" --receipt receipt.json
    second=$(digest_of "$one:1")
    cbpush tag "$one:1" "$one:sibling"
    cbpush push "$one:sibling" 2>/dev/null
    cbpush rollback receipt.json >rolled 2>rollback.log
    assert_equal "$(cat rolled)" "$one:new -
$one:1 $first"
    assert_equal "$(digest_of "$one:1")" "$first"
    assert_equal "$(digest_of "$one:new")" ''
    assert_equal "$(digest_of "$one:sibling")" "$second" # of the same digest as the one that was deleted
    # Once more: it is so already.
    cbpush rollback --json - <receipt.json >rolled 2>rollback.log
    assert_equal "$(jq -c 'map([.reference, .digest])' rolled)" "[[\"$one:new\",null],[\"$one:1\",\"$first\"]]"
    assert_contains "$(cat rollback.log)" 'was so already'
    # Somebody has moved it since.
    release third -t "$one:1"
    run cbpush rollback receipt.json
    assert_status 7
    assert_contains "$output" 'somebody has moved it since'
    cbpush rollback --force receipt.json >/dev/null 2>&1
    assert_equal "$(digest_of "$one:1")" "$first"
}

@test "--immutable lets no tag move, and the same image is no move" {
    local first
    release first -t "$one:1" --immutable
    first=$(digest_of "$one:1")
    release first -t "$one:1" --immutable
    refuses 7 second -t "$one:other" -t "$one:1" --immutable --receipt receipt.json
    assert_contains "$log" "$one:1 is $first already"
    assert_equal "$(digest_of "$one:1") $(digest_of "$one:other")" "$first "
    [ ! -e receipt.json ] || rig_fail "a receipt of nothing: $(cat receipt.json)"
    # push, of what is in the store, knows it too.
    printf 'FROM busybox\nLABEL b=1\n' >ctx/Dockerfile
    cbpush build -q -t local ctx >/dev/null
    run cbpush push --immutable local "$one:1"
    assert_status 7
    cbpush push --immutable local "$one:more" "$two:more" 2>/dev/null
    assert_equal "$(digest_of "$one:more")" "$(digest_of "$two:more")"
}

@test "--expect-old compares before anything is built, and again before anything moves" {
    local first none=sha256:0000000000000000000000000000000000000000000000000000000000000000
    release first -t "$one:1" --expect-old none
    first=$(digest_of "$one:1")
    refuses 7 second -t "$one:1" --expect-old "$none"
    assert_contains "$log" "was expected to be $none"
    refute_contains "$log" 'RUN echo second'$'\n''#' # nothing ran
    refuses 7 second -t "$one:1" --expect-old none
    release second -t "$one:1" -t "$two:1" --expect-old "$one:1=$first" --expect-old none
    refuses 2 third -t "$one:1" --expect-old "$one:2=$first"
    assert_contains "$log" 'no such tag is pushed'
    refuses 2 third -t "$one:1" --expect-old sha256:12
    assert_contains "$log" 'DIGEST, or none'
    run cbpush build --immutable -t x ctx
    assert_status 2
    assert_contains "$output" 'add --push'
}

@test "a tag that cannot be moved: those before it are moved back" {
    local first
    release first -t "$one:1"
    first=$(digest_of "$one:1")
    # The second registry takes blobs and manifests, but not this tag.
    local tag
    tag=$(rig_find second)/storage/docker/registry/v2/repositories/$name/app/_manifests/tags/1
    mkdir -p "$tag"
    : >"$tag/index" # where a directory is to be
    refuses 4 second -t "$one:1" -t "$one:2" -t "$two:1" --retry 0 --receipt receipt.json
    assert_contains "$log" "moved back: $one:2, $one:1"
    assert_equal "$(digest_of "$one:1") $(digest_of "$one:2")" "$first "
    [ ! -e receipt.json ] || rig_fail "a receipt of nothing: $(cat receipt.json)"
}

@test "who may not push is told so while the first step runs" {
    docker_config "$(registry_addr tokens)" bob:readonly
    printf 'FROM busybox\nRUN sleep 60\n' >ctx/Dockerfile
    run timeout 40 "$CBPUSH" build --progress plain --push "$(registry_addr tokens)/$name/app:1" ctx
    assert_status 3
    assert_contains "$output" "are refused for repository:$name/app:pull,push"
    refute_contains "$output" 'did not complete'
    # Nothing is left of the question where it was answered.
    release first -t "$one:1"
    assert_equal "$(find "$(rig_find reg)/storage/docker/registry/v2/repositories/$name/app/_uploads" -name startedat)" ''
}
