#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Scripts that were written for docker: its spellings of verbs, several images at once, and what they read of the answers.

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
    printf 'FROM busybox\nLABEL kind=one\nRUN echo one >/one\n' >ctx/Dockerfile
    cb_quietly 'the first' cbpush build -t one:1 -t "$reg/team/app:1" ctx
    printf 'FROM busybox\nLABEL kind=two other=x\nRUN echo two >/two\n' >ctx/Dockerfile
    cb_quietly 'the second' cbpush build -t one:2 -t "$reg/team/app:2" -t two:1 ctx
}

# names ARG…: what `images` lists, sorted, in one line.
names()
{
    cbpush images --format '{{.Repository}}:{{.Tag}}' "$@" | sort | tr '\n' ' '
}

@test "regctl's verbs of two words, or what does the same" {
    cb_quietly push cbpush image push "$reg/team/app:1"
    cb_quietly copy cbpush image copy "$reg/team/app:1" "$reg/team/copy:1"
    assert_equal "$(cbpush image digest "$reg/team/copy:1")" "$(cbpush digest "$reg/team/app:1")"
    assert_equal "$(cbpush image config "$reg/team/copy:1")" "$(cbpush config "$reg/team/app:1")"
    assert_contains "$(cbpush repo ls "$reg")" team/copy
    cbpush image delete "$reg/team/copy:1"
    run cbpush image digest "$reg/team/copy:1"
    assert_status 4
    assert_equal "$(cbpush artifact list "$reg/team/app:1")" "$(cbpush artifact tree "$reg/team/app:1")"
    run cbpush registry logout "$reg"
    assert_equal "$output" "$(cbpush logout "$reg" 2>&1)"
    run cbpush tag ls "$reg/team/app"
    assert_status 5
    assert_contains "$output" 'no such image: ls in the store (cbpush tags REPO lists those of a registry)'
    run cbpush image mod "$reg/team/app:1"
    assert_status 2
    assert_contains "$output" 'cbpush mutate'
}

@test "verbs of two words, and buildah's" {
    local id
    id=$(cbpush build -q ctx)
    assert_equal "$(cbpush buildx build -q ctx)" "$id"
    assert_equal "$(cbpush builder build -q ctx)" "$id"
    assert_equal "$(cbpush image build -q ctx)" "$id"
    assert_equal "$(cbpush bud -q ctx)" "$id"
    assert_equal "$(cbpush image ls -q one)" "$(cbpush images -q one)"
    cbpush image tag one:1 three:1
    assert_equal "$(cbpush image inspect -f '{{.Id}}' three:1)" "$(cbpush inspect -f '{{.Id}}' one:1)"
    assert_equal "$(cbpush image rm three:1)" docker.io/library/three:1
    run cbpush image
    assert_status 2
    run cbpush image nosuch
    assert_status 2
    run cbpush buildx prune
    assert_status 2
}

@test "what other programs have and cbpush has not: told what does the same" {
    local row
    while IFS='|' read -r words want; do
        # shellcheck disable=SC2086 # words
        run cbpush $words </dev/null
        assert_status 2 "$words"
        assert_contains "$output" "$want" "$words"
    done <<'END'
buildx create --use|builds by itself
system prune -af|cbpush prune --all
bake --push|run cbpush build for each target
buildx install|builds by itself
build --cache-to type=gha,mode=max ctx|type=registry,ref=ghcr.io/
build --cache-from type=s3,region=a,bucket=b ctx|keeps it in a registry
docker build .|cbpush build
--insecure digest x|behind the verb
manifest create a b|cbpush index create
index list a|cbpush index inspect REF
image nosuch|none of build
build -v /tmp:/x ctx|--build-context NAME=DIR
build --cap-add=SYS_ADMIN ctx|--security=insecure
copy --multi-arch all x y|--platform OS/ARCH
digest --insecure x|--insecure-registry HOST
prune --filter until=24h|--keep
rmi -a|cbpush images
pull a b.tar|docker-archive:b.tar
pull oci:some/dir|cbpush copy SRC DST
load a.tar|-i a.tar
push one:1 docker-archive:x.tar|cbpush copy SRC DST
END
    : >a.tar
    run cbpush push a.tar "$reg/x"
    assert_status 5
    assert_contains "$output" 'cbpush copy docker-archive:a.tar'
    run cbpush inspect oci:lay/out:1
    assert_status 5
    assert_contains "$output" 'cbpush copy oci:lay/out:1 store:NAME'
}

