#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A cache that machines share, a store and registries, out of which parts were removed: each that is missing is a miss.

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

@test "a record whose layer is gone is a miss" {
    dockerfile <<'END'
FROM busybox
COPY a /
RUN true
END
    echo a >ctx/a
    machine one
    built "${both[@]}"
    local first
    first=$(manifest -r '.layers[-1].digest')
    registry_curl reg "/v2/$cache_repo/blobs/$first" -X DELETE >/dev/null
    # What RUN true made of the same files is known all the same: nothing.
    machine two
    built --cache-from "$cache"
    assert_cached 1 2
    assert_contains "$log" 'a blob of it is gone'
    machine three
    quick "${both[@]}"
    machine four
    built --cache-from "$cache"
    refute_contains "$log" 'is gone'
    assert_cached 2 2
}

@test "a table that is gone is not used: the layer is read" {
    dockerfile <<'END'
FROM busybox
COPY a /
COPY b /
END
    echo a >ctx/a
    echo b >ctx/b
    machine one
    quick "${both[@]}"
    forget_tables
    echo changed >ctx/b
    machine two
    built --cache-from "$cache"
    assert_cached 1 2
    assert_contains "$log" 'as its table cannot be had'
    assert_equal "$(cat "$rootfs/b")" changed
}

@test "a cache that lost tables is written all the same: by who has them with them, else without" {
    # shellcheck disable=SC2016 # its shell's
    dockerfile <<'END'
FROM busybox
RUN mkdir /big && cd /big && i=0 && while [ $i -lt 3000 ]; do echo $i >f$i; i=$((i + 1)); done
COPY a /
END
    echo a >ctx/a
    machine one
    quick "${both[@]}"
    forget_tables
    # It reads the layer, so it knows the table.
    echo 'COPY a /b' >>ctx/Dockerfile
    machine two
    built "${both[@]}"
    assert_contains "$log" 'as its table cannot be had'
    refute_contains "$log" 'warning'
    machine three
    echo 'COPY a /c' >>ctx/Dockerfile
    quick "${both[@]}"
    refute_contains "$log" 'cannot be had'
    # Nothing of its own needs it.
    forget_tables
    cbpush delete --insecure-registry "$reg" "$cache:$(run_tag)"
    machine four
    built "${both[@]}"
    assert_cached 4 4
    assert_contains "$log" "warning: tables of contents of layers are lost: the cache in registry $cache is written without them"
    machine five
    built "${both[@]}"
    assert_cached 4 4
    refute_contains "$log" warning
}

# forget_gzip: removes every blob of the store that is a gzip stream.
forget_gzip()
{
    local file
    for file in "$CBPUSH_ROOT"/blobs/sha256/*; do
        [ "$(head -c 2 "$file" | od -An -tx1)" != ' 1f 8b' ] || rm "$file"
    done
}

@test "a layer that the store has in another compression alone is compressed again" {
    dockerfile <<'END'
FROM scratch
COPY a /
END
    echo a >ctx/a
    machine one
    cbpush build -t one ctx
    cbpush build -t two --compression-format zstd ctx
    forget_gzip
    built
    assert_cached 1 1
    assert_equal "$(cat "$rootfs/a")" a
    forget_gzip
    run cbpush build -t three --cache-to type=local,dest=shared ctx
    assert_status 0
    cbpush save -o three.tar three
}

# emptied_registry: $other was pushed to, has nothing any more, and had the only copy of the layers; so the store lost
# its trees, too.
emptied_registry()
{
    registry_start other
    other=$(registry_addr other)
    dockerfile <<'END'
FROM busybox
COPY a /
RUN cat /proc/sys/kernel/random/uuid >/b
RUN cat /a /b >/c
END
    echo a >ctx/a
    machine one
    cbpush build --push "$other/test/app:1" ctx
    cbpush build -t local ctx
    lose_layers
}

lose_layers()
{
    forget_gzip
    rm -rf "$CBPUSH_ROOT"/trees/* "$(rig_find other)/storage/docker"
}

# pushes [ARG…]: a push to the registry that was emptied, what it says is in $output.
pushes()
{
    rm -f metadata.json
    run cbpush build --progress plain --metadata-file metadata.json --push "$other/test/app:1" "$@"
}

@test "layers that only an emptied registry had are made again: by a push" {
    emptied_registry
    pushes ctx
    assert_status 0
    assert_contains "$output" 'warning: 3 layers of cached steps can be had nowhere any more'
    assert_cached 0 3
    pushes ctx
    assert_status 0
    refute_contains "$output" warning
    assert_cached 3 3
    judge_skopeo other test/app:1
}

@test "layers that only an emptied registry had are made again: by a step on them" {
    emptied_registry
    echo 'RUN cat /c >/d' >>ctx/Dockerfile
    pushes ctx
    assert_status 0
    assert_contains "$output" 'warning: 3 layers of cached steps can be had nowhere any more'
    assert_cached 0 4
    # Of a registry that cannot be reached nothing is known: nothing runs again.
    lose_layers
    registry_stop other
    pushes ctx
    assert_status 4
    refute_contains "$output" 'nowhere'
    run cbpush build -t other --metadata-file metadata.json ctx
    assert_cached 4 4
}

@test "layers that only an emptied registry had: the build that cannot begin again says so" {
    emptied_registry
    pushes -f - ctx <ctx/Dockerfile
    assert_status 4
    assert_contains "$output" 'nowhere any more'
    assert_contains "$output" 'the steps that made it run where the build is begun again'
    pushes -f - ctx <ctx/Dockerfile
    assert_status 0
    assert_cached 0 3
}

@test "layers that only an emptied registry had: an archive that may have begun to go out is not written twice" {
    emptied_registry
    run --separate-stderr cbpush build -o type=docker,dest=- ctx
    assert_status 4
    assert_contains "$stderr" 'the steps that made it run where the build is begun again'
    refute_contains "$stderr" 'the build begins again'
    cbpush build -q -o type=docker,dest=- ctx >archive.tar
    tar -tf archive.tar >/dev/null
}

@test "an image whose layers only an emptied registry had: the error says what to do, and that helps" {
    emptied_registry
    run cbpush save -o local.tar local
    assert_status 4
    assert_contains "$output" 'a layer of the image is nowhere any more: build or pull it again'
    for verb in 'copy store:local oci:out' "copy store:local $other/test/local:1" 'run local true' \
        'export -o local.tar store:local'; do
        # shellcheck disable=SC2086 # several words
        run cbpush $verb
        [ "$status" -ne 0 ] || rig_fail "$verb"
        assert_contains "$output" ': a layer of the image is nowhere any more: build or pull it again' "$verb"
    done
    cbpush build -t local ctx
    cbpush save -o local.tar local
    lose_layers
    run cbpush push local "$other/test/local:1"
    assert_status 5
    assert_contains "$output" 'build or pull it again'
    cbpush build -t local ctx
    cbpush push local "$other/test/local:1"
}

@test "a parent whose layers only an emptied registry had: the error says what to do, and that helps" {
    emptied_registry
    mkdir child
    printf 'FROM local\nCOPY a /e\n' >child/Dockerfile
    echo e >child/a
    pushes child
    assert_status 4
    assert_contains "$output" "a parent's layer is nowhere any more: build or pull the parent again"
    cbpush build -t local ctx
    pushes child
    assert_status 0
}
