#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Where a build goes but a registry: OCI layouts and archives, docker archives, directories, tars; compressions; save and
# load. Judged by skopeo, umoci and runc.

load helpers
load build

setup_file()
{
    rig_setup_file
    build_setup_file
}

setup()
{
    rig_setup
    build_setup
    dockerfile <<'END'
FROM busybox
RUN mkdir /d && echo one >/d/gone && echo keep >/d/keep && chown 5:6 /d/keep && chmod 4755 /d/keep
RUN rm /d/gone && ln /d/keep /d/hard && ln -s keep /d/soft
COPY text /text
ENV A=1
CMD ["cat", "/text"]
END
    yes 'a line of text' | head -c 300000 >ctx/text
}

# out SPEC… : builds with -o SPEC.
out()
{
    local spec arguments=()
    for spec; do arguments+=(-o "$spec"); done
    cb_quietly 'the build' cbpush build --metadata-file metadata.json "${arguments[@]}" ctx
}

# from SOURCE: the image that skopeo finds there (oci:…, oci-archive:…, docker-archive:…) becomes $oci, $rootfs.
from()
{
    rm -rf from.oci
    skopeo copy -q --dest-compress --dest-compress-format gzip "$1" oci:from.oci:judged || return
    oci=$PWD/from.oci
    bundle=$(judge_bundle "$oci" judged) && rootfs=$bundle/rootfs
}

assert_the_image()
{
    assert_the_tree "$rootfs"
    assert_contains "$(config .config.Env)" '"A=1"'
    assert_equal "$(config .config.Cmd)" '["cat","/text"]'
    assert_equal "$(ran | sha256sum)" "$(sha256sum <ctx/text)"
}

assert_the_tree()
{
    [ ! -e "$1/d/gone" ]
    assert_equal "$(stat -c '%a %u:%g' "$1/d/keep")" '4755 5:6'
    assert_equal "$(stat -c %i "$1/d/keep")" "$(stat -c %i "$1/d/hard")"
    assert_equal "$(readlink "$1/d/soft")" keep
    cmp "$1/text" ctx/text
    assert_equal "$(find "$1" -name '.wh.*' | wc -l)" 0
}

@test "type=oci into a directory" {
    out type=oci,dest=layout,tar=false
    from oci:layout
    assert_the_image
    assert_equal "$(jq -r .imageLayoutVersion layout/oci-layout)" 1.0.0
    assert_equal "$(jq -r '.manifests[0].digest' layout/index.json)" "$(metadata -r '.["containerimage.digest"]')"
    # Every blob is named after its bytes, and there are no others than the image's.
    (cd layout/blobs/sha256 && for f in *; do echo "$f  $f"; done | sha256sum -c --quiet)
    # shellcheck disable=SC2012 # names of digits
    assert_equal "$(ls layout/blobs/sha256 | wc -l)" "$(($(jq '.layers | length' "layout/blobs/$(jq -r '.manifests[0].digest' layout/index.json | tr : /)") + 2))"
}

@test "type=oci into an archive, and to standard output" {
    out type=oci,dest=image.tar
    from oci-archive:image.tar
    assert_the_image
    cbpush build -o type=oci,dest=- ctx 2>/dev/null >piped.tar
    from oci-archive:piped.tar
    assert_the_image
}

@test "type=docker: an archive that names its image" {
    cbpush build -t my/app:1.0 -o type=docker,dest=image.tar ctx 2>build.log
    assert_equal "$(tar -xOf image.tar manifest.json | jq -c '.[0].RepoTags')" '["docker.io/my/app:1.0"]' ||
        assert_equal "$(tar -xOf image.tar manifest.json | jq -c '.[0].RepoTags')" '["my/app:1.0"]'
    from docker-archive:image.tar
    assert_the_image
    # docker load reads the configuration and the layers by the names in manifest.json.
    local name
    for name in $(tar -xOf image.tar manifest.json | jq -r '.[0] | .Config, .Layers[]'); do
        tar -tf image.tar | grep -qxF "$name" || rig_fail "$name is not in the archive"
    done
}