@test "docker:// in front of what is pulled or pushed to; auth login; options of skopeo copy" {
    local digest
    digest=$(cbpush inspect -f '{{.Digest}}' one:1)
    assert_equal "$(cbpush push -q one:1 "docker://$reg/team/app:1")" "$digest"
    assert_equal "$(cbpush pull -q "docker://$reg/team/app:1")" "$digest"
    assert_equal "$(cbpush copy -q --all --preserve-digests --retry-times 2 "docker://$reg/team/app:1" "docker://$reg/other:1")" \
        "$digest"
    echo '{' >bad.json
    cbpush copy -q --src-authfile bad.json --dest-authfile bad.json "docker://$reg/team/app:1" "docker://$reg/other:2"
    echo secret | cbpush auth login "$reg" -u me --password-stdin
    cbpush auth logout "$reg"
}

@test "images: columns stand below each other, however long a name is" {
    local name
    name=here/$(printf 'x%.0s' $(seq 60))
    cbpush tag one:1 "$name:1"
    cbpush images >out.log
    grep -q "$name:1 " out.log
    # What the headings stand above begins where they do.
    awk 'NR == 1 { id = index($0, "IMAGE ID"); size = index($0, "SIZE"); next }
        substr($0, id - 1, 2) !~ /^ [0-9a-f]$/ || substr($0, size - 1, 2) !~ /^ [0-9]$/ { bad = 1 } END { exit bad || NR < 3 }' out.log ||
        rig_fail "$(cat out.log)"
}

