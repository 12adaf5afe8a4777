#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Images that are pushed without a tag, and the indexes that are made of them: what pipelines do that build each
# platform on a machine of its own and know docker buildx.

load helpers
load build

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
    name=d$BATS_TEST_NUMBER/app
    one=$reg/$name two=$(registry_addr second)/$name
    printf 'FROM scratch\nCOPY x /\n' >ctx/Dockerfile
    echo one >ctx/x
    by_digest=type=image,push-by-digest=true,name-canonical=true,push=true
}

teardown()
{
    rig_teardown
}

# on ARCH TEXT [ARG…]: a build on a machine of that architecture; what it says is in ARCH.log and ARCH.json.
on()
{
    local arch=$1 text=$2
    shift 2
    mkdir -p "ctx-$arch"
    printf '%s\n' "$text" >"ctx-$arch/x"
    cp ctx/Dockerfile "ctx-$arch"
    CBPUSH_ROOT=$PWD/store-$arch cbpush build --progress plain --platform "linux/$arch" --metadata-file "$arch.json" \
        "$@" "ctx-$arch" >"$arch.log" 2>&1 || rig_fail "$(cat "$arch.log")"
}

# digest_of FILE: of --metadata-file.
digest_of()
{
    jq -er '.["containerimage.digest"]' "$1"
}

# tags ADDR REPO: of the repository, in one line.
tags()
{
    curl -sS "http://$1/v2/$2/tags/list" | jq -r '.tags // [] | sort | join(" ")'
}

# requests REGISTRY: how often which method had which status, in one line.
requests()
{
    registry_requests "$1" '"[A-Z]+ ' | awk '{ print substr($6, 2), $9 }' | sort | uniq -c | xargs
}

@test "by digest: the manifest is there, and no tag" {
    local digest
    cbpush build --progress plain -o "$by_digest,name=$one" --metadata-file m.json --iidfile id --receipt r.json \
        --image-name-with-digest-file names ctx >log 2>&1
    digest=$(digest_of m.json)
    skopeo inspect --tls-verify=false --raw "docker://$one@$digest" | sha256sum | grep -q "^${digest#sha256:} "
    assert_equal "$(skopeo inspect -n --tls-verify=false "docker://$one@$digest" | jq '.Layers | length')" 1
    assert_equal "$(tags "$reg" "$name")" ''
    assert_equal "$(jq -r '.["image.name"]' m.json)" "$one"
    assert_equal "$(cat id)" "$(jq -r '.["containerimage.config.digest"]' m.json)"
    assert_equal "$(jq -c '[.digest, .tags, .complete]' r.json)" "[\"$digest\",[],true]"
    assert_equal "$(cat names)" "$one@$digest"
    assert_contains "$(cat log)" "name    $one@$digest"
    # The store has that name, and only that.
    assert_equal "$(cbpush images --json | jq -c 'map(.name)')" "[\"$one@$digest\"]"
    assert_equal "$(cbpush inspect "$one@$digest" | jq -c '[.RepoTags, .RepoDigests]')" "[[],[\"$one@$digest\"]]"
}

@test "by digest: an unchanged build asks once, and sends nothing" {
    on amd64 one -o "$by_digest,name=$one"
    registry_forget reg
    on amd64 one -o "$by_digest,name=$one"
    assert_equal "$(requests reg)" '1 HEAD 200'
    assert_contains "$(cat amd64.log)" 'nothing to do'
    assert_equal "$(jq -r '.["image.name"]' amd64.json)" "$one"
    # What is gone is put again.
    registry_forget reg
    curl -sSf -X DELETE "http://$reg/v2/$name/manifests/$(digest_of amd64.json)"
    on amd64 one -o "$by_digest,name=$one"
    skopeo inspect --tls-verify=false --raw "docker://$one@$(digest_of amd64.json)" >/dev/null
    assert_equal "$(tags "$reg" "$name")" ''
}

