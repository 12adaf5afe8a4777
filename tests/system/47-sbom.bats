#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# SBOMs, by BuildKit's protocol for their generators: what a scanner is shown, and what comes of what it writes.

load helpers
load build
load attested
load users

# A scanner that lists the files that it sees.
write_scanner()
{
    write scanner/scan.sh 755 <<'END'
#!/bin/sh
set -e
scan()
{
    printf '{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://spdx.dev/Document","predicate":'
    printf '{"spdxVersion":"SPDX-2.3","name":"%s","packages":[' "$(basename "$1")"
    (cd "$1" && find . -maxdepth 2 -type f ! -path './bin/*' ! -path './usr/*' ! -path './etc/*' | sort) |
        awk 'NR > 1 { printf "," } { printf "{\"name\":\"%s\"}", $0 }'
    printf ']}}\n'
}
env | grep ^BUILDKIT_SCAN_ | sort
! touch "$BUILDKIT_SCAN_SOURCE/x" 2>/dev/null
touch /tmp/x
for source in "$BUILDKIT_SCAN_SOURCE" ${BUILDKIT_SCAN_SOURCE_EXTRAS:+"$BUILDKIT_SCAN_SOURCE_EXTRAS"*}; do
    scan "$source" >"$BUILDKIT_SCAN_DESTINATION/$(basename "$source").spdx.json"
done
END
    write scanner/Dockerfile <<'END'
FROM busybox
COPY scan.sh /
ENTRYPOINT ["/scan.sh"]
END
}

setup_file()
{
    rig_setup_file
    build_setup_file
}

setup()
{
    rig_setup
    build_setup
    write_scanner
    cbpush build -q --push "$reg/scan/er:1" scanner >/dev/null
    printf 'FROM busybox\nCOPY x /\n' >ctx/Dockerfile
    echo one >ctx/x
}

# documents [REFERENCE]: of the first image, the layers of its attestation: type and what it says, one a line
documents()
{
    local ref=${1:-$reg/test/app:1} digest
    attestations "$ref" | head -n 1 | jq -r '.layers[].digest' | while read -r digest; do
        blob_at "${ref%:*}" "$digest" | jq -cS .
    done
}

# names NAME: the files that the document of that name lists
names()
{
    documents | jq -r --arg name "$1" 'select(.predicate.name == $name).predicate.packages[].name' | paste -sd' '
}

# Nothing has the tag that `build` pushes to.
no_tag()
{
    run raw_at "$reg/test/app:1"
    [ "$status" -ne 0 ]
}

# bad_scanner SHELL: one that does that instead
bad_scanner()
{
    printf 'FROM busybox\nENTRYPOINT ["sh", "-c", "%s"]\n' "$1" >bad.Dockerfile
    cbpush build -q --push "$reg/scan/bad:1" -f bad.Dockerfile scanner >/dev/null
}

@test "a document beside the image, about the image, stored as BuildKit stores it" {
    local plain
    built
    plain=$(metadata -r '.["containerimage.digest"]')
    built --sbom "generator=$reg/scan/er:1,mode=fast"
    assert_contains "$log" "generating sbom using $reg/scan/er:1"
    assert_contains "$log" BUILDKIT_SCAN_mode=fast
    refute_contains "$log" BUILDKIT_SCAN_SOURCE_EXTRAS
    assert_equal "$(raw_at "$reg/test/app:1" | jq -r '.manifests[0].digest')" "$plain"
    assert_equal "$(attestations "$reg/test/app:1" | jq -c '[.layers[] | [.mediaType, .annotations["in-toto.io/predicate-type"]]]')" \
        '[["application/vnd.in-toto+json","https://spdx.dev/Document"]]'
    assert_equal "$(documents | jq -c '[._type, .predicateType, .predicate.spdxVersion]')" \
        '["https://in-toto.io/Statement/v0.1","https://spdx.dev/Document","SPDX-2.3"]'
    assert_equal "$(documents | jq -r '.subject[] | .name + " " + .digest.sha256')" \
        "pkg:docker/$reg/test/app@1?platform=linux%2F$(dpkg --print-architecture) ${plain#sha256:}"
    assert_equal "$(names sbom)" ./x
    assert_equal "$(cbpush imagetools inspect --format '{{.SBOM.SPDX.spdxVersion}}' "$reg/test/app:1")" SPDX-2.3
    cbpush build -q --sbom "generator=$reg/scan/er:1" --annotation index:a=b --push "$reg/test/app:2" ctx # there is an index
    assert_equal "$(raw_at "$reg/test/app:2" | jq -r .annotations.a)" b
    [ ! -e "$rootfs/run/out" ]
    assert_equal "$(layer_names -1)" x
}

