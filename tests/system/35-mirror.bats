#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# `cbpush mirror`: plan, apply, run, bundles, between two real registries; skopeo says what is there.

load helpers

VERSIONS='1.0.0 1.1.0 1.2.0 2.0.0 2.1.0-rc.1 v3 nightly'

setup_file()
{
    rig_setup_file
    registry_start one
    registry_start two
    python3 -B "$RIG_HERE/make_layout.py" "$BATS_FILE_TMPDIR/things" "$VERSIONS" >"$BATS_FILE_TMPDIR/digests"
    cbpush copy -q --root "$BATS_FILE_TMPDIR/store" -a --referrers "oci:$BATS_FILE_TMPDIR/things" "$(registry_addr one)/team/app" >/dev/null
}

setup()
{
    rig_setup
    registry_forget one
    registry_forget two
    one=$(registry_addr one)
    two=$(registry_addr two)
    things=$BATS_FILE_TMPDIR/things
    repo=$two/mirror/t$BATS_TEST_NUMBER
}

digest_of()
{
    awk -v name="$1" '$1 == name { print $2 }' "$BATS_FILE_TMPDIR/digests"
}

raw_digest()
{
    printf 'sha256:%s\n' "$(skopeo inspect --raw --tls-verify=false "docker://$1" | sha256sum | cut -d' ' -f1)"
}

# The tags of a repository of registry two, without those that stand for digests.
tags()
{
    skopeo list-tags --tls-verify=false "docker://$1" | jq -r '.Tags[]' | grep -v '^sha256-' | sort | paste -sd' '
}

# spec LINE…: a spec of one mirror from team/app to $repo, with these lines.
spec()
{
    printf 'mirrors:\n  - source: %s/team/app\n    target: %s\n' "$one" "$repo"
    [ $# -eq 0 ] || printf '    %s\n' "$@"
}

count()
{
    grep -c . || :
}

@test "filters choose tags, and every digest is kept" {
    spec 'tags:' '  exact: [nightly]' '  glob: "mult*"' '  semver: ">=1.1 <3"' '  exclude: {regex: "1[.]2.*"}' >spec.yaml
    cbpush mirror run -q spec.yaml >done
    assert_equal "$(tags "$repo")" '1.1.0 2.0.0 multi nightly'
    for tag in 1.1.0 2.0.0 multi nightly; do
        assert_equal "$(raw_digest "$repo:$tag")" "$(digest_of "$tag")"
        assert_contains "$(cat done)" "copied $(digest_of "$tag") $repo:$tag"
    done
    skopeo copy -q --all --src-tls-verify=false "docker://$repo:multi" dir:judged
    # What refers to multi came along, cosign's tag too; its own parts' as well.
    for name in signature sbom countersigned; do
        assert_equal "$(raw_digest "$repo@$(digest_of "$name")")" "$(digest_of "$name")"
    done
    assert_equal "$(raw_digest "$repo:$(digest_of multi | tr : -).sig")" "$(digest_of "$(digest_of multi | tr : -).sig")"
    # The newest of what is chosen, by version: what is no version, and pre-releases, by their rank.
    repo=$repo/newest
    spec 'tags: {newest: 2, glob: "*.*.*"}' 'referrers: false' >newest.yaml
    cbpush mirror run -q newest.yaml
    assert_equal "$(tags "$repo")" '2.0.0 2.1.0-rc.1'
}

@test "the newest by date, where a tag is listed whose manifest is gone, and one is an index of nothing" {
    local source=$one/team/gone repo=$two/mirror/gone gone
    cbpush copy -q "$one/team/app:1.0.0" "$source:1.0.0"
    cbpush copy -q "$one/team/app:2.0.0" "$source:gone"
    printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}' |
        cbpush manifest put "$source:nothing"
    gone=$(digest_of 2.0.0)
    rm -r "$(rig_find one)/storage/docker/registry/v2/repositories/team/gone/_manifests/revisions/sha256/${gone#sha256:}"
    assert_contains "$(cbpush tags "$source")" gone
    printf 'mirrors:\n  - source: %s\n    target: %s\n    tags: {newest: 1, by: created}\n    referrers: false\n' "$source" "$repo" >spec.yaml
    cbpush mirror run -q spec.yaml
    assert_equal "$(tags "$repo")" 1.0.0
}

