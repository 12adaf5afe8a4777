#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Builds that run nothing: of a parent they need the table of contents, not one byte of its layers. Tables in manifests and
# beside images, what becomes of those that are missing, damaged or lies; what is read where there is none.

load helpers
load build
load uploads

setup_file()
{
    rig_setup_file
    build_setup_file
    registry_start two
    export SOURCE_DATE_EPOCH=1700000000
    # base/parent:1 is what cbpush made of busybox; base/plain:1 is the same without tables. All of its tables are too large
    # for a manifest.
    cd "$BATS_FILE_TMPDIR" || return
    mkdir -p parent/etc parent/data/inner parent/app parent/links
    printf 'root:x:0:0::/root:/bin/sh\nalice:x:1234:2345::/home:/bin/sh\n' >parent/etc/passwd
    printf 'root:x:0:\nstaff:x:2345:\n' >parent/etc/group
    head -c 2000000 /dev/urandom >parent/data/big
    chmod 0750 parent/data/inner
    ln -s /data/inner parent/links/short
    local dir
    for dir in etc data app links; do
        mkdir "parent/$dir/many-$dir"
        touch "parent/$dir/many-$dir"/{1,2,3,4,5,6,7,8,9,a,b,c}
    done
    printf 'FROM %s/library/busybox\nCOPY etc /etc/\nCOPY data /data\nCOPY app /app\nCOPY links /\n' "$(registry_addr reg)" >parent/Dockerfile
    CBPUSH_ROOT=$PWD/parent.store cbpush build --push "$(registry_addr reg)/base/parent:1" parent 2>parent.log
    CBPUSH_ROOT=$PWD/parent.store cbpush build --toc=false --push "$(registry_addr reg)/base/plain:1" parent 2>plain.log
    rm -rf parent.store
}

setup()
{
    export SOURCE_DATE_EPOCH=1700000000
    rig_setup
    build_setup
    registry_forget reg
    registry_forget two
    two=$(registry_addr two)
    head -c 300000 /dev/urandom >ctx/file
}

# One of several as one word: what is used below again and again.
onto()
{
    { printf 'FROM %s/base/%s\n' "$reg" "$1"; shift; printf '%s\n' "$@"; } >ctx/Dockerfile
}

raw_manifest()
{
    curl -sSf -H 'Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json' \
        "$(registry_url "$1")/v2/$2/manifests/$3"
}

# layer_gets REGISTRY REPO TAG: requests for the bytes of that image's layers.
layer_gets()
{
    local digest
    raw_manifest "$1" "$2" "$3" | jq -r '.layers[].digest' | while read -r digest; do
        registry_requests "$1" "\"GET /v2/.*/blobs/$digest .*\"cbpush/"
    done
}

# Those for tables.
table_gets()
{
    local digest
    raw_manifest reg base/parent 1 | jq -r '.layers[].annotations["vnd.cbpush.toc.digest"]' | while read -r digest; do
        registry_requests "$1" "\"GET /v2/.*/blobs/$digest "
    done
}

count()
{
    grep -c . || :
}

digest_of_app()
{
    registry_skopeo "${1-reg}" inspect --format '{{.Digest}}' "docker://$(registry_addr "${1-reg}")/${2-test/app:1}"
}

lie()
{
    python3 -B "$RIG_HERE/liar.py" "$(registry_url reg)" base/parent 1 "$@"
}

# The digests of artifacts that were put beside images of a repository.
artifacts()
{
    registry_requests "$1" "\"PUT /v2/$2/manifests/sha256:.* 201 " | sed 's/.*manifests.\(sha256:[0-9a-f]*\).*/\1/'
}

# No layer of the parent is here: neither its blob nor its tree.
store_has_no_parent()
{
    local digest
    raw_manifest reg base/parent 1 | jq -r '.layers[].digest' | while read -r digest; do
        [ ! -e "$CBPUSH_ROOT/blobs/${digest/://}" ] || rig_fail "$digest is in the store" || return
    done
    assert_equal "$(find "$CBPUSH_ROOT/trees" -mindepth 1 -maxdepth 1 | count)" 0
}

