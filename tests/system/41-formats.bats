#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# eStargz and zstd:chunked: read by the formats' own libraries, and as plain gzip and zstd by everybody else. And a cache in
# which two compressions meet.

load helpers
load build

# shellcheck source=tests/system/go.bash
. "$RIG_HERE/go.bash"

setup_file()
{
    rig_setup_file
    build_setup_file
    go_has 25 || return 0
    local dir
    dir=$(go_programs toc .) || return
    export TOC_DIR=$dir
}

setup()
{
    rig_setup
    build_setup
    mkdir -p ctx/tree/sub
    printf 'hello\n' >ctx/tree/a
    : >ctx/tree/empty
    ln -s a ctx/tree/soft
    ln ctx/tree/a ctx/tree/zhard
    seq 1 1500000 | head -c 9000000 >ctx/tree/sub/big
    head -c 3000000 /dev/urandom >ctx/tree/sub/noise
    printf 'FROM busybox\nRUN mkdir /d && echo one >/d/one && chown 5:6 /d/one\nRUN rm -r /d\nCOPY tree /tree/\n' >ctx/Dockerfile
    mkdir out
}

teardown()
{
    ! mountpoint -q pulled/graph/overlay || umount pulled/graph/overlay
    rig_teardown
}

needs_toc()
{
    [ -n "${TOC_DIR-}" ] || skip 'no Go 1.25 to build the readers of these formats with'
}

# made FORMAT [ARGUMENT…]: builds to the layout out/FORMAT; a colon is none to skopeo there.
made()
{
    local format=$1
    shift
    cb_quietly 'the build' cbpush build --metadata-file metadata.json \
        -o "type=oci,dest=out/${format#*:},tar=false,compression=$format" "$@" ctx
}

# layer FORMAT N MEMBER: of the descriptor of a layer, 0 is the parent's.
layer()
{
    skopeo inspect --raw "oci:out/$1" | jq -r ".layers[$2]$3"
}

blob()
{
    local digest
    digest=$(layer "$1" "$2" .digest)
    printf '%s\n' "out/$1/blobs/sha256/${digest#*:}"
}

diff_id()
{
    skopeo inspect --config --raw "oci:out/$1" | jq -r ".rootfs.diff_ids[$2]"
}

sum()
{
    sha256sum | sed 's/ .*//; s/^/sha256:/'
}

# The files that the readers list, against what is in the context.
assert_files()
{
    local file
    for file in a empty sub/big sub/noise; do
        assert_contains "$1" "reg tree/$file $(stat -c %s "ctx/tree/$file") $(sum <"ctx/tree/$file")"
    done
}

@test "eStargz: its own reader verifies table, files and chunks; gunzip and Python read it; skopeo takes it" {
    made gzip
    made estargz
    assert_contains "$(cat metadata.json)" libdeflate-
    local n path
    assert_equal "$(layer estargz 0 .digest)" "$(layer gzip 0 .digest)" 'the parent stays'
    for n in 1 2 3; do
        path=$(blob estargz "$n")
        assert_equal "$(layer estargz "$n" .mediaType)" application/vnd.oci.image.layer.v1.tar+gzip
        assert_equal "$(gzip -dc "$path" | sum)" "$(diff_id estargz "$n")"
        [ "$(diff_id estargz "$n")" != "$(diff_id gzip "$n")" ]
        assert_equal "$(gzip -dc "$path" | wc -c)" "$(layer estargz "$n" '.annotations["io.containers.estargz.uncompressed-size"]')"
        gzip -dc "$path" | tar -t >names
        assert_equal "$(head -n 1 names)" .no.prefetch.landmark
        assert_equal "$(tail -n 1 names)" stargz.index.json
        # Without its own files it is the layer.
        assert_equal "$(sed '1d;$d' names)" "$(gzip -dc "$(blob gzip "$n")" | tar -t)"
    done
    python3 -c 'import gzip, sys; gzip.decompress(open(sys.argv[1], "rb").read())' "$path"
    skopeo copy -q oci:out/estargz dir:copied
    needs_toc
    for n in 1 2 3; do
        "$TOC_DIR/toc" estargz "$(blob estargz "$n")" \
            "$(layer estargz "$n" '.annotations["containerd.io/snapshot/stargz/toc.digest"]')" >list
    done
    assert_files "$(cat list)"
    assert_contains "$(cat list)" 'symlink tree/soft'
}

