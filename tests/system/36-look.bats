#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Looking into images of a registry without a copy of them: ls, diff, export, validate.

load helpers
load build

# test/app:1 of a file that is replaced, one that is deleted, hard links over two layers, and a symbolic link.
setup_file()
{
    rig_setup_file
    build_setup_file
    local dir=$BATS_FILE_TMPDIR/made reg
    reg=$(registry_addr reg)
    mkdir -p "$dir/one/d" "$dir/two/d"
    echo low >"$dir/one/d/gone"
    echo one >"$dir/one/file"
    ln "$dir/one/file" "$dir/one/linked"
    truncate -s 300K "$dir/one/sparse"
    echo end >>"$dir/one/sparse"
    echo two >"$dir/two/file"
    : >"$dir/two/d/.wh.gone"
    ln -s ../file "$dir/two/d/sym"
    tar -C "$dir/one" --sparse --format=pax --owner=7 --group=8 -czf "$dir/one.tar.gz" .
    tar -C "$dir/two" --owner=7 --group=8 -cf "$dir/two.tar" file d
    HOME=$BATS_FILE_TMPDIR CBPUSH_ROOT=$BATS_FILE_TMPDIR/store cbpush append --progress quiet \
        "$reg/library/busybox:latest" "$dir/one.tar.gz" "$dir/two.tar" -t "$reg/test/app:1"
}

setup()
{
    rig_setup
    build_setup
    app=$reg/test/app:1
    registry_forget reg
}

# Requests for the bytes of blobs.
fetched()
{
    registry_requests reg '"GET /v2/.*/blobs/sha256:.* 200 ' | wc -l
}

@test "ls lists the merged file system, and reads a layer once in a life" {
    run --separate-stderr cbpush ls "$app" d
    assert_status 0
    assert_contains "$output" ' d/'
    assert_contains "$output" 'lrwxrwxrwx 7/8'
    assert_contains "$output" ' d/sym -> ../file'
    refute_contains "$output" gone
    assert_equal "$(fetched)" 4 # the config and three layers
    # Through the link, as ls follows one with a slash behind it; and from the tables that are known now.
    registry_forget reg
    assert_equal "$(cbpush ls "$app" d/sym/ | wc -l)" 1
    assert_equal "$(fetched)" 1
    assert_equal "$(cbpush ls --json "$app" | jq -c 'map(.path) | [.[0], .[1], .[-1]]')" '["bin","bin/[","var"]'
    assert_equal "$(cbpush ls --json "$app" file | jq -r '.[] | .type + " " + .mode + " " + (.size|tostring) + " " + .digest')" \
        "file 0644 4 sha256:$(echo two | sha256sum | cut -d ' ' -f 1)"
    [ ! -e "$CBPUSH_ROOT/blobs/sha256" ] || assert_equal "$(ls "$CBPUSH_ROOT/blobs/sha256")" ''
    run cbpush ls "$app" nothing/here
    assert_status 5
    assert_contains "$output" 'there is no /nothing/here'
}

@test "ls --layer lists a layer as it is" {
    run --separate-stderr cbpush ls --layer -1 "$app"
    assert_contains "$output" 'w--------- 7/8'
    assert_contains "$output" ' d/gone'
    assert_equal "${#lines[@]}" 4
    run --separate-stderr cbpush ls --layer 1 "$app" d
    assert_contains "$output" ' d/gone'
    assert_equal "${#lines[@]}" 2
    run cbpush ls --layer 3 "$app"
    assert_status 2
    assert_contains "$output" 'the image has 3 layers'
}

@test "an image of the store is named so, and the error says so" {
    printf 'FROM busybox\nCMD ["new"]\n' >ctx/Dockerfile
    cbpush build -q -t "$reg/only/here:1" ctx >/dev/null
    run cbpush ls "$reg/only/here:1"
    assert_status 4
    assert_contains "$output" "store:$reg/only/here:1"
    assert_contains "$(cbpush ls "store:$reg/only/here:1" etc/passwd)" etc/passwd
    assert_equal "$(cbpush ls "docker://$app" file)" "$(cbpush ls "$app" file)"
    run --separate-stderr cbpush diff "$reg/library/busybox:latest" "store:$reg/only/here:1"
    assert_contains "$output" 'config config.Cmd: ["sh"] -> ["new"]'
}