# ---- what is asked for

@test "layers are asked for ahead where a step runs on them, each once, and nowhere else" {
    local n
    n=$(raw_manifest reg base/parent 1 | jq '.layers | length')
    onto parent:1 'COPY file /app/' 'RUN test -s /app/file && test -s /data/big'
    built
    assert_equal "$(layer_gets reg base/parent 1 | count)" "$n"
    # A stage that nobody needs, and what a cache may know.
    rm -rf "$CBPUSH_ROOT"
    registry_forget reg
    printf 'FROM %s/base/parent:1 AS idle\nRUN true\nFROM %s/base/parent:1\nCOPY file /app/\n' "$reg" "$reg" >ctx/Dockerfile
    built
    assert_equal "$(layer_gets reg base/parent 1 | count)" 0
    onto parent:1 'RUN true'
    built --cache-to "type=registry,ref=$reg/test/cache"
    rm -rf "$CBPUSH_ROOT"
    registry_forget reg
    built --cache-from "type=registry,ref=$reg/test/cache"
    assert_contains "$(cat build.log)" CACHED
    assert_equal "$(layer_gets reg base/parent 1 | count)" 0
}

# ---- what is written

@test "the manifest names the table of every layer, and the tables are beside it" {
    onto parent:1 'COPY file /app/'
    built
    local i n pin size data repo=test/app
    n=$(manifest '.layers | length')
    for ((i = 0; i < n; i++)); do
        pin=$(manifest -r ".layers[$i].annotations[\"vnd.cbpush.toc.digest\"]")
        size=$(manifest -r ".layers[$i].annotations[\"vnd.cbpush.toc.size\"]")
        data=$(manifest -r ".layers[$i].annotations[\"vnd.cbpush.toc.data\"] // \"\"")
        # The last one is small enough to stand in the manifest itself.
        assert_equal "$([ -n "$data" ] && echo small)" "$([ "$i" = $((n - 1)) ] && echo small)"
        if [ -n "$data" ]; then
            base64 -d <<<"$data" >table
            assert_equal "$(curl -sS -o /dev/null -w '%{http_code}' "$(registry_url reg)/v2/$repo/blobs/$pin")" 404
        else
            curl -sSf "$(registry_url reg)/v2/$repo/blobs/$pin" >table
        fi
        assert_equal "sha256:$(sha256sum <table | cut -d ' ' -f 1)" "$pin"
        assert_equal "$(stat -c %s table)" "$size"
        assert_equal "$(head -c 5 table)" cbtoc
    done
    # The parent's own words stay.
    assert_equal "$(raw_manifest reg test/app 1 | jq -c '[.layers[0:-1][].annotations]')" \
        "$(raw_manifest reg base/parent 1 | jq -c '[.layers[].annotations]')"
}

@test "an artifact refers to the image and keeps the tables; there is no tag for it" {
    onto parent:1 'COPY file /app/'
    built
    local it
    it=$(artifacts reg test/app)
    assert_equal "$(count <<<"$it")" 1
    raw_manifest reg test/app "$it" >artifact
    assert_equal "$(jq -r .artifactType artifact)" application/vnd.cbpush.toc.v1
    assert_equal "$(jq -r .subject.digest artifact)" "$(digest_of_app)"
    assert_equal "$(jq -c '[.layers[].digest]' artifact)" \
        "$(manifest '[.layers[0:-1][].annotations["vnd.cbpush.toc.digest"]]')"
    assert_equal "$(curl -sS "$(registry_url reg)/v2/test/app/tags/list" | jq -c .tags)" '["1"]'
    # Again: nothing to do.
    registry_forget reg
    cbpush build --push "$reg/test/app:1" ctx 2>again.log
    assert_equal "$(registry_requests reg '"(POST|PUT|PATCH) ')" ''
}

# app_of FILL REGISTRY: an image of another file, pushed to test/next there.
app_of()
{
    printf '%s' "$1" >ctx/file
    cbpush build --progress plain --push "$(registry_addr "$2")/test/next:1" ctx >build.log 2>&1 || rig_fail "$(cat build.log)"
}

