#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What cache mounts hold, on other machines: --cache-mount-to, --cache-mount-from. Another machine is another store.

load helpers
load build
load users

setup_file()
{
    rig_setup_file
    build_setup_file
    registry_start --auth-token --user alice:s3cret tokens
}

setup()
{
    rig_setup
    build_setup
    repo=mounts/t$BATS_TEST_NUMBER
    to=(--cache-mount-to "type=registry,ref=$reg/$repo")
    from=(--cache-mount-from "type=registry,ref=$reg/$repo")
}

machine()
{
    export CBPUSH_ROOT=$BATS_TEST_TMPDIR/store.$1
}

# quick ARG…: a build that is pushed; what cbpush says is in $log.
quick()
{
    local status=0
    cbpush build --progress plain --push "$reg/test/app:1" "$@" ctx >build.log 2>&1 || status=$?
    log=$(cat build.log)
    [ "$status" -eq 0 ] || rig_fail "cbpush build: exit status $status: $log"
}

# step COMMAND [OPTION]: a Dockerfile of one RUN with the cache mount $id, which leaves what it prints in the image.
step()
{
    write ctx/Dockerfile <<END
FROM busybox
RUN --mount=type=cache,id=${id-pip},target=/c${2-} sh >/report <<'EOF'
$1
EOF
RUN true
END
}

fill='i=0
while [ $i -lt 200 ]; do
    mkdir -p /c/d$((i % 7)); head -c 3000 /dev/urandom >/c/d$((i % 7))/f$i; i=$((i + 1))
done
cat /c/d*/f* | sha256sum'

report()
{
    oci=$(judge_skopeo reg test/app:1)
    ran cat /report
}

tag()
{
    registry_curl reg "/v2/$repo/tags/list" | head -n 1 | jq -r '.tags[]?'
}

artifact()
{
    registry_curl reg "/v2/$repo/manifests/$(tag)" -H 'Accept: application/vnd.oci.image.manifest.v1+json' | head -n -1
}

blob_file()
{
    echo "$(rig_find reg)/storage/docker/registry/v2/blobs/sha256/${1:7:2}/${1#sha256:}/data"
}

@test "another machine begins with what the first one left; a small change sends little; a hit fetches nothing" {
    local sum first second new
    machine one
    step "$fill"
    quick "${from[@]}" "${to[@]}"
    assert_contains "$log" 'exporting cache mount pip to registry'
    assert_contains "$log" '200 files, 600.00kB'
    sum=$(report)
    first=$(artifact)
    assert_equal "$(jq -r .artifactType <<<"$first")" application/vnd.cbpush.cache.mount.v1
    # The same again runs nothing: nothing of the cache is asked for or written.
    registry_forget reg
    quick "${from[@]}" "${to[@]}"
    assert_equal "$(registry_requests reg "/v2/$repo/")" ''

    machine two
    step 'cat /c/d*/f* | sha256sum; echo 1 >>/c/d3/f3'
    quick "${from[@]}" "${to[@]}"
    assert_contains "$log" 'cache mount pip: 200 files, 600.00kB, from registry'
    assert_equal "$(report)" "$sum"
    second=$(artifact)
    # Of the packs the first stays; the index and one small pack are new.
    assert_equal "$(jq '[.layers[].digest] - ($x | [.layers[].digest]) | length' --argjson x "$first" <<<"$second")" 2
    new=$(jq '[.layers[]] - ($x | .layers) | map(.size) | add' --argjson x "$first" <<<"$second")
    [ "$new" -lt 300000 ] || rig_fail "$new bytes are new"
    assert_equal "$(jq '[.layers[].size] | add > 600000' <<<"$second")" true

    # A machine that has one takes its own, and what did not change is not sent.
    step 'tail -c 2 /c/d3/f3; wc -c </c/d0/f0'
    registry_forget reg
    quick "${from[@]}" "${to[@]}"
    assert_contains "$log" unchanged
    assert_equal "$(registry_requests reg "\"(GET /v2/$repo/blobs|PUT|PATCH) /v2/$repo/")" ''
    assert_equal "$(report)" $'1\n3000'

    # All is a hit: another machine with the step cache fetches no mount.
    quick --cache-to "$reg/$repo-steps"
    machine three
    registry_forget reg
    quick --cache-from "$reg/$repo-steps" "${from[@]}" "${to[@]}"
    assert_equal "$(registry_requests reg "/v2/$repo/")" ''
}

