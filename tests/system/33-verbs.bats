#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The verbs that ask a registry: what they print is what skopeo and curl see, what they change is what was meant.

load helpers

OCI_MANIFEST=application/vnd.oci.image.manifest.v1+json
OCI_INDEX=application/vnd.oci.image.index.v1+json

setup_file()
{
    rig_setup_file
    registry_start plain
    registry_start --auth-token --user alice:s3cret:with:colons --reader bob:readonly --anonymous 'public/*' tokens
    push_busybox plain team/box:1
    push_busybox tokens team/box:1
}

setup()
{
    rig_setup
    registry_forget plain
    registry_forget tokens
    plain=$(registry_addr plain)
    tokens=$(registry_addr tokens)
    docker_config "$tokens" alice:s3cret:with:colons
}

# get PATH [ARG…]: body from the plain registry, by curl.
get()
{
    curl -sSf --max-time 20 -H "Accept: $OCI_MANIFEST" -H "Accept: $OCI_INDEX" "${@:2}" "http://$plain$1"
}

status_of()
{
    curl -sS --max-time 20 -o /dev/null -w '%{http_code}' -H "Accept: $OCI_MANIFEST" -H "Accept: $OCI_INDEX" "${@:2}" "http://$plain$1"
}

skopeo_digest()
{
    registry_skopeo "$1" inspect --format '{{.Digest}}' "docker://$(registry_addr "$1")/$2"
}

sha256_of()
{
    printf 'sha256:%s\n' "$(sha256sum "$@" | cut -d ' ' -f 1)"
}

# artifact SUBJECT-DIGEST TYPE: a manifest that refers to it; its blob has to be there.
artifact()
{
    printf '{"schemaVersion":2,"mediaType":"%s","artifactType":"%s","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}],"subject":{"mediaType":"%s","digest":"%s","size":7},"annotations":{"n":"%s"}}' \
        "$OCI_MANIFEST" "$2" "$OCI_MANIFEST" "$1" "${3-1}"
}

# ---- lists

@test "tags are those that skopeo lists, one a line or as JSON" {
    local i
    cbpush manifest get "$tokens/team/box:1" >m
    for i in 2 3 latest v1.0_x; do
        assert_equal "$(cbpush manifest put "$tokens/team/box:$i" m)" "$(sha256_of m)"
    done
    registry_skopeo tokens list-tags "docker://$tokens/team/box" >judge.json
    assert_equal "$(cbpush tags "$tokens/team/box")" "$(jq -r '.Tags[]' judge.json)"
    assert_equal "$(cbpush list-tags --json "docker://$tokens/team/box" | jq -S .)" "$(jq -S . judge.json)"
    assert_equal "$(cbpush tags -n 2 "$tokens/team/box" | wc -l)" 2
    run cbpush tags "$tokens/team/none"
    assert_status 4
    # Nothing is better than half an object.
    run --separate-stderr cbpush tags --json "$tokens/team/none"
    assert_status 4
    assert_equal "$output" ''
    run cbpush tags "$tokens/team/box:1"
    assert_status 2
    # A reader that has seen enough ends it.
    run timeout 20 bash -c "'$CBPUSH' tags '$tokens/team/box' | head -n 1"
    assert_equal "$output" "$(jq -r '.Tags[0]' judge.json)"
}

@test "crane's options of lists: --full-ref, --omit-digest-tags" {
    local digest tag ref
    push_busybox plain full/box:1
    cbpush manifest get "$plain/full/box:1" >m
    digest=$(sha256_of m)
    tag=${digest/:/-}.sig
    cbpush manifest put "$plain/full/box:$tag" m
    assert_equal "$(cbpush tags --full-ref "$plain/full/box" | sort)" "$plain/full/box:1"$'\n'"$plain/full/box:$tag"
    assert_equal "$(cbpush tags -O "$plain/full/box")" 1
    assert_equal "$(cbpush tags --json --omit-digest-tags "$plain/full/box" | jq -c .Tags)" '["1"]'
    ref=$(cbpush catalog --full-ref "$plain" | grep '/full/')
    assert_equal "$ref" "$plain/full/box"
    run cbpush tags --full-ref --json "$plain/full/box"
    assert_status 2
    run cbpush tags -n 1 --omit-digest-tags "$plain/full/box"
    assert_status 2
}

