#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The build cache that machines share: --cache-from, --cache-to. Another machine is another store.

load helpers
load build
load shared

setup_file()
{
    rig_setup_file
    build_setup_file
}

setup()
{
    rig_setup
    build_setup
    shared_setup
}

@test "another machine runs nothing, moves no byte of a layer, and makes the same image" {
    busier_dockerfile
    machine one
    built "${both[@]}"
    local first
    first=$(digest)
    machine two
    registry_forget reg
    quick "${both[@]}"
    assert_cached 8 8
    assert_equal "$(digest)" "$first"
    assert_contains "$log" CACHED
    assert_equal "$(moved | grep -v "$(configs)")" ''
    assert_contains "$(metadata '.["cbpush.timings"]')" "registry $cache"
    # Into another repository it is mounted.
    machine three
    registry_forget reg
    target=$reg/other/app:3 quick "${both[@]}"
    assert_cached 8 8
    assert_equal "$(digest)" "$first"
    judged other/app:3
    ran true
}

# A pattern of the configurations of busybox, of what was built, and of artifacts ("{}"): they are no layers.
configs()
{
    local base
    base=$(registry_curl reg /v2/library/busybox/manifests/latest \
        -H 'Accept: application/vnd.oci.image.manifest.v1+json' | head -n -1 | jq -r .config.digest)
    printf '%s\\|%s\\|%s\n' "${base#*:}" "$(manifest -r .config.digest | cut -d : -f 2)" \
        "$(printf '{}' | sha256sum | cut -c 1-64)"
}

@test "a COPY that misses on top of hits fetches tables, and no layer" {
    busier_dockerfile
    machine one
    built "${both[@]}"
    local layers
    layers=$(manifest -r '.layers[].digest')
    machine two
    echo changed >ctx/b.txt
    registry_forget reg
    built "${both[@]}"
    # The two COPYs of b.txt; what is linked has its step of putting on as well.
    assert_contains "$(metadata '[.["cbpush.timings"][] | select(.cached | not) | .name]')" 'COPY b.txt /'
    assert_equal "$(metadata '[.["cbpush.timings"][] | select(.cached | not)] | length')" 2
    for digest in $layers; do
        assert_equal "$(registry_requests reg "\"GET /v2/[^ ]*/blobs/$digest.*cbpush/")" ''
    done
    assert_equal "$(cat "$rootfs/b.txt")" changed
    assert_equal "$(cat "$rootfs/linked/b.txt")" changed
}

# fetched_of LAYER…: the requests of cbpush for the bytes of these.
fetched_of()
{
    registry_requests reg "\"GET /v2/[^ ]*/blobs/($(paste -s -d '|' <<<"$1")).*cbpush/"
}

@test "where no step hits the cache tells what is in the parent all the same: no byte of it is fetched" {
    dockerfile <<'END'
FROM busybox
COPY a /etc/
END
    echo a >ctx/a
    local layers
    layers=$(registry_skopeo reg inspect --raw "docker://$reg/library/busybox:latest" | jq -r '.layers[].digest')
    machine one
    quick "${both[@]}" --cache-to type=local,dest=shared
    machine two
    echo changed >ctx/a
    registry_forget reg
    built "${both[@]}"
    assert_cached 0 1
    assert_equal "$(fetched_of "$layers")" ''
    assert_equal "$(cat "$rootfs/etc/a")" changed
    # Other steps on the same parent.
    dockerfile <<'END'
FROM busybox
WORKDIR /etc
COPY a b
END
    machine three
    registry_forget reg
    built --cache-from type=local,src=shared
    assert_cached 0 2
    assert_equal "$(fetched_of "$layers")" ''
    assert_equal "$(cat "$rootfs/etc/b")" changed
    # Where no cache tells.
    machine four
    registry_forget reg
    built
    assert_contains "$(fetched_of "$layers")" GET
}

