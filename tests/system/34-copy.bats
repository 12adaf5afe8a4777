#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# `cbpush copy` between all places, byte for byte; skopeo reads what it writes and writes what it reads.

load helpers

setup_file()
{
    rig_setup_file
    registry_start one
    registry_start two
    python3 -B "$RIG_HERE/make_layout.py" "$BATS_FILE_TMPDIR/things" >"$BATS_FILE_TMPDIR/digests"
    rig_here_layout "$BATS_FILE_TMPDIR/things"
}

# Pushed by skopeo, so that what cbpush reads there was written by another.
rig_here_layout()
{
    local tag
    for tag in multi plain artifact; do
        skopeo copy -q --all --dest-tls-verify=false "oci:$1:$tag" "docker://$(registry_addr one)/src/app:$tag"
    done
    # skopeo 1.9 cannot keep these.
    for tag in sha512 empty; do
        cbpush copy -q --root "$BATS_FILE_TMPDIR/store" "oci:$1:$tag" "$(registry_addr one)/src/app:$tag"
    done
}

setup()
{
    rig_setup
    registry_forget one
    registry_forget two
    one=$(registry_addr one)
    two=$(registry_addr two)
    things=$BATS_FILE_TMPDIR/things
}

digest_of()
{
    awk -v name="$1" '$1 == name { print $2 }' "$BATS_FILE_TMPDIR/digests"
}

# What skopeo says that a place holds: the digest of the very bytes.
raw_digest()
{
    printf 'sha256:%s\n' "$(skopeo inspect --raw --tls-verify=false "$1" | sha256sum | cut -d' ' -f1)"
}

# Every digest and size below it is checked by skopeo on the way.
whole()
{
    rm -rf judged
    skopeo copy -q --all --src-tls-verify=false "$1" dir:judged
}

count()
{
    grep -c . || :
}

@test "registry to registry: every kind of manifest keeps its digest" {
    local tag
    for tag in multi plain sha512 empty artifact; do
        run --separate-stderr cbpush copy "docker://$one/src/app:$tag" "$two/all/kinds:$tag"
        assert_status 0
        assert_equal "$output" "$(digest_of "$tag")" "$tag"
        assert_equal "$(raw_digest "docker://$two/all/kinds:$tag")" "$(digest_of "$tag")" "$tag"
    done
    whole "docker://$two/all/kinds:multi"
    whole "docker://$two/all/kinds:empty"
    # The layer that two of them share was read and sent once.
    common=$(jq -r '.layers[0].digest' "$things/blobs/$(digest_of plain | tr : /)")
    assert_equal "$(registry_requests one "\"GET /v2/src/app/blobs/$common" | count)" 1
    # Nothing stayed here.
    assert_equal "$(find "$CBPUSH_ROOT" -size +100k -type f -path '*/blobs/*' | count)" 0
}

@test "every blob is known to be there before its manifest, and the tag comes last" {
    cbpush cp -q "$one/src/app:multi" "$two/order/app:1"
    registry_requests two '"(PUT|HEAD|POST) /v2/order' >log
    python3 -B - "$things" log <<'END'
import json, re, sys
seen, manifests = set(), 0
for line in open(sys.argv[2]):
    if m := re.search(r'"HEAD /v2/order/app/blobs/(\S+) HTTP/1.1" 200 ', line):
        seen.add(m[1])
    if m := re.search(r'"PUT /v2/order/app/manifests/(sha256:\w+) ', line):
        body = json.load(open(f"{sys.argv[1]}/blobs/{m[1].replace(':', '/')}"))
        for blob in [body["config"], *body["layers"]]:
            assert blob["digest"] in seen, (m[1], blob)
        manifests += 1
assert manifests == 3, manifests
END
    assert_contains "$(grep '"PUT ' log | tail -n 1)" /manifests/1
}

@test "within one registry blobs are mounted; a name in the same repository costs one manifest" {
    cbpush copy -q "$one/src/app:multi" "$one/dst/app:1" --json >report.json
    assert_equal "$(jq -r '[.blobs[].outcome] | unique | join(" ")' report.json)" mounted
    assert_equal "$(jq -r .bytesSent report.json)" 0
    assert_equal "$(registry_requests one '"(PATCH|PUT) /v2/dst/app/blobs' | count)" 0
    whole "docker://$one/dst/app:1"
    registry_forget one
    cbpush copy -q "$one/dst/app:1" "$one/dst/app:2"
    assert_equal "$(registry_requests one '/blobs/' | count)" 0
    assert_equal "$(raw_digest "docker://$one/dst/app:2")" "$(digest_of multi)"
}