@test "to where nothing is a tag costs one GET and one PUT, besides its blobs" {
    local source=$one/team/app empty=$two/mirror/first/app
    printf 'mirrors:\n  - source: %s\n    targets: [%s, %s]\n    tags: [1.0.0, 1.1.0, 2.0.0]\n    referrers: false\n' \
        "$source" "$empty" "$two/mirror/first/second" >spec.yaml
    registry_forget one
    registry_forget two
    cbpush mirror run -q spec.yaml >done
    assert_equal "$(count <done)" 6
    assert_equal "$(raw_digest "$empty:1.1.0")" "$(digest_of 1.1.0)"
    assert_equal "$(registry_requests one '"HEAD /v2/team/app/manifests/' | count)" 0
    # The second target asks again.
    assert_equal "$(registry_requests one '"GET /v2/team/app/manifests/' | count)" 6
    assert_equal "$(registry_requests two '"HEAD /v2/mirror/first/app/manifests/' | count)" 0
    assert_equal "$(registry_requests two '"GET /v2/mirror/first/app/tags/list' | count)" 2
    # What is only planned is not read, and what has tags is looked at.
    sed -i 's/tags: .*/tags: ["1.0.0", "1.1.0"]/' spec.yaml
    registry_forget one
    registry_forget two
    cbpush mirror plan spec.yaml | jq -e '[.. | .reason? // empty] | unique == ["same"]'
    assert_equal "$(registry_requests one '"HEAD /v2/team/app/manifests/' | count)" 2
    assert_equal "$(registry_requests one '"GET /v2/team/app/' | count)" 0
    assert_equal "$(registry_requests two '"HEAD /v2/mirror/first/' | count)" 4
    assert_equal "$(registry_requests two '/tags/list' | count)" 0
    # Without a memory of it the list says the same.
    registry_forget two
    CBPUSH_ROOT=$PWD/other cbpush mirror run -q spec.yaml >done
    assert_equal "$(cat done)" ''
    assert_equal "$(registry_requests two '"HEAD /v2/mirror/first/' | count)" 4
}

@test "nothing changed: one HEAD a tag on either side, and one list" {
    spec 'tags: {glob: ["1.*", "2.*", multi, empty, sha512, artifact]}' >spec.yaml
    cbpush mirror run -q spec.yaml >done
    n=$(count <done)
    assert_equal "$n" 9
    registry_forget one
    registry_forget two
    cbpush mirror run -q spec.yaml >done
    assert_equal "$(cat done)" ''
    assert_equal "$(registry_requests two '"(GET|HEAD|PUT|POST|PATCH|DELETE) /v2/[a-z]' | grep -v '"HEAD /v2/.*/manifests/' || :)" ''
    assert_equal "$(registry_requests two '"HEAD ' | count)" "$n"
    assert_equal "$(registry_requests one '"HEAD /v2/team/app/manifests/([^s][^ ]*|sha512) ' | count)" "$n"
    # Three tags stand for what refers to multi or a part of it; whether the registry lists that itself is asked once.
    assert_equal "$(registry_requests one '"HEAD /v2/team/app/manifests/sha256-' | count)" 3
    assert_equal "$(registry_requests one '"GET /v2/[a-z]' | grep -v tags/list | grep -c -v /referrers/ || :)" 0
    assert_equal "$(registry_requests one '"GET /v2/team/app/tags/list' | count)" 1
    # Exact tags without referrers need not even a list.
    spec 'tags: [1.0.0, 1.1.0]' 'referrers: false' >exact.yaml
    registry_forget one
    cbpush mirror run -q exact.yaml
    assert_equal "$(registry_requests one '"(GET|HEAD) /v2/[a-z]' | count)" 2
}