@test "what was scanned is not scanned again, and what changed is" {
    local first
    built --sbom "generator=$reg/scan/er:1"
    first=$(raw_at "$reg/test/app:1")
    built --attest "type=sbom,generator=$reg/scan/er:1"
    assert_contains "$log" 'nothing to do: the registry has this image'
    assert_equal "$(raw_at "$reg/test/app:1")" "$first"
    echo two >ctx/x
    echo more >ctx/y
    printf 'FROM busybox\nCOPY x y /\n' >ctx/Dockerfile
    built --sbom "generator=$reg/scan/er:1"
    assert_equal "$(names sbom)" './x ./y'
    # Another scanner, or the same that is told something else.
    built --sbom "generator=$reg/scan/er:1,mode=slow"
    refute_contains "$log" 'nothing to do'
    assert_contains "$log" BUILDKIT_SCAN_mode=slow
    # From a cache that is shared, on a machine that has nothing.
    built --sbom "generator=$reg/scan/er:1" --cache-to "type=registry,ref=$reg/test/cache,mode=max"
    export CBPUSH_ROOT=$PWD/store2
    built --sbom "generator=$reg/scan/er:1" --cache-from "$reg/test/cache"
    refute_contains "$log" BUILDKIT_SCAN_SOURCE=
    assert_equal "$(names sbom)" './x ./y'
}

@test "stages and the context are scanned too where ARGs ask for that, and no RUN sees these" {
    local arg
    cat >ctx/Dockerfile <<'END'
FROM busybox AS dep
ARG BUILDKIT_SBOM_SCAN_STAGE
RUN env >/env; ! env | grep SBOM
FROM busybox AS left
RUN touch /left
FROM busybox
ARG BUILDKIT_SBOM_SCAN_CONTEXT=false
COPY --from=dep /env /e
COPY --from=left /left /
END
    built --sbom "generator=$reg/scan/er:1"
    assert_equal "$(documents | jq -r .predicate.name)" sbom
    for arg in true dep,other; do
        built --sbom "generator=$reg/scan/er:1" --build-arg BUILDKIT_SBOM_SCAN_STAGE=$arg --build-arg BUILDKIT_SBOM_SCAN_CONTEXT=1
        assert_contains "$log" 'RUN env >/env; ! env | grep SBOM'
        [ "$(grep -c CACHED <<<"$log")" -gt 2 ]
        # That of the image first: it is the one that is shown where one is.
        assert_equal "$(documents | jq -r .predicate.name | paste -sd' ')" 'sbom sbom-context sbom-dep'
        assert_equal "$(names sbom)" './e ./left'
        assert_equal "$(cbpush imagetools inspect --format '{{json .SBOM}}' "$reg/test/app:1" |
            jq -r '.SPDX.name, .AdditionalSPDXs[].name' | paste -sd' ')" 'sbom sbom-context sbom-dep'
        assert_equal "$(names sbom-dep)" ./env
        assert_equal "$(names sbom-context)" './Dockerfile ./x'
    done
}