@test "where nothing was pushed before no small blob is looked for, and that is asked once" {
    cbpush copy -q "$one/src/app:plain" "$two/never/seen:1"
    cbpush copy -q "$one/src/app:multi" "$two/never/seen:2"
    assert_equal "$(registry_requests two '"GET /v2/never/seen/tags/list' | count)" 1
    # Who knows no more than that there are tags looks, as ever.
    registry_forget two
    CBPUSH_ROOT=$PWD/other cbpush copy -q "$one/src/app:multi" "$two/never/seen:3"
    assert_equal "$(registry_requests two '"(PUT|POST) /v2/never/seen/blobs' | count)" 0
    CBPUSH_ROOT=$PWD/other cbpush copy -q "$one/src/app:plain" "$two/never/other:1"
    small=$(jq -r '.config.digest' "$things/blobs/$(digest_of plain | tr : /)")
    assert_equal "$(registry_requests two "\"HEAD /v2/never/other/blobs/$small" | count)" 1
}

@test "to a registry the largest blob goes first" {
    local blobs
    registry_forget one
    cbpush copy -q -j 1 "$one/src/app:plain" "$two/by/size:1"
    blobs=$(registry_requests one '"GET /v2/src/app/blobs' | sed 's/.*blobs.\(sha[^ ]*\) .*/\1/')
    assert_equal "$blobs" "$(jq -r '[.config, .layers[]] | sort_by(-.size)[].digest' "$things/blobs/$(digest_of plain | tr : /)")"
}

@test "what is there already costs two requests and sends nothing" {
    cbpush copy -q "$one/src/app:plain" "$two/twice:1"
    registry_forget two
    cbpush copy -q --json "$one/src/app:plain" "$two/twice:1" >report.json
    assert_equal "$(jq -r '.images[0].outcome' report.json)" current
    assert_equal "$(registry_requests two '"(GET|HEAD|PUT|POST|PATCH) /v2/[a-z]' | count)" 1
}

@test "--platform: one gives its manifest, several a smaller index, which is said" {
    cbpush copy -q --platform linux/arm64 "$one/src/app:multi" "$two/pick:arm" --digestfile digest
    assert_equal "$(cat digest)" "$(jq -r '.manifests[1].digest' "$things/blobs/$(digest_of multi | tr : /)")"
    assert_equal "$(raw_digest "docker://$two/pick:arm")" "$(cat digest)"
    cbpush copy --progress plain --platform linux/amd64,linux/arm64 "$one/src/app:multi" "$two/pick:both" 2>log
    refute_contains "$(cat log)" 'digest changes'
    # What belongs to amd64 goes with it, and what else the index says stays.
    assert_equal "$(raw_digest "docker://$two/pick:both")" "$(digest_of multi)"
    python3 -B - "$things" "$(digest_of multi)" <<'END'
import hashlib, json, sys
root, digest = sys.argv[1], sys.argv[2].replace(":", "/")
index = json.load(open(f"{root}/blobs/{digest}"))
index["manifests"].append(dict(index["manifests"][0], platform={"os": "linux", "architecture": "s390x"}))
data = json.dumps(index).encode()
name = hashlib.sha256(data).hexdigest()
open(f"{root}/blobs/sha256/{name}", "wb").write(data)
top = json.load(open(f"{root}/index.json"))
top["manifests"].append({"mediaType": index["mediaType"], "digest": f"sha256:{name}", "size": len(data),
                         "annotations": {"org.opencontainers.image.ref.name": "three"}})
json.dump(top, open(f"{root}/index.json", "w"))
END
    cbpush copy --progress plain --platform linux/amd64 --platform linux/arm64 "oci:$things:three" "$two/pick:cut" 2>log >digest
    assert_contains "$(cat log)" 'digest changes'
    skopeo inspect --raw --tls-verify=false "docker://$two/pick:cut" >cut.json
    assert_equal "$(raw_digest "docker://$two/pick:cut")" "$(cat digest)"
    assert_equal "$(jq -r '[.manifests[].platform.architecture] | join(" ")' cut.json)" 'amd64 arm64 unknown'
    assert_equal "$(jq -r '.annotations["org.example.note"]' cut.json)" kept
    whole "docker://$two/pick:cut"
    # crane's word for everything.
    assert_equal "$(cbpush copy -q --platform all "$one/src/app:multi" "$two/pick:all")" "$(digest_of multi)"
    run cbpush copy -q --platform all,linux/amd64 "$one/src/app:multi" "$two/pick:none"
    assert_status 2
    run cbpush copy -q --platform linux/riscv64 "$one/src/app:multi" "$two/pick:none"
    assert_status 5
    assert_contains "$output" linux/riscv64
    run cbpush copy -q --platform linux/arm64 "$one/src/app:plain" "$two/pick:none"
    assert_contains "$output" 'single image'
}