@test "by digest: names by -t, several repositories, several platforms, beside a tag" {
    local digest
    # docker/build-push-action has it so.
    on amd64 one -t "$one" -t "$two" --output "$by_digest" --push
    digest=$(digest_of amd64.json)
    skopeo inspect --tls-verify=false --raw "docker://$one@$digest" >/dev/null
    skopeo inspect --tls-verify=false --raw "docker://$two@$digest" >/dev/null
    assert_equal "$(jq -r '.["image.name"]' amd64.json)" "$one,$two"
    on amd64 two -o "type=image,name=$one,push-by-digest=true" --push
    skopeo inspect --tls-verify=false --raw "docker://$one@$(digest_of amd64.json)" >/dev/null
    cbpush build --progress plain --platform linux/amd64,linux/arm64 -o "\"name=$one,$two\",$by_digest" --metadata-file m.json ctx
    assert_equal "$(judge_index "$two@$(digest_of m.json)")" 'amd64 one
arm64 one'
    assert_equal "$(tags "$reg" "$name")$(tags "$(registry_addr second)" "$name")" ''
    cbpush build --progress plain -o "$by_digest,name=$one" -o "type=image,name=$two:7,push=true" --immutable --receipt r.json \
        --metadata-file m.json ctx
    assert_equal "$(tags "$reg" "$name")$(tags "$(registry_addr second)" "$name")" 7
    skopeo inspect --tls-verify=false --raw "docker://$one@$(digest_of m.json)" >/dev/null
    assert_equal "$(jq -c '.tags | map([.name, .moved])' r.json)" "[[\"$two:7\",true]]"
    registry_forget reg
    registry_forget second
    cbpush build --progress plain -o "$by_digest,name=$one" -o "type=image,name=$two:7,push=true" ctx >log 2>&1
    assert_contains "$(cat log)" 'nothing to do'
    assert_equal "$(requests reg), $(requests second)" '1 HEAD 200, 1 HEAD 200'
}

@test "by digest: which names the store has" {
    cbpush build --progress plain -o "type=image,name=$one,push-by-digest=true,push=true" ctx
    assert_equal "$(cbpush images --json)" '[]'
    cbpush build --progress plain -o "type=image,name=$one,push-by-digest=true,name-canonical=true,push=false" --metadata-file m.json ctx
    assert_equal "$(cbpush images --json | jq -c 'map(.name)')" "[\"$one@$(digest_of m.json)\"]"
    cbpush build --progress plain -t app:1 -o type=image,name-canonical=true --metadata-file m.json ctx
    assert_equal "$(cbpush images --json | jq -c 'map(.name) | sort')" \
        "$(jq -nc --arg d "$(digest_of m.json)" --arg one "$one" '["app:1", "app@" + $d, $one + "@" + $d] | sort')"
    printf 'FROM %s\n' "app@$(digest_of m.json)" >ctx/Dockerfile
    cbpush build --progress plain --pull=never -o type=oci,dest=out.tar ctx
}

