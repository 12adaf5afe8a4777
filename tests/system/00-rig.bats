#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The rig itself: registries, token server, base images, judges and the leftover checks do what the tests rely on.
# cbpush takes no part in it.

load helpers

setup_file()
{
    rig_setup_file
    registry_start plain
    registry_start --auth-token --user alice:s3cret:with:colons --reader bob:readonly --anonymous 'public/*' tokens
}

# The token that the server gives for a scope; ARG… go to curl.
token()
{
    local realm scope=$1
    shift
    realm=$(registry_url tokens)/v2/
    realm=$(curl -sS -D - -o /dev/null "$realm" | sed -n 's/.*realm="\([^"]*\)".*/\1/p')
    curl -sS -G "$realm" --data-urlencode service=cbpush-test-registry --data-urlencode "scope=$scope" "$@"
}

# Starts an upload with a token; prints the status.
upload_status()
{
    registry_curl tokens "/v2/$1/blobs/uploads/" -X POST -H "Authorization: Bearer $2" -o /dev/null | tail -n 1
}

@test "a plain registry takes an image and its access log tells" {
    push_busybox plain
    run registry_curl plain /v2/library/busybox/tags/list
    assert_contains "$output" '"tags":["latest"]'
    run registry_requests plain 'PUT /v2/library/busybox/manifests/latest'
    assert_contains "$output" ' 201 '
    assert_equal "${#lines[@]}" 1
    registry_forget plain
    assert_equal "$(registry_requests plain)" ''
}

@test "two registries run side by side and stop" {
    registry_start second
    [ "$(registry_addr second)" != "$(registry_addr plain)" ]
    local pid
    pid=$(cat "$(rig_find second)/pid")
    rig_alive "$pid"
    registry_stop second
    run ! rig_alive "$pid"
    run ! registry_curl second /v2/
    registry_curl plain /v2/
}

@test "token auth: the registry asks for a token" {
    run registry_curl tokens /v2/ -D -
    assert_contains "$output" '401'
    assert_contains "$output" 'Bearer realm='
}

@test "token auth: an anonymous token may not push" {
    local answer token
    answer=$(token repository:team/app:pull,push)
    token=$(jq -er .token <<<"$answer")
    assert_equal "$(upload_status team/app "$token")" 401
    run token_requests tokens
    assert_equal "$(jq -c '[.method, .scope, .account, .granted]' <<<"${lines[-1]}")" \
        '["GET",["repository:team/app:pull,push"],"",[]]'
}

@test "token auth: an anonymous token may pull what is public, not push it" {
    token=$(token repository:public/thing:pull,push | jq -er .token)
    assert_equal "$(upload_status public/thing "$token")" 401
    run registry_curl tokens /v2/public/thing/tags/list -H "Authorization: Bearer $token"
    assert_contains "$output" 404 # allowed, and not there
}

@test "token auth: a password gets a token that the registry accepts" {
    local token
    token=$(token repository:team/app:pull,push -u alice:s3cret:with:colons | jq -er .token)
    assert_equal "$(upload_status team/app "$token")" 202
    assert_equal "$(upload_status other/app "$token")" 401
    run token_requests tokens
    assert_equal "$(jq -r .account <<<"${lines[-1]}")" alice
    refute_contains "$output" s3cret
}

@test "token auth: a reader's token may not push" {
    local token
    token=$(token repository:team/app:pull,push -u bob:readonly | jq -er .token)
    assert_equal "$(upload_status team/app "$token")" 401
    run registry_curl tokens /v2/team/nothing/tags/list -H "Authorization: Bearer $token"
    assert_contains "$output" 401
}

@test "token auth: a wrong password, a forged and a foreign token are refused" {
    local token
    run token repository:team/app:pull -u alice:wrong -w '%{http_code}'
    assert_contains "$output" UNAUTHORIZED
    assert_contains "$output" 401
    token=$(token repository:team/app:pull,push -u alice:s3cret:with:colons | jq -er .token)
    assert_equal "$(upload_status team/app "${token%.*}.AAAA")" 401
    registry_start --auth-token other
    # the same key, service and issuer: accepted; by Basic credentials: not
    assert_equal "$(registry_curl other /v2/ -u testuser:testpassword -o /dev/null | tail -n 1)" 401
    assert_equal "$(registry_curl other /v2/ -H "Authorization: Bearer $token" -o /dev/null | tail -n 1)" 200
}