@test "--all-tags and --no-clobber" {
    cbpush copy -q "$one/src/app:plain" "$two/every/app:multi" # stands for something else there
    run --separate-stderr cbpush copy -q -a -n "$one/src/app" "$two/every/app"
    assert_status 0
    assert_equal "${#lines[@]}" 5
    assert_equal "$(raw_digest "docker://$two/every/app:multi")" "$(digest_of plain)"
    # What is told is what the name stands for, and not what it would have been.
    assert_contains "$output" "$(digest_of plain) $two/every/app:multi"
    assert_equal "$(cbpush copy -q -n --digestfile kept "$one/src/app:multi" "$two/every/app:multi")" "$(digest_of plain)"
    assert_equal "$(cat kept)" "$(digest_of plain)"
    cbpush copy -q -n --json "$one/src/app:multi" "$two/every/app:multi" >kept.json
    assert_equal "$(jq -r '.images[0] | .outcome, .digest, .mediaType, .sourceDigest' kept.json)" \
        "$(printf '%s\n' kept "$(digest_of plain)" application/vnd.oci.image.manifest.v1+json "$(digest_of multi)")"
    assert_equal "$(raw_digest "docker://$two/every/app:sha512")" "$(digest_of sha512)"
    cbpush copy -q -a "$one/src/app" "$two/every/app"
    assert_equal "$(raw_digest "docker://$two/every/app:multi")" "$(digest_of multi)"
    run cbpush copy -a "$one/src/app:plain" "$two/every/app"
    assert_status 2
}

@test "--referrers: after the subject, before its tag, in turn; and cosign's tags" {
    cbpush copy -q --referrers "oci:$things:multi" "$one/signed/app:1" --json >report.json
    assert_equal "$(jq '.images[0].referrers | length' report.json)" 4
    cbpush copy -q --referrers "$one/signed/app:1" "$two/signed/app:1"
    for name in signature sbom countersigned; do
        assert_equal "$(raw_digest "docker://$two/signed/app@$(digest_of "$name")")" "$(digest_of "$name")"
    done
    cosign=$(digest_of multi | tr : -).sig
    assert_equal "$(raw_digest "docker://$two/signed/app:$cosign")" "$(digest_of "$cosign")"
    # docker-registry has no list of referrers: the fallback tags have them.
    assert_equal "$(skopeo inspect --raw --tls-verify=false "docker://$two/signed/app:$(digest_of multi | tr : -)" |
        jq -r '.manifests[].digest')" "$(digest_of signature)"
    assert_contains "$(registry_requests two '"PUT /v2/signed/app/manifests' | tail -n 1)" /manifests/1
    # And back into a layout, where the index lists them.
    cbpush copy -q --referrers "$two/signed/app:1" oci:back:1
    assert_equal "$(jq -r '[.manifests[] | select(.annotations["org.opencontainers.image.ref.name"] == null).digest] | sort | join(" ")' back/index.json)" \
        "$(printf '%s\n' "$(digest_of signature)" "$(digest_of sbom)" "$(digest_of countersigned)" | sort | paste -sd' ')"
    assert_contains "$(cat back/index.json)" "$cosign"
}

