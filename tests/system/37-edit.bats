#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Changing images in a registry, without a copy of them: mutate, annotate, append, flatten, rebase, index, attach.

load helpers
load build

setup_file()
{
    rig_setup_file
    build_setup_file
    registry_start other
}

setup()
{
    rig_setup
    build_setup
    other=$(registry_addr other)
    base=$reg/library/busybox:latest
    export BUILDKIT_PROGRESS=quiet
    registry_forget reg
}

raw()
{
    skopeo inspect --raw --tls-verify=false "docker://$1"
}

config_of()
{
    skopeo inspect --config --raw --tls-verify=false "docker://$1"
}

digest_of()
{
    raw "$1" | sha256sum | sed 's/ .*//; s/^/sha256:/'
}

# Whether the bytes of any blob but configurations were fetched from the registry.
layers_fetched()
{
    registry_requests reg '"GET /v2/.*/blobs/sha256:.* 200 ' | awk '$10 > 4000' | wc -l
}

# multi:1 of amd64 and arm64.
push_multi()
{
    echo x >ctx/x
    printf 'FROM scratch\nCOPY x /x\n' >ctx/Dockerfile
    cbpush build --platform linux/amd64,linux/arm64 --push "$reg/test/multi:1" ctx >/dev/null
}

@test "mutate changes what is named, moves the tag, and fetches no layer" {
    local new old
    cbpush mutate "$base" -t "$reg/test/app:1" --label a=b >/dev/null
    old=$(digest_of "$reg/test/app:1")
    registry_forget reg
    new=$(cbpush mutate "$reg/test/app:1" --label 'l=w x' --unsetlabel a --env GREETING=hello --user 65534 --workdir /tmp \
        --entrypoint '["/bin/sh","-c"]' --cmd 'echo "$GREETING from $(pwd) as $(id -u)"' --exposed-ports 80,53/udp)
    assert_equal "$new" "$reg/test/app@$(digest_of "$reg/test/app:1")"
    assert_equal "$(layers_fetched)" 0
    assert_equal "$(config_of "$reg/test/app:1" | jq -cS '.config | [.Labels, (.ExposedPorts | keys), .User]')" \
        '[{"l":"w x"},["53/udp","80/tcp"],"65534"]'
    # What there was keeps its digest and its place.
    assert_equal "$(raw "$reg/test/app@$old" | jq -c .layers)" "$(raw "$reg/test/app:1" | jq -c .layers)"
    judged test/app:1
    assert_equal "$(ran)" 'hello from /tmp as 65534'
    # The same once more is no change.
    registry_forget reg
    assert_equal "$(cbpush mutate "$reg/test/app:1" --label 'l=w x')" "$new"
    assert_equal "$(registry_requests reg '"(PUT|POST|PATCH) ')" ''
    run cbpush mutate "$reg/test/app:1"
    assert_status 2
    run cbpush mutate "store:busybox" --label a=b
    assert_status 2
    assert_contains "$output" 'cbpush push'
}

@test "an index: all platforms or one; what is not meant keeps its bytes" {
    local before after
    push_multi
    before=$(raw "$reg/test/multi:1")
    cbpush mutate "$reg/test/multi:1" --platform linux/arm64 --label only=arm -t "$other/moved/multi:1" >/dev/null
    after=$(raw "$other/moved/multi:1")
    assert_equal "$(jq -r '.manifests[0].digest' <<<"$after")" "$(jq -r '.manifests[0].digest' <<<"$before")"
    [ "$(jq -r '.manifests[1].digest' <<<"$after")" != "$(jq -r '.manifests[1].digest' <<<"$before")" ]
    cbpush validate "$other/moved/multi:1" >/dev/null
    cbpush annotate "$other/moved/multi:1" all=1 index:top=2 'manifest-descriptor[linux/amd64]:one=3' >/dev/null
    after=$(raw "$other/moved/multi:1")
    assert_equal "$(jq -c '[.annotations, .manifests[0].annotations, .manifests[1].annotations]' <<<"$after")" \
        '[{"top":"2"},{"one":"3"},null]'
    assert_equal "$(raw "$other/moved/multi@$(jq -r '.manifests[1].digest' <<<"$after")" | jq -c .annotations)" '{"all":"1"}'
    run cbpush annotate "$other/moved/multi:1" 'manifest[linux/s390x]:a=b'
    assert_status 2
    assert_contains "$output" 'would go nowhere'
    run cbpush mutate "$other/moved/multi:1" --platform linux/s390x --label a=b
    assert_status 5
    run cbpush mutate "$other/moved/multi:1" --set-platform linux/riscv64
    assert_status 2
    cbpush mutate "$other/moved/multi:1" --platform linux/amd64 --set-platform linux/riscv64 >/dev/null
    assert_equal "$(raw "$other/moved/multi:1" | jq -r '.manifests[0].platform.architecture')" riscv64
    cbpush validate "$other/moved/multi:1" >/dev/null
}