@test "a RUN that misses gets the layers below it from the cache" {
    dockerfile <<'END'
FROM busybox
RUN cat /proc/sys/kernel/random/uuid >/uuid
RUN echo one >/word
END
    machine one
    built "${both[@]}"
    local uuid
    uuid=$(cat "$rootfs/uuid")
    sed -i 's/echo one/echo two/' ctx/Dockerfile
    machine two
    built "${both[@]}"
    assert_cached 1 2
    assert_equal "$(cat "$rootfs/uuid")" "$uuid"
    assert_equal "$(cat "$rootfs/word")" two
}

@test "what stands below a hit in another stage is neither run nor fetched" {
    dockerfile <<'END'
FROM busybox AS first
RUN cat /proc/sys/kernel/random/uuid >/uuid
FROM busybox
COPY --from=first /uuid /
RUN echo one >/word
END
    machine one
    built "${both[@]}"
    local uuid
    uuid=$(cat "$rootfs/uuid")
    sed -i 's/echo one/echo two/' ctx/Dockerfile
    machine two
    built "${both[@]}"
    assert_equal "$(cat "$rootfs/uuid")" "$uuid"
    assert_cached 2 3
}

# twice_dockerfile WORDS: WORDS make a file in a stage, which is copied and worked upon.
twice_dockerfile()
{
    dockerfile <<END
FROM busybox AS first
RUN $1
FROM busybox
COPY --from=first /out /out
RUN cat /proc/sys/kernel/random/uuid >/uuid
RUN true
END
}

@test "what a stage that was made another way came out the same for is not done again elsewhere" {
    twice_dockerfile 'echo same >/out'
    machine one
    built "${both[@]}"
    local uuid digest layers
    uuid=$(cat "$rootfs/uuid")
    layers=$(manifest -r '.layers[1:][].digest')
    twice_dockerfile 'printf "same\n" >/out'
    machine two
    registry_forget reg
    built "${both[@]}"
    assert_cached 3 4
    assert_equal "$(cat "$rootfs/uuid")" "$uuid"
    # Tables are fetched, and no layer; what they are found by came with the run index.
    for digest in $layers; do
        assert_equal "$(registry_requests reg "\"GET /v2/[^ ]*/blobs/$digest.*cbpush/")" ''
    done
    assert_equal "$(registry_requests reg "\"GET /v2/$cache_repo/manifests/[0-9a-f]{64} " | wc -l)" 4
    # It stands under the new keys now; and other content is another thing.
    machine three
    quick --cache-from "$cache"
    assert_cached 4 4
    twice_dockerfile 'echo other >/out'
    machine four
    built --cache-from "$cache"
    assert_cached 0 4
}

@test "mode=min keeps the steps of the result, mode=max all of them" {
    busier_dockerfile
    machine one
    quick --cache-to "$cache:min"
    local min
    min=$(keys | wc -l)
    quick --cache-to "type=registry,ref=$cache:max,mode=max"
    # WORKDIR, COPY, RUN of the first stage.
    assert_equal "$(keys | wc -l)" $((min + 3))
    assert_equal "$(run_tag | paste -s -d ' ')" 'max min'
}

@test "a step is an artifact that others can read and copy" {
    busier_dockerfile
    machine one
    quick "${both[@]}"
    local key
    for key in $(keys) $(run_tag); do
        registry_skopeo reg inspect --raw "docker://$cache:$key" >step.json
        assert_equal "$(jq -r '.config.mediaType' step.json)" application/vnd.cbpush.cache.records.v1+json
        registry_skopeo reg --from copy -q "docker://$cache:$key" "dir:copied-$key"
    done
    assert_contains "$(jq -r .artifactType step.json)" application/vnd.cbpush.cache.run.v1
    assert_equal "$(jq -r '[.layers[].mediaType] | unique | .[]' step.json | paste -s -d ' ')" \
        'application/vnd.cbpush.toc.v1 application/vnd.oci.image.layer.v1.tar+gzip'
}

