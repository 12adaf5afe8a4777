#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What is attested of how an image was made: where it is stored, what it says, and what it must not say. Judged by
# skopeo and jq, which go the way that docker buildx imagetools inspect goes.

load helpers
load build
load attested
load web

setup_file()
{
    rig_setup_file
    build_setup_file
    registry_start second
}

setup()
{
    rig_setup
    build_setup
    unset CBPUSH_PROVENANCE BUILDX_METADATA_PROVENANCE
    printf 'FROM busybox\nCOPY x /\n' >ctx/Dockerfile
    echo one >ctx/x
}

# statements REFERENCE: of an index, each attestation of its images, found as buildx finds it; checked on the way.
statements()
{
    local entry manifest layer repo=${1%[@:]*}
    repo=${repo%@sha256}
    raw_at "$1" >top.json
    while read -r entry; do
        assert_equal "$(jq -c '[.platform.os, .platform.architecture, .mediaType]' <<<"$entry")" \
            '["unknown","unknown","application/vnd.oci.image.manifest.v1+json"]'
        of=$(jq -r '.annotations["vnd.docker.reference.digest"]' <<<"$entry")
        jq -e --arg of "$of" '.manifests[] | select(.digest == $of and .platform.os == "linux")' top.json >/dev/null
        manifest=$(raw_at "$repo@$(jq -r .digest <<<"$entry")")
        layer=$(jq -c '.layers[0]' <<<"$manifest")
        assert_equal "$(jq -r .mediaType <<<"$layer")" application/vnd.in-toto+json
        blob_at "$repo" "$(jq -r .digest <<<"$layer")" >statement.json
        blob_at "$repo" "$(jq -r .config.digest <<<"$manifest")" | jq -e '.os == "unknown"' >/dev/null
        assert_equal "$(jq -r '.annotations["in-toto.io/predicate-type"]' <<<"$layer")" "$(jq -r .predicateType statement.json)"
        assert_equal "$(jq -r '.subject[0].digest.sha256' statement.json)" "${of#sha256:}"
        cat statement.json
        echo
    done < <(jq -c '.manifests[] | select(.annotations["vnd.docker.reference.type"] == "attestation-manifest")' top.json)
}

# said FILTER: jq of the statement of what build pushed.
said()
{
    statements "$reg/test/app:1" | jq -cS "$@"
}

@test "off by default; on, an index with the image and what is said of it" {
    local plain with
    built
    plain=$(metadata -r '.["containerimage.digest"]')
    assert_equal "$(raw_at "$reg/test/app:1" | jq 'has("layers")')" true
    built --provenance --iidfile id --digest-file digest
    with=$(metadata -r '.["containerimage.digest"]')
    assert_equal "$(raw_at "$reg/test/app:1" | jq -c '[.mediaType, (.manifests | length), .manifests[0].digest, .manifests[0].platform.os]')" \
        "[\"application/vnd.oci.image.index.v1+json\",2,\"$plain\",\"linux\"]"
    assert_equal "$(cat digest)" "$with"
    assert_equal "$(cat id)" "$(metadata -r '.["containerimage.config.digest"]')"
    assert_equal "$(cat "$rootfs/x")" one # skopeo took the image
    assert_equal "$(said -r .predicateType)" https://slsa.dev/provenance/v1
    assert_equal "$(said -r '._type')" https://in-toto.io/Statement/v1
    assert_equal "$(cbpush imagetools inspect --format '{{.Provenance.SLSA.buildDefinition.buildType}}' "$reg/test/app:1")" \
        "$(said -r .predicate.buildDefinition.buildType)"
    assert_equal "$(said -r '.subject[].name')" "pkg:docker/$reg/test/app@1?platform=linux%2Famd64"
    assert_equal "$(said '.predicate.buildDefinition.externalParameters.configSource')" '{"path":"Dockerfile"}'
    assert_equal "$(said '.predicate.buildDefinition.externalParameters.request.locals | map(.name)')" '["context","dockerfile"]'
    assert_equal "$(said -r '.predicate.buildDefinition.resolvedDependencies[].uri')" \
        'pkg:docker/busybox@latest?platform=linux%2Famd64'
    assert_equal "$(said -r '.predicate.buildDefinition.resolvedDependencies[0].digest.sha256')" \
        "$(raw_at "$reg/library/busybox:latest" | sha256sum | cut -d' ' -f1)"
    assert_contains "$(said -r '.predicate.buildDefinition.internalParameters.compressor')" libdeflate
    assert_equal "$(said '.predicate.runDetails.metadata | [.cbpush_hermetic, .cbpush_completeness.resolvedDependencies]')" '[true,false]'
    [ "$(said -r '.predicate.runDetails.metadata.startedOn')" != null ]
}