@test "the next image has the same tables: what keeps them is there, and asked for alone; where it is gone there is another" {
    local it again
    onto parent:1 'COPY file /app/'
    app_of one reg
    it=$(artifacts reg test/next)
    registry_forget reg
    app_of two reg
    assert_equal "$(artifacts reg test/next)" ''
    assert_equal "$(registry_requests reg "\"HEAD /v2/test/next/manifests/$it .* 200 " | count)" 1
    assert_equal "$(registry_requests reg '"HEAD /v2/test/next/blobs/.* 200 ' | count)" 7 # five layers, and what was sent
    curl -sSf -X DELETE "$(registry_url reg)/v2/test/next/manifests/$it"
    registry_forget reg
    app_of three reg
    again=$(artifacts reg test/next)
    raw_manifest reg test/next "$again" >artifact
    assert_equal "$(jq -r .subject.digest artifact)" "$(digest_of_app reg test/next:1)"
    assert_equal "$(jq '.layers | length' artifact)" 5
    # Other tables are another set; the first one is still known.
    registry_forget reg
    mkdir ctx/more
    for i in {1..30}; do echo "$i" >"ctx/more/$i"; done # too much for a table in the manifest
    onto parent:1 'COPY more /more/'
    app_of four reg
    assert_equal "$(artifacts reg test/next | count)" 1
    onto parent:1 'COPY file /app/'
    registry_forget reg
    app_of five reg
    assert_equal "$(artifacts reg test/next)" ''
}

@test "a registry that lists referrers has one for each image" {
    olareg_builds || skip 'no Go 1.21 to build olareg with'
    olareg_start referrers
    onto parent:1 'COPY file /app/'
    for text in one two; do
        app_of "$text" referrers
        list=$(curl -sSf "$(registry_url referrers)/v2/test/next/referrers/$(digest_of_app referrers test/next:1)")
        assert_equal "$(jq -c '[.manifests[].artifactType]' <<<"$list")" '["application/vnd.cbpush.toc.v1"]'
    done
}

@test "--toc=false and Docker's media types: no word of tables, and none is pushed" {
    onto parent:1 'COPY file /app/'
    cbpush build --toc=false --push "$reg/test/without:1" ctx 2>build.log
    assert_equal "$(raw_manifest reg test/without 1 | grep -c vnd.cbpush || :)" 0
    assert_equal "$(artifacts reg test/without)" ''
    registry_forget reg
    onto parent:1 'COPY file /app/'
    cbpush build --format docker --push "$reg/test/docker:1" ctx 2>build.log
    assert_equal "$(raw_manifest reg test/docker 1 | grep -c annotations || :)" 0
    assert_equal "$(artifacts reg test/docker)" ''
    assert_equal "$(registry_requests reg '"PUT /v2/test/docker/blobs/uploads/.* 201 ' | count)" 1 # the configuration
    assert_equal "$(layer_gets reg base/parent 1)" '' # read by tables all the same
}

@test "a registry that lists referrers lists it; no tag is made there either" {
    olareg_builds || skip 'no Go 1.21 to build olareg with'
    local list
    olareg_start olareg
    onto parent:1 'COPY file /app/'
    cbpush build --push "$(registry_addr olareg)/test/app:1" ctx 2>build.log
    list=$(curl -sSf "$(registry_url olareg)/v2/test/app/referrers/$(digest_of_app olareg)")
    assert_equal "$(jq -c '[.manifests[].artifactType]' <<<"$list")" '["application/vnd.cbpush.toc.v1"]'
    assert_equal "$(curl -sS "$(registry_url olareg)/v2/test/app/tags/list" | jq -c .tags)" '["1"]'
    # Who builds there finds them.
    printf 'FROM %s/test/app:1\nCOPY file /again\n' "$(registry_addr olareg)" >ctx/Dockerfile
    CBPUSH_ROOT=$PWD/second cbpush build --progress plain --push "$(registry_addr olareg)/test/child:1" ctx >build.log 2>&1
    refute_contains "$(cat build.log)" 'cannot be had'
    digest=$(raw_manifest olareg test/app 1 | jq -r '.layers[-1].digest')
    [ ! -e "second/blobs/${digest/://}" ]
}