@test "eStargz: steps do not see its files, cached ones are not made again, and another store makes the same" {
    printf 'FROM busybox\nCOPY tree /tree/\nRUN ls -a / >/seen && date +%%N >/when\n' >ctx/Dockerfile
    made gzip
    made estargz
    assert_equal "$(gzip -dc "$(blob estargz 2)" | tar -xO when)" "$(gzip -dc "$(blob gzip 2)" | tar -xO when)" 'one RUN'
    refute_contains "$(gzip -dc "$(blob estargz 2)" | tar -xO seen)" stargz
    made estargz --iidfile first
    rm -rf out/estargz
    made estargz --iidfile second
    assert_equal "$(cat second)" "$(cat first)"
    printf 'FROM busybox\nCOPY tree /tree/\n' >ctx/Dockerfile
    rm -rf out/estargz
    made estargz
    local here
    here=$(layer estargz 1 .digest)
    rm -rf out/estargz
    CBPUSH_ROOT=$PWD/elsewhere made estargz
    assert_equal "$(layer estargz 1 .digest)" "$here"
}

@test "zstd:chunked: containers/storage pulls it in parts, and has the same tar; zstd and skopeo read it" {
    made zstd
    made zstd:chunked
    local n path
    for n in 1 2 3; do
        path=$(blob chunked "$n")
        assert_equal "$(layer chunked "$n" .mediaType)" application/vnd.oci.image.layer.v1.tar+zstd
        assert_equal "$(zstd -dc <"$path" | sum)" "$(diff_id zstd "$n")"
        assert_equal "$(diff_id chunked "$n")" "$(diff_id zstd "$n")"
        [ "$(layer chunked "$n" .digest)" != "$(layer zstd "$n" .digest)" ]
    done
    skopeo copy -q --dest-compress --dest-compress-format gzip oci:out/chunked oci:copied:x
    needs_toc
    [ "$(id -u)" -eq 0 ] || skip 'containers/storage wants to be root'
    layer chunked 3 .annotations >notes
    mkdir pulled
    "$TOC_DIR/toc" chunked "$path" notes pulled >list
    assert_contains "$(cat list)" "diffid $(diff_id zstd 3)"
    assert_contains "$(cat list)" "tar $(diff_id zstd 3)"
    assert_files "$(cat list)"
}

@test "a registry gets both as they are; who builds upon them keeps their tables" {
    local format raw key=containerd.io/snapshot/stargz/toc.digest
    for format in estargz zstd:chunked; do
        cb_quietly 'the push' cbpush build --push -t "$reg/app:${format/:/-}" --compression-format "$format" ctx
        printf 'FROM %s\nRUN echo more >/more\n' "$reg/app:${format/:/-}" >Dockerfile.child
        cb_quietly 'the child' cbpush build -f Dockerfile.child --push -t "$reg/child:1" ctx
        raw=$(cbpush manifest get "$reg/child:1")
        assert_equal "$(jq -c '.layers[:-1]' <<<"$raw")" "$(cbpush manifest get "$reg/app:${format/:/-}" | jq -c .layers)" "$format"
        assert_equal "$(jq -c '.layers[-1].annotations | with_entries(select(.key | startswith("vnd.cbpush.toc.") | not))' <<<"$raw")" '{}'
    done
    assert_contains "$(cbpush manifest get "$reg/app:estargz")" "$key"
    cbpush validate "$reg/app:estargz"
    cbpush validate "$reg/app:zstd-chunked"
    assert_equal "$(cbpush run "$reg/app:estargz" cat /tree/a)" hello
    assert_equal "$(cbpush run "$reg/app:zstd-chunked" cat /tree/a)" hello
}

@test "what cannot be is said: Docker's types, files, names" {
    run cbpush build -o type=docker,dest=x,oci-mediatypes=false,compression=estargz ctx
    assert_status 2
    assert_contains "$output" 'OCI media types'
    run cbpush build --compression-format zstd:chunked --format docker ctx
    assert_status 2
    run cbpush build --compression-format estargz -o files ctx
    assert_status 2
    assert_contains "$output" 'build it apart'
    printf 'FROM scratch\nCOPY tree/a /stargz.index.json\n' >ctx/Dockerfile
    run cbpush build --compression-format estargz ctx
    assert_status 5
    assert_contains "$output" 'stargz.index.json: in an eStargz layer that is the name of a file of the format'
}