@test "catalog goes on page by page" {
    local i all
    for i in a b/c d; do push_busybox tokens "cat/$i:1"; done
    all=$(cbpush catalog "$tokens")
    assert_equal "$all" "$(printf 'cat/%s\n' a b/c d; echo team/box)"
    registry_forget tokens
    assert_equal "$(cbpush catalog --page 3 "$tokens/")" "$all"
    assert_equal "$(registry_requests tokens '"GET /v2/_catalog.* 200 ' | wc -l)" 2
    assert_contains "$(token_requests tokens)" '"registry:catalog:*"'
    assert_equal "$(cbpush catalog --last cat/a --limit 2 "$tokens")" "$(printf 'cat/b/c\ncat/d')"
    assert_equal "$(cbpush catalog --json "$tokens" | jq -c .repositories)" "$(jq -Rnc '[inputs]' <<<"$all")"
}

# ---- what is there

@test "digest, manifest and config are byte for byte what skopeo sees" {
    local ref=$tokens/team/box:1 digest
    digest=$(skopeo_digest tokens team/box:1)
    assert_equal "$(cbpush digest "$ref")" "$digest"
    assert_equal "$(registry_requests tokens '"GET /v2/team/.*cbpush' | wc -l)" 0 # a HEAD
    assert_equal "$(cbpush digest --full-ref "$ref")" "$tokens/team/box@$digest"
    assert_equal "$(cbpush manifest head "$ref")" "$digest"
    assert_equal "$(cbpush digest --json "$ref" | jq -r .digest)" "$digest"
    registry_skopeo tokens inspect --raw "docker://$ref" >raw
    cbpush manifest get "$ref" | cmp - raw
    cbpush manifest "$tokens/team/box@$digest" -o out
    cmp out raw
    registry_skopeo tokens inspect --raw --config "docker://$ref" >raw
    cbpush config "docker://$ref" | cmp - raw
    cbpush config -o out "$ref"
    cmp out raw
}

@test "of an index, the platform that is asked for" {
    local amd arm index
    cbpush manifest get "$plain/team/box:1" >m
    cbpush config "$plain/team/box:1" | jq -c '.architecture = "arm64"' >config
    cbpush blob put "$plain/team/box" config >config.digest
    jq -c --arg d "$(cat config.digest)" --argjson n "$(stat -c %s config)" \
        '.config.digest = $d | .config.size = $n' m >m.arm
    amd=$(sha256_of m)
    arm=$(cbpush manifest put "$plain/team/box@$(sha256_of m.arm)" m.arm)
    jq -nc --arg amd "$amd" --arg arm "$arm" --arg t "$OCI_MANIFEST" --arg i "$OCI_INDEX" \
        --argjson na "$(stat -c %s m)" --argjson nb "$(stat -c %s m.arm)" \
        '{schemaVersion: 2, mediaType: $i, manifests: [
           {mediaType: $t, digest: $amd, size: $na, platform: {os: "linux", architecture: "amd64"}},
           {mediaType: $t, digest: $arm, size: $nb, platform: {os: "linux", architecture: "arm64"}}]}' >index
    index=$(cbpush manifest put "$plain/team/box:multi" <index)
    assert_equal "$index" "$(sha256_of index)"
    get /v2/team/box/manifests/multi | cmp - index
    assert_equal "$(cbpush digest "$plain/team/box:multi")" "$index"
    assert_equal "$(cbpush digest --platform linux/arm64 "$plain/team/box:multi")" "$arm"
    cbpush manifest get --platform linux/arm64 "$plain/team/box:multi" | cmp - m.arm
    cbpush config --platform linux/arm64 "$plain/team/box:multi" | cmp - config
    run cbpush digest --platform linux/riscv64 "$plain/team/box:multi"
    assert_status 5
    assert_contains "$output" 'it has linux/amd64, linux/arm64'
    assert_equal "$(registry_skopeo plain inspect --format '{{.Digest}}' "docker://$plain/team/box@$arm")" "$arm"
    # What is no index is taken as it is, with a warning.
    cbpush pull --platform linux/s390x "$plain/team/box@$arm" 2>log
    assert_contains "$(cat log)" "is for linux/arm64, not linux/s390x"
    cbpush pull --platform linux/arm64 "$plain/team/box@$arm" 2>log
    refute_contains "$(cat log)" warning
}