@test "a registry that wants an image before what refers to it: the tables are kept all the same" {
    local strict
    strict=$(mktemp -d "$(rig_dir)/strict.XXXXXX")
    rig_spawn "$strict" python3 -B "$RIG_HERE/strict_proxy.py" "$reg" "$strict/port"
    until [ -s "$strict/port" ]; do sleep 0.05; done
    onto parent:1 'COPY file /app/'
    cbpush build --progress plain --push "localhost:$(cat "$strict/port")/test/strict:1" ctx >build.log 2>&1
    grep -q '^refused ' "$strict/out" # and was tried again until the image was there
    refute_contains "$(cat build.log)" 'not kept'
    assert_equal "$(artifacts reg test/strict | count)" 1
}

# ---- what is read

@test "small tables are read from the manifest: no request for them, of an image that has no others no artifact" {
    printf 'FROM scratch\nCOPY file /one/two\nWORKDIR /work/here\n' >ctx/Dockerfile
    cbpush build --push "$reg/small/parent:1" ctx 2>build.log
    assert_equal "$(raw_manifest reg small/parent 1 | jq '[.layers[].annotations | has("vnd.cbpush.toc.data")] | all')" true
    assert_equal "$(artifacts reg small/parent)" ''
    registry_forget reg
    export CBPUSH_ROOT=$PWD/second
    printf 'FROM %s/small/parent:1\nCOPY file /one/\n' "$reg" >ctx/Dockerfile
    cbpush build --progress plain --push "$reg/small/child:1" ctx >build.log 2>&1
    refute_contains "$(cat build.log)" 'cannot be had'
    # The manifest, the configuration, and nothing else.
    assert_equal "$(registry_requests reg '"GET /v2/small/parent/' | count)" 2
    judged small/child:1
    cmp ctx/file "$rootfs/one/file"
    cmp ctx/file "$rootfs/one/two"
    # By copies, which do not know of it, too.
    skopeo copy -q --src-tls-verify=false "docker://$reg/small/parent:1" oci:layout:x
    skopeo copy -q --dest-tls-verify=false oci:layout:x "docker://$two/small/parent:1"
    printf 'FROM %s/small/parent:1\nCOPY file /one/\n' "$two" >ctx/Dockerfile
    CBPUSH_ROOT=$PWD/third cbpush build --push "$two/small/child:1" ctx 2>build.log
    assert_equal "$(layer_gets two small/parent 1)" ''
}

@test "a small table that is not the one which is pinned is none" {
    printf 'FROM scratch\nCOPY file /one/two\n' >ctx/Dockerfile
    cbpush build --push "$reg/small/parent:2" ctx 2>build.log
    for lie in bm90IGEgdGFibGU= '%%%' ''; do
        raw_manifest reg small/parent 2 | jq -c ".layers[0].annotations[\"vnd.cbpush.toc.data\"] = \"$lie\"" >lie.json
        curl -sSf -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary @lie.json \
            "$(registry_url reg)/v2/small/parent/manifests/lie"
        printf 'FROM %s/small/parent:lie\nCOPY file /one/\n' "$reg" >ctx/Dockerfile
        registry_forget reg
        CBPUSH_ROOT=$(mktemp -d "$PWD/store.XXXXXX") cbpush build --progress plain --push "$reg/small/child:2" ctx >build.log 2>&1 ||
            rig_fail "$(cat build.log)"
        assert_contains "$(cat build.log)" 'cannot be had'
        assert_equal "$(layer_gets reg small/parent 2 | grep -c ' 200 ')" 1
    done
}