@test "an unchanged build says the same, and sends nothing, also on another machine with a shared cache" {
    local first
    built --provenance=mode=max --cache-to "$reg/test/cache"
    first=$(metadata -r '.["containerimage.digest"]')
    registry_forget reg
    built --provenance=mode=max
    assert_equal "$(metadata -r '.["containerimage.digest"]')" "$first"
    assert_contains "$log" 'nothing to do'
    assert_equal "$(registry_requests reg '"(POST|PUT|PATCH) ' | wc -l)" 0
    CBPUSH_ROOT=$PWD/other built --provenance=mode=max --cache-from "$reg/test/cache"
    assert_equal "$(metadata -r '.["containerimage.digest"]')" "$first"
    echo two >ctx/x
    built --provenance=mode=max
    [ "$(metadata -r '.["containerimage.digest"]')" != "$first" ]
}

@test "with SOURCE_DATE_EPOCH two machines attest the same bytes" {
    local first
    SOURCE_DATE_EPOCH=1700000000 built --provenance=mode=max
    first=$(metadata -r '.["containerimage.digest"]')
    assert_equal "$(said -r '.predicate.runDetails.metadata | .startedOn, .finishedOn')" $'2023-11-14T22:13:20Z\n2023-11-14T22:13:20Z'
    SOURCE_DATE_EPOCH=1700000000 CBPUSH_ROOT=$PWD/other built --no-cache --provenance=mode=max
    assert_equal "$(metadata -r '.["containerimage.digest"]')" "$first"
}

@test "mode=max: values, the Dockerfile, the steps and their layers; mode=min none of it" {
    printf 'FROM busybox AS tools\nRUN --network=none echo tool >/t\nFROM busybox AS unused\nRUN false\nFROM busybox AS last\nARG A\nCOPY --from=tools /t /\nRUN echo $A >/a\n' >ctx/Dockerfile
    built --provenance=mode=max,builder-id=https://ci.example/run/7,reproducible=true --build-arg A=a-value --target last --label l=v
    assert_equal "$(said '.predicate.buildDefinition.externalParameters.request.args')" \
        '{"build-arg:A":"a-value","label:l":"v","platform":"linux/amd64","target":"last"}'
    assert_equal "$(said -r '.predicate.runDetails.metadata.cbpush_metadata.source.text')" "$(cat ctx/Dockerfile)"
    assert_equal "$(said '.predicate.buildDefinition.internalParameters.buildConfig.steps | map(select(.kind != "source") | [.kind, .lines[0]])')" \
        '[["run",2],["copy",7],["run",8]]'
    assert_equal "$(said '.predicate.runDetails.metadata.cbpush_metadata.layers | to_entries | map([.key, (.value | length)])')" \
        "[[\"step0\",$(raw_at "$reg/library/busybox:latest" | jq '.layers | length')],[\"step2\",1],[\"step3\",1]]"
    assert_equal "$(said -r '.predicate.runDetails.metadata.cbpush_metadata.layers.step3[0].digest')" "$(manifest -r '.layers[-1].digest')"
    assert_equal "$(said '.predicate.runDetails.metadata | [.cbpush_hermetic, .cbpush_reproducible, .cbpush_completeness.request]')" '[false,true,true]'
    assert_equal "$(said -r '.predicate.runDetails.builder.id')" https://ci.example/run/7
    built --provenance=mode=min --build-arg A=a-value --target last
    assert_equal "$(said '.predicate.buildDefinition.externalParameters.request | [.args["build-arg:A"], .buildArgNames, .secrets]')" '[null,["A"],null]'
    refute_contains "$(said .)" a-value
    refute_contains "$(said .)" 'echo tool'
    assert_equal "$(said '.predicate.runDetails.metadata.cbpush_completeness.request')" false
    built --squash --provenance=mode=max --target last
    assert_equal "$(said '.predicate.runDetails.metadata.cbpush_metadata.layers | keys')" '["step0"]'
}