@test "layouts and archives, both ways, against skopeo" {
    # Ours, read by skopeo.
    cbpush copy -q "$one/src/app:multi" oci:ours:multi
    cbpush copy -q "$one/src/app:plain" oci:ours:plain
    cbpush copy -q "$one/src/app:multi" oci-archive:ours.tar:multi
    cbpush copy -q "$one/src/app:plain" docker-archive:docker.tar:test/app:1
    for from in oci:ours:multi oci-archive:ours.tar:multi; do
        skopeo copy -q --all --dest-tls-verify=false "$from" "docker://$two/from/skopeo:1"
        assert_equal "$(raw_digest "docker://$two/from/skopeo:1")" "$(digest_of multi)"
    done
    assert_equal "$(raw_digest oci:ours:plain)" "$(digest_of plain)"
    skopeo copy -q docker-archive:docker.tar:docker.io/test/app:1 dir:from-docker
    # skopeo's, read by us.
    skopeo copy -q --all --src-tls-verify=false "docker://$one/src/app:multi" oci:theirs:multi
    skopeo copy -q --all --src-tls-verify=false "docker://$one/src/app:multi" oci-archive:theirs.tar:multi
    gzip -k theirs.tar
    skopeo copy -q --src-tls-verify=false "docker://$one/src/app:plain" docker-archive:theirs-docker.tar:test/app:1
    for from in oci:theirs:multi oci-archive:theirs.tar oci-archive:theirs.tar.gz "oci:theirs@$(digest_of multi)"; do
        cbpush copy -q "$from" "$two/from/layout:1" >digest
        assert_equal "$(cat digest)" "$(digest_of multi)" "$from"
        assert_equal "$(raw_digest "docker://$two/from/layout:1")" "$(digest_of multi)"
        whole "docker://$two/from/layout:1"
        cbpush copy -q --platform linux/amd64 "$one/src/app:sha512" "$two/from/layout:1"
    done
    # A Docker archive of others has no manifest; ours has.
    cbpush copy --progress plain docker-archive:theirs-docker.tar "$two/from/docker:1" 2>log >digest
    assert_contains "$(cat log)" 'has no manifest'
    whole "docker://$two/from/docker:1"
    cbpush copy -q docker-archive:docker.tar:test/app:1 "$two/from/docker:2" >digest
    assert_equal "$(cat digest)" "$(digest_of plain)"
    run cbpush copy "$one/src/app:multi" docker-archive:x.tar
    assert_status 2
    assert_contains "$output" --platform
    [ ! -e x.tar ]
}

@test "the store: in as a pull leaves it, out again" {
    cbpush copy -q "$one/src/app:multi" store:kept:1
    cbpush images >images
    assert_contains "$(cat images)" kept
    # As docker and podman would name it.
    for name in "$one/kept:1" "docker://$one/kept:1"; do
        cbpush copy -q store:kept:1 "store:$one/kept:1"
        run cbpush copy -q "$name" "$two/from/store:1"
        assert_status 4
        assert_contains "$output" "(the store has an image of that name: store:$one/kept:1)"
    done
    run cbpush copy -q "$one/src/app:multi" "$one/NO"
    refute_contains "$output" 'the store has'
    cbpush copy -q store:kept:1 "$two/from/store:1"
    assert_equal "$(raw_digest "docker://$two/from/store:1")" "$(digest_of multi)"
    cbpush copy -q store:kept:1 oci:out:1
    assert_equal "$(skopeo inspect --raw oci:out:1 | sha256sum | cut -c1-64)" "$(digest_of multi | cut -d: -f2)"
}