@test "COPY, ADD, WORKDIR, USER: no byte of the parent's layers, nothing of it in the store" {
    tar -C ctx -cf ctx/archive.tar file
    onto parent:1 'WORKDIR /work/here' 'COPY --chown=alice:staff file /short/' 'ADD archive.tar /app/' 'USER alice' \
        'COPY <<END /data/inline' 'text' 'END'
    cbpush build --push "$reg/test/many:1" --metadata-file metadata.json ctx 2>build.log
    assert_equal "$(layer_gets reg base/parent 1)" ''
    store_has_no_parent
    judged test/many:1
    assert_equal "$(mode_of /data/inner/file)" '644 1234:2345'
    assert_equal "$(readlink "$rootfs/short")" /data/inner
    assert_equal "$(mode_of /data/inner)" '750 0:0'
    assert_equal "$(mode_of /work/here)" '755 0:0'
    cmp ctx/file "$rootfs/app/file"
    assert_equal "$(config -r .config.User)" alice
    assert_equal "$(metadata '[.["cbpush.pushed"][].outcome] | map(select(. == "mounted")) | length')" 5
}

@test "the image is the same, byte for byte, as one that was made from the layers themselves" {
    onto parent:1 'WORKDIR /work/here' 'COPY --chown=alice:staff file /short/' 'COPY file /data/inner/other'
    build 2>build.log
    local quick
    quick=$(digest_of_app)
    assert_equal "$(layer_gets reg base/parent 1)" ''
    export CBPUSH_ROOT=$PWD/second
    sed -i 's/parent:1/plain:1/' ctx/Dockerfile
    build 2>build.log
    assert_equal "$(layer_gets reg base/plain 1 | count)" 5
    assert_equal "$(digest_of_app)" "$quick"
}

@test "no table is here: the layers are read through once, and not kept" {
    onto plain:1 'COPY file /short/' 'WORKDIR /work'
    built
    assert_equal "$(layer_gets reg base/plain 1 | count)" 5
    store_has_no_parent
    assert_equal "$(find "$CBPUSH_ROOT/toc" -type f | count)" 7
    cmp ctx/file "$rootfs/data/inner/file"
    # The next one knows them.
    registry_forget reg
    onto plain:1 'COPY file /other'
    build 2>build.log
    assert_equal "$(layer_gets reg base/plain 1)" ''
}

@test "--link: not even a table" {
    onto parent:1 'COPY --link file /app/'
    built
    assert_equal "$(layer_gets reg base/parent 1)" ''
    assert_equal "$(table_gets reg | count)" 0
}

@test "COPY --from an image: its tables, and the one layer that has the file" {
    onto parent:1 'COPY --from='"$reg"'/base/parent:1 /data/big /got'
    built
    assert_equal "$(layer_gets reg base/parent 1 | count)" 1
    cmp "$BATS_FILE_TMPDIR/parent/data/big" "$rootfs/got"
}

@test "a RUN brings the layers: once, and no table before" {
    onto parent:1 'COPY file /short/' 'RUN test -s /data/inner/file && echo done >/done'
    built
    assert_equal "$(layer_gets reg base/parent 1 | count)" 5
    assert_equal "$(table_gets reg | count)" 0
    assert_equal "$(cat "$rootfs/done")" 'done'
}

@test "an output that holds the layers: they come once" {
    onto parent:1 'COPY file /short/'
    cbpush build -o type=oci,dest=out.tar -t x ctx 2>build.log
    assert_equal "$(layer_gets reg base/parent 1 | count)" 5
    assert_equal "$(table_gets reg | count)" 0
}

@test "another registry: layers are streamed, once, tables go along; whoever builds there finds them" {
    onto parent:1 'COPY file /short/'
    cbpush build --push "$two/test/app:1" ctx 2>build.log
    assert_equal "$(layer_gets reg base/parent 1 | count)" 5
    store_has_no_parent
    registry_forget reg
    export CBPUSH_ROOT=$PWD/second
    printf 'FROM %s/test/app:1\nCOPY file /again\n' "$two" >ctx/Dockerfile
    cbpush build --push "$two/test/child:1" ctx 2>build.log
    assert_equal "$(layer_gets two test/app 1)" ''
    assert_equal "$(registry_requests reg)" ''
}

