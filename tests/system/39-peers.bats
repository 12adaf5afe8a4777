#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# crane, skopeo and oras read what cbpush writes, and cbpush what they write; at Distribution 3, and with lists of referrers
# at olareg.

load helpers
load uploads
load peers

setup_file()
{
    rig_setup_file
    peers_setup_file
    [ -n "${PEERS_DIR-}" ] || return 0
    registry_start --v3 three
    olareg_start olareg
    python3 -B "$RIG_HERE/make_layout.py" "$BATS_FILE_TMPDIR/things" >"$BATS_FILE_TMPDIR/digests"
    mkdir "$BATS_FILE_TMPDIR/ctx"
    echo hello >"$BATS_FILE_TMPDIR/ctx/hello"
    printf 'FROM scratch\nCOPY hello /\nENV A=b\n' >"$BATS_FILE_TMPDIR/ctx/Dockerfile"
}

setup()
{
    rig_setup
    needs_peers
    three=$(registry_addr three)
    olareg=$(registry_addr olareg)
    things=$BATS_FILE_TMPDIR/things
}

digest_of()
{
    awk -v name="$1" '$1 == name { print $2 }' "$BATS_FILE_TMPDIR/digests"
}

# tagged LAYOUT TAG: the digest that it has under a tag.
tagged()
{
    jq -r --arg tag "$2" '.manifests[] | select(.annotations["org.opencontainers.image.ref.name"] == $tag).digest' \
        "$1/index.json"
}

@test "what cbpush copies: crane, oras and skopeo find the same digests, and all of it whole" {
    local tag addr
    for addr in "$three" "$olareg"; do
        for tag in multi plain sha512 empty artifact; do
            cbpush copy -q --referrers "oci:$things:$tag" "$addr/ours/app:$tag" >digest
            assert_equal "$(cat digest)" "$(digest_of "$tag")" "$tag"
            assert_equal "$(crane digest "$addr/ours/app:$tag")" "$(digest_of "$tag")" "crane $tag"
            # crane knows no sha512, and Distribution names what it has by sha256, which oras then refuses.
            [ "$tag" != sha512 ] || [ "$addr" = "$olareg" ] || continue
            # Every digest and size below it is checked on the way.
            oras cp --no-tty "$addr/ours/app:$tag" --to-oci-layout "oras:$tag" >oras.log
            assert_equal "$(tagged oras "$tag")" "$(digest_of "$tag")" "oras $tag"
            [ "$tag" = sha512 ] && continue
            crane pull --annotate-ref --format oci "$addr/ours/app:$tag" crane 2>crane.log
            assert_equal "$(tagged crane "$addr/ours/app:$tag")" "$(digest_of "$tag")" "crane $tag"
        done
        skopeo copy -q --all --src-tls-verify=false "docker://$addr/ours/app:multi" dir:skopeo
        crane validate --remote "$addr/ours/app:plain" 2>crane.log
        assert_equal "$(crane ls "$addr/ours/app" | sort)" "$(cbpush tags "$addr/ours/app" | sort)"
        rm -rf oras crane skopeo
    done
}

@test "what cbpush builds, with gzip, zstd and not at all: valid to crane, whole to oras and skopeo" {
    local format
    # Something of its own each time: a layer that is there already stays compressed as it was.
    for format in gzip zstd uncompressed; do
        cbpush build -q --push "$three/built/app:$format" --compression-format "${format/uncompressed/none}" \
            --platform linux/amd64,linux/arm64 --no-cache "$BATS_FILE_TMPDIR/ctx" >/dev/null
        cbpush digest "$three/built/app:$format" >built.digest
        assert_equal "$(crane digest "$three/built/app:$format")" "$(cat built.digest)" "$format"
        # Of layers it takes gzip for granted.
        [ "$format" != gzip ] || crane validate --remote "$three/built/app:gzip" 2>crane.log
        oras cp --no-tty "$three/built/app:$format" --to-oci-layout "built:$format" >oras.log
        assert_equal "$(tagged built "$format")" "$(cat built.digest)" "$format"
        skopeo copy -q --all --src-tls-verify=false "docker://$three/built/app:$format" "dir:$format"
        assert_equal "$(crane export --platform linux/arm64 "$three/built/app:$format" - | tar -xO hello)" hello "$format"
    done
}