# Each step has a record of its own, and the first one's is older: it is told of in gzip there, in zstd by the second.
@test "a cache whose records tell of one layer in two compressions is written again" {
    export SOURCE_DATE_EPOCH=1700000000
    local to="type=registry,ref=$reg/test/two,mode=max"
    printf 'FROM busybox\nRUN echo a >/a\n' | dockerfile
    cbpush build --progress plain --cache-to "$to" ctx
    rm -rf "$CBPUSH_ROOT"
    printf 'FROM busybox\nRUN echo a >/a\nRUN echo b >/b\n' | dockerfile
    cbpush build --progress plain --compression-format zstd --cache-to "$to" ctx
    rm -rf "$CBPUSH_ROOT"
    printf 'FROM busybox\nRUN echo other >/c\n' | dockerfile
    cbpush build --progress plain --cache-to "$to" ctx
    rm -rf "$CBPUSH_ROOT"
    printf 'FROM busybox\nRUN echo a >/a\nRUN echo b >/b\n' | dockerfile
    run cbpush build --progress plain --cache-from "type=registry,ref=$reg/test/two" --cache-to "$to" ctx
    assert_status 0
    assert_equal "$(grep -c CACHED <<<"$output")" 2
}

# forced FORMAT: the same, and layers of parents are to be of that format; to out/forced
forced()
{
    rm -rf out/forced
    cb_quietly 'the build' cbpush build --metadata-file metadata.json \
        -o "type=oci,dest=out/forced,tar=false,compression=$1,force-compression=true" ctx
}

# unpacked FORMAT: to standard output
unpacked()
{
    case $1 in
        zstd*) zstd -dc ;;
        uncompressed) cat ;;
        *) gzip -dc ;;
    esac
}

@test "layers of parents are compressed again where that is asked for, and their tars stay" {
    local format n first
    made gzip
    for format in zstd:+zstd uncompressed: gzip:+gzip; do
        forced "${format%:*}"
        for n in 0 1 2 3; do
            assert_equal "$(layer forced "$n" .mediaType)" "application/vnd.oci.image.layer.v1.tar${format#*:}"
            assert_equal "$(diff_id forced "$n")" "$(diff_id gzip "$n")"
            assert_equal "$(unpacked "${format%:*}" <"$(blob forced "$n")" | sum)" "$(diff_id gzip "$n")"
        done
        skopeo copy -q oci:out/forced "dir:copied-${format%:*}"
    done
    assert_equal "$(layer forced 0 .digest)" "$(layer gzip 0 .digest)" 'what is of the format stays'
    # Pushed, nothing of the parent is: another store has the same, and neither makes it twice.
    build --force-compression --compression-format zstd 2>log
    refute_contains "$(cat log)" 'mounted from'
    first=$(raw_manifest reg test/app 1 | jq -r '.layers[0].digest')
    build --force-compression --compression-format zstd 2>log
    assert_contains "$(cat log)" 'nothing to do'
    export CBPUSH_ROOT=$PWD/store2
    build --force-compression --compression-format zstd --label b=c 2>log
    assert_contains "$(cat log)" 'compressing layers of parents again'
    assert_equal "$(raw_manifest reg test/app 1 | jq -r '.layers[0].digest')" "$first"
    assert_contains "$(cat log)" "${first:0:19} present"
}

@test "eStargz and zstd:chunked of parents, too; and what tells of their tables goes where they become plain again" {
    local format annotation
    made gzip
    for format in estargz:containerd.io/snapshot/stargz/toc.digest zstd:chunked:io.github.containers.zstd-chunked.manifest-checksum; do
        annotation=${format##*:}
        format=${format%:*}
        forced "$format"
        [ -n "$(layer forced 0 ".annotations[\"$annotation\"] // empty")" ]
        assert_equal "$(unpacked "$format" <"$(blob forced 0)" | sum)" "$(diff_id forced 0)"
        assert_equal "$(unpacked "$format" <"$(blob forced 0)" | tar -t | grep -vE 'stargz|landmark' | sed 's,^\./,,; s,/$,,' | grep . | sort)" \
            "$(gzip -dc "$(blob gzip 0)" | tar -t | sed 's,^\./,,; s,/$,,' | grep . | sort)"
        forced "$format" # not once more
        printf 'FROM parent\nCOPY tree/a /\n' >ctx/Dockerfile.on
        cbpush build -q -f ctx/Dockerfile.on --build-context "parent=oci-layout://$PWD/out/forced" \
            -o "type=oci,dest=out/plain,tar=false,compression=gzip,force-compression=true" ctx >/dev/null
        [ "$(skopeo inspect --raw oci:out/plain | jq -c '[.layers[].annotations // {} | keys[]]' | grep -cE 'stargz|chunked')" -eq 0 ]
        assert_equal "$(skopeo inspect --raw oci:out/plain | jq -r '[.layers[].mediaType] | unique[]')" \
            application/vnd.oci.image.layer.v1.tar+gzip
        skopeo copy -q oci:out/plain "dir:plain-${format#*:}"
        rm -r out/plain
    done
}