# ---- what is put

@test "manifest put refuses what is no manifest, and what its name does not say" {
    cbpush manifest get "$plain/team/box:1" | jq -c --arg t "$OCI_MANIFEST" '.mediaType = $t' >m
    printf '{"schemaVersion":2' >broken
    printf '{"schemaVersion":2,"config":{},"manifests":[]}' >twofold
    printf '[]' >list
    for file in broken twofold list; do
        run cbpush manifest put "$plain/team/box:bad" "$file"
        assert_status 7
        assert_contains "$output" "$file"
    done
    run cbpush manifest put "$plain/team/box@sha256:$(printf '0%.0s' {1..64})" m
    assert_status 7
    run cbpush manifest put --media-type application/x "$plain/team/box:bad" m
    assert_status 7
    run cbpush manifest put "$plain/team/box:bad" none
    assert_status 5
    run cbpush manifest putt "$plain/team/box:bad" m
    assert_status 2
    assert_contains "$output" 'did you mean put?'
    assert_equal "$(registry_requests plain '"PUT ')" ''
    assert_equal "$(status_of /v2/team/box/manifests/bad)" 404
}

@test "blobs go and come verified, by file and by stream" {
    local digest wrong
    head -c 3000000 /dev/urandom >big
    digest=$(sha256_of big)
    assert_equal "$(cbpush blob put "$plain/team/box" big)" "$digest"
    assert_equal "$(cat big | cbpush blob put "$plain/other@$digest")" "$digest"
    get "/v2/other/blobs/$digest" | cmp - big
    assert_equal "$(cbpush blob head "$plain/other@$digest")" 3000000
    assert_equal "$(cbpush blob head --json "$plain/other@$digest" | jq -c '[.digest, .size]')" "[\"$digest\",3000000]"
    cbpush blob get "$plain/other@$digest" | cmp - big
    cbpush blob get -o out "$plain/other@$digest"
    cmp out big
    wrong=sha256:$(printf '1%.0s' {1..64})
    run cbpush blob put "$plain/other@$wrong" big
    assert_status 7
    assert_contains "$output" "$digest"
    run cbpush blob get "$plain/other@$wrong"
    assert_status 4
    run cbpush blob head "$plain/other@$wrong"
    assert_status 4
    assert_equal "$(cbpush blob put --json "$plain/other" big | jq -c '[.digest, .size]')" "[\"$digest\",3000000]"
    assert_equal "$(cbpush blob delete --json "$plain/other@$digest" | jq -r .deleted)" "$plain/other@$digest"
    assert_equal "$(status_of "/v2/other/blobs/$digest")" 404
    run cbpush blob delete "$plain/other@$digest"
    assert_status 4
    run -2 cbpush blob put "$plain/other" <(:)
    assert_contains "$output" '- is standard input'
    : | cbpush blob put "$plain/other" - >empty
    assert_equal "$(cat empty)" "$(sha256_of /dev/null)"
}

@test "manifest inspect is docker's word for manifest get" {
    assert_equal "$(cbpush manifest inspect "$plain/team/box:1" | sha256_of)" "$(skopeo_digest plain team/box:1)"
}

