#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Builds onto eStargz and zstd:chunked images: the tables that the layers carry with them are read by ranges, as far as the
# manifest pins them; nothing else of the layers is.

load helpers
load build
load nginx

# shellcheck source=tests/system/go.bash
. "$RIG_HERE/go.bash"

setup_file()
{
    rig_setup_file
    build_setup_file
    export SOURCE_DATE_EPOCH=1700000000
    cd "$BATS_FILE_TMPDIR" || return
    mkdir -p parent/etc parent/data/inner
    printf 'root:x:0:0::/root:/bin/sh\nalice:x:1234:2345::/home:/bin/sh\n' >parent/etc/passwd
    printf 'root:x:0:\nstaff:x:2345:\n' >parent/etc/group
    head -c 3000000 /dev/urandom >parent/data/big
    ln -s /data/inner parent/short
    ln parent/data/big parent/data/hard
    chmod 0750 parent/data/inner
    printf 'FROM scratch\nCOPY . /\n' >parent/Dockerfile
    printf Dockerfile >parent/.dockerignore
    # base/KIND:1 has no table of cbpush's; base/KIND:plain is the same, and pins none at all.
    local format kind
    for format in estargz zstd:chunked; do
        kind=${format#*:}
        CBPUSH_ROOT=$PWD/parent.store cbpush build --toc=false --compression-format "$format" \
            --push "$(registry_addr reg)/base/$kind:1" parent 2>parent.log || return
        python3 -B "$RIG_HERE/liar.py" "$(registry_url reg)" "base/$kind" 1 plain none || return
    done
    rm -rf parent.store
}

setup()
{
    export SOURCE_DATE_EPOCH=1700000000
    rig_setup
    build_setup
    registry_forget reg
    head -c 300000 /dev/urandom >ctx/file
}

onto()
{
    { printf 'FROM %s/base/%s\n' "$reg" "$1"; shift; printf '%s\n' "$@"; } >ctx/Dockerfile
}

raw_manifest()
{
    curl -sSf -H 'Accept: application/vnd.oci.image.manifest.v1+json' "$(registry_url reg)/v2/$1/manifests/$2"
}

layer_of()
{
    raw_manifest "$1" "$2" | jq -r ".layers[${3-0}].digest"
}

# built, and in $rootfs what it holds: umoci reads no zstd. There are no whiteouts in it.
looked()
{
    local digest status=0
    build "$@" >build.log 2>&1 || status=$?
    log=$(cat build.log)
    [ "$status" -eq 0 ] || rig_fail "cbpush build: exit status $status: $log" || return
    rootfs=$(mktemp -d "$PWD/rootfs.XXXXXX")
    while read -r digest; do
        registry_curl reg "/v2/test/app/blobs/$digest" -o blob.layer || return
        if [ "$(head -c 2 blob.layer | od -An -tx1)" = ' 1f 8b' ]; then
            gzip -dc blob.layer
        else
            zstd -dcq blob.layer
        fi | tar -C "$rootfs" -xf - || return
    done < <(raw_manifest test/app 1 | jq -r '.layers[].digest')
}

new_layers()
{
    raw_manifest test/app 1 | jq -c '[.layers[1:][].digest]'
}

# Bytes of the parent's layer that cbpush was sent, and in how many answers.
moved()
{
    registry_requests reg "\"GET /v2/base/$1/blobs/$(layer_of "base/$1" "${2-1}") .*\"cbpush/" |
        sed 's/.*" 20[06] \([0-9]*\) .*/\1/' | awk '{ n += $1 } END { print n + 0, NR }'
}

@test "COPY, WORKDIR and names of users: the table and the files of users move, nothing else; the image is the same" {
    local kind bytes requests quick
    for kind in estargz chunked; do
        export CBPUSH_ROOT=$PWD/store-$kind
        registry_forget reg
        onto "$kind:1" 'WORKDIR /work/here' 'COPY file /short/'
        looked
        read -r bytes requests <<<"$(moved "$kind")"
        [ "$bytes" -gt 100 ] && [ "$bytes" -lt 3000 ] || rig_fail "$kind: $bytes bytes moved" || return
        case $kind in
            estargz) assert_equal "$requests" 2 ;; # footer, table
            chunked) assert_equal "$requests" 1 ;;
        esac
        refute_contains "$log" 'cannot be had'
        cmp ctx/file "$rootfs/data/inner/file"
        [ ! -e "$CBPUSH_ROOT/blobs/sha256/$(layer_of "base/$kind" 1 | cut -d : -f 2)" ]
        registry_forget reg
        onto "$kind:1" 'USER alice' 'WORKDIR /home/alice/here' 'COPY --chown=alice:staff file /short/'
        looked
        read -r bytes requests <<<"$(moved "$kind")"
        [ "$bytes" -gt 100 ] && [ "$bytes" -lt 5000 ] || rig_fail "$kind: $bytes bytes moved, with names" || return
        assert_equal "$(mode_of /data/inner/file)" '644 1234:2345'
        quick=$(new_layers)
        sed -i "s/$kind:1/$kind:plain/" ctx/Dockerfile
        export CBPUSH_ROOT=$PWD/other-$kind
        looked
        assert_equal "$(new_layers)" "$quick"
        read -r bytes requests <<<"$(moved "$kind")"
        [ "$bytes" -gt 3000000 ] # read through this time
    done
}