@test "a parent by mirror: its tables come from there" {
    registry_skopeo reg copy -q --src-tls-verify=false "docker://$reg/base/parent:1" "docker://$reg/library/mine:1"
    printf 'FROM mine:1\nCOPY file /short/\n' >ctx/Dockerfile
    # skopeo knows nothing of what is beside an image: the layers are read.
    build 2>build.log
    assert_equal "$(layer_gets reg library/mine 1 | count)" 5
    # cbpush pushed it there: they are.
    cbpush build --push "$reg/library/mine:2" "$BATS_FILE_TMPDIR/parent" 2>build.log
    registry_forget reg
    export CBPUSH_ROOT=$PWD/second
    printf 'FROM mine:2\nCOPY file /short/\n' >ctx/Dockerfile
    build 2>build.log
    assert_equal "$(layer_gets reg library/mine 2)" ''
}

@test "push of an image of the store takes its tables along" {
    onto parent:1 'COPY file /short/'
    cbpush build -t "$reg/test/later:1" ctx 2>build.log
    registry_forget reg
    cbpush push "$reg/test/later:1" 2>push.log
    assert_equal "$(raw_manifest reg test/later "$(artifacts reg test/later)" | jq '.layers | length')" 5 # the sixth is in the manifest
}

# ---- copies