@test "without the run index each step is asked for" {
    busier_dockerfile
    machine one
    quick "${both[@]}"
    local first
    first=$(digest)
    cbpush delete --insecure-registry "$reg" "$cache:$(run_tag)"
    machine two
    registry_forget reg
    quick --cache-from "$cache"
    assert_cached 8 8
    assert_equal "$(digest)" "$first"
    assert_equal "$(registry_requests reg "\"(POST|PUT|PATCH|DELETE) /v2/$cache_repo/")" ''
}

@test "with the run index it is read by one request" {
    busier_dockerfile
    machine one
    quick --cache-to "type=registry,ref=$cache,mode=max"
    machine two
    registry_forget reg
    quick --cache-from "$cache"
    assert_cached 8 8
    assert_equal "$(registry_requests reg "\"GET /v2/$cache_repo/" | wc -l)" 1
}

@test "what the store has is not asked for, and goes to a cache all the same" {
    busier_dockerfile
    machine one
    quick
    quick "${both[@]}"
    registry_forget reg
    quick "${both[@]}"
    assert_equal "$(registry_requests reg "\"(POST|PUT|PATCH|DELETE) /v2/$cache_repo/")" ''
    registry_forget reg
    quick --cache-from "$cache"
    assert_equal "$(registry_requests reg "/v2/$cache_repo/")" ''
    machine two
    quick --cache-from "$cache"
    assert_cached 8 8
}

@test "bytes that go to the image and to the cache of one registry go once" {
    dockerfile <<'END'
FROM busybox
COPY big /
RUN echo x >/y
END
    head -c 3000000 /dev/urandom >ctx/big
    machine one
    registry_forget reg
    quick "${both[@]}" --toc=false
    assert_equal "$(registry_requests reg '"PUT /v2/test/app/blobs/' | wc -l)" 3
    # Records and tables only.
    assert_equal "$(registry_requests reg "\"POST /v2/$cache_repo/blobs/uploads/\\?.*mount=.* 201 " | wc -l)" 2
}

@test "a record that is not what its tag says is a miss" {
    dockerfile <<'END'
FROM busybox
COPY a /
COPY b /
END
    echo a >ctx/a
    echo b >ctx/b
    machine one
    quick "${both[@]}"
    local first keys key
    first=$(digest)
    mapfile -t keys < <(keys)
    # Each under the other's tag.
    for key in "${keys[@]}"; do
        registry_skopeo reg --from copy -q "docker://$cache:$key" "dir:$key"
    done
    registry_skopeo reg copy -q "dir:${keys[0]}" "docker://$cache:${keys[1]}"
    registry_skopeo reg copy -q "dir:${keys[1]}" "docker://$cache:${keys[0]}"
    cbpush delete --insecure-registry "$reg" "$cache:$(run_tag)"
    machine two
    built --cache-from "$cache"
    assert_cached 0 2
    assert_contains "$log" 'it is that of another step'
    # No record at all.
    registry_skopeo reg copy -q "docker://$reg/library/busybox" "docker://$cache:${keys[0]}" --src-tls-verify=false
    machine three
    built --cache-from "$cache"
    assert_cached 0 2
    assert_contains "$log" 'it is no artifact of a build cache'
    # Who also writes puts it right.
    machine four
    quick "${both[@]}"
    first=$(digest)
    machine five
    built --cache-from "$cache:none"
    refute_contains "$log" 'is not used'
    assert_cached 2 2
    assert_equal "$(digest)" "$first"
}

# put_manifest TAG FILE
put_manifest()
{
    assert_contains "$(registry_curl reg "/v2/$cache_repo/manifests/$1" -X PUT --data-binary "@$2" \
        -H 'Content-Type: application/vnd.oci.image.manifest.v1+json')" 201
}

