#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016 # the variables are nginx's
# nginx before a registry, as it is often set up: it ends TLS, limits bodies, and tells its registry less than it should.

load helpers
load nginx

LIMIT=$((1 << 20))

setup_file()
{
    rig_setup_file
    registry_start --htpasswd reg
    registry_start --htpasswd --relative relative
    mkdir "$BATS_FILE_TMPDIR/ctx"
    head -c $((3 * LIMIT)) /dev/urandom >"$BATS_FILE_TMPDIR/ctx/big"
    printf 'FROM scratch\nCOPY big /big\nCOPY Dockerfile /\n' >"$BATS_FILE_TMPDIR/ctx/Dockerfile"
    # One store for all: what is in it is only read.
    export RIG_SHARED_STORE=1
    CBPUSH_ROOT=$BATS_FILE_TMPDIR/store cbpush build -q -t big "$BATS_FILE_TMPDIR/ctx" >/dev/null
}

setup()
{
    rig_setup
    registry_forget reg
    registry_forget relative
    export SSL_CERT_FILE
    SSL_CERT_FILE=$(rig_ca)
}

# behind NAME: cbpush's name for the repository app there, with credentials.
behind()
{
    docker_config "$(registry_addr "$1")" "$(registry_creds "$1")"
    printf '%s/app\n' "$(registry_addr "$1")"
}

# judged_big REGISTRY REPO:TAG: what is there is what was built.
judged_big()
{
    local oci layer
    oci=$(judge_skopeo "$1" "$2")
    layer=$(judge_manifest "$oci" judged | jq -r '.layers[0].digest')
    zcat "$oci/blobs/${layer/://}" | tar -xO big | cmp - "$BATS_FILE_TMPDIR/ctx/big"
}

# push_big NAME:TAG [OPTION…]
push_big()
{
    cbpush push --progress plain "${@:2}" big "$1" 2>push.log || rig_fail "$(cat push.log)"
}

largest_accepted()
{
    nginx_requests "$1" ' 20[0-9] [0-9]+$' | awk '$4 > n { n = $4 } END { print n + 0 }'
}

@test "a body limit: what is refused goes in chunks that fit, buffered by nginx or not" {
    local how name
    for how in on off; do
        nginx_start "front-$how" reg 'proxy_set_header Host $http_host' 'proxy_set_header X-Forwarded-Proto https' \
            "client_max_body_size $LIMIT" "proxy_request_buffering $how"
        name=$(behind "front-$how")
        push_big "$name/$how:1"
        judged_big "front-$how" "app/$how:1"
        # The whole, its half; then only what fits, and each byte of it once.
        assert_equal "$(nginx_requests "front-$how" ' 413 ' | grep -c .)" 2 "$how"
        [ "$(largest_accepted "front-$how")" -gt $((LIMIT / 2)) ]
        assert_equal "$(nginx_requests "front-$how" 'PATCH .* 202 ' | awk '{ n += $4 } END { print n }')" \
            "$(cbpush inspect --raw "docker://$name/$how:1" | jq '.layers[0].size')"
        # Read through it, too: into a layout, and to another name, where nothing is sent.
        cbpush copy -q "$name/$how:1" "oci:out-$how:1"
        registry_forget "front-$how"
        cbpush copy -q "$name/$how:1" "$name/copy-$how:1"
        assert_equal "$(nginx_requests "front-$how" '(PATCH|PUT) .*/blobs/' | grep -c .)" 0
        judged_big "front-$how" "app/copy-$how:1"
    done
    assert_equal "$(nginx_direct reg)" ''
}

@test "Locations of a registry that does not know of the TLS before it: http, without the port, relative" {
    local name
    nginx_start http reg 'proxy_set_header Host $http_host' "client_max_body_size $LIMIT"
    nginx_start portless reg 'proxy_set_header Host $host' "client_max_body_size $LIMIT"
    nginx_start path relative "client_max_body_size $LIMIT"
    curl -s --cacert "$(rig_ca)" -u "$(registry_creds http)" -D - -X POST "$(registry_url http)/v2/app/x/blobs/uploads/" |
        grep -qi "^location: http://$(registry_addr http)/v2/"
    for name in http portless path; do
        push_big "$(behind "$name")/$name:1"
        judged_big "$name" "app/$name:1"
        [ "$(nginx_requests "$name" 'PATCH .* 202 ' | grep -c .)" -gt 2 ]
    done
    assert_equal "$(nginx_direct reg)" ''
    assert_equal "$(nginx_direct relative)" ''
}

@test "a Location that leads round the proxy, without TLS, is refused" {
    # Host is by default what nginx calls the registry itself; it mends Locations unless told not to.
    nginx_start bare reg 'proxy_redirect off'
    run cbpush push -q --retry 0 big "$(behind bare)/bare:1"
    assert_status 7
    assert_contains "$output" "http://$(registry_addr reg)"
    assert_equal "$(nginx_direct reg)" ''
}

# Waits until nginx has had N requests that match.
wait_requests()
{
    local tries
    for ((tries = 0; tries < 400; tries++)); do
        [ "$(nginx_requests "$1" "$2" | grep -c .)" -lt "$3" ] || return 0
        sleep 0.02
    done
    rig_fail "nginx never had $3 of $2: $(nginx_requests "$1")"
}

@test "the registry behind it hangs, and restarts: 504, 502, and the push goes on" {
    local dir push name
    nginx_start front reg 'proxy_set_header Host $http_host' 'proxy_set_header X-Forwarded-Proto https' \
        'proxy_read_timeout 1s'
    name=$(behind front)/restarted:1
    dir=$(rig_find reg)
    (exec "$CBPUSH" push --progress plain -D --chunk-size 256k --limit-rate 2M --retry-delay 200ms big "$name" 2>push.log 3>&-) &
    push=$!
    wait_requests front 'PATCH .* 202' 2
    kill -STOP "$(cat "$dir/pid")"
    wait_requests front ' 504 ' 1
    kill -CONT "$(cat "$dir/pid")"
    wait_requests front 'PATCH .* 202' 5
    rig_stop "$(cat "$dir/pid")"
    wait_requests front ' 502 ' 1
    rig_spawn "$dir" docker-registry serve "$dir/config.yml"
    wait "$push" || rig_fail "$(cat push.log)"
    judged_big front app/restarted:1
    assert_equal "$(nginx_direct reg)" ''
}