@test "what cbpush attests: crane and oras take the image, skopeo copies it all, and it is found as buildx finds it" {
    local addr entry
    for addr in "$three" "$olareg"; do
        cbpush build --provenance=mode=max --platform linux/amd64,linux/arm64 --push "$addr/attested:1" "$BATS_FILE_TMPDIR/ctx"
        crane manifest "$addr/attested:1" >index.json
        assert_equal "$(crane digest --platform linux/arm64 "$addr/attested:1")" "$(jq -r '.manifests[1].digest' index.json)"
        assert_equal "$(crane export --platform linux/amd64 "$addr/attested:1" - | tar -xO hello)" hello
        entry=$(jq -r '.manifests[0].digest as $of | .manifests[] | select(.annotations["vnd.docker.reference.digest"] == $of).digest' index.json)
        oras blob fetch --plain-http --output - "$addr/attested@$(crane manifest "$addr/attested@$entry" | jq -r '.layers[0].digest')" >statement
        assert_equal "$(jq -r '.predicate.runDetails.metadata.cbpush_metadata.layers.step0[0].digest' statement)" \
            "$(crane manifest --platform linux/amd64 "$addr/attested:1" | jq -r '.layers[0].digest')"
        skopeo copy -q --all --src-tls-verify=false "docker://$addr/attested:1" oci:attested:1
        grep -q slsa.dev/provenance/v1 attested/blobs/sha256/*
        rm -r attested
    done
}

@test "what crane writes, cbpush reads: images, layers upon them, changed ones, indexes" {
    local name
    tar -C "$BATS_FILE_TMPDIR/ctx" -cf layer.tar hello
    cbpush copy -q "oci:$things:multi" "$three/crane/app:multi"
    cbpush copy -q "oci:$things:plain" "$three/crane/app:plain"
    crane append --base "$three/crane/app:plain" --new_layer layer.tar --new_tag "$three/crane/app:appended" 2>crane.log
    crane append --oci-empty-base --new_layer layer.tar --new_tag "$three/crane/app:new" 2>crane.log
    crane append --new_layer layer.tar --new_tag "$three/crane/app:docker" 2>crane.log
    crane mutate --label a=b --tag "$three/crane/app:labelled" "$three/crane/app:new" 2>crane.log
    crane index append -m "$three/crane/app:new" -m "$three/crane/app:plain" --tag "$three/crane/app:index" 2>crane.log
    crane copy "$three/crane/app:multi" "$olareg/crane/app:copied" 2>crane.log
    crane pull --format oci "$three/crane/app:multi" layout 2>crane.log
    crane push --index layout "$olareg/crane/app:pushed" 2>crane.log
    for name in "$three/crane/app:"{appended,new,docker,labelled,index} "$olareg/crane/app:"{copied,pushed}; do
        cbpush validate "$name"
        cbpush copy -q "$name" "oci:back:${name##*:}" >digest
        assert_equal "$(cat digest)" "$(crane digest "$name")" "$name"
    done
    assert_equal "$(crane digest "$olareg/crane/app:copied")" "$(digest_of multi)"
    # Built upon it is what has a history of one layer of three.
    printf 'FROM %s\nCOPY hello /two\n' "$three/crane/app:appended" >"$BATS_FILE_TMPDIR/ctx/From"
    cbpush build -q -f "$BATS_FILE_TMPDIR/ctx/From" --push "$three/crane/app:built" "$BATS_FILE_TMPDIR/ctx" >/dev/null
    assert_equal "$(crane config "$three/crane/app:built" | jq '[.history[] | select(.empty_layer | not)] | length')" 4
    cbpush mutate --label a=b "$three/crane/app:appended" -t "$three/crane/app:mutated" >/dev/null
    crane validate --remote "$three/crane/app:mutated" 2>crane.log
    cbpush rebase "$three/crane/app:appended" --old-base "$three/crane/app:plain" --new-base "$three/crane/app:new" \
        -t "$three/crane/app:rebased" >/dev/null
    assert_equal "$(crane config "$three/crane/app:rebased" | jq -c '[(.rootfs.diff_ids | length), .history]')" '[2,null]'
    assert_equal "$(cbpush export "$three/crane/app:appended" | tar -xO hello)" hello
    assert_equal "$(cbpush config "$three/crane/app:labelled" | jq -r .config.Labels.a)" b
}

@test "artifacts and referrers of oras and of cbpush: each finds the other's, by tag and by list" {
    local addr subject theirs ours
    printf 'a: b\n' >sbom.yaml
    for addr in "$three" "$olareg"; do
        oras push --no-tty "$addr/oras/app:thing" --artifact-type application/vnd.example.thing sbom.yaml:text/yaml >oras.log
        cbpush copy -q "$addr/oras/app:thing" oci:back:thing >digest
        assert_equal "$(cat digest)" "$(oras resolve "$addr/oras/app:thing")"
        assert_contains "$(cat "back/blobs/sha256/$(sha256sum <sbom.yaml | cut -c1-64)")" 'a: b'
        oras cp --no-tty --concurrency 1 -r --from-oci-layout "$things:plain" "$addr/oras/app:1" >oras.log
        subject=$(cbpush digest "$addr/oras/app:1")
        assert_equal "$subject" "$(digest_of plain)"
        # The layout's own SBOM refers to it, too.
        oras attach --no-tty "$addr/oras/app:1" --artifact-type application/vnd.example.theirs sbom.yaml >oras.log
        theirs=$(sed -n 's/^Digest: //p' oras.log)
        cbpush attach --artifact-type application/vnd.example.ours "$addr/oras/app:1" sbom.yaml:text/yaml >ours
        ours=$(sed 's/.*@//' ours)
        oras discover --format json "$addr/oras/app@$subject" | jq -r '.referrers[].digest' | sort >found
        assert_equal "$(cat found)" "$(printf '%s\n' "$theirs" "$ours" "$(digest_of sbom)" | sort)" "$addr"
        assert_equal "$(cbpush referrers "$addr/oras/app:1" | sort)" "$(cat found)" "$addr"
        assert_equal "$(cbpush referrers --artifact-type application/vnd.example.theirs "$addr/oras/app:1")" "$theirs"
        oras pull --no-tty -o "pulled" "$addr/oras/app@$theirs" >oras.log
        cmp pulled/sbom.yaml sbom.yaml
        # And all of it at once, from one to the other and back.
        cbpush copy -q --referrers "$addr/oras/app:1" "$addr/copied/app:1"
        assert_equal "$(oras discover --format json "$addr/copied/app:1" | jq -r '.referrers[].digest' | sort)" "$(cat found)"
        # One at a time: olareg loses referrers that come side by side.
        oras cp --no-tty --concurrency 1 -r "$addr/copied/app:1" "$addr/again/app:1" >oras.log
        assert_equal "$(cbpush referrers "$addr/again/app:1" | sort)" "$(cat found)"
    done
}

@test "mirror from a registry that lists referrers: those of the parts of an index too, when they come later" {
    local part theirs ours
    printf 'a: b\n' >sbom.yaml
    part=$(jq -r '.manifests[1].digest' "$things/blobs/$(digest_of multi | tr : /)")
    cbpush copy -q "oci:$things:multi" "$olareg/mirror/source:1"
    printf 'mirrors:\n  - source: %s/mirror/source\n    target: %s/mirror/target\n' "$olareg" "$three" >spec.yaml
    cbpush mirror run -q spec.yaml
    oras attach --no-tty "$olareg/mirror/source@$part" --artifact-type application/vnd.example.part sbom.yaml >oras.log
    theirs=$(sed -n 's/^Digest: //p' oras.log)
    oras attach --no-tty "$olareg/mirror/source@$theirs" --artifact-type application/vnd.example.counter sbom.yaml >oras.log
    ours=$(sed -n 's/^Digest: //p' oras.log)
    { cat spec.yaml; echo '    referrers: top'; } >top.yaml
    cbpush mirror run -q top.yaml >done
    assert_equal "$(cat done)" ''
    cbpush mirror run -q spec.yaml >done
    assert_equal "$(cat done)" "referrers $(digest_of multi) $three/mirror/target:1"
    # oras finds them where nothing but tags lists them.
    assert_equal "$(oras discover --format json "$three/mirror/target@$part" | jq -r '.referrers[].digest')" "$theirs"
    assert_equal "$(oras discover --format json "$three/mirror/target@$theirs" | jq -r '.referrers[].digest')" "$ours"
    cbpush mirror run -q spec.yaml >done
    assert_equal "$(cat done)" ''
    # And back, to one that lists them by itself.
    cbpush copy -q --referrers "$three/mirror/target:1" "$olareg/mirror/back:1"
    assert_equal "$(oras discover --format json "$olareg/mirror/back@$part" | jq -r '.referrers[].digest')" "$theirs"
    refute_contains "$(cbpush tags "$olareg/mirror/back")" sha256-
}

@test "Distribution 3 with tokens: login, build and push, pull, copy, tags, delete" {
    registry_start --v3 --tls --auth-token --user up:secret tokens
    local addr
    addr=$(registry_addr tokens)
    export SSL_CERT_FILE
    SSL_CERT_FILE=$(rig_ca)
    echo secret | cbpush login -u up --password-stdin "$addr"
    cbpush build -q --push "$addr/team/app:1" "$BATS_FILE_TMPDIR/ctx" --metadata-file metadata.json
    # What login kept is what others read.
    assert_equal "$(crane digest "$addr/team/app:1")" "$(cbpush digest "$addr/team/app:1")"
    cbpush pull -q "$addr/team/app:1"
    cbpush copy -q --json "$addr/team/app:1" "$addr/other/app:1" >report.json
    assert_equal "$(jq -r '[.blobs[].outcome] | unique | join(" ")' report.json)" mounted
    cbpush copy -q "$addr/team/app:1" "$addr/team/app:2"
    assert_equal "$(cbpush tags "$addr/team/app" | paste -sd' ')" '1 2'
    cbpush delete "$addr/team/app:1"
    assert_equal "$(crane ls "$addr/team/app")" 2
    run cbpush copy -q --creds up:wrong "$addr/team/app:2" oci:none:1
    assert_status 3
}

@test "Distribution 3 with Basic: kill -9 in the middle of chunks, and another process ends it" {
    local name pid
    registry_start --v3 --htpasswd basic
    name=$(registry_addr basic)/chunks/app:1
    docker_config "$(registry_addr basic)" "$(registry_creds basic)"
    mkdir big
    head -c 4000000 /dev/urandom >big/big
    printf 'FROM scratch\nCOPY big /\n' >big/Dockerfile
    cbpush build -q -t big big >/dev/null
    (exec "$CBPUSH" push -q --chunk-size 512k --limit-rate 1M big "$name" 2>killed.log 3>&-) &
    pid=$!
    while rig_alive "$pid" && [ "$(registry_requests basic '"PATCH /v2/chunks/app/.* 202 ' | grep -c .)" -lt 2 ]; do
        sleep 0.02
    done
    kill -KILL "$pid"
    if wait "$pid" 2>/dev/null; then rig_fail 'it was over before'; fi
    registry_forget basic
    cbpush push --progress plain --chunk-size 512k big "$name" 2>last.log
    # Where it went on, or all of it where half a chunk was there.
    [ "$(registry_requests basic '"PATCH /v2/chunks/app/.* 202 ' | grep -c .)" -ge 2 ]
    crane validate --remote "$name" 2>crane.log
    assert_equal "$(find "$CBPUSH_ROOT/uploads" -type f 2>/dev/null)" ''
}