@test "records that are damaged, of another version or too large are misses" {
    dockerfile <<'END'
FROM busybox
COPY a /
END
    echo a >ctx/a
    machine one
    quick --cache-to "$cache:main"
    local key n=0 words
    key=$(keys)
    registry_skopeo reg inspect --raw "docker://$cache:$key" >good.json
    for words in '.config.data = "eyJ9"' '.config.data = "%%"' 'del(.config.data) | .config.size = 99999999' \
        '.config.mediaType = "application/vnd.oci.image.config.v1+json"' '.artifactType = "x/y"'; do
        jq -c "$words" good.json >bad.json
        put_manifest "$key" bad.json
        machine "bad$((n++))"
        quick --cache-from "$cache:none"
        assert_cached 0 1
        assert_contains "$log" 'is not used'
    done
}

@test "--no-cache puts its records in the place of what is there" {
    dockerfile <<'END'
FROM busybox
RUN cat /proc/sys/kernel/random/uuid >/uuid
END
    machine one
    built "${both[@]}"
    built "${both[@]}" --no-cache
    local uuid
    uuid=$(cat "$rootfs/uuid")
    cbpush delete --insecure-registry "$reg" "$cache:$(run_tag)"
    machine two
    built --cache-from "$cache"
    assert_cached 1 1
    assert_equal "$(cat "$rootfs/uuid")" "$uuid"
}

@test "eight machines that write at once lose nothing" {
    busier_dockerfile
    local n pids=()
    for n in 1 2 3 4 5 6 7 8; do
        mkdir "m$n"
        cp -r ctx "m$n/ctx"
        # Every one has a step of its own, too.
        echo "RUN echo $n >/n" >>"m$n/ctx/Dockerfile"
        CBPUSH_ROOT=$BATS_TEST_TMPDIR/store.m$n cbpush build --progress plain --push "$reg/many/app:$n" \
            "${both[@]}" "m$n/ctx" >"m$n/log" 2>&1 &
        pids+=($!)
    done
    for n in 1 2 3 4 5 6 7 8; do
        wait "${pids[n - 1]}" || rig_fail "$(cat "m$n/log")"
    done
    for n in 1 2 3 4 5 6 7 8; do
        machine "again$n"
        cp "m$n/ctx/Dockerfile" ctx/Dockerfile
        target=$reg/many/app:$n quick --cache-from "$cache"
        # The first eight wrote different outcomes of the same steps: those of one of them are there for all.
        assert_contains "$log" CACHED
        machine "again$n-2"
        target=$reg/many/app:$n quick "${both[@]}"
        machine "again$n-3"
        target=$reg/many/app:$n quick --cache-from "$cache"
        assert_cached 9 9
    done
}

@test "a directory serves as a cache, both ways" {
    busier_dockerfile
    machine one
    built --cache-to type=local,dest=shared,mode=max
    local first
    first=$(digest)
    assert_equal "$(jq -r .imageLayoutVersion shared/oci-layout)" 1.0.0
    skopeo inspect --raw "oci:shared:$(jq -r '.manifests[0].annotations["org.opencontainers.image.ref.name"]' \
        shared/index.json)" >/dev/null
    machine two
    registry_forget reg
    target=$reg/other/local:1 quick --cache-from type=local,src=shared
    assert_cached 8 8
    assert_equal "$(digest)" "$first"
    judged other/local:1
    machine three
    sed -i 's/RUN true/RUN echo two >two/' ctx/Dockerfile
    built --cache-from type=local,src=shared --cache-to type=local,dest=shared
    assert_equal "$(cat "$rootfs/two")" two
    # One that is not there, or damaged.
    machine four
    quick --cache-from type=local,src=nowhere
    find shared/blobs -type f -size +300c -exec sh -c 'for f; do echo x | dd of="$f" bs=1 seek=9 conv=notrunc status=none; done' - {} +
    machine five
    built --cache-from type=local,src=shared
    assert_equal "$(cat "$rootfs/two")" two
}

@test "several platforms share a cache" {
    dockerfile <<'END'
FROM scratch
ARG TARGETARCH
COPY $TARGETARCH /
COPY common /
END
    echo 1 >ctx/amd64
    echo 2 >ctx/arm64
    echo 3 >ctx/common
    machine one
    quick "${both[@]}" --platform linux/amd64,linux/arm64
    local first
    first=$(digest)
    machine two
    registry_forget reg
    quick "${both[@]}" --platform linux/amd64,linux/arm64
    assert_equal "$(digest)" "$first"
    assert_equal "$(metadata '.["cbpush.cached"] == .["cbpush.steps"]')" true
    assert_equal "$(moved)" ''
}