@test "a blob that does not verify leaves nothing behind" {
    local digest file
    head -c 300000 /dev/urandom >big
    digest=$(cbpush blob put "$plain/spoilt" big)
    file=$(rig_find plain)/storage/docker/registry/v2/blobs/sha256/${digest:7:2}/${digest:7}/data
    printf spoilt | dd of="$file" bs=1 seek=150000 conv=notrunc status=none
    mkdir dir
    run cbpush blob get -o dir/out "$plain/spoilt@$digest"
    assert_status 7
    assert_equal "$(ls -A dir)" ''
    run --separate-stderr bash -c "'$CBPUSH' blob get '$plain/spoilt@$digest' >piece"
    assert_status 7
}

# ---- what is deleted

@test "delete takes one tag and never its siblings, by digest all of them" {
    local digest i
    cbpush manifest get "$tokens/team/box:1" >m
    digest=$(sha256_of m)
    push_busybox tokens team/del:one
    for i in two three; do
        cbpush manifest put --json "$tokens/team/del:$i" m >put.json
        cbpush manifest head --json "$tokens/team/del:$i" | cmp - put.json
    done
    assert_equal "$(cbpush delete --json "$tokens/team/del:one" | jq -r .deleted)" "$tokens/team/del:one"
    assert_equal "$(cbpush tags "$tokens/team/del" | sort)" "$(printf 'three\ntwo')"
    assert_equal "$(skopeo_digest tokens team/del:two)" "$digest"
    run cbpush delete "$tokens/team/del:one"
    assert_status 4
    for i in "" "@$digest"; do
        run cbpush delete "$tokens/team/del${i:+:two}$i"
        assert_status 2
    done
    run cbpush manifest delete "$tokens/team/del:two"
    assert_status 2
    docker_config "$tokens" bob:readonly
    run cbpush delete "$tokens/team/del:two"
    assert_status 3
    docker_config "$tokens" alice:s3cret:with:colons
    cbpush delete "$tokens/team/del@$digest"
    run registry_skopeo tokens inspect "docker://$tokens/team/del:two"
    [ "$status" -ne 0 ]
    run cbpush delete "$tokens/team/del@$digest"
    assert_status 4
}

# ---- referrers

@test "referrers: the fallback tag is kept, read, and mended" {
    local subject tag sbom sig deep
    subject=$(cbpush digest "$plain/team/box:1")
    tag=${subject/:/-}
    printf '{}' | cbpush blob put "$plain/team/box" >/dev/null
    assert_equal "$(cbpush referrers "$plain/team/box:1")" ''
    sbom=$(artifact "$subject" application/spdx+json | cbpush manifest put "$plain/team/box:sbom")
    artifact "$subject" application/x-signature >sig.json
    sig=$(cbpush manifest put "$plain/team/box@$(sha256_of sig.json)" sig.json)
    deep=$(artifact "$sbom" application/x-signature | cbpush manifest put "$plain/team/box:deep")
    # What others find under the tag.
    get "/v2/team/box/manifests/$tag" >list
    assert_equal "$(jq -r '.mediaType, (.manifests[] | .digest, .artifactType, .annotations.n)' list)" \
        "$(printf '%s\n' "$OCI_INDEX" "$sbom" application/spdx+json 1 "$sig" application/x-signature 1)"
    assert_equal "$(jq '.manifests[1].size' list)" "$(stat -c %s sig.json)"
    assert_equal "$(cbpush referrers "$plain/team/box:1")" "$(printf '%s\n' "$sbom" "$sig")"
    assert_equal "$(cbpush referrers --artifact-type application/spdx+json "$plain/team/box:1")" "$sbom"
    assert_equal "$(cbpush referrers --json "$plain/team/box@$subject" | jq -c '[.manifests[].digest]')" "[\"$sbom\",\"$sig\"]"
    assert_equal "$(cbpush referrers --tree "$plain/team/box:1")" "$plain/team/box@$subject
├── $sbom application/spdx+json
│   └── $deep application/x-signature
└── $sig application/x-signature"
    cbpush manifest delete "$plain/team/box@$sbom"
    assert_equal "$(get "/v2/team/box/manifests/$tag" | jq -r '.manifests[].digest')" "$sig"
    cbpush delete "$plain/team/box@$sig"
    assert_equal "$(cbpush referrers "$plain/team/box:1")" ''
}