@test "diff tells config, layers and files apart, and nothing of what is the same" {
    run --separate-stderr cbpush diff --no-times busybox "$app"
    assert_status 0
    assert_contains "$output" 'layers: the lowest 1 are the same, then 0 -> 2'
    assert_contains "$output" '+ -rw-r--r-- 7/8'
    refute_contains "$output" etc/passwd
    run --separate-stderr cbpush diff --exit-code busybox "$app"
    assert_status 1
    registry_forget reg
    run --separate-stderr cbpush diff --exit-code "$app" "$app"
    assert_status 0
    assert_equal "$output" ''
    assert_equal "$(fetched)" 2 # the config, twice
    cbpush diff --json "$app" busybox >diff.json 2>/dev/null
    assert_equal "$(jq -c '[.files[] | select(.kind == "removed") | .path]' diff.json)" \
        '["d","d/sym","file","linked","sparse"]'
    assert_equal "$(jq -c '.layers | [.same, (.old | length), (.new | length)]' diff.json)" '[1,2,0]'
}

@test "export gives the same root file system as umoci unpacks" {
    local oci rootfs
    CBPUSH_ROOT=$PWD/fresh cbpush export "$app" -o flat.tar 2>/dev/null
    assert_equal "$(fetched)" 4 # each layer once
    cbpush export "store:nothing" 2>/dev/null && return 1
    cbpush export "$app" 2>/dev/null | cmp - flat.tar
    oci=$(judge_skopeo reg test/app:1)
    rootfs=$(judge_umoci "$oci")
    mkdir flat
    tar -C flat -xpf flat.tar
    diff -r --no-dereference flat "$rootfs"
    assert_equal "$(cd flat && find . -printf '%P %y %m %U:%G %s %l\n' | grep -v ' d ' | sort)" \
        "$(cd "$rootfs" && find . -printf '%P %y %m %U:%G %s %l\n' | grep -v ' d ' | sort)"
    assert_equal "$(cat flat/linked flat/file)" $'one\ntwo'
    assert_equal "$(tail -n 1 flat/sparse | tr -d '\0')" end
    # Nobody sees half of one.
    printf 'x' >old.tar
    run cbpush export "$reg/test/none:1" -o old.tar
    assert_equal "$(cat old.tar)" x
}

@test "validate names what is wrong" {
    local blob file
    run --separate-stderr cbpush validate "$app"
    assert_status 0
    assert_equal "$(grep -c '^ok ' <<<"$output")" 5
    registry_forget reg
    run --separate-stderr cbpush validate --fast --json "$app"
    assert_status 0
    assert_equal "$(jq -c 'map(.ok) | unique' <<<"$output")" '[true]'
    assert_equal "$(fetched)" 1 # the config
    # A blob that rots in the registry's storage, and one that is lost.
    blob=$(registry_curl reg /v2/test/app/manifests/1 -H 'Accept: application/vnd.oci.image.manifest.v1+json' | head -n -1 |
        jq -r '.layers[1].digest')
    file=$(find "$(rig_find reg)" -path "*/blobs/sha256/*/${blob#sha256:}/data")
    rig_damage "$file" 20
    run --separate-stderr cbpush validate "$app"
    assert_status 7
    assert_contains "$output" "WRONG  layer $blob"
    assert_equal "$(grep -c '^WRONG' <<<"$output")" 1
    run cbpush validate --fast "$app"
    assert_status 0
    mv "$file" "$file.away"
    run --separate-stderr cbpush validate --fast "$app"
    assert_status 7
    assert_contains "$output" "WRONG  layer $blob"
    # The rest is looked at all the same.
    assert_equal "$(grep -c '^ok ' <<<"$output")" 4
    mv "$file.away" "$file"
}