@test "token auth: identity token, POST with refresh_token" {
    local identity token realm
    identity=$(token_identity tokens alice:s3cret:with:colons)
    realm=http://127.0.0.1:$(cat "$(rig_find tokens.token)/port")/token
    token=$(curl -sSf "$realm" -d grant_type=refresh_token --data-urlencode "refresh_token=$identity" \
        -d service=cbpush-test-registry -d scope=repository:team/app:pull,push -d client_id=t | jq -er .access_token)
    assert_equal "$(upload_status team/app "$token")" 202
    run token_requests tokens
    assert_equal "$(jq -c '[.grant, .account]' <<<"${lines[-1]}")" '["refresh_token","alice"]'
    run curl -sS -o /dev/null -w '%{http_code}' "$realm" -d grant_type=refresh_token -d refresh_token=made-up \
        -d service=cbpush-test-registry
    assert_equal "$output" 401
    run ! token_identity tokens alice:wrong
}

@test "token auth: skopeo pushes and pulls through the token server" {
    push_busybox tokens team/busybox:1
    assert_equal "$(registry_skopeo tokens inspect "docker://$(registry_addr tokens)/team/busybox:1" | jq -r .Architecture)" \
        "$(dpkg --print-architecture)"
    run token_requests tokens
    assert_contains "$output" '"repository:team/busybox:pull,push"'
    run ! skopeo inspect --tls-verify=false "docker://$(registry_addr tokens)/team/busybox:1"
    docker_config "$(registry_addr tokens)" bob:readonly
    skopeo inspect --tls-verify=false "docker://$(registry_addr tokens)/team/busybox:1"
}

@test "htpasswd: only the password opens" {
    registry_start --htpasswd --user carol:p4ss basic
    assert_equal "$(registry_curl basic /v2/ | tail -n 1)" 401
    assert_equal "$(registry_curl basic /v2/ -u carol:wrong | tail -n 1)" 401
    assert_equal "$(registry_curl basic /v2/ -u carol:p4ss | tail -n 1)" 200
    push_busybox basic
}

@test "tls: the CA is needed, and the token server has it too" {
    registry_start --tls --auth-token secure
    push_busybox secure
    judge_skopeo secure library/busybox:latest
    run curl -sS --cacert /etc/ssl/certs/ca-certificates.crt "$(registry_url secure)/v2/"
    assert_status 60
    run curl -sS "http://$(registry_addr secure)/v2/"
    assert_contains "$output" 'HTTP request to an HTTPS server'
}

@test "mirror_conf: docker.io comes from the mirror" {
    push_busybox plain
    mirror_conf "$(registry_addr plain)"
    registry_forget plain
    skopeo inspect --raw docker://docker.io/library/busybox:latest
    run registry_requests plain 'GET /v2/library/busybox/manifests/latest'
    assert_contains "$output" ' 200 '
}

@test "judges: skopeo copies, umoci unpacks, runc runs" {
    local oci rootfs
    push_busybox plain
    oci=$(judge_skopeo plain library/busybox:latest)
    assert_equal "$(judge_config "$oci" judged | jq -c .config.Cmd)" '["sh"]'
    assert_equal "$(judge_manifest "$oci" judged | jq '.layers | length')" 1
    rootfs=$(judge_umoci "$oci")
    cmp "$rootfs/bin/busybox" "$(command -v busybox)"
    assert_equal "$(readlink "$rootfs/bin/sh")" busybox
    judge_run "$oci" judged true
    # shellcheck disable=SC2016 # the judge's shell expands it
    run judge_run "$oci" judged sh -c 'echo "$$ $PATH"; tail -n +2 /proc/net/route; exit 7'
    assert_status 7
    assert_equal "$output" '1 /usr/sbin:/usr/bin:/sbin:/bin'
}