# ---- inspect

@test "inspect of a registry: what skopeo and docker users ask for" {
    local ref=$tokens/team/box:1 field
    registry_skopeo tokens inspect "docker://$ref" >judge.json
    registry_skopeo tokens inspect --raw "docker://$ref" >raw.manifest
    cbpush inspect "docker://$ref" >own.json
    for field in Name Digest Created Architecture Os Layers Labels; do
        assert_equal "$field $(jq -cS ".$field" own.json)" "$field $(jq -cS ".$field" judge.json)"
    done
    assert_equal "$(cbpush inspect --remote --format '{{.Name}}@{{.Digest}}' "$ref")" \
        "$(registry_skopeo tokens inspect --format '{{.Name}}@{{.Digest}}' "docker://$ref")"
    registry_skopeo tokens inspect --config --raw "docker://$ref" >config
    assert_equal "$(cbpush inspect -f '{{json .Config}}' "docker://$ref" | jq -S .)" "$(jq -S .config config)"
    assert_equal "$(cbpush inspect -f '{{index .RootFS.Layers 0}}' "docker://$ref")" "$(jq -r '.rootfs.diff_ids[0]' config)"
    assert_equal "$(cbpush inspect -n -f '{{join .Config.Env "\n"}}' "docker://$ref")" "$(jq -r '.config.Env // [] | .[]' config)"
    # What the image does not say is nothing, and no mistake of who asks.
    assert_equal "$(cbpush inspect -f '{{.Os}}/{{.Architecture}}/{{.Variant}}<{{.Author}}{{.Comment}}{{.OsVersion}}>' "docker://$ref")" \
        "linux/$(jq -r .architecture config)/<>"
    assert_equal "<$(cbpush inspect -f '{{.DockerVersion}}' "docker://$ref")>" \
        "<$(registry_skopeo tokens inspect --format '{{.DockerVersion}}' "docker://$ref")>"
    assert_equal "$(cbpush inspect -f '{{.ID}} {{.Index}}' "docker://$ref")" "$(jq -r .config.digest raw.manifest) <no value>"
    cbpush inspect --config "docker://$ref" | cmp - config
    cbpush inspect --raw "docker://$ref" | cmp - <(registry_skopeo tokens inspect --raw "docker://$ref")
    # Templates that people have for docker and skopeo, which is Go's engine.
    local template
    for template in '{{range .Layers}}{{println .}}{{end}}' '{{range $i, $e := .Env}}{{if $i}}, {{end}}{{$e}}{{end}}' \
        '{{if .Labels}}labels{{else}}none{{end}} {{with .Os}}<{{.}}>{{end}}' '{{(index .Layers 0) | printf "%s %s" .Name}}' \
        '{{- .Os -}}  x' '{{slice .Digest 7 19}}' '{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}{{if eq .Os "linux"}}L{{end}}'; do
        assert_equal "$(cbpush inspect -f "$template" "docker://$ref")" \
            "$(registry_skopeo tokens inspect --format "$template" "docker://$ref")" "$template"
    done
    run cbpush inspect -f '{{template "x"}}' "docker://$ref"
    assert_status 2
    assert_contains "$output" 'is not done here'
    run cbpush inspect "docker://$tokens/team/box:none"
    assert_status 4
    # The store is another place, and is told apart.
    run cbpush inspect "$ref"
    assert_status 5
    assert_contains "$output" "docker://$ref asks the registry"
    cb_quietly pull cbpush pull "$ref"
    assert_equal "$(cbpush inspect "$ref" | jq -cS 'del(.Name, .RepoTags, .RepoDigests)')" \
        "$(jq -cS 'del(.Name)' own.json)"
    assert_equal "$(cbpush inspect -f '{{.Digest}}' "$ref")" "$(jq -r .Digest judge.json)"
}