# builds_there REPO:TAG: no byte of the layers of that image at `two` moves, and its tables do.
builds_there()
{
    registry_forget two
    printf 'FROM %s/%s\nCOPY --chown=alice file /short/\n' "$two" "$1" >ctx/Dockerfile
    CBPUSH_ROOT=$(mktemp -d "$PWD/store.XXXXXX") cbpush build --progress plain --push "$two/test/child:1" ctx >build.log 2>&1 ||
        rig_fail "$(cat build.log)" || return
    assert_equal "$(layer_gets two "${1%:*}" "${1#*:}")" '' "$1"
    assert_equal "$(table_gets two | count)" 5 "$1"
}

@test "copy takes the tables along, and what keeps them; again, it asks for the tag alone" {
    local before
    cbpush copy -q "$reg/base/parent:1" "$two/copied/parent:1"
    builds_there copied/parent:1
    before=$(artifacts reg base/parent)
    registry_forget two
    cbpush copy -q "$reg/base/parent:1" "$two/copied/parent:1"
    assert_equal "$(registry_requests two ' /v2/copied/.*cbpush/' | sed 's/.*"\(HEAD\|GET\|PUT\|POST\|PATCH\) .*/\1/')" HEAD
    # Another tag of it elsewhere: the artifact is the same one.
    cbpush copy -q "$reg/base/parent:1" "$two/copied/other:1"
    raw_manifest two copied/other "$(artifacts two copied/other)" >artifact
    assert_equal "$(jq -c '[.artifactType, .subject.digest]' artifact)" \
        "[\"application/vnd.cbpush.toc.v1\",\"$(digest_of_app reg base/parent:1)\"]"
    assert_equal "$(jq '.layers | length' artifact)" 5
    assert_equal "$(curl -sS "$(registry_url two)/v2/copied/other/tags/list" | jq -c .tags)" '["1"]'
}

@test "copy of an image that pins nothing asks for nothing more; of one whose tables are gone, too, is one" {
    cbpush copy -q "$reg/base/plain:1" "$two/copied/plain:1"
    assert_equal "$(artifacts two copied/plain)" ''
    assert_equal "$(registry_requests two '"POST /v2/copied/plain/blobs/uploads/' | count)" 6
    registry_skopeo reg copy -q --src-tls-verify=false "docker://$reg/base/parent:1" "docker://$reg/bare/parent:1"
    cbpush copy -q "$reg/bare/parent:1" "$two/copied/bare:1"
    assert_equal "$(artifacts two copied/bare)" ''
    assert_equal "$(digest_of_app two copied/bare:1)" "$(digest_of_app reg base/parent:1)"
}

@test "by way of a layout or an archive: the tables are in it, and nothing that other tools would take for an image" {
    local place
    for place in oci:layout oci-archive:archive.tar; do
        cbpush copy -q "$reg/base/parent:1" "$place"
        skopeo inspect "$place" >/dev/null
        skopeo copy -q "$place" dir:judged
        cbpush copy -q "$place" "$two/via/${place%%:*}:1"
        builds_there "via/${place%%:*}:1"
    done
    # One that lost them, as an archive does not mind either.
    find layout/blobs -size -20k -exec grep -l '^cbtoc' {} + | xargs rm
    cbpush copy -q oci:layout "$two/via/lost:1"
    cbpush copy -q oci:layout oci-archive:lost.tar
    skopeo inspect oci-archive:lost.tar >/dev/null
    assert_equal "$(artifacts two via/lost)" ''
}

@test "mirror takes the tables along" {
    printf 'mirrors:\n  - source: %s/base/parent\n    target: %s/mirrored/parent\n    tags: ["1"]\n' "$reg" "$two" >spec.yaml
    cbpush mirror run spec.yaml >/dev/null 2>mirror.log || rig_fail "$(cat mirror.log)"
    builds_there mirrored/parent:1
    registry_forget two
    cbpush mirror run spec.yaml >/dev/null 2>mirror.log
    assert_equal "$(registry_requests two ' /v2/mirrored/.*cbpush/' | grep -cv '"HEAD ' || :)" 0
}

# ---- what is sent

# The requests for one repository, from the one that matches on.
tail_of()
{
    registry_requests reg " /v2/$1/.*cbpush/" | sed -n "/$2/,\$p"
}

@test "a layer that was made just now goes at once: its upload is open, and nobody looks for it first" {
    local digest tail
    onto parent:1 'COPY file /app/'
    cbpush build --toc=false --push "$reg/test/tail:1" ctx 2>build.log
    digest=$(raw_manifest reg test/tail 1 | jq -r '.layers[-1].digest')
    tail=$(tail_of test/tail "PUT .*digest=${digest/:/%3A}")
    assert_contains "$tail" "HEAD /v2/test/tail/blobs/$digest " # that it was kept
    assert_contains "$(tail -n 1 <<<"$tail")" 'PUT /v2/test/tail/manifests/1 '
    # The layer's upload is open by then. So is the config's, mostly: both are asked for side by side.
    assert_equal "$(registry_requests reg '"POST /v2/test/tail/blobs/uploads/ HTTP' | count)" 2
    [ "$(grep -c '/blobs/uploads/ HTTP' <<<"$tail")" -le 1 ]
    assert_equal "$(registry_requests reg "HEAD /v2/test/tail/blobs/$digest " | count)" 1
    # No upload is left open.
    assert_equal "$(registry_requests reg '"POST /v2/test/tail/.* 202 ' | count)" \
        "$(registry_requests reg '"(PUT|DELETE) /v2/test/tail/blobs/uploads/.* 20[14] ' | count)"
}

@test "the parent's layers are mounted before the first byte of a new one is sent" {
    local log
    head -c 20000000 /dev/urandom >ctx/large
    onto parent:1 'COPY large /app/'
    cbpush build --limit-rate 8M --push "$reg/test/early:1" ctx 2>build.log
    log=$(registry_requests reg '"(POST /v2/test/early/.*mount=.* 201|PUT /v2/test/early/.* 201) ' | sed 's/ HTTP.*//; s/.*"//')
    refute_contains "$(sed -n '/digest=/,$p' <<<"$log" | grep -v base%2Fparent || :)" mount
    assert_equal "$(grep -c 'from=base%2Fparent' <<<"$log")" 10 # and their tables
}

@test "the first build on a machine mounts its parent's layers before it has read its context" {
    truncate -s 400M ctx/hole
    onto parent:1 'COPY hole /app/'
    cbpush build --toc=false --push "$reg/test/zero:1" ctx 2>build.log
    assert_equal "$(registry_requests reg '"POST /v2/test/zero/' | sed '/uploads\/ HTTP/,$d' | grep -c 'from=base%2Fparent')" 5
}

@test "a large one that is there all the same is not sent to its end" {
    head -c 20000000 /dev/urandom >ctx/large
    onto parent:1 'COPY large /app/'
    cbpush build --push "$reg/test/again:1" ctx 2>build.log
    registry_forget reg
    CBPUSH_ROOT=$PWD/second cbpush build --limit-rate 4M --push "$reg/test/again:2" --metadata-file metadata.json ctx 2>build.log
    assert_equal "$(metadata '[.["cbpush.pushed"][] | select(.size > 10000000).outcome]')" '["present"]'
    assert_equal "$(digest_of_app reg test/again:1)" "$(digest_of_app reg test/again:2)"
    assert_equal "$(registry_requests reg '"PUT /v2/test/again/blobs/.* 201 [0-9]+ ' | grep -c "$(metadata -r '.["cbpush.pushed"][] | select(.size > 10000000).digest | sub(":"; "%3A")')" || :)" 0
}

# ---- what cannot be used

@test "a table that is not there, or not as the manifest says, is none: the layer is read, and the image is the same" {
    local case digest
    onto plain:1 'COPY --chown=alice file /short/'
    build --toc=false 2>build.log
    digest=$(digest_of_app)
    for case in gone size huge words garbage escape absolute count future none; do
        lie "bad-$case" "$case" 2
        registry_forget reg
        onto "parent:bad-$case" 'COPY --chown=alice file /short/'
        CBPUSH_ROOT=$PWD/$case cbpush build --progress plain --toc=false --push "$reg/test/$case:1" ctx 2>build.log ||
            rig_fail "$case: $(cat build.log)"
        assert_equal "$(layer_gets reg base/parent 1 | count)" 1 "$case"
        assert_equal "$(raw_manifest reg "test/$case" 1 | jq -c '[.layers[].digest]')" \
            "$(raw_manifest reg test/app 1 | jq -c '[.layers[].digest]')" "$case"
    done
}

@test "a lie serves who builds on the liar alone: nothing of it stays" {
    lie lying link 3
    onto parent:lying 'COPY file /app/'
    cbpush build --push "$reg/test/fooled:1" ctx 2>build.log
    assert_contains "$(registry_curl reg "/v2/test/fooled/blobs/$(raw_manifest reg test/fooled 1 | jq -r '.layers[-1].digest')" \
        -o - | head -c -5 | tar -tzf - 2>/dev/null)" elsewhere/file
    # The same store, the same diff ids, the same step.
    onto plain:1 'COPY file /app/'
    built
    cmp ctx/file "$rootfs/app/file"
    [ ! -e "$rootfs/elsewhere" ]
    onto parent:1 'COPY file /app/'
    built
    cmp ctx/file "$rootfs/app/file"
    [ ! -e "$rootfs/elsewhere" ]
}

@test "two parents of one build that contradict each other are both not believed" {
    local one
    lie lying2 link 3
    for one in lying2 1; do
        printf 'FROM %s/base/parent:%s AS one\nCOPY file /app/\nFROM %s/base/parent:%s\nCOPY file /app/\nCOPY --from=one /app/file /from\n' \
            "$reg" "$one" "$reg" "$(sed 's/1/x/; s/lying2/1/; s/x/lying2/' <<<"$one")" >ctx/Dockerfile
        export CBPUSH_ROOT=$PWD/$one
        built
        cmp ctx/file "$rootfs/app/file"
        cmp ctx/file "$rootfs/from"
        [ ! -e "$rootfs/elsewhere" ]
    done
}

@test "whoever reads the layer compares: a table of another layer is found out, and both are named" {
    local said
    lie swapped other 2
    said=$(raw_manifest reg base/parent swapped | jq -r '.layers[2].annotations["vnd.cbpush.toc.digest"]')
    onto parent:swapped 'COPY file /data/x' "COPY --from=$reg/base/parent:swapped /etc/passwd /got"
    run build
    assert_status 7
    assert_contains "$output" "$said"
    assert_contains "$output" "$(raw_manifest reg base/parent 1 | jq -r '.layers[2].annotations["vnd.cbpush.toc.digest"]')"
}