@test "by digest: what makes no sense is refused before anything is asked" {
    local spec
    registry_forget reg
    run cbpush build -o "$by_digest,name=$one:1" ctx
    assert_status 2
    assert_contains "$output" "$one:1 has a tag, and cannot be pushed by digest"
    run cbpush build -t "$one:1" -o "$by_digest" ctx
    assert_status 2
    assert_contains "$output" "$one:1 has a tag, and cannot be pushed by digest"
    run cbpush build -t "$one:1" -o "$by_digest,name=$one" ctx
    assert_status 2
    run cbpush build -t "$two" -o "$by_digest,name=$one" ctx
    assert_status 2
    assert_contains "$output" 'name= of its own'
    run cbpush build -t "$one" -o "$by_digest" -o type=image,push=true ctx
    assert_status 2
    assert_contains "$output" 'give each its name='
    run cbpush build -o "$by_digest" ctx
    assert_status 2
    assert_contains "$output" 'push-by-digest=true needs a name'
    run cbpush build -o "$by_digest,name=$one" --immutable ctx
    assert_status 2
    assert_contains "$output" '--immutable is about tags'
    run cbpush build -o "$by_digest,name=$one" --expect-old none ctx
    assert_status 2
    assert_contains "$output" '--expect-old is about tags'
    run cbpush build -o "$by_digest,name=$one" --join 1 --expect linux/amd64,linux/arm64 --platform linux/amd64 ctx
    assert_status 2
    assert_contains "$output" '--join moves tags'
    for spec in type=oci,dest=x,push-by-digest=true type=tar,dest=x,name-canonical=true; do
        run cbpush build -o "$spec" ctx
        assert_status 2
        assert_contains "$output" 'is for type=image'
    done
    assert_equal "$(requests reg)" ''
}

# two_machines: amd64 has "one", arm64 "two", both by digest in the repository.
two_machines()
{
    on amd64 one -o "$by_digest,name=$one"
    on arm64 two -o "$by_digest,name=$one"
}

@test "imagetools create: the usual pipeline" {
    local arch
    two_machines
    mkdir digests
    for arch in amd64 arm64; do
        touch "digests/$(digest_of $arch.json | sed s/sha256://)"
    done
    cd digests
    # shellcheck disable=SC2046 # words
    cbpush buildx imagetools create -t "$one:1" -t "$one:latest" $(printf "$one@sha256:%s " *) >../made 2>../log
    cd ..
    assert_equal "$(judge_index "$one:1" | sort)" 'amd64 one
arm64 two'
    assert_equal "$(judge_index "$one:latest" | sort)" "$(judge_index "$one:1" | sort)"
    assert_equal "$(tags "$reg" "$name")" '1 latest'
    assert_equal "$(cat made)" "$one@$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$one:1")"
    # The index was made of the images as they were pushed.
    assert_equal "$(jq -r '.manifests[].digest' index.json | sort)" "$( (digest_of amd64.json; digest_of arm64.json) | sort)"
    assert_equal "$(jq -r .mediaType index.json)" application/vnd.oci.image.index.v1+json
    # Once more: nothing but questions.
    registry_forget reg
    cbpush imagetools create -t "$one:1" "$one@$(ls digests | sed -n 1s/^/sha256:/p)" "$one@$(ls digests | sed -n 2s/^/sha256:/p)"
    assert_equal "$(registry_requests reg '"(PUT|POST) ')" ''
}

@test "imagetools create: digests alone, descriptors, other repositories and registries" {
    local amd64 arm64 d
    two_machines
    amd64=$(digest_of amd64.json) arm64=$(digest_of arm64.json)
    # Digests alone, and a descriptor in a file.
    jq '.["containerimage.descriptor"] + {annotations: {a: "b"}, platform: {"os.version": "7"}}' arm64.json >arm64.descriptor
    cbpush imagetools create -t "$one:1" -f arm64.descriptor "$amd64" --metadata-file m.json
    assert_equal "$(judge_index "$one:1")" 'arm64 two
amd64 one'
    assert_equal "$(jq -c '.manifests[0] | [.annotations, .platform["os.version"], .platform.os]' index.json)" '[{"a":"b"},"7","linux"]'
    assert_equal "$(digest_of m.json)" "sha256:$(sha256sum <index.json | cut -d ' ' -f 1)"
    assert_equal "$(jq -r '.["image.name"]' m.json)" "$one:1"
    # To another repository and to another registry; of an index what it lists.
    registry_forget reg
    cbpush imagetools create -t "$reg/d/other:1" -t "$two:1" -t "$two:2" "$one@$amd64" "$one:1"
    assert_equal "$(judge_index "$reg/d/other:1")" 'amd64 one
arm64 two'
    assert_equal "$(judge_index "$two:2")" "$(judge_index "$reg/d/other:1")"
    assert_equal "$(tags "$(registry_addr second)" "$name")" '1 2'
    assert_equal "$(registry_requests reg '"PUT .*/uploads/')" '' 'blobs are mounted'
    run cbpush imagetools create -t "$two:3" "$one@$amd64" "$arm64"
    assert_status 2
    assert_contains "$output" "write REPOSITORY@$arm64"
    # Only some platforms.
    cbpush imagetools create -t "$two:4" --platform linux/arm64 "$one@$amd64" "$one@$arm64"
    assert_equal "$(judge_index "$two:4")" 'arm64 two'
    run cbpush imagetools create -t "$two:5" --platform linux/arm64,linux/s390x "$one@$amd64" "$one@$arm64"
    assert_status 5
    assert_contains "$output" '--platform linux/s390x'
    run cbpush imagetools create -t "$two:5" "$one@$(printf '0%.0s' {1..64} | sed s/^/sha256:/)"
    assert_status 4
    run cbpush imagetools create -t "$two:5" "$one@$amd64" "$one@${amd64}0"
    assert_status 2
    assert_equal "$(tags "$(registry_addr second)" "$name")" '1 2 4'
}