@test "a plan is refused where something has moved since, and done once" {
    cbpush copy -q "$one/team/app:1.0.0" "$one/team/moving:a"
    cbpush copy -q "$one/team/app:1.0.0" "$one/team/moving:b"
    spec >spec.yaml
    sed -i s,team/app,team/moving, spec.yaml
    cbpush mirror plan -q spec.yaml -o plan.json
    assert_equal "$(jq -r '[.mirrors[].tags[] | .tag + " " + .action + " " + .reason] | join(", ")' plan.json)" 'a copy new, b copy new'
    cbpush copy -q "$one/team/app:1.1.0" "$one/team/moving:a"
    run cbpush mirror apply plan.json
    assert_status 7
    assert_contains "$output" 'plan again'
    assert_equal "$(tags "$repo")" b
    # Again: b is there as planned.
    run cbpush mirror apply --json -q plan.json
    assert_equal "$(jq -r '[.mirrors[].tags[].outcome] | join(" ")' <<<"$(sed -n '/^{/,/^}/p' <<<"$output")")" 'failed current'
    cbpush mirror apply -q --force plan.json
    assert_equal "$(raw_digest "$repo:a")" "$(digest_of 1.1.0)"
    # The target has moved.
    cbpush copy -q "$one/team/app:1.2.0" "$one/team/moving:b"
    cbpush mirror plan -q spec.yaml -o plan.json
    cbpush copy -q "$one/team/app:2.0.0" "$repo:b"
    run cbpush mirror apply -q plan.json
    assert_status 7
    assert_equal "$(raw_digest "$repo:b")" "$(digest_of 2.0.0)"
}

@test "deletes are guarded, and only of tags that the filter chooses" {
    spec 'tags: {glob: "1.*"}' 'delete: true' >spec.yaml
    cbpush mirror run -q spec.yaml
    cbpush copy -q "$one/team/app:1.0.0" "$repo:1.9.0"
    cbpush copy -q "$one/team/app:1.0.0" "$repo:mine"
    run cbpush mirror run -q spec.yaml
    assert_status 5
    assert_contains "$output" '1 tags would be deleted, and --max-delete is 0'
    assert_equal "$(tags "$repo")" '1.0.0 1.1.0 1.2.0 1.9.0 mine'
    cbpush mirror run -q --max-delete 1 spec.yaml >done
    assert_contains "$(cat done)" "deleted $(digest_of 1.0.0) $repo:1.9.0"
    # Its siblings of the same digest stay.
    assert_equal "$(tags "$repo")" '1.0.0 1.1.0 1.2.0 mine'
    assert_equal "$(raw_digest "$repo:1.0.0")" "$(digest_of 1.0.0)"
}

# A registry whose lists of tags are never whole, at $short. forgetful TAG: it lists only that.
forgetful()
{
    local dir
    dir=$(mktemp -d "$(rig_dir)/forgetful.XXXXXX")
    cat >"$dir/forgetful.py" <<'END'
import sys
sys.path.insert(0, sys.argv[1])
import passing_on

class Forgetful(passing_on.PassingOn):
    def answer(self):
        if "/tags/list" not in self.path:
            return False
        body = b'{"name": "team/app", "tags": ["%s"]}' % sys.argv[4].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return True

passing_on.serve(passing_on.make(Forgetful, sys.argv[2]), sys.argv[3])
END
    rig_spawn "$dir" python3 -B "$dir/forgetful.py" "$RIG_HERE" "$one" "$dir/port" "$1"
    until [ -s "$dir/port" ]; do sleep 0.05; done
    short=localhost:$(cat "$dir/port")
}

@test "a tag that the source does not list and has is not deleted" {
    spec 'tags: {glob: "1.*"}' >spec.yaml
    cbpush mirror run -q spec.yaml
    cbpush copy -q "$one/team/app:1.0.0" "$repo:1.9.0"
    forgetful 1.0.0
    one=$short spec 'tags: {glob: "1.*"}' 'delete: true' 'referrers: false' >short.yaml
    cbpush mirror run -q --max-delete 9 short.yaml >done
    assert_equal "$(cat done)" "deleted $(digest_of 1.0.0) $repo:1.9.0"
    assert_equal "$(tags "$repo")" '1.0.0 1.1.0 1.2.0'
}