@test "a cache that cannot be read is a warning and a normal build" {
    dockerfile <<'END'
FROM busybox
COPY a /
END
    echo a >ctx/a
    machine one
    # Nothing there yet is nothing to tell.
    built --cache-from "$reg/never/seen"
    refute_contains "$log" warning
    machine two
    registry_start --auth-token locked
    built --cache-from "$(registry_addr locked)/cache/app"
    assert_contains "$log" 'cannot be read'
    machine three
    built --retry 0 --cache-from "127.0.0.1:1/cache/app" --insecure-registry 127.0.0.1:1
    assert_contains "$log" 'cannot be read'
}

@test "a cache that cannot be written fails the build behind the push, or not" {
    dockerfile <<'END'
FROM busybox
COPY a /
END
    echo a >ctx/a
    machine one
    registry_start --auth-token locked
    local spec
    spec=type=registry,ref=$(registry_addr locked)/cache/app
    refused 3 --cache-to "$spec"
    assert_contains "$output" 'the image is made, but the cache'
    judged test/app:1
    built --cache-to "$spec,ignore-error=true"
    assert_contains "$log" 'not all was written'
}

@test "a registry with tokens is asked for the rights that are needed" {
    dockerfile <<'END'
FROM busybox
COPY a /
RUN echo 1 >/b
END
    echo a >ctx/a
    registry_start --auth-token --reader guest:secret locked
    local locked
    locked=$(registry_addr locked)
    docker_config "$locked" testuser:testpassword
    machine one
    quick --cache-to "$locked/cache/app"
    assert_contains "$(token_requests locked)" 'repository:cache/app:pull,push'
    rm "$HOME/.docker/config.json"
    docker_config "$locked" guest:secret
    machine two
    registry_forget locked
    quick --cache-from "$locked/cache/app"
    assert_cached 2 2
    assert_contains "$(token_requests locked)" 'repository:cache/app:pull'
    refute_contains "$(token_requests locked)" pull,push
    judged test/app:1
}

@test "the tag of an image is not overwritten by a cache" {
    dockerfile <<'END'
FROM busybox
COPY a /
END
    echo a >ctx/a
    machine one
    refused 5 --cache-to "$reg/test/app:1"
    assert_contains "$output" 'the tag 1 is no cache'
    judged test/app:1
}

@test "--cache-ttl leaves old records alone" {
    dockerfile <<'END'
FROM busybox
COPY a /
END
    echo a >ctx/a
    machine one
    quick "${both[@]}"
    sleep 1.1
    machine two
    quick --cache-from "$cache" --cache-ttl 1s
    assert_cached 0 1
    sleep 1.1
    quick --cache-ttl 1s
    assert_cached 0 1
    quick --cache-ttl 1h
    assert_cached 1 1
    quick --cache-ttl 0
    assert_cached 0 1
    refused 2 --cache-ttl soon
}

@test "a cache has layers as the image has them" {
    dockerfile <<'END'
FROM busybox
COPY a /
END
    echo a >ctx/a
    local to="type=registry,ref=$cache"
    refused 2 --cache-to "$to,compression=zstd"
    refused 2 --cache-to "$to,compression-level=9"
    refused 2 --compression-format zstd --cache-to "$to,compression=zstd:chunked"
    refused 2 --compression-format estargz --cache-to "$to,compression=estargz"
    machine one
    quick --compression-format zstd --cache-to "$to,compression=zstd"
    assert_equal "$(cbpush manifest get "$reg/test/app:1" | jq -r '.layers[-1].mediaType')" application/vnd.oci.image.layer.v1.tar+zstd
}