@test "version=v0.2 is the older predicate" {
    built --provenance=version=v0.2,mode=max --build-arg B=1
    assert_equal "$(said -r '._type, .predicateType')" $'https://in-toto.io/Statement/v0.1\nhttps://slsa.dev/provenance/v0.2'
    assert_equal "$(said '.predicate | [.invocation.configSource.entryPoint, .invocation.parameters.args["build-arg:B"], (.materials | length),
        .metadata.completeness.parameters, (.buildConfig.steps | length)]')" '["Dockerfile","1",1,true,2]'
}

@test "no secret, no credential, no proxy and no query of a URL, in either mode" {
    local mode place
    web_start
    echo fetched >"$webroot/f"
    printf 'canary-secret' >secret
    git_make src
    cat >ctx/Dockerfile <<END
FROM busybox
ADD $web/file/f?sig=canary-query /f
ADD $web/git/src.git#main /src
RUN : https://u:canary-run@127.0.0.1/x?y=canary-run && cat /dev/null # git+https://canary-token@127.0.0.1/y
RUN --mount=type=secret,id=tok cat /run/secrets/tok >/dev/null
RUN --mount=type=secret,id=tok,env=TOK,required=true : "\$TOK"
COPY --from=named a.txt /
COPY --from=dir x /x2
END
    for mode in min max; do
        mkdir -p "canary-path/$mode"
        echo dir >"canary-path/$mode/x"
        HTTP_PROXY=http://u:canary-env@127.0.0.1:9 built --http-proxy --build-arg https_proxy=http://u:canary-proxy@127.0.0.1:9 \
            --build-arg URL=https://u:canary-value@host/?t=canary-value2 --secret id=tok,src=secret \
            --build-context "named=$web/git/src.git#v1" --build-context dir="$PWD/canary-path/$mode" \
            --provenance="mode=$mode"
        said . >all
        cp metadata.json all.metadata
        for place in all all.metadata; do
            refute_contains "$(cat $place)" canary-
        done
        assert_equal "$(said -r '.predicate.buildDefinition.resolvedDependencies | map(select(.uri | startswith("http"))) | sort_by(.uri)[] | .uri')" \
            "$web/file/f"$'\n'"$web/git/src.git#main"$'\n'"$web/git/src.git#v1"
        assert_equal "$(said -r '.predicate.buildDefinition.resolvedDependencies | map(select(.uri | startswith("http"))) | sort_by(.uri)[:2][] | .digest | .sha256 // .sha1')" \
            "$(sha256sum <"$webroot/f" | cut -d' ' -f1)"$'\n'"$(git -C src rev-parse main)"
    done
    assert_equal "$(said '.predicate.buildDefinition.externalParameters.request.secrets')" '[{"id":"tok","optional":false}]'
    assert_equal "$(said -r '.predicate.buildDefinition.externalParameters.request.args["context:dir"]')" local
}

@test "a context that is fetched is named with its digest" {
    local commit
    web_start
    git_make src
    commit=$(git -C src rev-parse v1^{commit})
    cbpush build --provenance --push "$reg/test/app:1" "$web/git/src.git#v1:sub"
    assert_equal "$(said '.predicate.buildDefinition.externalParameters.configSource')" \
        "{\"digest\":{\"sha1\":\"$commit\"},\"path\":\"Dockerfile\",\"uri\":\"$web/git/src.git#v1:sub\"}"
    assert_equal "$(said '.predicate.runDetails.metadata.cbpush_completeness.resolvedDependencies')" true
    assert_equal "$(said '.predicate.buildDefinition.externalParameters.request.locals')" '[]'
    tar -C ctx -cf "$webroot/c.tar" .
    cbpush build --provenance --push "$reg/test/app:1" "$web/file/c.tar?x=canary"
    assert_equal "$(said '.predicate.buildDefinition.externalParameters.configSource')" \
        "{\"digest\":{\"sha256\":\"$(sha256sum <"$webroot/c.tar" | cut -d' ' -f1)\"},\"path\":\"Dockerfile\",\"uri\":\"$web/file/c.tar\"}"
    cp ctx/Dockerfile "$webroot/D"
    cbpush build --provenance -f "$web/file/D?x=canary" --push "$reg/test/app:1" ctx
    assert_contains "$(said '.predicate.buildDefinition.resolvedDependencies')" "$(sha256sum <ctx/Dockerfile | cut -d' ' -f1)"
    refute_contains "$(said .)" canary
}