@test "append puts tars on top as they are, compressed or not" {
    mkdir -p layer/etc
    echo data >layer/etc/added
    : >layer/etc/.wh.group
    tar -C layer -cf plain.tar etc
    tar -C layer -cf - etc | gzip -9 >packed.tar.gz
    tar -C layer -cf - etc | zstd -q >packed.tar.zst
    export SOURCE_DATE_EPOCH=86400
    cbpush append "$base" plain.tar -t "$reg/test/plain:1" >/dev/null
    cbpush append "$base" - -t "$reg/test/stdin:1" <plain.tar >/dev/null
    cbpush append "$base" packed.tar.gz packed.tar.zst -t "$reg/test/packed:1" >/dev/null
    # The tar is the one that was given, and a file that was compressed is the blob.
    assert_equal "$(config_of "$reg/test/plain:1" | jq -r '.rootfs.diff_ids[-1]')" "sha256:$(sha256sum <plain.tar | cut -d ' ' -f 1)"
    assert_equal "$(raw "$reg/test/plain:1" | jq -c .layers)" "$(raw "$reg/test/stdin:1" | jq -c .layers)"
    assert_equal "$(raw "$reg/test/packed:1" | jq -r '.layers[1].digest')" "sha256:$(sha256sum <packed.tar.gz | cut -d ' ' -f 1)"
    assert_contains "$(raw "$reg/test/packed:1" | jq -r '.layers[2].mediaType')" tar+zstd
    assert_equal "$(config_of "$reg/test/packed:1" | jq -c '[.created, .history[-1]]')" \
        '["1970-01-02T00:00:00Z",{"created":"1970-01-02T00:00:00Z","created_by":"cbpush append packed.tar.zst"}]'
    judged test/plain:1
    assert_equal "$(cat "$rootfs/etc/added")" data
    [ ! -e "$rootfs/etc/group" ]
    cbpush validate "$reg/test/packed:1" >/dev/null
    echo 'no tar' >bad
    run cbpush append "$base" bad -t "$reg/test/bad:1"
    assert_status 7
    run cbpush append "$base" none -t "$reg/test/bad:1"
    assert_status 2
    run raw "$reg/test/bad:1"
    [ "$status" -ne 0 ]
}

@test "flatten makes one layer of what is left" {
    printf 'FROM busybox\nRUN echo secret >/gone && echo a >/kept\nRUN rm /gone && ln /kept /other\nCMD cat /other\n' >ctx/Dockerfile
    cbpush build --push "$reg/test/deep:1" ctx >/dev/null
    CBPUSH_ROOT=$PWD/fresh cbpush flatten "$reg/test/deep:1" -t "$reg/test/flat:1" >/dev/null
    assert_equal "$(raw "$reg/test/flat:1" | jq '.layers | length')" 1
    refute_contains "$(cbpush ls "$reg/test/flat:1")" gone
    assert_contains "$(config_of "$reg/test/flat:1" | jq -r '.history[0].created_by')" 'cbpush flatten sha256:'
    assert_equal "$(cbpush diff --json "$reg/test/deep:1" "$reg/test/flat:1" | jq -c .files)" '[]'
    judged test/flat:1
    assert_equal "$(ran)" a
    assert_equal "$(stat -c %h "$rootfs/kept")" 2
    cbpush validate "$reg/test/flat:1" >/dev/null
    # The same image again, from another store, is the same digest.
    assert_equal "$(CBPUSH_ROOT=$PWD/third cbpush flatten "$reg/test/deep:1" -t "$reg/test/flat:2")" \
        "$reg/test/flat@$(digest_of "$reg/test/flat:1")"
}