@test "with provenance, in one manifest; the scanner is a material, and nothing else of it is told" {
    built --sbom "generator=$reg/scan/er:1" --provenance=mode=max
    assert_equal "$(attestations "$reg/test/app:1" | jq -c '[.layers[].annotations["in-toto.io/predicate-type"]]')" \
        '["https://spdx.dev/Document","https://slsa.dev/provenance/v1"]'
    assert_equal "$(attestations "$reg/test/app:1" | jq -c '.layers | length')" \
        "$(blob_at "$reg/test/app" "$(attestations "$reg/test/app:1" | jq -r .config.digest)" | jq '.rootfs.diff_ids | length')"
    documents | tail -n 1 | jq '.predicate.buildDefinition' >definition.json
    assert_equal "$(jq -r '.resolvedDependencies[].uri' definition.json | grep -c scan/er)" 1
    assert_equal "$(jq '.internalParameters.buildConfig.steps | tostring | test("generating")' definition.json)" false
}

@test "each platform has its own" {
    built --sbom "generator=$reg/scan/er:1" --platform linux/amd64,linux/arm64 --pull
    assert_equal "$(attestations "$reg/test/app:1" | wc -l)" 2
    assert_equal "$(attestations "$reg/test/app:1" | jq -r '.layers[].digest' | sort -u | wc -l)" 2
}

@test "of nothing, of a squashed image, and of one in a layout" {
    printf 'FROM scratch\nLABEL a=b\n' >ctx/Dockerfile
    cbpush build --sbom "generator=$reg/scan/er:1" -o type=oci,tar=false,dest=out ctx
    assert_equal "$(jq -r '.manifests | length' "out/blobs/$(jq -r '.manifests[0].digest' out/index.json | tr : /)")" 2
    printf 'FROM busybox\nCOPY x /x\nRUN rm /x && touch /y\n' >ctx/Dockerfile
    built --squash-all --sbom "generator=$reg/scan/er:1"
    assert_equal "$(names sbom)" ./y
}

@test "a scanner that fails fails the build, and nothing is pushed" {
    run cbpush delete "$reg/test/app:1"
    bad_scanner 'echo it is broken >&2; exit 3'
    refused 1 --sbom "generator=$reg/scan/bad:1"
    assert_contains "$output" 'it is broken'
    assert_contains "$output" "generating sbom using $reg/scan/bad:1"
    no_tag
    run cbpush inspect "$reg/test/app:1"
    assert_status 5
}

@test "what is no document of an SBOM is not hung on an image" {
    local row
    run cbpush delete "$reg/test/app:1"
    while IFS='|' read -r row wanted; do
        bad_scanner "$row"
        refused 7 --sbom "generator=$reg/scan/bad:1"
        assert_contains "$output" "$wanted"
    done <<'END'
true|wrote nothing to /run/out/
mkdir /run/out/d; touch /run/out/d/x /elsewhere|wrote nothing to /run/out/
echo no >/run/out/x.spdx.json|/run/out/x.spdx.json: JSON
echo {} >/run/out/x.spdx.json|it is no in-toto statement
ln -s /etc/passwd /run/out/x.spdx.json|wrote nothing to /run/out/
END
    no_tag
    printf 'FROM scratch\nLABEL a=b\n' | cbpush build -q --push "$reg/scan/bad:2" - >/dev/null
    refused 5 --sbom "generator=$reg/scan/bad:2"
    assert_contains "$output" 'has neither ENTRYPOINT nor CMD'
    refused 4 --sbom "generator=$reg/scan/nosuch:1"
    assert_contains "$output" 'the scanner of the SBOM: '
}

@test "where an SBOM has no place is said before anything is built" {
    refused 2 --sbom "generator=$reg/scan/er:1" --format docker
    assert_contains "$output" '--sbom=false'
    run cbpush build --sbom "generator=$reg/scan/er:1" -o type=docker,dest=out.tar ctx
    assert_status 2
    assert_contains "$output" 'a docker archive holds no SBOM'
    [ ! -e out.tar ]
}