@test "a small change of a large directory sends little: by what the registry keeps" {
    local before after
    machine one
    step 'for i in 1 2 3 4 5 6 7 8; do head -c 3000000 /dev/urandom >/c/$i; done'
    quick "${from[@]}" "${to[@]}"
    before=$(du -sb "$(rig_find reg)/storage" | cut -f 1)
    machine two
    step '{ head -c 1500000 /c/4; echo inserted; tail -c 1500000 /c/4; } >/c/new && mv /c/new /c/4'
    registry_forget reg
    quick "${from[@]}" "${to[@]}"
    after=$(du -sb "$(rig_find reg)/storage" | cut -f 1)
    [ $((after - before)) -lt 1500000 ] || rig_fail "$((after - before)) bytes are new"
    [ $((after - before)) -gt 20000 ] || rig_fail "nothing was sent: $log"
}

@test "names, modes, owners, times and links are as they were, and ids apart" {
    machine one
    step 'cd /c; mkdir -p a/b; echo x >a/b/x; chown 5:6 a/b/x; chmod 640 a/b/x; ln a/b/x hard; ln -s /etc/passwd soft
ln -s ../../../nowhere a/out; chmod 1770 a; touch -d "2001-02-03 04:05:06" a/b/x; : >empty; mkfifo pipe
head -c 300000 /dev/zero >zeros; cp zeros again; chown -h 9:9 soft' ,uid=7,gid=8,mode=0750
    quick "${to[@]}"
    machine two
    step 'cd /c; for f in . a a/b a/b/x soft a/out zeros again empty; do stat -c "%n %a %u:%g %F" $f; done
stat -c "%h %Y" a/b/x hard; readlink soft; readlink a/out; cat hard; cmp zeros again; wc -c <zeros; ls' \
        ,uid=7,gid=8,mode=0750
    quick "${from[@]}"
    assert_equal "$(report)" '. 750 7:8 directory
a 1770 0:0 directory
a/b 755 0:0 directory
a/b/x 640 5:6 regular file
soft 777 9:9 symbolic link
a/out 777 0:0 symbolic link
zeros 644 0:0 regular file
again 644 0:0 regular file
empty 644 0:0 regular empty file
2 981173106
2 981173106
/etc/passwd
../../../nowhere
x
300000
a
again
empty
hard
soft
zeros'
    # Another id is another one.
    id=other step 'ls -A /c | wc -l'
    quick "${from[@]}"
    assert_equal "$(report)" 0
}

@test "a build that fails saves nothing, a RUN that is not run neither" {
    machine one
    write ctx/Dockerfile <<<$'FROM busybox\nRUN --mount=type=cache,target=/c echo 1 >/c/x\nRUN false'
    refused 1 "${to[@]}"
    assert_equal "$(tag)" ''
}

@test "what is damaged, missing or not there is a warning, and the mount begins empty" {
    local pack
    machine one
    step "$fill"
    quick "${to[@]}"
    pack=$(artifact | jq -r '.layers[1].digest')
    rig_damage "$(blob_file "$pack")" 5000
    machine two
    step 'ls -A /c | wc -l; echo new >/c/new'
    quick "${from[@]}" "${to[@]}"
    assert_contains "$log" 'cache mount pip cannot be had from registry'
    assert_equal "$(report)" 0
    # It was written anew, without what is damaged.
    refute_contains "$(artifact)" "$pack"
    machine three
    step 'cat /c/new'
    quick "${from[@]}"
    assert_equal "$(report)" new
    rm "$(blob_file "$(artifact | jq -r '.layers[0].digest')")"
    machine four
    step 'ls -A /c | wc -l'
    quick "${from[@]}"
    assert_contains "$log" 'cannot be had'
    assert_equal "$(report)" 0
    machine five
    quick --cache-mount-from 127.0.0.1:1/x/y
    assert_contains "$log" 'cannot be had'
    machine six
    refused 4 --cache-mount-to 127.0.0.1:1/x/y
    assert_contains "$output" 'the image is made, but cache mount pip could not be written'
    machine seven
    quick --cache-mount-to type=registry,ref=127.0.0.1:1/x/y,ignore-error=true
    assert_contains "$log" 'was not saved'
}

@test "two writers at once: one of them stays, whole" {
    local n
    for n in 1 2; do
        write "w$n/Dockerfile" <<END
FROM busybox
RUN --mount=type=cache,id=both,target=/c i=0; while [ \$i -lt 60 ]; do echo $n \$i >/c/\$i; i=\$((i + 1)); done
END
        CBPUSH_ROOT=$BATS_TEST_TMPDIR/store.w$n cbpush build --progress plain "${from[@]}" "${to[@]}" "w$n" >"w$n.log" 2>&1 &
        eval "local pid$n=\$!"
    done
    # shellcheck disable=SC2154 # set by eval
    wait "$pid1" || rig_fail "$(cat w1.log)"
    # shellcheck disable=SC2154
    wait "$pid2" || rig_fail "$(cat w2.log)"
    machine reader
    id=both step 'cat /c/* | cut -d " " -f 1 | sort | uniq -c | tr -s " "'
    quick "${from[@]}"
    [[ $(report) =~ ^\ 60\ [12]$ ]] || rig_fail "$(report)"
}