@test "imagetools create: --append, --annotation, --dry-run, --prefer-index" {
    local digest
    two_machines
    cbpush imagetools create -t "$one:1" "$one@$(digest_of amd64.json)"
    assert_equal "$(judge_index "$one:1")" 'amd64 one' 'one manifest is an index all the same'
    cbpush imagetools create --append -t "$one:1" -t "$one:2" "$(digest_of arm64.json)"
    assert_equal "$(judge_index "$one:1")" 'amd64 one
arm64 two'
    assert_equal "$(judge_index "$one:2")" "$(judge_index "$one:1")"
    on arm64 three -o "$by_digest,name=$one"
    cbpush imagetools create --append -t "$one:1" "$(digest_of arm64.json)" 2>log
    assert_equal "$(judge_index "$one:1")" 'amd64 one
arm64 three'
    assert_contains "$(cat log)" 'is replaced'
    # A single index keeps its bytes; so does a manifest where that is wanted.
    digest=$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$one:1")
    assert_equal "$(cbpush imagetools create -t "$two:same" "$one:1")" "$two@$digest"
    assert_equal "$(judge_index "$two:same")" "$(judge_index "$one:1")"
    assert_equal "$(cbpush imagetools create --prefer-index=false -t "$two:one" "$one@$(digest_of amd64.json)")" \
        "$two@$(digest_of amd64.json)"
    # Annotations.
    cbpush imagetools create -t "$one:3" --annotation index:k=v --annotation 'manifest-descriptor[linux/arm64]:x=y' "$one:1"
    judge_index "$one:3" >/dev/null
    assert_equal "$(jq -c '[.annotations, (.manifests | map(.annotations))]' index.json)" '[{"k":"v"},[null,{"x":"y"}]]'
    run cbpush imagetools create -t "$one:4" --annotation k=v "$one:1"
    assert_status 2
    assert_contains "$output" 'write index:k='
    run cbpush imagetools create -t "$one:4" --annotation 'manifest-descriptor[linux/s390x]:x=y' "$one:1"
    assert_status 2
    run cbpush imagetools create -t "$one:4" --annotation index-descriptor:x=y "$one:1"
    assert_status 2
    # Nothing is pushed.
    cbpush imagetools create --dry-run "$one:1" "$one:2" --platform linux/amd64 >dry.json
    assert_equal "$(jq -r '.manifests[].platform.architecture' dry.json)" amd64
    assert_equal "$(tags "$reg" "$name")" '1 2 3'
}