@test "dir: as skopeo lays it out, both ways; what is there is replaced last, or stays" {
    for kind in multi plain; do
        cbpush copy -q "$one/src/app:$kind" "dir:ours-$kind" >digest
        assert_equal "$(cat digest)" "$(digest_of "$kind")"
        skopeo copy -q --all --src-tls-verify=false "docker://$one/src/app:$kind" "dir:theirs-$kind"
        diff -r "ours-$kind" "theirs-$kind"
        skopeo copy -q --all --dest-tls-verify=false "dir:ours-$kind" "docker://$two/from/dir:$kind"
        cbpush copy -q "dir:theirs-$kind" "$two/by/us:$kind"
        for repo in from/dir by/us; do
            assert_equal "$(raw_digest "docker://$two/$repo:$kind")" "$(digest_of "$kind")"
        done
    done
    touch ours-multi/mine
    cbpush copy -q "$one/src/app:plain" dir:ours-multi
    [ -e ours-multi/mine ]
    rm ours-multi/mine
    diff -r ours-multi theirs-plain
    # A blob of the source is damaged, or is missing: the image that was there stays.
    layer=$(jq -r '.layers[0].digest' theirs-plain/manifest.json)
    cp -r theirs-plain broken
    rig_damage "broken/${layer#*:}" 100
    cbpush copy -q "$one/src/app:artifact" dir:kept
    cp -r kept before
    run cbpush copy -q dir:broken dir:kept
    assert_status 7
    cmp kept/manifest.json before/manifest.json
    rm "broken/${layer#*:}"
    run cbpush copy -q dir:broken dir:kept
    assert_status 5
    cmp kept/manifest.json before/manifest.json
    cbpush copy -q dir:kept "$two/kept:1"
    # What holds no such image, or one of another time.
    mkdir other
    echo x >other/file
    run cbpush copy -q "$one/src/app:plain" dir:other
    assert_status 2
    assert_contains "$output" 'another directory'
    assert_equal "$(ls other)" file
    run cbpush copy -q dir:other "$two/other:1"
    assert_status 2
    assert_contains "$output" oci:
    echo 'Directory Transport Version: 7.0' >other/version
    for pair in "dir:other $two/other:1" "$one/src/app:plain dir:other"; do
        run cbpush copy -q $pair
        assert_status 7
        assert_contains "$output" 7.0
    done
    run cbpush copy -q --all-tags "$one/src/app" dir:all
    assert_status 2
    assert_contains "$output" 'one image'
    [ ! -e all ]
}

@test "what is wrong is said, and leaves the target as it was" {
    cbpush copy -q "$one/src/app:plain" "$two/kept:1"
    for wrong in containers-storage:x docker-daemon:x dir:x oci-layout://x http://x/y; do
        run cbpush copy "$wrong" "$two/kept:1"
        assert_status 2
    done
    assert_contains "$output" insecure-registry
    run cbpush copy -q "$one/src/app:missing" "$two/kept:1"
    assert_status 4
    run cbpush copy -q "oci:$things:multi" "$two/kept@$(digest_of plain)"
    assert_status 7
    # A blob of the source is damaged: nothing moves.
    cp -r "$things" broken
    layer=$(jq -r '.layers[0].digest' "broken/blobs/$(digest_of plain | tr : /)")
    rig_damage "broken/blobs/${layer/://}" 100
    run cbpush copy -q oci:broken:plain "$two/broken:1"
    assert_status 7
    run registry_curl two /v2/broken/manifests/1
    assert_contains "$output" MANIFEST_UNKNOWN
    run cbpush copy -q oci:broken:plain oci-archive:broken.tar
    assert_status 7
    [ ! -e broken.tar ]
    run cbpush copy -q oci:broken:plain oci:out:1
    assert_status 7
    [ ! -e out/index.json ]
    assert_equal "$(raw_digest "docker://$two/kept:1")" "$(digest_of plain)"
}

# ---- files that are no plain ones

@test "an archive goes into what its name stands for: a device, a pipe, a link, standard output" {
    local kind
    for kind in oci-archive docker-archive; do
        # As skopeo's: … docker-archive:/dev/stdout | docker load. What is written through stays what it is.
        cbpush copy -q "oci:$things:plain" "$kind:-" >by-dash.tar
        (exec >by-name.tar && cbpush copy -q "oci:$things:plain" "$kind:/proc/self/fd/1")
        mkfifo pipe
        cat pipe >by-pipe.tar &
        cbpush copy -q "oci:$things:plain" "$kind:pipe"
        wait $!
        [ -p pipe ] || rig_fail 'the pipe is gone'
        rm pipe
        ln -sf linked.tar link
        : >linked.tar
        cbpush copy -q "oci:$things:plain" "$kind:link"
        [ -L link ] || rig_fail 'the link is gone'
        cbpush copy -q "oci:$things:plain" "$kind:plain.tar"
        for file in by-dash by-name by-pipe linked; do cmp "$file.tar" plain.tar; done
        [ ! -e - ] || rig_fail 'a file named -'
        whole "$kind:plain.tar"
    done
    run -2 cbpush copy -q --json "oci:$things:plain" oci-archive:-
    run -2 cbpush copy -q oci-archive:- oci:x
    assert_contains "$output" 'cbpush load'
}