@test "an image holds the records of its own steps" {
    busier_dockerfile
    machine one
    built --build-arg BUILDKIT_INLINE_CACHE=1
    local first
    first=$(digest)
    assert_equal "$(config '.["cbpush.cache.v1"].steps | length')" 6
    machine two
    registry_forget reg
    target=$reg/other/inline:1 quick --cache-from "type=registry,ref=$reg/test/app:1" --cache-to type=inline
    assert_equal "$(digest)" "$first"
    # The first stage is not looked at, since nothing needs it.
    assert_cached 8 8
    assert_equal "$(moved | grep -v "$(configs)")" ''
    judged other/inline:1
    ran true
    # An image that says nothing of its steps.
    machine three
    built --cache-from "$reg/library/busybox"
    refute_contains "$log" warning
    # Another one that keeps them in several images.
    machine four
    dockerfile <<'END'
FROM scratch
ARG TARGETARCH
COPY $TARGETARCH /
END
    echo 1 >ctx/amd64
    echo 2 >ctx/arm64
    target=$reg/other/inline:2 quick --cache-to type=inline --platform linux/amd64,linux/arm64
    first=$(digest)
    machine five
    target=$reg/other/inline:3 quick --cache-to type=inline --cache-from "$reg/other/inline:2" \
        --platform linux/amd64,linux/arm64
    assert_equal "$(digest)" "$first"
    assert_cached 2 2
    refused 2 --cache-to type=inline --squash
    # A registry that has only some of an index's images.
    cbpush delete --insecure-registry "$reg" \
        "$reg/other/inline@$(cbpush manifest get "$reg/other/inline:2" | jq -r '.manifests[0].digest')"
    machine six
    target=$reg/other/inline:4 quick --cache-from "$reg/other/inline:2" --platform linux/arm64
    assert_cached 1 1
}

# age: how long ago $since is, as a duration.
age()
{
    printf '%dms\n' "$((($(date +%s%N) - since) / 1000000))"
}

@test "cache ls lists what is there, cache prune removes what is not used" {
    dockerfile <<'END'
FROM busybox
COPY a /
RUN true
END
    echo a >ctx/a
    machine one
    quick --cache-to "$cache:main" --cache-to type=local,dest=shared
    local insecure=(--insecure-registry "$reg") place since
    sleep 0.1
    since=$(date +%s%N)
    sleep 1
    echo b >ctx/a
    quick --cache-to "$cache:main" --cache-to type=local,dest=shared
    for place in "$cache" shared; do
        cbpush cache ls --json "${insecure[@]}" "$place" >ls.json
        assert_equal "$(jq -c '[.[] | select(.kind == "step") | .note] | sort | unique' ls.json)" '["COPY a /","RUN true"]'
        assert_equal "$(jq '[.[] | select(.kind == "step")] | length' ls.json)" 4
        assert_equal "$(jq '[.[] | select(.kind == "run")] | length' ls.json)" 1
        assert_contains "$(cbpush cache ls "${insecure[@]}" "$place")" 'COPY a /'
        # The second build alone is named by the run index.
        assert_equal "$(cbpush cache prune --dry-run --older-than "$(age)" "${insecure[@]}" "$place" | wc -l)" 2
        cbpush cache prune --older-than "$(age)" --keep 3 "${insecure[@]}" "$place" >pruned
        assert_equal "$(wc -l <pruned)" 1
        cbpush cache prune --older-than "$(age)" "${insecure[@]}" "$place"
        assert_equal "$(cbpush cache ls --json "${insecure[@]}" "$place" | jq length)" 3
        # Another time nothing goes: what is used stays.
        assert_equal "$(cbpush cache prune --older-than "$(age)" "${insecure[@]}" "$place" 2>/dev/null)" ''
        machine "after-${place##*/}"
        if [ "$place" = shared ]; then quick --cache-from type=local,src=shared; else quick --cache-from "$cache:main"; fi
        assert_cached 2 2
    done
    sleep 1.1
    cbpush cache prune --older-than 1s "${insecure[@]}" "$cache"
    assert_equal "$(keys)" ''
    # In a directory the bytes go, once they are no longer new; other images stay.
    skopeo copy -q --src-tls-verify=false "docker://$reg/library/busybox" oci:shared:mine
    find shared/blobs -type f -exec touch -d '2 hours ago' {} +
    cbpush cache prune --older-than 1s shared
    assert_equal "$(jq -c '[.manifests[].annotations["org.opencontainers.image.ref.name"]]' shared/index.json)" '["mine"]'
    assert_equal "$(find shared/blobs -type f | wc -l)" 3
    skopeo copy -q oci:shared:mine dir:copied
    run cbpush cache prune shared
    assert_status 2
}