@test "failures do not stop the rest, and are told at the end" {
    {
        spec 'tags: [1.0.0, absent, 1.1.0]'
        printf '  - {source: %s/no/where, target: %s/x}\n' "$one" "$repo"
        printf '  - {source: %s/team/app, target: %s/y, tags: [2.0.0]}\n' "$one" "$repo"
    } >spec.yaml
    run --separate-stderr cbpush mirror run spec.yaml
    assert_status 5
    # shellcheck disable=SC2154 # set by run
    assert_contains "$stderr" '2 of 5 failed'
    assert_equal "$(tags "$repo")" '1.0.0 1.1.0'
    assert_equal "$(tags "$repo/y")" 2.0.0
    # Layers that the two repositories share went to the registry once.
    common=$(jq -r '.layers[0].digest' "$things/blobs/$(digest_of 1.0.0 | tr : /)")
    assert_equal "$(registry_requests one "\"GET /v2/team/app/blobs/$common" | count)" 1
    assert_contains "$(registry_requests two '"POST /v2/mirror/.*/y/blobs/uploads/.* 201 ')" mount=
}

@test "killed in the middle, it goes on where it was" {
    local names i pid
    names=$(for ((i = 10; i < 40; i++)); do printf '5.%d.0 ' $i; done)
    python3 -B "$RIG_HERE/make_layout.py" many "$names" >many.digests
    cbpush copy -q -a oci:many "$one/team/many" >/dev/null
    spec >spec.yaml
    sed -i s,team/app,team/many, spec.yaml
    "$CBPUSH" mirror run -q -j 2 spec.yaml >/dev/null 2>&1 3>&- &
    pid=$!
    for ((i = 0; i < 400; i++)); do
        [ "$(registry_requests two '"PUT /v2/mirror/.*/manifests/5' | count)" -lt 4 ] || break
        sleep 0.02
    done
    kill -9 $pid
    wait $pid || :
    before=$(registry_requests two '"PUT /v2/mirror/.*/blobs/uploads/.* 201 ' | count)
    there=$(registry_requests two '"PUT /v2/mirror/.*/manifests/5[^ ]* [^ ]* 201 ' | count)
    [ "$there" -ge 4 ] && [ "$there" -lt 30 ] || rig_fail "$there tags before the kill"
    registry_forget two
    cbpush mirror run -q -j 2 spec.yaml >done
    # Tags that were there are not touched, blobs that were there do not go again. What was under way at the kill may have
    # arrived since.
    missing=$(registry_requests two '"HEAD /v2/mirror/.*/manifests/5[^ ]* [^ ]* 404 ' | count)
    [ "$missing" -le $((30 - there)) ] || rig_fail "$there tags before the kill, $missing missing afterwards"
    assert_equal "$(registry_requests two '"PUT /v2/mirror/.*/manifests/5' | count)" "$missing"
    after=$(registry_requests two '"PUT /v2/mirror/.*/blobs/uploads/.* 201 ' | count)
    blobs=$(registry_requests two '"HEAD /v2/mirror/.*/blobs/.* 200 ' | sed 's/.*blobs.\(sha[^ ]*\) .*/\1/' | sort -u | count)
    [ "$after" -le "$blobs" ] || rig_fail "$before blobs before, $after after, of $blobs"
    while read -r tag digest; do
        [[ $tag != 5.* ]] || assert_equal "$(raw_digest "$repo:$tag")" "$digest"
    done < <(shuf -n 6 many.digests)
    assert_equal "$(tags "$repo" | wc -w)" 35
    skopeo copy -q --src-tls-verify=false "docker://$repo:5.20.0" dir:judged
}

@test "a signature that comes later is brought, though its tag has not changed" {
    cbpush copy -q "$one/team/app:plain" "$one/team/late:1"
    spec >spec.yaml
    sed -i s,team/app,team/late, spec.yaml
    cbpush mirror run -q spec.yaml
    cbpush copy -q --referrers "oci:$things:plain" "$one/team/late:1"
    cbpush mirror run -q spec.yaml >done
    assert_contains "$(cat done)" "referrers $(digest_of plain) $repo:1"
    assert_equal "$(raw_digest "$repo@$(digest_of sbom)")" "$(digest_of sbom)"
    assert_equal "$(raw_digest "$repo@$(digest_of countersigned)")" "$(digest_of countersigned)"
    cbpush mirror run -q spec.yaml >done
    assert_equal "$(cat done)" ''
}

@test "a signature of a part of an index comes later, and is brought" {
    local part
    part=$(jq -r '.manifests[1].digest' "$things/blobs/$(digest_of multi | tr : /)")
    cbpush copy -q "$one/team/app:multi" "$one/team/parts:1"
    cbpush copy -q "$one/team/app:multi" "$one/team/parts:same"
    spec >spec.yaml
    sed -i s,team/app,team/parts, spec.yaml
    cbpush mirror run -q spec.yaml
    echo hello >note.txt
    cbpush attach "$one/team/parts@$part" --artifact-type application/x-late note.txt | sed 's/.*@//' >artifact
    # Only where that is not wished for is it passed over.
    { cat spec.yaml; echo '    referrers: top'; } >top.yaml
    cbpush mirror run -q top.yaml >done
    assert_equal "$(cat done)" ''
    cbpush mirror run -q spec.yaml >done
    assert_equal "$(cat done)" "referrers $(digest_of multi) $repo:1
referrers $(digest_of multi) $repo:same"
    assert_equal "$(raw_digest "$repo@$(cat artifact)")" "$(cat artifact)"
    registry_forget one
    cbpush mirror run -q spec.yaml >done
    assert_equal "$(cat done)" ''
    # A HEAD for each tag, and one for the list of that part.
    assert_equal "$(registry_requests one '"HEAD /v2/team/parts/manifests/' | count)" 3
    assert_equal "$(registry_requests one '"GET /v2/team/parts/manifests/' | count)" 0
}

@test "platforms: another index, and no more than HEADs the next time" {
    spec 'tags: [multi]' 'platforms: linux/arm64' >spec.yaml
    cbpush mirror run -q spec.yaml
    assert_equal "$(raw_digest "$repo:multi")" "$(jq -r '.manifests[1].digest' "$things/blobs/$(digest_of multi | tr : /)")"
    registry_forget one
    cbpush mirror run -q spec.yaml
    assert_equal "$(registry_requests one '"GET /v2/team/app/manifests' | count)" 0
}

@test "bundles: what the other side lacks, and not a blob more" {
    spec 'tags: [1.0.0, multi]' >first.yaml
    spec 'tags: [1.0.0, 1.1.0, multi]' >second.yaml
    cbpush mirror run -q first.yaml --bundle b1
    assert_equal "$(jq '.blobs | length' b1/missing.json)" 0
    # It is a layout: skopeo reads it by the names of the targets.
    assert_equal "$(skopeo inspect --raw "oci:b1:$repo:1.0.0" | sha256sum | cut -c1-64)" "$(digest_of 1.0.0 | cut -d: -f2)"
    cbpush mirror load -q b1 --to "$two/far$BATS_TEST_NUMBER" >loaded
    far=$two/far$BATS_TEST_NUMBER/mirror/t$BATS_TEST_NUMBER
    assert_equal "$(tags "$far")" '1.0.0 multi'
    assert_equal "$(raw_digest "$far:multi")" "$(digest_of multi)"
    assert_equal "$(raw_digest "$far@$(digest_of countersigned)")" "$(digest_of countersigned)"
    cbpush mirror run -q second.yaml --bundle b2 --have b1/index.json
    common=$(jq -r '.layers[0].digest' "$things/blobs/$(digest_of 1.0.0 | tr : /)")
    own=$(jq -r '.layers[1].digest' "$things/blobs/$(digest_of 1.1.0 | tr : /)")
    [ -e "b2/blobs/${own/://}" ]
    [ ! -e "b2/blobs/${common/://}" ]
    assert_contains "$(jq -r '.blobs[].digest' b2/missing.json)" "$common"
    cbpush mirror load -q b2 --to "$two/far$BATS_TEST_NUMBER" >loaded
    assert_equal "$(tags "$far")" '1.0.0 1.1.0 multi'
    assert_equal "$(raw_digest "$far:1.1.0")" "$(digest_of 1.1.0)"
    skopeo copy -q --src-tls-verify=false "docker://$far:1.1.0" dir:judged
    # Where the rest is not, it says so, and no tag is left.
    registry_start third
    run cbpush mirror load -q b2 --to "$(registry_addr third)/empty"
    assert_status 4
    assert_contains "$output" 'the bundle left out'
    run registry_curl third "/v2/empty/mirror/t$BATS_TEST_NUMBER/tags/list"
    refute_contains "$output" 1.1.0
}

@test "--have of a file that is no bundle says what is expected" {
    spec 'tags: [1.0.0]' >spec.yaml
    cbpush mirror run -q spec.yaml --bundle b1
    mkdir alone empty
    cp b1/index.json alone
    cp b1/index.json copy.json
    while IFS='|' read -r have says; do
        run -2 cbpush mirror run -q spec.yaml --bundle b2 --have "$have"
        assert_contains "$output" "cbpush: --have $have: $says"
    done <<'END'
copy.json|a bundle's directory, the index.json in it, or an image or repository is expected
b1/missing.json|a bundle's directory,
alone/index.json|there is no alone/oci-layout: a whole bundle
alone|there is no alone/oci-layout: a whole bundle
empty|there is no empty/oci-layout
b1/blobs|there is no b1/blobs/oci-layout
nosuch.json|No such file or directory
./nosuch|No such file or directory
END
    (cd b1 && cbpush mirror run -q ../spec.yaml --bundle ../b2 --have index.json)
    [ -s b2/missing.json ]
}

# broken DIGEST COMMAND: a bundle where that has been done to that blob says so first, and sends nothing.
broken()
{
    local file=b2/blobs/${1/://}
    rm -rf b2
    cp -r b1 b2
    "${@:2}" "$file"
    registry_forget two
    run -7 cbpush mirror load -q b2 --to "$two/broken"
    assert_contains "$output" "cbpush: the bundle is not whole, copy it again: "
    assert_contains "$output" "blobs/${1/://}"
    assert_equal "$(registry_requests two /v2/broken/ | count)" 0
}

shorten() { truncate -s -1 "$1"; }

@test "a bundle that lost a file, or a part of one, says which before it sends anything" {
    local layer part
    spec 'tags: [1.0.0, multi]' >spec.yaml
    cbpush mirror run -q spec.yaml --bundle b1
    layer=$(jq -r '.layers[0].digest' "$things/blobs/$(digest_of 1.0.0 | tr : /)")
    part=$(jq -r '.manifests[0].digest' "$things/blobs/$(digest_of multi | tr : /)")
    broken "$layer" rm
    broken "$layer" shorten
    broken "$(digest_of 1.0.0)" rm
    broken "$part" rm
    broken "$(digest_of countersigned)" rm
    broken "$(jq -r '.layers[0].digest' "$things/blobs/$(digest_of sbom | tr : /)")" rm
}

@test "mistakes in a spec have their line" {
    while IFS='|' read -r lines says; do
        printf '%b' "$lines" >spec.yaml
        run cbpush mirror plan spec.yaml
        assert_status 5
        assert_contains "$output" "$says"
    done <<'END'
mirrors:\n  - sorce: a/b\n    target: h.example/c\n|spec.yaml:2: "sorce" is not known here
mirrors:\n  - source: h.example/a\n|spec.yaml:2: the mirror has no target
mirrors:\n  - source: h.example/a:1\n    target: h.example/b\n|spec.yaml:2: h.example/a:1: a repository is expected
mirrors:\n  - source: h.example/a\n    target: h.example/b\n    tags:\n      semver: ">>1"\n|spec.yaml:5: ">>1" is no range
mirrors:\n  - source: h.example/a\n    target: h.example/b\n    tags: {regex: "("}\n|spec.yaml:4: "("
mirrors: [\n|spec.yaml:2:
END
    run cbpush mirror run --have x spec.yaml
    assert_status 2
    run cbpush mirror sync spec.yaml
    assert_status 2
}