@test "hostile names and values are text" {
    printf 'FROM scratch\nLABEL "a\\"b"="c\\\\"\nCOPY ["x", "/a\\u001b[31m\\u202e b"]\n' >ctx/Dockerfile
    built --provenance=mode=max --label $'k"\xff=v\x1b"' --build-arg $'A"}=\xfe\n"]' --target 0
    assert_equal "$(said '.predicate.buildDefinition.externalParameters.request.args | keys')" \
        '["build-arg:A\"}","label:k\"�","platform","target"]'
    assert_equal "$(said '.predicate.runDetails.metadata.cbpush_metadata.source | keys')" '["language","text"]'
}

@test "several platforms, tags and registries move together; an attestation for each image" {
    local two digest
    two=$(registry_addr second)/test/other
    printf 'FROM scratch\nARG TARGETARCH\nCOPY x /$TARGETARCH\n' >ctx/Dockerfile
    cbpush build --platform linux/amd64,linux/arm64 --provenance --push -t "$reg/test/app:1" -t "$reg/test/app:2" -t "$two:3" \
        --annotation index:k=v --metadata-file m.json ctx
    digest=$(jq -r '.["containerimage.digest"]' m.json)
    for name in "$reg/test/app:1" "$reg/test/app:2" "$two:3"; do
        assert_equal "sha256:$(raw_at "$name" | sha256sum | cut -d' ' -f1)" "$digest"
        assert_equal "$(statements "$name" | jq -s length)" 2
    done
    assert_equal "$(jq -c '[.annotations.k, (.manifests | map(.platform.architecture))]' top.json)" '["v",["amd64","arm64","unknown","unknown"]]'
    assert_equal "$(said -s 'map(.predicate.buildDefinition.externalParameters.request.args.platform)')" '["linux/amd64","linux/arm64"]'
    assert_equal "$(said -s '.[1].subject | map(.name)')" \
        "[\"pkg:docker/$reg/test/app@1?platform=linux%2Farm64\",\"pkg:docker/$reg/test/app@2?platform=linux%2Farm64\",\"pkg:docker/$two@3?platform=linux%2Farm64\"]"
    assert_equal "$(cbpush imagetools inspect --format '{{json .Provenance}}' "$reg/test/app:1" | jq -cS 'map_values(.SLSA)')" \
        "$(said -s '{"linux/amd64": .[0].predicate, "linux/arm64": .[1].predicate}')"
    cbpush validate "$reg/test/app:1"
    # A tag that must not move keeps everything where it is.
    echo other >ctx/x
    run cbpush build --platform linux/amd64 --provenance --push -t "$reg/test/app:9" -t "$two:3" --immutable ctx
    assert_status 7
    run raw_at "$reg/test/app:9"
    [ "$status" -ne 0 ]
}

@test "the other outputs: by digest, OCI layouts, the store; and what holds none says so" {
    cbpush build --provenance -o "type=image,name=$reg/test/d,push-by-digest=true,push=true" --metadata-file m.json ctx
    assert_equal "$(statements "$reg/test/d@$(jq -r '.["containerimage.digest"]' m.json)" | jq -r '.subject[0].name')" \
        "pkg:docker/$reg/test/d?platform=linux%2Famd64"
    cbpush build --provenance -t app:1 -o type=oci,dest=o.tar -o type=oci,dest=o,tar=false -o type=image ctx
    assert_equal "$(jq -r '.manifests[0].mediaType' o/index.json)" application/vnd.oci.image.index.v1+json
    grep -l https://slsa.dev/provenance/v1 o/blobs/sha256/* >/dev/null
    skopeo inspect --raw oci-archive:o.tar | jq -e '.manifests[1].platform.os == "unknown"'
    cbpush build --provenance -o type=oci,dest=none.tar ctx
    cbpush build --provenance -t app:1 -o type=docker,dest=d.tar -o out ctx >log 2>&1
    assert_contains "$(cat log)" 'd.tar has the image without its attestation: a docker archive holds none'
    assert_contains "$(cat log)" 'out has the image without its attestation'
    skopeo inspect docker-archive:d.tar >/dev/null
    assert_equal "$(cat out/x)" one
}