@test "inspect of an artifact that is no image, and of an index" {
    local digest
    printf '{}' | cbpush blob put "$plain/team/box" >/dev/null
    digest=$(artifact "$(cbpush digest "$plain/team/box:1")" application/x | cbpush manifest put "$plain/team/box:artifact")
    assert_equal "$(cbpush inspect -f '{{.Digest}} {{.Config}} {{len .Layers}}' "docker://$plain/team/box:artifact")" "$digest <no value> 1"
    cbpush manifest get "$plain/team/box:1" >m
    jq -nc --arg d "$(sha256_of m)" --argjson n "$(stat -c %s m)" --arg t "$OCI_MANIFEST" --arg i "$OCI_INDEX" \
        '{schemaVersion: 2, mediaType: $i, manifests: [{mediaType: $t, digest: $d, size: $n}]}' >index
    cbpush manifest put "$plain/team/box:list" index >index.digest
    assert_equal "$(cbpush inspect "docker://$plain/team/box:list" | jq -r '.Digest, .Index.manifests[0].digest, .LayersData[0].Size')" \
        "$(cat index.digest; sha256_of m; jq -r '.layers[0].size' m)"
    cbpush inspect --raw "docker://$plain/team/box:list" | cmp - index
    cbpush inspect --raw --platform linux/amd64 "docker://$plain/team/box:list" | cmp - m
}

# ---- the rest

@test "ping, and exit codes that tell what is wrong" {
    assert_equal "$(cbpush ping "$plain")" "http://$plain/v2/"
    assert_equal "$(cbpush ping --json "$tokens" | jq -r .url)" "http://$tokens/v2/"
    docker_config "$tokens" alice:canary
    run cbpush ping "$tokens"
    assert_status 3
    refute_contains "$output" canary
    run cbpush tags "$tokens/team/box"
    assert_status 3
    run cbpush ping --retry 0 127.0.0.1:1
    assert_status 4
    run cbpush ping not/a/host
    assert_status 2
    run cbpush digest oci:some/dir:1
    assert_status 2
    # What is no reference but a place or a URL is told so, and what to write.
    local words
    for words in 'digest store:team/box:1' 'ls oci:some/dir' 'export docker-archive:x.tar' 'run oci:some/dir true' \
        'run store:team/box:1 true' "mutate -l a=b -t dir:some/dir $plain/team/box:1"; do
        # shellcheck disable=SC2086 # words
        run -2 cbpush $words
        assert_contains "$output" 'cbpush copy SRC DST' "$words"
    done
    for words in digest ls 'run' pull 'validate --fast'; do
        # shellcheck disable=SC2086 # words
        run -2 cbpush $words "https://$plain/team/box:1"
        assert_contains "$output" 'without https://' "$words"
    done
    run -5 cbpush inspect store:team/box:1
    assert_contains "$output" 'write team/box:1'
    assert_equal "$(cbpush run "docker://$plain/team/box:1" echo it runs)" 'it runs'
    assert_contains "$(cbpush mutate -l a=b -t "docker://$plain/team/box:edited" "docker://$plain/team/box:1")" "$plain/team/box@"
    run cbpush manifest
    assert_status 2
    run cbpush blob get "$plain/team/box:1"
    assert_status 2
    local verb
    for verb in tags catalog digest config manifest 'manifest put' blob 'blob get' referrers delete ping; do
        # shellcheck disable=SC2086 # two words
        run --separate-stderr cbpush $verb --help
        assert_status 0
        assert_contains "$output" "cbpush $verb"
    done
}

@test "an option before the second word is told where it goes" {
    run cbpush manifest -D get "$(registry_addr plain)/x:1"
    assert_status 2
    assert_contains "$output" 'options stand behind "get": cbpush manifest get -D'
}