@test "rebase puts an image on a new base, and refuses one that it does not stand on" {
    printf 'FROM busybox\nRUN echo mine >/mine\nCMD cat /mine /base\n' >ctx/Dockerfile
    cbpush build --push "$reg/test/app:old" ctx >/dev/null
    printf 'FROM busybox\nRUN echo new >/base\n' >ctx/Dockerfile
    cbpush build --push "$reg/test/base:2" ctx >/dev/null
    registry_forget reg
    cbpush rebase "$reg/test/app:old" --old-base "$base" --new-base "$reg/test/base:2" -t "$reg/test/app:new" >/dev/null
    assert_equal "$(layers_fetched)" 0
    assert_equal "$(raw "$reg/test/app:new" | jq '.layers | length')" 3
    judged test/app:new
    assert_equal "$(ran)" $'mine\nnew'
    cbpush validate "$reg/test/app:new" >/dev/null
    assert_equal "$(raw "$reg/test/app:new" | jq -r '.annotations["org.opencontainers.image.base.digest"]')" \
        "$(digest_of "$reg/test/base:2")"
    # Now it says itself what it is based on.
    cbpush mutate "$reg/test/base:2" --label v=3 >/dev/null
    cbpush rebase "$reg/test/app:new" >/dev/null
    assert_equal "$(raw "$reg/test/app:new" | jq -r '.annotations["org.opencontainers.image.base.digest"]')" \
        "$(digest_of "$reg/test/base:2")"
    run cbpush rebase "$reg/test/app:old" --old-base "$reg/test/base:2" --new-base "$base"
    assert_status 5
    assert_contains "$output" 'does not stand on it'
    run cbpush rebase "$reg/test/app:old"
    assert_status 2
    assert_contains "$output" --old-base
}

@test "index create, append, remove, inspect" {
    local was
    push_multi
    cbpush index create "$reg/made/index:1" "$base" --annotation k=v >/dev/null
    assert_equal "$(raw "$reg/made/index:1" | jq -c '[.annotations, (.manifests | map(.platform.architecture))]')" \
        "[{\"k\":\"v\"},[\"$(config_of "$base" | jq -r .architecture)\"]]"
    run cbpush index create "$reg/made/index:2" "$base" "$reg/test/multi:1"
    assert_status 5
    assert_contains "$output" 'two images for'
    cbpush index append "$reg/made/index:1" "$reg/test/multi:1" --platform linux/arm64 >/dev/null
    assert_equal "$(raw "$reg/made/index:1" | jq -c '.manifests | length')" 2
    cbpush validate "$reg/made/index:1" >/dev/null
    assert_contains "$(cbpush index inspect "$reg/made/index:1")" 'linux/arm64 '
    # What would do nothing is refused.
    for option in "-t $reg/made/index:3" '--platform linux/arm64' '-a k=v' --docker; do
        # shellcheck disable=SC2086 # words
        run -2 cbpush index inspect $option "$reg/made/index:1"
    done
    run -2 cbpush index remove --platform linux/arm64 "$reg/made/index:1" linux/arm64
    run -2 cbpush index inspect "$base"
    assert_contains "$output" 'no index but a single image'
    # Another one of the platform takes its place.
    cbpush mutate "$reg/test/multi:1" --label new=1 -t "$reg/test/multi:2" >/dev/null
    run cbpush index append "$reg/made/index:1" "$reg/test/multi:2" --platform linux/arm64
    assert_status 0
    assert_contains "$output" 'is replaced'
    assert_equal "$(raw "$reg/made/index:1" | jq -r '.manifests[1].digest')" "$(raw "$reg/test/multi:2" | jq -r '.manifests[1].digest')"
    cbpush index remove "$reg/made/index:1" linux/arm64 -t "$other/made/one:1" >/dev/null
    assert_equal "$(raw "$other/made/one:1" | jq -c '.manifests | length')" 1
    cbpush validate "$other/made/one:1" >/dev/null
    run cbpush index remove "$reg/made/index:1" linux/s390x
    assert_status 5
    # Of an index without entries nobody could pull anything.
    was=$(digest_of "$other/made/one:1")
    run cbpush index remove "$other/made/one:1" linux/amd64
    assert_status 5
    assert_contains "$output" '`cbpush delete` removes the tag'
    assert_equal "$(digest_of "$other/made/one:1")" "$was"
    run cbpush index append "$base" "$reg/test/multi:1"
    assert_status 2
    assert_contains "$output" 'index create'
}