@test "what is made of such an image: run, load, pull, copy, mirror, inspect, imagetools, prune, FROM" {
    local digest two
    two=$(registry_addr second)
    cbpush build --provenance --push -t "$reg/test/app:1" --metadata-file metadata.json ctx
    cbpush build --provenance -t app:1 --metadata-file metadata.json ctx
    digest=$(metadata -r '.["containerimage.digest"]')
    assert_equal "$(cbpush run --network none app:1 cat /x)" one
    assert_equal "$(cbpush images --json | jq -c 'map(select(.name == "app:1"))[0] | .digest')" "\"$digest\""
    cbpush prune --all --keep 0s
    assert_equal "$(cbpush run --network none app:1 cat /x)" one
    cbpush push app:1 "$two/pushed/app:1"
    assert_equal "$(statements "$two/pushed/app:1" | jq -r .predicateType)" https://slsa.dev/provenance/v1
    cbpush save -o s.tar app:1
    CBPUSH_ROOT=$PWD/third cbpush load -i s.tar
    assert_equal "$(CBPUSH_ROOT=$PWD/third cbpush run --network none app:1 cat /x)" one
    CBPUSH_ROOT=$PWD/second cbpush pull "$reg/test/app:1"
    assert_equal "$(CBPUSH_ROOT=$PWD/second cbpush run --network none "$reg/test/app:1" cat /x)" one
    cbpush copy "$reg/test/app:1" "$two/copied/app:1"
    assert_equal "$(statements "$two/copied/app:1" | jq -s length)" 1
    printf 'mirrors:\n  - source: %s/test/app\n    target: %s/mirrored/app\n    tags: {exact: ["1"]}\n' "$reg" "$two" >m.yaml
    cbpush mirror run -q m.yaml
    assert_equal "$(statements "$two/mirrored/app:1" | jq -s length)" 1
    cbpush imagetools create -t "$two/tools/app:1" "$two/copied/app:1"
    assert_equal "$(statements "$two/tools/app:1" | jq -s length)" 1
    assert_contains "$(cbpush imagetools inspect "$reg/test/app:1")" attestation-manifest
    assert_equal "$(cbpush inspect "$reg/test/app:1" | jq -r .Architecture)" amd64
    printf 'FROM %s/test/app:1\nRUN grep one /x\n' "$reg" >ctx/Dockerfile
    CBPUSH_ROOT=$PWD/fourth cbpush build --provenance=max -t derived:1 ctx
}

@test "push-by-digest and imagetools create join platforms with their attestations; --join says so" {
    local one two
    run cbpush build --provenance --join a --expect linux/amd64,linux/arm64 --push "$reg/test/j:1" ctx
    assert_status 2
    assert_contains "$output" 'imagetools create'
    printf 'FROM scratch\nCOPY x /\n' >ctx/Dockerfile
    for arch in amd64 arm64; do
        cbpush build --platform linux/$arch --provenance -o "type=image,name=$reg/test/j,push-by-digest=true,push=true" \
            --metadata-file $arch.json ctx
    done
    cbpush imagetools create -t "$reg/test/j:1" "$reg/test/j@$(jq -r '.["containerimage.digest"]' amd64.json)" \
        "$reg/test/j@$(jq -r '.["containerimage.digest"]' arm64.json)"
    assert_equal "$(statements "$reg/test/j:1" | jq -s length)" 2
}

@test "CBPUSH_PROVENANCE is for who says nothing; BUILDX_METADATA_PROVENANCE for the metadata file" {
    CBPUSH_PROVENANCE=max built
    assert_equal "$(said '.predicate.buildDefinition.externalParameters.request | has("secrets")')" true
    CBPUSH_PROVENANCE=max built --provenance=false
    assert_equal "$(raw_at "$reg/test/app:1" | jq 'has("layers")')" true
    assert_equal "$(metadata 'has("buildx.build.provenance")')" false
    BUILDX_METADATA_PROVENANCE=max built --provenance
    assert_equal "$(metadata '.["buildx.build.provenance"].runDetails.metadata | has("cbpush_metadata")')" true
    assert_equal "$(said '.predicate.runDetails.metadata | has("cbpush_metadata")')" false
    BUILDX_METADATA_PROVENANCE=min cbpush build --platform linux/amd64,linux/arm64 -t x:1 --metadata-file m.json - <<<'FROM scratch'$'\n''LABEL a=b'
    assert_equal "$(jq -c 'keys | map(select(startswith("buildx")))' m.json)" '["buildx.build.provenance/linux/amd64","buildx.build.provenance/linux/arm64"]'
    CBPUSH_PROVENANCE=mix refused 2
    assert_contains "$output" CBPUSH_PROVENANCE
    BUILDX_METADATA_PROVENANCE=mix refused 2
    assert_contains "$output" BUILDX_METADATA_PROVENANCE
}