@test "type=local: the tree itself" {
    [ "$(id -u)" -eq 0 ] || skip 'owners and set-id bits need root'
    out type=local,dest=tree
    assert_the_tree tree
    [ -x tree/bin/busybox ]
    mkdir other
    out "type=local,dest=$PWD/other"
    cb_quietly 'the build' cbpush build -o third ctx
    diff -r --no-dereference tree other
    diff -r --no-dereference tree third
}

# As buildx does, whose users write `-o .` and `-o bin` again and again.
@test "type=local: into a directory that has something already" {
    printf 'FROM scratch\nCOPY . /\n' >ctx/Dockerfile
    rm -rf ctx/*/
    mkdir -p ctx/dir/below ctx/was-file out/dir/below out/was-dir/x elsewhere
    printf '*\n!dir\n!was-*\n!file\n!link*\n' >ctx/.dockerignore
    echo new >ctx/file
    echo new | tee ctx/dir/file ctx/dir/below/one ctx/was-dir ctx/was-file/inner ctx/link-out >/dev/null
    mkdir ctx/link-dir
    echo new >ctx/link-dir/inner
    chmod 0750 ctx/dir
    echo old | tee out/file out/dir/below/one out/dir/kept out/kept out/was-file elsewhere/inner elsewhere/target >/dev/null
    ln -s ../elsewhere/target out/link-out
    ln -s ../elsewhere out/link-dir
    for round in 1 2; do
        out type=local,dest=out
        assert_equal "$(cd out && find . -type f | sort | xargs grep -H . | tr '\n' ' ')" "./dir/below/one:new ./dir/file:new \
./dir/kept:old ./file:new ./kept:old ./link-dir/inner:new ./link-out:new ./was-dir:new ./was-file/inner:new "
        assert_equal "$(cat elsewhere/inner elsewhere/target | sort -u)" old
        assert_equal "$(stat -c %a out/dir)" 750
        assert_equal "$(find out -name '.cbpush*')" ''
    done
}

@test "type=tar: one tar of the whole tree, into a file and to standard output" {
    out type=tar,dest=root.tar
    cbpush build -o - ctx 2>/dev/null >piped.tar
    cmp root.tar piped.tar
    mkdir tree
    tar -C tree -xpf root.tar --same-owner --numeric-owner
    assert_the_tree tree
    assert_equal "$(tar -tf root.tar | sort | uniq -d)" ''
}

@test "several outputs of one build are the same image" {
    cbpush build -o type=oci,dest=layout,tar=false -o type=docker,dest=docker.tar -o type=tar,dest=root.tar \
        -o type=image,name="$reg/test/several:1",push=true --metadata-file metadata.json ctx 2>build.log
    from oci:layout
    assert_the_image
    local ids
    ids=$(diff_ids)
    from docker-archive:docker.tar
    assert_equal "$(diff_ids)" "$ids"
    judged test/several:1
    assert_equal "$(diff_ids)" "$ids"
    assert_equal "$(registry_skopeo reg inspect --format '{{.Digest}}' "docker://$reg/test/several:1")" \
        "$(metadata -r '.["containerimage.digest"]')"
}

@test "an output that pushes a name of its own leaves the names of -t at home" {
    cbpush build -t "$reg/test/kept:1" -o "type=image,name=$reg/test/sent:1,push=true" ctx
    judged test/sent:1
    assert_equal "$(registry_curl reg /v2/test/kept/manifests/1 | tail -n 1)" 404
    run cbpush images
    assert_contains "$output" test/kept
    assert_contains "$output" test/sent
}

@test "compression=zstd: the layers are zstd, and hold the same" {
    out type=oci,dest=gzip,tar=false
    out type=oci,dest=zstd,tar=false,compression=zstd
    assert_equal "$(skopeo inspect --raw oci:zstd | jq -r '.layers[-1].mediaType')" application/vnd.oci.image.layer.v1.tar+zstd
    assert_equal "$(skopeo inspect --config --raw oci:zstd | jq -c .rootfs)" "$(skopeo inspect --config --raw oci:gzip | jq -c .rootfs)"
    from oci:zstd
    assert_the_image
    local big small
    big=$(skopeo inspect --raw oci:gzip | jq '.layers[-1].size')
    out type=oci,dest=level,tar=false,compression=zstd,compression-level=19
    small=$(skopeo inspect --raw oci:level | jq '.layers[-1].size')
    [ "$small" -lt "$big" ]
    from oci:level
    assert_the_image
}

@test "compression=uncompressed, and levels of gzip" {
    out type=oci,dest=plain,tar=false,compression=uncompressed
    assert_equal "$(skopeo inspect --raw oci:plain | jq -r '.layers[-1].mediaType')" application/vnd.oci.image.layer.v1.tar
    # Its digest is its diffID.
    assert_equal "$(skopeo inspect --raw oci:plain | jq -r '.layers[-1].digest')" \
        "$(skopeo inspect --config --raw oci:plain | jq -r '.rootfs.diff_ids[-1]')"
    from oci:plain
    assert_the_image
    out type=oci,dest=one,tar=false,compression=gzip,compression-level=1
    out type=oci,dest=nine,tar=false,compression=gzip,compression-level=9
    [ "$(skopeo inspect --raw oci:nine | jq '.layers[-1].size')" -lt "$(skopeo inspect --raw oci:one | jq '.layers[-1].size')" ]
    from oci:nine
    assert_the_image
}

@test "a layer so small that levels make the same bytes" {
    printf 'FROM scratch\nCOPY a /\n' >ctx/Dockerfile
    echo a >ctx/a
    local level round
    for round in 1 2; do
        for level in 1 2 3 4 5 6 7 8 9 10 11 12; do
            out "type=oci,dest=$round.$level,tar=false,compression=gzip,compression-level=$level"
        done
    done
    for level in 1 2 3 4 5 6 7 8 9 10 11 12; do
        assert_equal "$(skopeo inspect --raw "oci:2.$level")" "$(skopeo inspect --raw "oci:1.$level")"
    done
}

# The engine that made a layer is in the metadata; a build never gets another one's blob because it is there.
@test "compression-level=fast: an engine of its own, recorded; what is in the store of the other one is not taken for it" {
    cbpush version | grep -q ISA-L && grep -q sse4_2 /proc/cpuinfo || skip 'built without ISA-L, or on another processor'
    local engine=.\"cbpush.compressor\" digest
    out type=oci,dest=six,tar=false
    assert_contains "$(jq -r "$engine" metadata.json)" libdeflate-
    out type=oci,dest=fast,tar=false,compression-level=fast
    assert_contains "$(jq -r "$engine" metadata.json)" isal-x86-
    from oci:fast
    assert_the_image
    digest=$(skopeo inspect --raw oci:fast | jq -r '.layers[-1].digest')
    [ "$(skopeo inspect --raw oci:six | jq -r '.layers[-1].digest')" != "$digest" ]
    out type=oci,dest=again,tar=false
    assert_contains "$(jq -r "$engine" metadata.json)" libdeflate-
    # Every member of it is gzip to others.
    python3 -c 'import gzip, sys; gzip.decompress(open(sys.argv[1], "rb").read())' "fast/blobs/sha256/${digest#*:}"
    CBPUSH_ROOT=$PWD/elsewhere cbpush build -o type=oci,dest=there,tar=false,compression=gzip,compression-level=fast ctx 2>build.log
    assert_equal "$(skopeo inspect --raw oci:there | jq -r '.layers[-1].digest')" "$digest"
    run cbpush build -o type=oci,dest=x,compression=zstd,compression-level=fast ctx
    assert_status 2
    assert_contains "$output" '0 to 12 or fast for gzip, 1 to 22 for zstd'
}

@test "a push with zstd; the parent's layers stay as they are" {
    cbpush build -o "type=image,name=$reg/test/zstd:1,push=true,compression=zstd" ctx 2>build.log
    local raw
    raw=$(registry_skopeo reg inspect --raw "docker://$reg/test/zstd:1")
    assert_contains "$(jq -r '.layers[-1].mediaType' <<<"$raw")" +zstd
    assert_contains "$(jq -r '.layers[0].mediaType' <<<"$raw")" +gzip
    registry_skopeo reg --from copy -q "docker://$reg/test/zstd:1" oci:zstd:judged
    from oci:zstd:judged
    assert_the_image
}

@test "every gzip layer is readable by gzip, and its bytes hash to the diffID" {
    out type=oci,dest=layout,tar=false
    local i n digest diff
    n=$(skopeo inspect --raw oci:layout | jq '.layers | length')
    for ((i = 0; i < n; i++)); do
        digest=$(skopeo inspect --raw oci:layout | jq -r ".layers[$i].digest")
        diff=$(skopeo inspect --config --raw oci:layout | jq -r ".rootfs.diff_ids[$i]")
        assert_equal "sha256:$(gzip -dc "layout/blobs/${digest/://}" | sha256sum | cut -c 1-64)" "$diff"
        gzip -dc "layout/blobs/${digest/://}" | tar -t >/dev/null
        python3 -c 'import gzip, sys, tarfile; tarfile.open(fileobj=gzip.open(sys.argv[1])).getmembers()' "layout/blobs/${digest/://}"
    done
}

@test "an output that cannot be written: exit 6, nothing is left of it" {
    run cbpush build --progress plain -o type=oci,dest=/proc/no/such.tar ctx
    assert_status 6
    mkdir -p full
    [ "$(id -u)" -eq 0 ] || return 0
    mount -t tmpfs -o size=200k none full
    run cbpush build --progress plain -o type=oci,dest=full/image.tar ctx
    assert_status 6
    assert_contains "$output" 'No space left'
    assert_equal "$(ls -A full)" ''
    umount full
}

@test "save: all formats; load: all of them, and the images are the same" {
    cb_quietly 'the build' cbpush build -t saved:1 ctx
    local id format
    id=$(cbpush inspect saved:1 | jq -r .Id)
    cbpush save saved:1 >docker.tar
    cbpush save --format oci-archive -o oci.tar saved:1
    cbpush save --format oci-dir -o oci-layout saved:1
    from docker-archive:docker.tar
    assert_the_image
    from oci-archive:oci.tar
    assert_the_image
    from oci:oci-layout
    assert_the_image
    for format in docker.tar oci.tar oci-layout; do
        export CBPUSH_ROOT=$PWD/store-$format
        cbpush load -i "$format" >loaded
        cbpush load -t other:2 -i "$format" >loaded
        assert_equal "$(cbpush inspect other:2 | jq -r .Id)" "$id" "$format"
        assert_equal "$(cbpush run other:2 | sha256sum)" "$(sha256sum <ctx/text)" "$format"
        cbpush push other:2 "$reg/loaded/${format//./-}:1" 2>push.log
        judged "loaded/${format//./-}:1"
        assert_the_image
    done
}

@test "load: from standard input, and archives of skopeo" {
    cb_quietly 'the build' cbpush build -t saved:1 ctx
    cbpush save saved:1 | CBPUSH_ROOT=$PWD/second cbpush load -q >digest
    assert_contains "$(cat digest)" sha256:
    registry_skopeo reg --from copy -q "docker://$reg/library/busybox" docker-archive:skopeo.tar:from/skopeo:1
    assert_contains "$(cbpush load -i skopeo.tar)" from/skopeo:1
    assert_equal "$(cbpush run from/skopeo:1 echo hi)" hi
    registry_skopeo reg --from copy -q "docker://$reg/library/busybox" oci-archive:skopeo-oci.tar:v7
    cbpush load -t from/oci:7 -i skopeo-oci.tar
    assert_equal "$(cbpush run from/oci:7 echo hi)" hi
}

@test "load: an image of a Docker archive keeps its ID, as with docker load" {
    local config id
    registry_skopeo reg --from copy -q "docker://$reg/library/busybox" docker-archive:skopeo.tar:kept:1
    mkdir archive && tar -x -f skopeo.tar -C archive
    config=$(jq -r '.[0].Config' archive/manifest.json)
    id=$(jq . "archive/$config" | tee pretty | sha256sum | cut -d ' ' -f 1)
    rm "archive/$config" && mv pretty "archive/$id.json"
    jq -c --arg c "$id.json" '.[0].Config = $c' archive/manifest.json >m && mv m archive/manifest.json
    tar -c -C archive . | cbpush load -q >digest
    assert_equal "$(cbpush inspect -f '{{.Id}}' kept:1)" "sha256:$id"
    cbpush inspect --config kept:1 | cmp - "archive/$id.json"
    assert_equal "$(cbpush run kept:1 echo it runs)" 'it runs'
}

@test "load: what is no archive, what is cut and what lies about its bytes is refused" {
    cb_quietly 'the build' cbpush build -t saved:1 ctx
    cbpush save --format oci-dir -o layout saved:1
    cbpush save -o docker.tar saved:1
    export CBPUSH_ROOT=$PWD/clean
    head -c 100000 /dev/urandom >noise
    run cbpush load -i noise
    [ "$status" -eq 7 ] || [ "$status" -eq 5 ] || rig_fail "exit status $status: $output"
    head -c 700000 docker.tar >cut.tar
    run cbpush load -i cut.tar
    [ "$status" -eq 7 ] || [ "$status" -eq 5 ] || rig_fail "exit status $status: $output"
    local layer
    layer=$(skopeo inspect --raw oci:layout | jq -r '.layers[-1].digest')
    rig_damage "layout/blobs/${layer/://}" 40
    CBPUSH_ROOT=$PWD/another run cbpush load -i layout
    assert_status 7
    run cbpush load -i no-such-file
    [ "$status" -ne 0 ]
    assert_equal "$(cbpush images -q)" ''
}

@test "annotations and labels of the command line are in the manifest and the configuration" {
    cbpush build -o type=oci,dest=layout,tar=false --annotation org.example.a=1 --label org.example.l=2 ctx 2>build.log
    assert_equal "$(skopeo inspect --raw oci:layout | jq -r '.annotations["org.example.a"]')" 1
    assert_equal "$(skopeo inspect --config --raw oci:layout | jq -r '.config.Labels["org.example.l"]')" 2
}

@test "oci-mediatypes=false: docker's media types, pushed and pulled" {
    cbpush build -o "type=image,name=$reg/test/docker:1,push=true,oci-mediatypes=false" ctx 2>build.log
    assert_equal "$(registry_skopeo reg inspect --raw "docker://$reg/test/docker:1" | jq -r .mediaType)" \
        application/vnd.docker.distribution.manifest.v2+json
    assert_equal "$(registry_skopeo reg inspect --raw "docker://$reg/test/docker:1" | jq -r '[.config.mediaType, .layers[].mediaType] | unique | join(" ")')" \
        'application/vnd.docker.container.image.v1+json application/vnd.docker.image.rootfs.diff.tar.gzip'
    judged test/docker:1
    assert_the_image
    CBPUSH_ROOT=$PWD/other cbpush run "$reg/test/docker:1" true
    printf 'FROM %s/test/docker:1\nRUN touch /x\n' "$reg" >ctx/Dockerfile
    CBPUSH_ROOT=$PWD/other built
}

# The store has the layer by another name of the same: what the manifest names has to come from the cache.
@test "type=oci of a step from a cache, whose layer the store has in another compression only" {
    export SOURCE_DATE_EPOCH=1700000000
    printf 'FROM busybox\nRUN echo made >/g\n' | dockerfile
    build --cache-to "type=registry,ref=$reg/test/cache,mode=max"
    rm -rf "$CBPUSH_ROOT"
    printf 'FROM busybox\nRUN  echo made > /g\n' | dockerfile
    cbpush build --progress plain --compression-format none -t other ctx
    printf 'FROM busybox\nRUN echo made >/g\n' | dockerfile
    run cbpush build --progress plain --cache-from "type=registry,ref=$reg/test/cache" -o type=oci,dest=out.tar ctx
    assert_status 0
    assert_contains "$output" CACHED
    skopeo copy -q oci-archive:out.tar dir:out
    assert_equal "$(jq -r '.layers[-1].mediaType' out/manifest.json)" application/vnd.oci.image.layer.v1.tar+gzip
}