@test "images: names, wildcards, filters, templates" {
    assert_equal "$(names one)" 'one:1 one:2 '
    assert_equal "$(names one:1 two)" 'one:1 two:1 '
    assert_equal "$(names 'o*:2')" 'one:2 '
    assert_equal "$(names docker.io/library/two)" 'two:1 '
    assert_equal "$(names "$reg/*/app")" "$reg/team/app:1 $reg/team/app:2 "
    assert_equal "$(names "$reg/*")" ''
    assert_equal "$(names --filter reference=one --filter label=kind=two)" 'one:2 '
    assert_equal "$(names --filter label=other --filter dangling=false)" "$reg/team/app:2 one:2 two:1 "
    assert_equal "$(names --filter dangling=true)" ''
    assert_equal "$(cbpush images -q nosuch)" ''
    assert_equal "$(cbpush images --no-trunc -q one:1)" "$(cbpush inspect -f '{{.Id}}' one:1)"
    assert_equal "$(cbpush images --format json one:1 | jq -r '.Repository, .Tag, .Digest' | tr '\n' ' ')" \
        "one 1 $(cbpush inspect -f '{{.Digest}}' one:1) "
    assert_equal "$(cbpush images --format 'tables {{.Tag}}' one:1)" 'tables 1'
    run cbpush images --filter since=one:1
    assert_status 2
    run cbpush images --format '{{.Nosuch}}'
    assert_status 2
}

@test "inspect: several images, and the names of each" {
    assert_equal "$(cbpush inspect one:1 two:1 | jq -c 'map(.Config.Labels.kind)')" '["one","two"]'
    assert_equal "$(cbpush inspect one:1 | jq -r .Config.Labels.kind)" one 'one is an object, as of skopeo'
    assert_equal "$(cbpush inspect -f '{{.Config.Labels.kind}}' one:1 two:1)" $'one\ntwo'
    assert_equal "$(cbpush inspect two:1 | jq -c '.RepoTags | sort')" "$(jq -nc --arg r "$reg" '["one:2", "two:1", $r + "/team/app:2"] | sort')"
    assert_equal "$(cbpush inspect "$reg/team/app:1" | jq -r '.RepoDigests[]' | grep -c "$reg/team/app@sha256:")" 1
    assert_contains "$(cbpush inspect -f '{{index .RepoDigests 0}}' one:1)" "@$(cbpush inspect -f '{{.Digest}}' one:1)"
    run cbpush inspect --raw one:1 two:1
    assert_status 2
    run cbpush inspect one:1 nosuch
    assert_status 5
}

@test "save: several images in one archive, each with its names" {
    cbpush save -o both.tar one:1 two:1
    assert_equal "$(tar -xOf both.tar manifest.json | jq -c 'map(.RepoTags)')" '[["one:1"],["two:1"]]'
    skopeo copy -q docker-archive:both.tar:two:1 oci:judged:x
    assert_equal "$(skopeo inspect oci:judged:x | jq -r .Labels.kind)" two
    CBPUSH_ROOT=$PWD/other cbpush load -i both.tar >loaded
    assert_equal "$(cut -d ' ' -f 2 loaded | tr '\n' ' ')" 'docker.io/library/one:1 docker.io/library/two:1 '
    cbpush save --format oci-archive one:1 two:1 >both.oci.tar
    assert_equal "$(tar -xOf both.oci.tar index.json | jq '.manifests | length')" 2
    cbpush save --format oci-dir -o layout one:1 two:1
    assert_equal "$(jq '.manifests | length' layout/index.json)" 2
    run cbpush save -o none.tar one:1 nosuch
    assert_status 5
    [ ! -e none.tar ]
}

@test "push --all-tags: every tag of the repository" {
    assert_equal "$(cbpush push -q --all-tags "$reg/team/app" | sort)" \
        "$(cbpush inspect -f '{{.Digest}}' one:1 two:1 | sort)"
    assert_equal "$(cbpush tags "$reg/team/app" | sort | tr '\n' ' ')" '1 2 '
    assert_equal "$(cbpush digest "$reg/team/app:2")" "$(cbpush inspect -f '{{.Digest}}' two:1)"
    run cbpush push -a "$reg/team/app:1"
    assert_status 2
    run cbpush push -a "$reg/team/none"
    assert_status 5
}

@test "images --digests: a column of them beside the IDs" {
    local digest id
    digest=$(cbpush inspect -f '{{.Digest}}' one:1)
    id=$(cbpush images -q one:1)
    assert_equal "$(cbpush images --digests one:1 | tr -s ' ' | cut -d ' ' -f 1-4)" "NAME DIGEST IMAGE ID
one:1 $digest $id $(cbpush images --format '{{.CreatedSince}}' one:1 | cut -d ' ' -f 1)"
    assert_equal "$(cbpush images -q --digests one:1)" "$digest"
    assert_equal "$(cbpush images one:1 | head -n 1 | tr -s ' ')" 'NAME IMAGE ID CREATED SIZE'
    run -2 cbpush images -q --json
    assert_contains "$output" 'does not go with --json'
}

@test "rmi: all that can go goes; --force is content where there is nothing" {
    run cbpush rmi nosuch one:1 other
    assert_status 5
    assert_contains "$output" 'no such image: nosuch'
    assert_contains "$output" 'no such image: other'
    assert_equal "$(names one)" 'one:2 '
    cbpush rmi -f nosuch one:2 2>log
    assert_equal "$(names one)" ''
    assert_contains "$(cat log)" nosuch
}

@test "an ID that several manifests have is one image; rmi -f takes all its names" {
    local id
    cb_quietly 'with an annotation' cbpush build -t noted:1 --annotation note=x ctx
    cbpush tag noted:1 noted:2
    id=$(cbpush images -q noted:1)
    assert_equal "$id" "$(cbpush images -q two:1)"
    [ "$(cbpush inspect -f '{{.Digest}}' noted:1)" != "$(cbpush inspect -f '{{.Digest}}' two:1)" ]
    assert_equal "$(cbpush inspect -f '{{.Id}}' "$id")" "$(cbpush inspect -f '{{.Id}}' two:1)"
    assert_equal "$(cbpush run "$(cbpush inspect -f '{{.Id}}' two:1)" cat /two)" two
    assert_equal "$(cbpush rmi -f "$(cbpush images -q one:1)")" "$(printf '%s\n' "$reg/team/app:1" docker.io/library/one:1)"
    assert_equal "$(cbpush rmi -f "$id" | wc -l)" 5
    assert_equal "$(cbpush images -q)" ''
    run -5 cbpush rmi "$id"
}

@test "rmi of an ID with several names is refused without -f, and names them" {
    local id before
    id=$(cbpush images -q one:1)
    before=$(names)
    run -2 cbpush rmi "$id"
    assert_equal "$output" "cbpush: $id has several names ($reg/team/app:1, docker.io/library/one:1): rmi -f $id takes all of \
them away, rmi NAME one"
    assert_equal "$(names)" "$before"
    cbpush rmi one:1
    assert_equal "$(cbpush rmi "$id")" "$reg/team/app:1"
    # Two tags of one repository are two names.
    cbpush tag two:1 two:again
    cbpush rmi one:2 "$reg/team/app:2"
    run -2 cbpush rmi "$(cbpush images -q two:1)"
    assert_contains "$output" '(docker.io/library/two:again, docker.io/library/two:1)'
}

@test "tag: no name that reads as an ID" {
    run -2 cbpush tag one:1 sha256:abcdef
    assert_contains "$output" 'reads as an image ID'
    assert_equal "$(names | wc -w)" 5
}

@test "--format table: columns below headings" {
    local id
    id=$(cbpush images -q one:1)
    assert_equal "$(cbpush images --format 'table {{.ID}}\t{{.Tag}}\t{{upper .Repository}}' one:1 "$reg/team/app:1")" \
        "IMAGE ID       TAG       REPOSITORY
$id   1         ${reg^^}/TEAM/APP
$id   1         ONE"
    assert_equal "$(cbpush images --format 'table{{.Tag}}' one:1)" $'TAG\n1'
    assert_equal "$(cbpush images --format table | head -n 1)" "$(cbpush images | head -n 1)"
    assert_equal "$(cbpush history --format 'table {{.Size}}\t{{.CreatedBy}}' two:1 | sed -n '1p;3p')" \
        $'SIZE      CREATED BY\n0B        LABEL kind=two other=x'
    assert_equal "$(cbpush history --format table two:1 | head -n 1)" "$(cbpush history two:1 | head -n 1)"
    run -2 cbpush images --format 'table {{.Nosuch}}'
    run -2 cbpush history --format 'table {{.Size' two:1
}

@test "history: templates and IDs" {
    assert_equal "$(cbpush history --format '{{.CreatedBy}}' two:1 | head -n 2)" \
        $'RUN /bin/sh -c echo two >/two\nLABEL kind=two other=x'
    assert_equal "$(cbpush history -q --no-trunc two:1 | head -n 1)" "$(cbpush inspect -f '{{.Id}}' two:1)"
    assert_equal "$(cbpush history -q two:1 | sed -n 2p)" '<missing>'
    cbpush history --format json two:1 | jq -es 'all(has("Size"))'
    # A program reads what it is; people see what is harmless.
    printf 'FROM busybox\nLABEL x="a\xe2\x80\xaeb"\n' >ctx/Dockerfile
    cb_quietly 'with a character that turns the line around' cbpush build -t turned:1 ctx
    assert_equal "$(cbpush history --format json turned:1 | jq -r .CreatedBy | head -n 1)" $'LABEL x=a\xe2\x80\xaeb'
    assert_equal "$(cbpush history --format 'table {{.CreatedBy}}' turned:1 | sed -n 2p)" 'LABEL x=a\u{202e}b'
    run script -qec "'$CBPUSH' history --format '{{.CreatedBy}}' turned:1" /dev/null
    assert_equal "${lines[0]%$'\r'}" 'LABEL x=a\u{202e}b'
    run cbpush history --format '{{.Nosuch}}' two:1
    assert_status 2
}

@test "a reader that has gone is no failure to be told of" {
    local verb
    for verb in 'images' 'images --json' 'history one:1' help 'export store:one:1' 'save one:1' 'build -o - ctx' \
        'build -o type=docker,dest=- ctx' 'copy store:one:1 docker-archive:-' 'build -o type=oci,dest=- ctx'; do
        set +e
        # shellcheck disable=SC2086 # words
        { sleep 0.2; "$CBPUSH" $verb 2>log; echo $? >status; } | true
        set -e
        assert_equal "$(cat status)" 141 "$verb"
        refute_contains "$(cat log)" cbpush:
    done
}

@test "what can be written nowhere is a failure" {
    local verb
    for verb in 'images' 'save one:1' 'build -q ctx' help; do
        # shellcheck disable=SC2086 # words
        run -6 bash -c '"$0" "$@" 2>&1 >&-' "$CBPUSH" $verb
        [[ $output == *'standard output could not be written'* || $output == *'Bad file descriptor'* ]]
    done
    cbpush images >/dev/null 2>&- <&-
    cbpush build -t three:1 ctx >&- 2>&-
}