@test "signed: another key's, and none, are refused" {
    local n
    for n in 1 2; do
        rig_openssl genpkey -algorithm ed25519 -out "key$n"
        rig_openssl pkey -in "key$n" -pubout -out "pub$n"
    done
    machine one
    step 'echo mine >/c/x'
    quick --cache-mount-to "type=registry,ref=$reg/$repo,sign-key=key1"
    machine two
    step 'cat /c/x'
    quick --cache-mount-from "type=registry,ref=$reg/$repo,verify-key=pub1"
    assert_equal "$(report)" mine
    machine three
    step 'ls -A /c | wc -l'
    quick --cache-mount-from "type=registry,ref=$reg/$repo,verify-key=pub2"
    assert_contains "$log" 'not signed by the verify-key'
    assert_equal "$(report)" 0
    refused 2 "${from[@]}" --cache-mount-to "type=registry,ref=$reg/$repo,sign-key=key1"
    assert_contains "$output" verify-key=FILE
}

@test "a directory as the place; cache ls and prune know them" {
    machine one
    step 'echo 1 >/c/x'
    quick --cache-mount-to type=local,dest=kept "${to[@]}"
    machine two
    step 'cat /c/x'
    quick --cache-mount-from type=local,src=kept
    assert_equal "$(report)" 1
    run cbpush cache ls kept
    assert_contains "$output" 'cache mount pip'
    run cbpush cache ls --json "$reg/$repo"
    assert_equal "$(jq -r '.[].kind' <<<"$output")" mount
    cbpush cache prune --older-than 1h "$reg/$repo"
    assert_equal "$(tag | grep -c .)" 1
    cbpush cache prune --older-than 0s "$reg/$repo"
    machine three
    step 'ls -A /c | wc -l'
    quick "${from[@]}"
    assert_equal "$(report)" 0
}

@test "no more is asked of a token server than the repository needs" {
    local tokens
    tokens=$(registry_addr tokens)
    docker_config "$tokens" alice:s3cret
    machine one
    step 'echo 1 >/c/x'
    quick --cache-mount-from "$tokens/team/mounts" --cache-mount-to "$tokens/team/mounts"
    assert_equal "$(token_requests tokens | grep -o '"repository:[^"]*"' | sort -u)" '"repository:team/mounts:pull"
"repository:team/mounts:pull,push"'
    machine two
    registry_forget tokens
    step 'cat /c/x'
    quick --cache-mount-from "$tokens/team/mounts"
    assert_equal "$(report)" 1
    assert_equal "$(token_requests tokens | grep -o '"repository:[^"]*"' | sort -u)" '"repository:team/mounts:pull"'
}

@test "bad specs name the flag and the remedy" {
    step true
    refused 2 --cache-mount-to "$reg/x:tag"
    assert_contains "$output" --cache-mount-to
    assert_contains "$output" 'name the repository alone'
    refused 2 --cache-mount-to type=inline
    assert_contains "$output" 'registry, local'
    refused 2 --cache-mount-from "type=registry,ref=$reg/x,mode=max"
    assert_contains "$output" '--cache-mount-from: "mode" is not supported: type, ref or src, verify-key'
}

# user_quick RANGE ARG…: quick, as an ordinary user.
user_quick()
{
    local range=$1 status=0
    shift
    chown -R "$USER_ID" ctx
    as_user "$range" "$CBPUSH" build --progress plain --push "$reg/test/app:1" "$@" ctx >build.log 2>&1 || status=$?
    log=$(cat build.log)
    [ "$status" -eq 0 ] || rig_fail "cbpush build: exit status $status: $log"
}

@test "rootless: ids are those of the container, with a range; with one id all is the mount's owner's" {
    [ "$(id -u)" -eq 0 ] || skip 'without root every test is rootless'
    local show='stat -c "%u:%g %a" /c/x /c/y'
    user_setup
    step 'echo 1 >/c/x; echo 2 >/c/y; chown 1000:1001 /c/y; chmod 600 /c/y'
    user_quick "$RANGE" "${to[@]}"
    machine root
    step "$show"
    quick "${from[@]}"
    assert_equal "$(report)" $'0:0 644\n1000:1001 600'
    export CBPUSH_ROOT=$HOME/one
    step "$show; echo 3 >/c/z"
    user_quick '' "${from[@]}" "${to[@]}"
    assert_equal "$(report)" $'0:0 644\n0:0 600'
    export CBPUSH_ROOT=$HOME/three
    step "$show; cat /c/z"
    user_quick "$RANGE" "${from[@]}"
    assert_equal "$(report)" $'0:0 644\n0:0 600\n3'
}