@test "imagetools create: what cannot be made" {
    on amd64 one -o "$by_digest,name=$one"
    on arm64 two -o "$by_digest,name=$one"
    run cbpush imagetools create -t "$one:1"
    assert_status 2
    run cbpush imagetools create "$one@$(digest_of amd64.json)"
    assert_status 2
    assert_contains "$output" '-t is missing'
    run cbpush imagetools create --dry-run "$(digest_of amd64.json)"
    assert_status 2
    run cbpush imagetools create -t "$one@$(digest_of amd64.json)" "$one:1"
    assert_status 2
    run cbpush imagetools create -t "$one:1" sha256:12
    assert_status 2
    run cbpush imagetools create -t "$one:1" -f amd64.json
    assert_status 2
    assert_contains "$output" 'containerimage.descriptor'
    run cbpush imagetools create -t "$one:1" store:x
    assert_status 2
    jq '.["containerimage.descriptor"] | .size += 1' amd64.json >wrong
    run cbpush imagetools create -t "$one:1" -f wrong
    assert_status 7
    run cbpush imagetools create --append -t "$one:none" "$one@$(digest_of amd64.json)"
    assert_status 4
    cp arm64.json before.json
    on arm64 three -o "$by_digest,name=$one"
    run cbpush imagetools create -t "$one:1" "$one@$(digest_of before.json)" "$one@$(digest_of arm64.json)"
    assert_status 5
    assert_contains "$output" 'two images for linux/arm64'
    run cbpush imagetools create -t "$one:1" --nosuch x
    assert_status 2
    run cbpush imagetools nosuch
    assert_status 2
    assert_equal "$(tags "$reg" "$name")" ''
}

@test "imagetools inspect" {
    local digest
    two_machines
    digest=$(cbpush imagetools create -t "$one:1" "$one@$(digest_of amd64.json)" "$one@$(digest_of arm64.json)")
    digest=${digest#*@}
    cbpush buildx imagetools inspect "$one:1" >out
    assert_equal "$(sed -n 's/^Digest: *//p' out) $(sed -n 's/^Name: *//p' out)" "$digest $one:1"
    assert_equal "$(sed -n 's/^  Name: *//p' out)" "$one:1@$(digest_of amd64.json)
$one:1@$(digest_of arm64.json)"
    assert_equal "$(sed -n 's/^  Platform: *//p' out | xargs)" 'linux/amd64 linux/arm64'
    assert_equal "$(cbpush imagetools inspect --raw "$one:1" | sha256sum)" "${digest#sha256:}  -"
    assert_equal "$(cbpush imagetools inspect --format '{{.Manifest.Digest}}' "$one:1")" "$digest"
    assert_equal "$(cbpush imagetools inspect --format '{{json .Manifest}}' "$one:1" | jq -r '.digest, .manifests[1].platform.architecture' | xargs)" \
        "$digest arm64"
    assert_equal "$(cbpush imagetools inspect --format '{{json .}}' "$one:1" | jq -r '.name, (.image | map(.architecture) | join("+"))' | xargs)" \
        "$one:1 amd64+arm64"
    assert_equal "$(cbpush imagetools inspect --format '{{json .Manifest}}' "$one@$(digest_of amd64.json)" | jq -c keys)" '["digest","mediaType","size"]'
    assert_equal "$(cbpush imagetools inspect --format '{{.Image.Architecture}}' "$one@$(digest_of amd64.json)")" amd64
    cbpush imagetools create -t "$one:2" "$(digest_of arm64.json)"
    assert_equal "$(cbpush imagetools inspect --format '{{.Image.Architecture}}' "$one:2")" arm64
    assert_equal "$(cbpush imagetools inspect --format '{{json .SBOM}} {{json .Provenance}}' "$one:1")" '{} {}'
    run cbpush imagetools inspect --format '{{json .Nosuch}}' "$one:1"
    assert_status 2
    run cbpush imagetools inspect "$one:none"
    assert_status 4
    run cbpush imagetools inspect --raw --format x "$one:1"
    assert_status 2
}