@test "cache prune removes broken records, and leaves images alone" {
    registry_skopeo reg copy -q "docker://$reg/library/busybox" "docker://$cache:image" --src-tls-verify=false
    registry_skopeo reg copy -q "docker://$reg/library/busybox" "docker://$cache:$(printf '%064d' 1)" --src-tls-verify=false
    run cbpush cache ls --json --insecure-registry "$reg" "$cache"
    assert_equal "$(jq -r '.[].kind' <<<"$output")" broken
    # Its manifest is that of the image: only the tag may go.
    cbpush cache prune --older-than 1h --insecure-registry "$reg" "$cache"
    assert_equal "$(tags)" image
}

@test "with a key only what it signed counts" {
    dockerfile <<'END'
FROM busybox
COPY a /
RUN cat /proc/sys/kernel/random/uuid >/uuid
END
    echo a >ctx/a
    local n
    for n in 1 2; do
        rig_openssl genpkey -algorithm ed25519 -out "key$n"
        rig_openssl pkey -in "key$n" -pubout -out "pub$n"
    done
    local from=type=registry,ref=$cache to=type=registry,ref=$cache
    machine one
    quick --cache-to "$to,sign-key=key1"
    machine two
    built --cache-from "$from,verify-key=pub1"
    assert_cached 2 2
    machine three
    built --cache-from "$from,verify-key=pub2"
    assert_cached 0 2
    assert_contains "$log" 'pub2 did not sign'
    machine four
    quick --cache-from "$from"
    assert_cached 2 2
    # What somebody else has written does not count, whatever is in it, nor is it signed.
    machine five
    target=$reg/test/other:1 quick --cache-to "$to-unsigned"
    machine six
    quick --cache-from "$from-unsigned,verify-key=pub1"
    assert_cached 0 2
    refused 2 --cache-from "$from-unsigned" --cache-to "$to,sign-key=key1"
    # A record that was changed by hand: other layers.
    local key
    for key in $(keys); do
        registry_skopeo reg inspect --raw "docker://$cache:$key" >step.json
        jq -r .config.data step.json | base64 -d | jq -c '.layers[-1].size += 1' | tr -d '\n' >records
        jq -c --arg data "$(base64 -w 0 records)" --arg digest "sha256:$(sha256sum records | cut -d ' ' -f 1)" \
            --argjson size "$(stat -c %s records)" '.config |= (.data = $data | .digest = $digest | .size = $size)' \
            step.json >changed.json
        local where
        where=$(registry_curl reg "/v2/$cache_repo/blobs/uploads/" -X POST -D - -o /dev/null | tr -d '\r' |
            sed -n 's/^Location: [a-z]*:..[^\/]*//p')
        registry_curl reg "$where&digest=sha256:$(sha256sum records | cut -d ' ' -f 1)" -X PUT --data-binary @records \
            -H 'Content-Type: application/octet-stream'
        put_manifest "$key" changed.json
    done
    cbpush delete --insecure-registry "$reg" "$cache:$(run_tag)"
    machine seven
    quick --cache-from "$from,verify-key=pub1"
    assert_cached 0 2
    assert_contains "$log" 'pub1 did not sign'
    refused 2 --cache-to "$to,sign-key=pub1"
    refused 2 --cache-from "$from,verify-key=nowhere"
}