@test "judges: a damaged blob is not accepted" {
    local oci blob
    push_busybox plain
    oci=$(judge_skopeo plain library/busybox:latest)
    blob=$(judge_manifest "$oci" judged | jq -r '.layers[0].digest')
    blob=$oci/blobs/${blob/://}
    rig_damage "$blob" 1000
    run ! judge_umoci "$oci"
}

@test "the python image has pip and useradd" {
    push_python plain
    local oci
    oci=$(judge_skopeo plain library/python:3.9-slim)
    run judge_run "$oci" judged sh -c 'python --version && pip --version && command -v useradd'
    assert_status 0
    assert_contains "$output" 'Python 3.9.'
    assert_contains "$output" '/usr/sbin/useradd'
}

@test "leftovers: a process, a mount and a temporary file are found" {
    export CBPUSH=$BATS_TEST_TMPDIR/cbpush
    cp "$(command -v sleep)" "$CBPUSH"
    assert_no_leftovers

    "$CBPUSH" 600 3>&- &
    run assert_no_leftovers
    kill "$!"
    assert_status 1
    assert_contains "$output" 'left running: '
    wait "$!" || :

    mkdir -p "$CBPUSH_ROOT/tmp" "$BATS_TEST_TMPDIR/rootfs"
    touch "$CBPUSH_ROOT/tmp/blob.123"
    run assert_no_leftovers
    assert_status 1
    assert_contains "$output" 'left behind: '
    rm "$CBPUSH_ROOT/tmp/blob.123"

    if [ "$(id -u)" -eq 0 ]; then
        mount -t tmpfs none "$BATS_TEST_TMPDIR/rootfs"
        run assert_no_leftovers
        umount "$BATS_TEST_TMPDIR/rootfs"
        assert_status 1
        assert_contains "$output" "left mounted: $BATS_TEST_TMPDIR/rootfs"
    fi
    assert_no_leftovers
}

@test "leftovers: a test that leaves a process fails, and the process is killed" {
    local at=@
    # bats would take a line that begins with @test for one of this file
    cat >inner.bats <<END
load $RIG_HERE/helpers
${at}test "leaves one" { setsid sleep 600 3>&- & echo "\$!" >$BATS_TEST_TMPDIR/inner.pid; }
${at}test "leaves none" { registry_start own; }
END
    run env -u BATS_RUN_TMPDIR -u BATS_FILE_TMPDIR bats --tap inner.bats
    assert_status 1
    assert_contains "$output" 'not ok 1 leaves one'
    assert_contains "$output" 'left running: '
    assert_contains "$output" 'ok 2 leaves none'
    run ! rig_alive "$(cat inner.pid)"
    assert_equal "$(pgrep -fc "$BATS_TEST_TMPDIR.*config.yml" || :)" 0
}

# memory_of RUN: where the run of that number has its memory mounted, or nothing.
memory_of()
{
    awk -v name="^cbpush-test:$1:" '{ for (i = 7; i < NF && $i != "-"; i++); } $(i + 2) ~ name { print $5 }' /proc/self/mountinfo
}

@test "what a run that was killed has left mounted is cleared by the next one, and nobody else's" {
    [ "$(id -u)" -eq 0 ] || skip 'memory is for root'
    local run live killed killed_dir BEGUN
    # Nothing of the bats around them.
    local inner=(env -i "PATH=${PATH//"$BATS_LIBEXEC":/}" "HOME=$HOME" "CBPUSH=$CBPUSH" "TMPDIR=$PWD/runs" "RIG_TEST_MARK=$RIG_TEST_MARK")
    inner+=("GO=$PWD/go")
    mkdir runs
    # bats would take a line that begins with @test for one of this file
    printf '@%s "waits" {\n    touch "$BEGUN"\n    until [ -e "$GO" ]; do sleep 0.05; done\n}\n' test >runs/waits.bats
    for run in killed live; do
        BEGUN=$PWD/begun.$run
        setsid "${inner[@]}" "BEGUN=$BEGUN" sh "$RIG_HERE/run.sh" runs/waits.bats >"$run.log" 2>&1 3>&- 4>&- &
        printf -v "$run" '%s' "$!"
        until [ -e "$BEGUN" ]; do
            rig_alive "$!" || rig_fail "$(cat "$run.log")"
            sleep 0.05
        done
    done
    [ -n "$(memory_of "$killed")" ] || { touch go; wait; skip 'there is not enough memory'; }
    killed_dir=$(dirname "$(memory_of "$killed")")
    kill -KILL -- "-$killed"
    wait "$killed" || :
    [ -n "$(memory_of "$killed")" ]
    printf '@%s "does nothing" {\n    :\n}\n' test >runs/nothing.bats
    "${inner[@]}" sh "$RIG_HERE/run.sh" runs/nothing.bats 3>&- 4>&-
    assert_equal "$(memory_of "$killed")" ''
    [ ! -e "$killed_dir" ]
    [ -n "$(memory_of "$live")" ]
    touch go
    wait "$live"
    assert_equal "$(memory_of "$live")" ''
}

@test "each test has a home and a store of its own" {
    local dir
    for dir in "$HOME" "$XDG_CONFIG_HOME" "$XDG_RUNTIME_DIR" "$TMPDIR" "$CBPUSH_ROOT"; do
        [[ $dir == "$BATS_TEST_TMPDIR"/* ]]
    done
    [ -z "${DOCKER_CONFIG-}${REGISTRY_AUTH_FILE-}${SOURCE_DATE_EPOCH-}" ]
    # What is said to the tests themselves stays; what is said to cbpush does not.
    (
        export CBPUSH_TEST_SEEDS=1 CBPUSH_AUTHFILE=x
        rig_clean_environment
        assert_equal "${CBPUSH_TEST_SEEDS-}${CBPUSH_AUTHFILE-}" 1
    )
}