@test "what was made by the formats' own libraries" {
    go_has 25 || skip 'no Go 1.25 to build the writers of these formats with'
    local dir kind ext bytes requests
    dir=$(go_programs toc .)
    tar -C "$BATS_FILE_TMPDIR/parent" --owner=0 --group=0 --mtime=@1600000000 -cf layer.tar etc data short
    for kind in estargz chunked; do
        ext=$([ $kind = estargz ] && echo gzip || echo zstd)
        "$dir/toc" "write-$kind" layer.tar blob >notes
        python3 -B "$RIG_HERE/liar.py" "$(registry_url reg)" "base/$kind" 1 "lib-$kind" "layer=blob,notes,$ext"
        export CBPUSH_ROOT=$PWD/store-$kind
        registry_forget reg
        onto "$kind:lib-$kind" 'COPY --chown=alice:staff file /short/' 'WORKDIR /data/inner/more'
        looked
        read -r bytes requests <<<"$(moved "$kind" "lib-$kind")"
        [ "$bytes" -gt 100 ] && [ "$bytes" -lt 6000 ] || rig_fail "$kind: $bytes bytes moved: $log" || return
        assert_equal "$(mode_of /data/inner/file)" '644 1234:2345'
        # Whoever reads it after all finds nothing wrong with what it said.
        printf 'COPY --from=%s/base/%s /data/big /got\n' "$reg" "$kind:lib-$kind" >>ctx/Dockerfile
        looked
        cmp "$BATS_FILE_TMPDIR/parent/data/big" "$rootfs/got"
    done
}

@test "COPY --from: the table, and then the layer, once; both say the same" {
    local kind bytes requests
    for kind in estargz chunked; do
        export CBPUSH_ROOT=$PWD/store-$kind
        registry_forget reg
        onto "$kind:1" 'COPY file /short/' "COPY --from=$reg/base/$kind:1 /data/hard /got"
        looked
        cmp "$BATS_FILE_TMPDIR/parent/data/big" "$rootfs/got"
        read -r bytes requests <<<"$(moved "$kind")"
        [ "$bytes" -lt 3100000 ] || rig_fail "$kind: $bytes bytes moved" || return
    done
}

@test "what is pinned of the parent hangs on its manifest, not on what is known here" {
    onto estargz:1 'COPY file /short/'
    build 2>build.log
    local first
    first=$(raw_manifest test/app 1)
    assert_equal "$(jq -c '.layers[0]' <<<"$first")" "$(raw_manifest base/estargz 1 | jq -c '.layers[0]')"
    assert_equal "$(jq -r '.layers[1].annotations | has("vnd.cbpush.toc.digest")' <<<"$first")" true
    export CBPUSH_ROOT=$PWD/second
    cbpush pull "$reg/base/estargz:1" 2>pull.log
    build 2>build.log
    assert_equal "$(raw_manifest test/app 1)" "$first"
}

@test "a table that cannot be had or is not as pinned: the layer is read, and the image is the same" {
    local case kind want
    for kind in estargz chunked; do
        onto "$kind:plain" 'COPY --chown=alice file /short/'
        CBPUSH_ROOT=$PWD/plain build 2>build.log
        want=$(raw_manifest test/app 1 | jq -c '[.layers[].digest]')
        for case in carried-digest carried-both carried-words carried-place; do
            [ $kind != estargz ] || [ $case != carried-place ] || continue
            python3 -B "$RIG_HERE/liar.py" "$(registry_url reg)" "base/$kind" 1 "$case" "$case"
            onto "$kind:$case" 'COPY --chown=alice file /short/'
            CBPUSH_ROOT=$PWD/$kind-$case build >build.log 2>&1 || rig_fail "$kind $case: $(cat build.log)" || return
            assert_contains "$(cat build.log)" 'is read, as its table cannot be had'
            assert_equal "$(raw_manifest test/app 1 | jq -c '[.layers[].digest]')" "$want" "$kind $case"
        done
    done
}

@test "a registry that knows no ranges: the layer is read once" {
    export SSL_CERT_FILE
    SSL_CERT_FILE=$(rig_ca)
    nginx_start deaf reg 'proxy_set_header Range ""' 'proxy_force_ranges off' 'max_ranges 0'
    printf 'FROM %s/base/chunked:1\nCOPY file /short/\n' "$(registry_addr deaf)" >ctx/Dockerfile
    cbpush build --progress plain -t x ctx >build.log 2>&1 || rig_fail "$(cat build.log)"
    assert_contains "$(cat build.log)" 'a range was asked for, and all of the blob came'
    assert_equal "$(nginx_requests deaf "GET .*$(layer_of base/chunked 1) 200" | grep -c .)" 2
}

@test "a lie serves who builds on the liar alone; whoever reads the layer finds out" {
    local kind
    for kind in estargz chunked; do
        export CBPUSH_ROOT=$PWD/store-$kind
        python3 -B "$RIG_HERE/liar.py" "$(registry_url reg)" "base/$kind" 1 lying carried-lie
        onto "$kind:lying" 'COPY file /short/'
        build >build.log 2>&1
        assert_contains "$(registry_curl reg "/v2/test/app/blobs/$(layer_of test/app 1 1)" -o - | head -c -5 |
            tar -tzf - 2>/dev/null)" elsewhere/file
        onto "$kind:1" 'COPY file /short/'
        looked
        cmp ctx/file "$rootfs/data/inner/file"
        [ ! -e "$rootfs/elsewhere" ]
        onto "$kind:lying" 'COPY file /short/two' "COPY --from=$reg/base/$kind:lying /data/big /got"
        CBPUSH_ROOT=$PWD/third-$kind run build
        assert_status 7
        assert_contains "$output" 'does not say of /short what the layer holds'
    done
}