@test "attach makes an artifact that refers to the image" {
    local digest artifact list
    cbpush mutate "$base" -t "$reg/test/app:1" --label a=b >/dev/null
    digest=$(digest_of "$reg/test/app:1")
    echo '{}' >sbom.json
    echo text >note.txt
    artifact=$(cbpush attach "$reg/test/app:1" --artifact-type application/spdx+json sbom.json:application/json note.txt \
        --annotation who=me)
    assert_equal "$(digest_of "$reg/test/app:1")" "$digest"
    assert_equal "$(raw "$artifact" | jq -c '[.artifactType, .subject.digest, .annotations, (.layers | map(.mediaType))]')" \
        "[\"application/spdx+json\",\"$digest\",{\"who\":\"me\"},[\"application/json\",\"application/octet-stream\"]]"
    # This registry keeps no list of referrers: the fallback tag does.
    list=$(raw "$reg/test/app:sha256-${digest#sha256:}")
    assert_equal "$(jq -r '.manifests[0].digest' <<<"$list")" "${artifact#*@}"
    assert_equal "$(jq -r '.manifests[0].artifactType' <<<"$list")" application/spdx+json
    cbpush attach "$reg/test/app:1" --artifact-type application/x-other note.txt >/dev/null
    assert_equal "$(raw "$reg/test/app:sha256-${digest#sha256:}" | jq '.manifests | length')" 2
    cbpush validate "$reg/test/app:sha256-${digest#sha256:}" >/dev/null
    run cbpush attach "$reg/test/app:1" note.txt
    assert_status 2
    assert_contains "$output" --artifact-type
}

@test "crane's spellings: append -b -f, rebase --old_base, export to a file, validate --remote" {
    mkdir add
    echo added >add/file
    tar -C add -cf layer.tar file
    cbpush append "$base" layer.tar -t "$reg/test/ours:1" >/dev/null
    cbpush append -b "$base" -f layer.tar -t "$reg/test/theirs:1" >/dev/null
    assert_equal "$(digest_of "$reg/test/theirs:1")" "$(digest_of "$reg/test/ours:1")"
    cbpush append --base "$base" --new_layer layer.tar -t "$reg/test/theirs:2" >/dev/null
    assert_equal "$(digest_of "$reg/test/theirs:2")" "$(digest_of "$reg/test/ours:1")"
    cbpush rebase --old_base "$base" --new_base "$base" "$reg/test/ours:1" -t "$reg/test/rebased:1" >/dev/null
    cbpush rebase --old-base "$base" --new-base "$base" "$reg/test/ours:1" -t "$reg/test/rebased:2" >/dev/null
    assert_equal "$(digest_of "$reg/test/rebased:1")" "$(digest_of "$reg/test/rebased:2")"
    cbpush export "$reg/test/ours:1" out.tar
    cbpush export "$reg/test/ours:1" - | cmp - out.tar
    assert_contains "$(tar -tf out.tar)" file
    cbpush validate --remote "$reg/test/ours:1" >/dev/null
    local wrong
    for wrong in "append -b $base" "append $base" 'export a b -o c' 'validate --remote a b' validate 'export'; do
        # shellcheck disable=SC2086 # words
        run cbpush $wrong
        assert_status 2
    done
}