@test "an archive that cannot be written: the disk is named, and not what came of it" {
    local kind
    mkdir ctx
    # Its table alone is more than what is written at a time.
    (cd ctx && seq -f 'a-name-that-is-not-short-at-all-%g' 20000 | xargs touch)
    printf 'FROM scratch\nCOPY . /\n' >Dockerfile
    cbpush build -q -f Dockerfile --push "$one/test/tables:1" ctx
    [ -n "$(cbpush manifest get "$one/test/tables:1" | jq -r '.layers[0].annotations["vnd.cbpush.toc.digest"] // empty')" ] ||
        rig_fail 'no table of its own'
    for kind in oci-archive docker-archive; do
        run -6 cbpush copy -q "$one/test/tables:1" "$kind:/dev/full"
        assert_contains "$output" 'No space left on device'
    done
}

@test "a Docker archive is an image with all its layers, or none is written" {
    local manifest
    cbpush copy -q "oci:$things:artifact" store:thing:1
    cbpush copy -q "oci:$things:artifact" "$one/test/artifact:1"
    # It is told of like other names.
    assert_equal "$(cbpush images --format '{{.Repository}}:{{.Tag}} {{.Digest}}')" "thing:1 $(digest_of artifact)"
    assert_equal "$(cbpush inspect thing:1 | jq -cS 'del(.Name, .RepoTags, .RepoDigests)')" \
        "$(cbpush inspect "docker://$one/test/artifact:1" | jq -cS 'del(.Name)')"
    run -5 cbpush history thing:1
    assert_contains "$output" 'no image but an artifact'
    run -5 cbpush copy -q "oci:$things:artifact" docker-archive:x.tar
    assert_contains "$output" 'no image but an artifact'
    run -5 cbpush save -o x.tar thing:1
    assert_contains "$output" 'no image but an artifact'
    cbpush save -o y.tar --format oci-archive thing:1
    run -5 cbpush pull "$one/test/artifact:1"
    assert_contains "$output" 'no image but an artifact'
    # A layer that its vendor alone gives away is not in the copy of the layout either.
    cbpush copy -q "oci:$things:plain" oci:foreign:1
    manifest=$(jq -c '.layers[0].mediaType = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
        | .layers[0].urls = ["https://vendor.test/layer"]' "foreign/blobs/sha256/$(jq -r '.manifests[0].digest[7:]' foreign/index.json)")
    digest=$(printf %s "$manifest" | sha256sum | cut -d ' ' -f 1)
    printf %s "$manifest" >"foreign/blobs/sha256/$digest"
    jq -c --arg d "sha256:$digest" --argjson n "${#manifest}" '.manifests[0].digest = $d | .manifests[0].size = $n' \
        foreign/index.json >index.json && mv index.json foreign/index.json
    run -5 cbpush copy -q oci:foreign:1 docker-archive:x.tar
    assert_contains "$output" foreign
    [ ! -e x.tar ] || rig_fail 'an archive was written'
    cbpush copy -q oci:foreign:1 oci-archive:y.tar
}

@test "pull of an image whose parts are named by sha512" {
    assert_equal "$(cbpush pull -q "$one/src/app:sha512")" "$(digest_of sha512)"
    cbpush inspect --raw "$one/src/app:sha512" | cmp - <(cbpush manifest get "$one/src/app:sha512")
    cbpush push -q "$one/src/app:sha512" "$two/pulled/app:sha512"
    assert_equal "$(raw_digest "docker://$two/pulled/app:sha512")" "$(digest_of sha512)"
}

@test "a device is written to, and not replaced" {
    [ "$(id -u)" -eq 0 ] || skip 'mknod needs root'
    mknod null c 1 3 || skip 'no mknod here'
    cbpush copy -q "oci:$things:plain" oci-archive:null
    [ -c null ] || rig_fail 'the device is gone'
}