@test "where files come out, documents are files among them, and about them" {
    local sums
    printf 'FROM scratch\nCOPY x /\nCOPY x /sub/two\nCOPY y /zz\n' >ctx/Dockerfile
    echo other >ctx/y
    cbpush build --sbom "generator=$reg/scan/er:1" --provenance=inline-only=false -o type=local,dest=out -o type=tar,dest=out.tar ctx
    assert_equal "$(find out -type f -printf '%P %m\n' | sort | paste -sd,)" 'provenance.json 644,sbom.spdx.json 644,sub/two 644,x 644,zz 644'
    sums=$(cd out && sha256sum x sub/two zz | awk '{ print $2, $1 }' | sort)
    for sum in out/provenance.json out/sbom.spdx.json; do
        assert_equal "$(jq -r '.subject[] | .name + " " + .digest.sha256' $sum | sort)" "$sums"
    done
    assert_equal "$(jq -r '.predicate.packages[].name' out/sbom.spdx.json | paste -sd' ')" './sub/two ./x ./zz'
    assert_equal "$(jq -r .predicateType out/provenance.json)" https://slsa.dev/provenance/v1
    mkdir from-tar
    tar -C from-tar -xf out.tar
    diff -r out from-tar
    assert_equal "$(tar -tf out.tar | grep -v '/$' | paste -sd' ')" 'provenance.json sbom.spdx.json sub/two x zz'
    # What the image has is not covered, and not mixed with what was there.
    printf 'FROM scratch\nCOPY x /sbom.spdx.json\n' >ctx/Dockerfile
    for sum in type=local,dest=out type=tar,dest=other.tar type=local,dest=fresh; do
        run cbpush build --sbom "generator=$reg/scan/er:1" -o "$sum" ctx
        assert_status 5
        assert_contains "$output" '/sbom.spdx.json is a file of the image'
    done
    [ ! -e other.tar ] && [ -z "$(ls -A fresh)" ]
    assert_equal "$(jq -r .predicateType out/sbom.spdx.json)" https://spdx.dev/Document
    cbpush build -q --sbom "generator=$reg/scan/er:1" --platform linux/amd64,linux/arm64 -o type=local,dest=both,attestation-prefix=of- ctx
    assert_equal "$(ls both/linux_amd64 | paste -sd' ')" 'of-sbom.spdx.json sbom.spdx.json'
    # Of nothing, and at a time.
    printf 'FROM scratch\nLABEL a=b\n' >ctx/Dockerfile
    SOURCE_DATE_EPOCH=1000 cbpush build -q --sbom "generator=$reg/scan/er:1" -o type=local,dest=none -o type=tar,dest=none.tar ctx
    assert_equal "$(stat -c %Y none/sbom.spdx.json) $(jq -c .subject none/sbom.spdx.json)" '1000 []'
    assert_equal "$(TZ=UTC tar -tvf none.tar --full-time | grep -c '1970-01-01 00:16:40 sbom.spdx.json')" 1
    # Provenance alone stays out unless it is asked for.
    printf 'FROM scratch\nCOPY x /sbom.spdx.json\n' >ctx/Dockerfile
    cbpush build --provenance -o type=local,dest=bare ctx 2>log
    assert_contains "$(cat log)" 'without its attestation'
    assert_equal "$(ls bare)" sbom.spdx.json
}

@test "by a user: a range of ids, and a single one" {
    local range
    user_setup
    for range in 100000:65536 ''; do
        as_user "$range" "$CBPUSH" build --progress plain --sbom "generator=$reg/scan/er:1" --push "$reg/test/app:1" ctx >log 2>&1 ||
            rig_fail "$(cat log)"
        assert_equal "$(names sbom)" ./x
        cbpush delete "$reg/test/app:1"
    done
}
