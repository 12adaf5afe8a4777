#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Registries: what is sent and what is not, who may, over which transport, and what happens when it fails.

load helpers
load build
load silent

setup_file()
{
    rig_setup_file
    build_setup_file
    registry_start --auth-token --user alice:s3cret:with:colons --reader bob:readonly --anonymous 'public/*' tokens
    registry_start --htpasswd --user carol:p4ss basic
    registry_start --tls secure
}

setup()
{
    rig_setup
    build_setup
    registry_forget reg
    registry_forget tokens
    registry_forget basic
    tokens=$(registry_addr tokens)
    basic=$(registry_addr basic)
    secure=$(registry_addr secure)
}

teardown()
{
    local file=$BATS_TEST_TMPDIR/added-certs
    if [ -e "$file" ]; then rm -rf "$(cat "$file")"; fi
    rig_teardown
}

small()
{
    printf 'FROM %s\nRUN echo %s >/x\n' "${1-busybox}" "$BATS_TEST_NUMBER" >ctx/Dockerfile
}

# The blobs that a registry took: one line an upload that was finished.
uploads()
{
    registry_requests "$1" '"PUT /v2/.*/blobs/uploads/.* 201 '
}

mounts()
{
    registry_requests "$1" '"POST /v2/.*/blobs/uploads/\?.*mount=sha256.* 201 '
}

count()
{
    grep -c . || :
}

# ---- what is sent

@test "one registry: the parent's layers are mounted, never uploaded" {
    small
    built --toc=false # tables are counted elsewhere
    assert_equal "$(mounts reg | count)" 1
    assert_contains "$(mounts reg)" from=library%2Fbusybox
    assert_equal "$(uploads reg | count)" 2 # the new layer and the configuration
    assert_equal "$(metadata '[.["cbpush.pushed"][].outcome] | sort')" '["mounted","uploaded","uploaded"]'
    # The parent's bytes are not even read when nothing has to see them.
    registry_forget reg
    printf 'FROM busybox\nLABEL a=1\n' >ctx/Dockerfile
    CBPUSH_ROOT=$PWD/clean build >build.log 2>&1
    assert_equal "$(registry_requests reg '"GET /v2/library/busybox/blobs/sha256:.* 200 ' | awk '$10 > 100000' | count)" 0
    judged test/app:1
    ran true
}

# gives_up STATUS [ARG…]: the build to the silent proxy ends so, with nothing that is silent left; nobody but cbpush ends
# such requests in time.
gives_up()
{
    local wanted=$1 status=0
    shift
    timeout 300 "$CBPUSH" build --progress plain --stall-timeout 1h --connect-timeout 1h --push \
        -t "$proxy/test/silent:1" "$@" ctx >build.log 2>&1 || status=$?
    assert_equal "$status" "$wanted" || rig_fail "$(cat build.log)" || return
    all_closed
}

# Something is sent before a step fails.
fails_late()
{
    printf 'FROM %s\nRUN head -c 3000000 /dev/urandom >/x\n' "$1" >ctx/Dockerfile
    until_proxy silent
}

@test "a build that fails does not wait for a registry that never answers" {
    silent .
    fails_late "$reg/library/busybox"
    gives_up 1 --no-cache
    assert_contains "$(cat build.log)" 'exit code: 7'
}

@test "a build that fails gives up whatever its push has asked for" {
    local request
    for request in 'POST /v2/test/silent/blobs/uploads/$' 'HEAD /v2/test/silent/blobs/' 'PUT /v2/test/silent/blobs/'; do
        silent "$request"
        fails_late "$reg/library/busybox"
        gives_up 1 --no-cache
    done
    silent 'POST /v2/test/silent/blobs/uploads/\?mount'
    fails_late "$proxy/library/busybox"
    gives_up 1 --no-cache
}

@test "a push that fails does not wait for the answer about its tag" {
    silent 'HEAD /v2/test/silent/manifests/1' 'PUT /v2/test/silent/blobs/' 403
    small "$reg/library/busybox"
    gives_up 3 --no-cache
    assert_contains "$(cat build.log)" 'status 403'
}

@test "a look at the tags ahead holds up no build that fails, nor one that cannot begin" {
    small
    built # there are records, so the tags are asked for
    silent 'HEAD /v2/test/silent/manifests/1' 'HEAD /v2/library/busybox/manifests/'
    printf 'FROM %s/library/busybox\n' "$proxy" >ctx/Dockerfile
    until_proxy silent
    gives_up 1
    assert_contains "$(cat build.log)" 'exit code: 7'
    silent 'HEAD /v2/test/silent/manifests/1' 'HEAD /v2/library/none/manifests/'
    small "$proxy/library/none"
    gives_up 4
    assert_contains "$(cat build.log)" 'library/none'
}

@test "of a tag that something is expected of nothing is known but when it counts" {
    local old
    small
    built
    old=$(metadata -r '.["containerimage.digest"]')
    for policy in --immutable --expect-old="$old"; do
        registry_forget reg
        build "$policy" >build.log 2>&1
        assert_contains "$(cat build.log)" 'nothing to do'
        assert_equal "$(registry_requests reg '"HEAD ' | awk '{ print $7 }')" '/v2/library/busybox/manifests/latest
/v2/test/app/manifests/1'
    done
}

@test "an unchanged build tells at once that its registry is out of order, and asks it no second time" {
    small
    built
    silent 'GET /now' '/v2/test/silent/manifests/1' 500
    curl -s -m 1 "http://$proxy/now" || :
    run timeout 300 "$CBPUSH" build --retry 0 --push -t "$proxy/test/silent:1" ctx
    assert_status 4
    assert_contains "$output" 'status 500'
    assert_equal "$(grep -c '^held HEAD' "$silent/out")" 1
}

@test "Ctrl-C ends a build whose registry says nothing" {
    local pid status=0
    silent .
    fails_late "$reg/library/busybox"
    printf 'RUN sleep 600\n' >>ctx/Dockerfile
    sed -i 's/; exit 7//' ctx/Dockerfile
    env --default-signal=INT "$CBPUSH" build --progress plain --no-cache --stall-timeout 1h --push \
        -t "$proxy/test/silent:1" ctx >build.log 2>&1 3>&- &
    pid=$!
    until grep -q '^silent' "$silent/out"; do sleep 0.05; done
    kill -INT "$pid"
    rig_await "$pid"
    wait "$pid" || status=$?
    assert_equal "$status" 130
    assert_contains "$(cat build.log)" interrupted
    all_closed
}

@test "a push of what is there sends no blob and no manifest" {
    small
    built
    registry_forget reg
    cbpush push "$reg/test/app:1" 2>push.log
    assert_equal "$(registry_requests reg '"(POST|PUT|PATCH) ')" ''
    # The same image under another tag: one manifest.
    cbpush push "$reg/test/app:1" "$reg/test/app:other" 2>push.log
    assert_equal "$(registry_requests reg '"(POST|PATCH) ')" ''
    assert_equal "$(registry_requests reg '"PUT ' | count)" 1
    judged test/app:other
}

@test "two registries, token auth on the second: parent from one, push to the other" {
    docker_config "$tokens" alice:s3cret:with:colons
    small "$reg/library/busybox"
    cbpush build --push "$tokens/team/app:1" --metadata-file metadata.json ctx 2>build.log
    oci=$(judge_skopeo tokens team/app:1)
    assert_equal "$(ran cat /x)" "$BATS_TEST_NUMBER"
    # docker-registry itself verified the tokens.
    assert_equal "$(registry_requests tokens '"PUT /v2/team/app/manifests/1 .* 201 ' | count)" 1
    run token_requests tokens
    assert_contains "$output" '"repository:team/app:pull,push"'
    assert_equal "$(jq -rs 'map(.account) | unique | join(" ")' <<<"$output")" alice
    refute_contains "$(cat build.log)" s3cret
    # Once there, another name in the same registry takes the layers from there.
    registry_forget tokens
    cbpush build --push "$tokens/team/second:1" ctx 2>build.log
    assert_equal "$(registry_requests tokens '"PATCH ')" ''
    oci=$(judge_skopeo tokens team/second:1)
    ran true
}

@test "two registries: a parent that nothing reads is streamed, not kept" {
    docker_config "$tokens" alice:s3cret:with:colons
    printf 'FROM %s/library/busybox\nLABEL a=1\n' "$reg" >ctx/Dockerfile
    cbpush build --push "$tokens/team/copied:1" --metadata-file metadata.json ctx 2>build.log
    assert_contains "$(metadata '[.["cbpush.pushed"][].outcome]')" copied
    oci=$(judge_skopeo tokens team/copied:1)
    ran true
    # Nothing of a megabyte stayed in the store.
    assert_equal "$(find "$CBPUSH_ROOT/blobs" -type f -size +500k | count)" 0
}

@test "several names at once, in two registries" {
    docker_config "$tokens" alice:s3cret:with:colons
    small
    cbpush build --push -t "$reg/test/many:1" -t "$reg/test/many:latest" -t "$tokens/team/many:1" ctx 2>build.log
    local a b
    a=$(registry_skopeo reg inspect --format '{{.Digest}}' "docker://$reg/test/many:1")
    b=$(registry_skopeo reg inspect --format '{{.Digest}}' "docker://$reg/test/many:latest")
    assert_equal "$a" "$b"
    b=$(registry_skopeo tokens inspect --format '{{.Digest}}' "docker://$tokens/team/many:1")
    assert_equal "$a" "$b"
}

@test "push: the digest on standard output and in --digestfile; pull of it by digest gives the same" {
    small
    cbpush build -t "$reg/test/digest:1" ctx 2>build.log
    run --separate-stderr cbpush push --digestfile digest "$reg/test/digest:1"
    assert_status 0
    assert_equal "$output" "$(cat digest)"
    assert_equal "$output" "$(registry_skopeo reg inspect --format '{{.Digest}}' "docker://$reg/test/digest:1")"
    export CBPUSH_ROOT=$PWD/other
    assert_equal "$(cbpush pull -q "$reg/test/digest@$output")" "$output"
    assert_equal "$(cbpush pull -q "$reg/test/digest:1")" "$output"
    # The store has it: whether that repository does is what is asked.
    run cbpush pull "$reg/test/nosuch@$output"
    assert_status 4
    refute_contains "$(cbpush images)" test/nosuch
}

@test "the tag is written last, after every blob" {
    small
    built --toc=false # nothing waits for tables
    assert_contains "$(registry_requests reg '"(POST|PUT|PATCH) ' | tail -n 1)" 'PUT /v2/test/app/manifests/1'
}

@test "a big layer arrives whole, and in few requests" {
    head -c 40000000 /dev/urandom >ctx/big
    printf 'FROM busybox\nCOPY big /\n' >ctx/Dockerfile
    built
    cmp ctx/big "$rootfs/big"
    [ "$(registry_requests reg '"PATCH ' | count)" -le 10 ]
}

@test "pull, tag, push, images, rmi, inspect, history" {
    cb_quietly pull cbpush pull "$reg/library/busybox"
    cbpush tag "$reg/library/busybox" "$reg/test/tagged:2"
    cbpush push "$reg/test/tagged:2" 2>push.log
    judged test/tagged:2
    ran true
    assert_equal "$(registry_skopeo reg inspect --format '{{.Digest}}' "docker://$reg/test/tagged:2")" \
        "$(registry_skopeo reg inspect --format '{{.Digest}}' "docker://$reg/library/busybox")"
    run cbpush images
    assert_contains "$output" "$reg/test/tagged:2"
    assert_equal "$(cbpush inspect "$reg/test/tagged:2" | jq -r .Digest)" \
        "$(registry_skopeo reg inspect --format '{{.Digest}}' "docker://$reg/test/tagged:2")"
    assert_equal "$(cbpush inspect --raw "$reg/test/tagged:2" | sha256sum | cut -c 1-64)" \
        "$(cbpush inspect "$reg/test/tagged:2" | jq -r .Digest | cut -d : -f 2)"
    run cbpush history "$reg/test/tagged:2"
    assert_contains "$output" 'umoci insert'
    cbpush rmi "$reg/test/tagged:2"
    run cbpush inspect "$reg/test/tagged:2"
    assert_status 5
    run cbpush push "$reg/no/such:1"
    assert_status 5
}

@test "an index of several platforms: ours is taken; --platform takes another" {
    local arch digest other
    arch=$(dpkg --print-architecture)
    push_busybox reg test/index-base:1
    # An index by hand: the same manifest for us, and for s390x one with another configuration.
    oci=$(judge_skopeo reg library/busybox:latest)
    rig_umoci config --image "$oci:judged" --architecture s390x --tag s390x
    registry_skopeo reg copy -q "oci:$oci:s390x" "docker://$reg/test/index:s390x"
    registry_skopeo reg copy -q "oci:$oci:judged" "docker://$reg/test/index:own"
    digest=$(registry_skopeo reg inspect --raw "docker://$reg/test/index:own" | sha256sum | cut -c 1-64)
    other=$(registry_skopeo reg inspect --raw "docker://$reg/test/index:s390x" | sha256sum | cut -c 1-64)
    jq -n --arg a "sha256:$digest" --arg b "sha256:$other" --arg arch "$arch" \
        --argjson asize "$(registry_skopeo reg inspect --raw "docker://$reg/test/index:own" | wc -c)" \
        --argjson bsize "$(registry_skopeo reg inspect --raw "docker://$reg/test/index:s390x" | wc -c)" \
        '{schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests: [
            {mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $b, size: $bsize, platform: {os: "linux", architecture: "s390x"}},
            {mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $a, size: $asize, platform: {os: "linux", architecture: $arch}}]}' >index.json
    assert_contains "$(registry_curl reg /v2/test/index/manifests/all -X PUT -H 'Content-Type: application/vnd.oci.image.index.v1+json' \
        --data-binary @index.json)" 201
    printf 'FROM %s/test/index:all\nCMD ["true"]\n' "$reg" >ctx/Dockerfile
    built
    assert_equal "$(config -r .architecture)" "$arch"
    built --platform linux/s390x
    assert_equal "$(config -r .architecture)" s390x
    refused 4 --platform linux/riscv64 || refused 5 --platform linux/riscv64
    assert_contains "$output" riscv64
    # An index may list another one, which skopeo and containerd go through as well.
    jq -n --arg d "sha256:$(sha256sum <index.json | cut -c 1-64)" --argjson n "$(wc -c <index.json)" \
        '{schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests: [
            {mediaType: "application/vnd.oci.image.index.v1+json", digest: $d, size: $n}]}' |
        cbpush manifest put "$reg/test/index:outer" -
    printf 'FROM %s/test/index:outer\nCMD ["true"]\n' "$reg" >ctx/Dockerfile
    built --platform linux/s390x
    assert_equal "$(config -r .architecture)" s390x
    assert_equal "$(cbpush pull -q --platform linux/s390x "$reg/test/index:outer")" "sha256:$other"
    assert_equal "$(cbpush run --pull always "$reg/test/index:outer" echo it runs)" 'it runs'
}

# ---- who may

@test "token auth: without credentials and with wrong ones: exit 3, and nothing leaks" {
    small "$reg/library/busybox"
    run cbpush build --progress plain --push "$tokens/team/denied:1" ctx
    assert_status 3
    assert_contains "$output" "$tokens"
    docker_config "$tokens" alice:wrong-password
    run cbpush build --progress plain --debug --push "$tokens/team/denied:1" ctx
    assert_status 3
    refute_contains "$output" wrong-password
    refute_contains "$output" "$(printf alice:wrong-password | base64)"
    docker_config "$tokens" bob:readonly
    run cbpush build --progress plain --push "$tokens/team/denied:1" ctx
    assert_status 3
    assert_equal "$(registry_requests tokens '"PUT ')" ''
}

@test "token auth: an anonymous pull of what is public, a reader's pull of the rest" {
    registry_skopeo tokens copy -q "oci:$(make_busybox_image):latest" "docker://$tokens/public/busybox:1"
    registry_skopeo tokens copy -q "oci:$(make_busybox_image):latest" "docker://$tokens/private/busybox:1"
    cb_quietly pull cbpush pull "$tokens/public/busybox:1"
    run cbpush pull "$tokens/private/busybox:1"
    assert_status 3
    docker_config "$tokens" bob:readonly
    cb_quietly pull cbpush pull "$tokens/private/busybox:1"
    cbpush run "$tokens/private/busybox:1" true
}

@test "token auth: an identity token instead of a password" {
    local identity
    identity=$(token_identity tokens alice:s3cret:with:colons)
    mkdir -p "$HOME/.docker"
    jq -n --arg a "$tokens" --arg t "$identity" '{auths: {($a): {identitytoken: $t}}}' >"$HOME/.docker/config.json"
    small "$reg/library/busybox"
    cbpush build --push "$tokens/team/identity:1" ctx 2>build.log
    assert_contains "$(token_requests tokens)" '"refresh_token"'
    judge_skopeo tokens team/identity:1
}

@test "token auth: --creds, and --authfile" {
    small "$reg/library/busybox"
    cbpush build --creds alice:s3cret:with:colons --push "$tokens/team/creds:1" ctx 2>build.log
    jq -n --arg a "$tokens" --arg t "$(printf alice:s3cret:with:colons | base64 -w 0)" '{auths: {($a): {auth: $t}}}' >auth.json
    cbpush push --authfile auth.json "$tokens/team/creds:1" "$tokens/team/authfile:1" 2>push.log
    judge_skopeo tokens team/authfile:1
    REGISTRY_AUTH_FILE=$PWD/auth.json cbpush push "$tokens/team/creds:1" "$tokens/team/env:1" 2>push.log
}

@test "token auth: containers' auth.json is read" {
    mkdir -p "$XDG_RUNTIME_DIR/containers"
    jq -n --arg a "$tokens" --arg t "$(printf alice:s3cret:with:colons | base64 -w 0)" '{auths: {($a): {auth: $t}}}' \
        >"$XDG_RUNTIME_DIR/containers/auth.json"
    small "$reg/library/busybox"
    cbpush build --push "$tokens/team/containers:1" ctx 2>build.log
}

@test "token auth: one token serves many requests" {
    docker_config "$tokens" alice:s3cret:with:colons
    printf 'FROM %s/library/busybox\nRUN touch /1\nRUN touch /2\nRUN touch /3\nRUN touch /4\n' "$reg" >ctx/Dockerfile
    cbpush build --push "$tokens/team/frugal:1" ctx 2>build.log
    [ "$(token_requests tokens | count)" -le 3 ] || rig_fail "$(token_requests tokens)"
}

@test "Basic: push with credentials, exit 3 without" {
    small
    run cbpush build --progress plain --push "$basic/team/app:1" ctx
    assert_status 3
    docker_config "$basic" carol:p4ss
    cbpush build --push "$basic/team/app:1" ctx 2>build.log
    oci=$(judge_skopeo basic team/app:1)
    ran true
    docker_config "$basic" carol:wrong
    run cbpush push "$basic/team/app:1" "$basic/team/again:1"
    assert_status 3
}

@test "credentials for one registry are not sent to another" {
    docker_config "$tokens" alice:s3cret:with:colons
    docker_config "$basic" carol:p4ss
    small
    built --debug
    run grep -c Authorization build.log
    refute_contains "$(cat "$(rig_find reg)/err" "$(rig_find reg)/out")" alice
    # Basic's log names the user of each request; reg's must have none.
    assert_equal "$(registry_requests reg ' - (alice|carol) ')" ''
}

@test "login and logout: --password-stdin, the file's mode, a refused password keeps nothing" {
    run cbpush login -u carol --password-stdin "$basic" <<<wrong
    assert_status 3
    [ ! -e "$HOME/.docker/config.json" ] || refute_contains "$(cat "$HOME/.docker/config.json")" "$basic"
    run cbpush login -u carol --password-stdin "$basic" <<<p4ss
    assert_status 0
    assert_contains "$output" Succeeded
    refute_contains "$output" p4ss
    local file
    file=$(grep -rl "$basic" "$HOME" "$XDG_RUNTIME_DIR" | head -n 1)
    assert_equal "$(stat -c %a "$file")" 600
    small
    cbpush build --push "$basic/team/login:1" ctx 2>build.log
    cbpush logout "$basic"
    refute_contains "$(cat "$file")" "$basic"
    run cbpush push "$basic/team/login:1" "$basic/team/login:2"
    assert_status 3
}

@test "login and logout: an operand without a host is wrong usage, by its own text" {
    local verb word
    for verb in login logout; do
        for word in https:// http:///v2/; do
            run cbpush "$verb" "$word" </dev/null
            assert_status 2
            assert_equal "$output" "cbpush: $word names no registry host: write HOST[:PORT]"
        done
    done
}

@test "login and logout: the URL of a registry is its host" {
    cbpush login -u carol --password-stdin "http://$basic/v2/" <<<p4ss
    assert_equal "$(jq -r '.auths | keys[]' "$HOME/.docker/config.json")" "$basic"
    run -2 cbpush login -u carol --password-stdin "$basic/v2/" <<<p4ss
    cbpush logout "https://$basic"
    assert_equal "$(jq -c '.auths // {} | keys' "$HOME/.docker/config.json")" '[]'
    local name
    for name in https://index.docker.io/v1/ index.docker.io docker.io; do
        printf '{"auths": {"https://index.docker.io/v1/": {"auth": "YTpi"}}}' >"$HOME/.docker/config.json"
        cbpush logout "$name"
        assert_equal "$(jq -c '.auths // {} | keys' "$HOME/.docker/config.json")" '[]'
    done
}

@test "login: an empty password, as of a variable that is not set, is no password" {
    # Of a registry that asks nobody, where any would do.
    run cbpush login "$reg" -u u --password-stdin <<<''
    assert_status 2
    assert_contains "$output" 'standard input has no password'
    [ ! -e "$HOME/.docker/config.json" ]
    cbpush login "$reg" -u u --password-stdin <<<p
}

@test "login keeps what else stands in config.json" {
    mkdir -p "$HOME/.docker"
    echo '{"HttpHeaders": {"X": "y"}, "auths": {"other.example": {"auth": "YTpi"}}}' >"$HOME/.docker/config.json"
    cbpush login -u alice --password-stdin --authfile "$HOME/.docker/config.json" "$tokens" <<<s3cret:with:colons 2>told
    assert_contains "$(cat told)" "The token server of $tokens, which gets the password too: http"
    assert_equal "$(jq -c '[.HttpHeaders.X, .auths["other.example"].auth, (.auths | length)]' "$HOME/.docker/config.json")" '["y","YTpi",2]'
    small "$reg/library/busybox"
    cbpush build --push "$tokens/team/kept:1" ctx 2>build.log
}

@test "credHelpers and credsStore: the helper is asked, login and logout go through it" {
    mkdir bin
    write bin/docker-credential-fake 0755 <<'END'
#!/bin/sh
# Keeps one secret a server in files below $HOME/fake.
mkdir -p "$HOME/fake"
echo "$1" >>"$HOME/fake.calls"
case $1 in
    get)
        read -r server
        file=$HOME/fake/$(printf %s "$server" | tr '/:' __)
        [ -e "$file" ] || { echo 'credentials not found in native keychain'; exit 1; }
        cat "$file" ;;
    store)
        cat >"$HOME/fake.in"
        server=$(jq -r .ServerURL "$HOME/fake.in")
        jq -c . "$HOME/fake.in" >"$HOME/fake/$(printf %s "$server" | tr '/:' __)" ;;
    erase)
        read -r server
        rm -f "$HOME/fake/$(printf %s "$server" | tr '/:' __)" ;;
esac
END
    PATH=$PWD/bin:$PATH
    mkdir -p "$HOME/.docker" "$HOME/fake"
    jq -n --arg a "$tokens" '{credHelpers: {($a): "fake"}}' >"$HOME/.docker/config.json"
    jq -n --arg a "$tokens" '{ServerURL: $a, Username: "alice", Secret: "s3cret:with:colons"}' >"$HOME/fake/$(tr : _ <<<"$tokens")"
    small "$reg/library/busybox"
    cbpush build --push "$tokens/team/helper:1" ctx 2>build.log
    assert_contains "$(cat "$HOME/fake.calls")" get
    echo '{"credsStore": "fake"}' >"$HOME/.docker/config.json"
    cbpush login -u carol --password-stdin --authfile "$HOME/.docker/config.json" "$basic" <<<p4ss 2>told
    refute_contains "$(cat told)" 'token server'
    assert_equal "$(jq -r .Username "$HOME/fake/$(tr : _ <<<"$basic")")" carol
    refute_contains "$(cat "$HOME/.docker/config.json")" "$(printf carol:p4ss | base64)"
    cbpush push "$tokens/team/helper:1" "$basic/team/helper:1" 2>push.log
    cbpush logout --authfile "$HOME/.docker/config.json" "$basic"
    [ ! -e "$HOME/fake/$(tr : _ <<<"$basic")" ]
}

@test "credHelpers: a helper that is missing or fails is said, not passed over" {
    mkdir -p "$HOME/.docker"
    jq -n --arg a "$tokens" '{credHelpers: {($a): "nosuchhelper"}}' >"$HOME/.docker/config.json"
    small "$reg/library/busybox"
    run cbpush build --progress plain --push "$tokens/team/helper:2" ctx
    assert_status 3
    assert_contains "$output" docker-credential-nosuchhelper
}

# ---- transport

@test "TLS: an unknown CA is refused; certs.d, --cert-dir and --tls-verify=false open it" {
    small
    run cbpush build --progress plain --push "$secure/test/app:1" ctx
    assert_status 7
    assert_contains "$output" "$secure"
    local certs
    certs=$(rig_certs)
    cbpush build --push "$secure/test/app:1" --cert-dir "$certs" ctx 2>build.log
    mkdir -p "$XDG_CONFIG_HOME/containers/certs.d/$secure"
    cp "$(rig_ca)" "$XDG_CONFIG_HOME/containers/certs.d/$secure/ca.crt"
    cbpush push "$secure/test/app:1" "$secure/test/app:2" 2>push.log
    rm -r "$XDG_CONFIG_HOME/containers/certs.d"
    run cbpush push "$secure/test/app:1" "$secure/test/app:3"
    assert_status 7
    run cbpush build -t "$secure/test/app:4" -o type=registry ctx
    assert_status 7
    cbpush build -t "$secure/test/app:4" -o type=registry,registry.insecure=true ctx 2>build.log
    cbpush build -o "type=image,name=$secure/test/app:5,push=true,registry.insecure=true" ctx 2>build.log
    cbpush push --tls-verify=false "$secure/test/app:1" "$secure/test/app:3" 2>push.log
    oci=$(judge_skopeo secure test/app:3)
    ran true
}

@test "TLS: /etc/docker/certs.d is read" {
    [ "$(id -u)" -eq 0 ] || skip 'needs root'
    mkdir -p "/etc/docker/certs.d/$secure"
    echo "/etc/docker/certs.d/$secure" >"$BATS_TEST_TMPDIR/added-certs"
    cp "$(rig_ca)" "/etc/docker/certs.d/$secure/ca.crt"
    small
    cbpush build --push "$secure/test/etc:1" ctx 2>build.log
}

@test "TLS: the system's CAs are those of SSL_CERT_FILE" {
    small
    SSL_CERT_FILE=$(rig_ca) cbpush build --push "$secure/test/env:1" ctx 2>build.log
}

@test "a name that is not loopback is not spoken to in plain HTTP unless it is named" {
    local port name
    port=${reg##*:}
    name=$(hostname)
    getent hosts "$name" >/dev/null || skip 'the host name does not resolve'
    # Nothing listens there but on loopback; what counts is that http:// is not tried.
    run cbpush pull "$name:$port/library/busybox"
    [ "$status" -eq 4 ] || [ "$status" -eq 7 ] || rig_fail "exit status $status: $output"
    refute_contains "$output" http://
}

# ---- registries.conf

@test "registries.conf: mirrors, location, blocked, insecure" {
    local conf=$HOME/.config/containers/registries.conf
    write "$conf" <<END
[[registry]]
prefix = "example.com/renamed"
location = "$reg/library"
insecure = true

[[registry]]
prefix = "blocked.example"
location = "blocked.example"
blocked = true

[[registry]]
prefix = "mirrored.example"
location = "mirrored.example"
[[registry.mirror]]
location = "127.0.0.1:1"
insecure = true
[[registry.mirror]]
location = "$reg"
insecure = true
END
    small example.com/renamed/busybox
    built
    small mirrored.example/library/busybox
    built
    small blocked.example/x
    run build
    [ "$status" -ne 0 ] && [ "$status" -ne 4 ]
    assert_contains "$output" blocked
    echo 'this is = = no TOML' >"$conf"
    refused 5
    assert_contains "$output" registries.conf
}

@test "registries.conf: a mirror that lacks the image falls through to the next, CONTAINERS_REGISTRIES_CONF names the file" {
    registry_start empty
    write other.conf <<END
[[registry]]
prefix = "mirrored.example"
location = "$reg"
insecure = true
[[registry.mirror]]
location = "$(registry_addr empty)"
insecure = true
END
    small mirrored.example/library/busybox
    CONTAINERS_REGISTRIES_CONF=$PWD/other.conf built
    assert_contains "$(registry_requests empty 'GET|HEAD')" ' 404 '
}

# ---- failures

@test "a registry that nobody serves: exit 4, and the image stays in the store" {
    local port
    port=$(cb_free_port)
    small
    run cbpush build --progress plain --push "127.0.0.1:$port/test/app:1" ctx
    assert_status 4
    assert_contains "$output" "127.0.0.1:$port"
    cbpush build -t ours ctx 2>build.log
    assert_contains "$(cat build.log)" CACHED
}

@test "a registry that stops in the middle: exit 4, no tag, and the next try finishes" {
    registry_start short
    local addr dir
    addr=$(registry_addr short)
    dir=$(rig_find short)
    head -c 30000000 /dev/urandom >ctx/big
    printf 'FROM busybox\nCOPY big /\nRUN sleep 1\n' >ctx/Dockerfile
    (while [ ! -s "$dir/out" ]; do sleep 0.02; done; kill -KILL "$(cat "$dir/pid")") 3>&- &
    run timeout 120 "$CBPUSH" build --progress plain --retry-delay 100ms --push "$addr/test/app:1" ctx
    assert_status 4
    [ ! -e "$dir/storage/docker/registry/v2/repositories/test/app/_manifests/tags/1" ]
    rm -f "$dir/pid"
    registry_start --storage "$PWD/other-storage" again
    cbpush build --push "$(registry_addr again)/test/app:1" ctx 2>build.log
    judge_skopeo again test/app:1
}

@test "a registry that restarts in the middle: the push goes on by itself" {
    registry_start restarting
    local addr dir
    addr=$(registry_addr restarting)
    dir=$(rig_find restarting)
    head -c 30000000 /dev/urandom >ctx/big
    printf 'FROM busybox\nCOPY big /\nRUN sleep 1\n' >ctx/Dockerfile
    start_again()
    {
        while [ ! -s "$dir/out" ]; do sleep 0.02; done
        kill -KILL "$(cat "$dir/pid")"
        sleep 2.5
        rig_spawn "$dir" env -i "PATH=$PATH" "RIG_TEST_MARK=$RIG_TEST_MARK" docker-registry serve "$dir/config.yml"
    }
    start_again 3>&- &
    cbpush build --progress plain --push "$addr/test/app:1" ctx >build.log 2>&1 || { cat build.log >&2; false; }
    # The user is told why it takes longer.
    grep -E 'next try in|is sent again' build.log || { cat build.log >&2; false; }
    oci=$(judge_skopeo restarting test/app:1)
    ran cat /big | cmp - ctx/big
}

# blob_file REGISTRY DIGEST: where the registry keeps it.
blob_file()
{
    local hex=${2#*:}
    printf '%s/storage/docker/registry/v2/blobs/sha256/%s/%s/data\n' "$(rig_find "$1")" "${hex:0:2}" "$hex"
}

@test "a layer whose bytes were changed: exit 7, nothing is kept" {
    registry_start bad
    push_busybox bad
    local addr layer file
    addr=$(registry_addr bad)
    layer=$(skopeo inspect --tls-verify=false --raw "docker://$addr/library/busybox" | jq -r '.layers[0].digest')
    file=$(blob_file bad "$layer")
    rig_damage "$file" 5000
    run cbpush pull "$addr/library/busybox"
    assert_status 7
    assert_contains "$output" "${layer:7:12}"
    small "$addr/library/busybox"
    refused 7
    assert_equal "$(find "$CBPUSH_ROOT/blobs" -name "${layer#*:}")" ''
    run cbpush run "$addr/library/busybox" true
    assert_status 7
}

@test "a layer that was cut short, or grew: exit 7 or 4, nothing is kept" {
    registry_start cut
    push_busybox cut
    local addr layer file
    addr=$(registry_addr cut)
    layer=$(skopeo inspect --tls-verify=false --raw "docker://$addr/library/busybox" | jq -r '.layers[0].digest')
    file=$(blob_file cut "$layer")
    cp "$file" whole
    truncate -s 5000 "$file"
    run cbpush pull "$addr/library/busybox"
    [ "$status" -eq 7 ] || [ "$status" -eq 4 ] || rig_fail "exit status $status: $output"
    cat whole whole >"$file"
    run cbpush pull "$addr/library/busybox"
    [ "$status" -eq 7 ] || [ "$status" -eq 4 ] || rig_fail "exit status $status: $output"
    assert_equal "$(find "$CBPUSH_ROOT/blobs" -name "${layer#*:}")" ''
    cp whole "$file"
    cb_quietly pull cbpush pull "$addr/library/busybox"
    cbpush run "$addr/library/busybox" true
}

@test "a manifest or a configuration that was changed: exit 7" {
    registry_start manifest
    push_busybox manifest
    local addr digest config
    addr=$(registry_addr manifest)
    digest=$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$addr/library/busybox")
    config=$(skopeo inspect --tls-verify=false --raw "docker://$addr/library/busybox" | jq -r .config.digest)
    sed -i 's/linux/Linux/' "$(blob_file manifest "$config")"
    run cbpush pull "$addr/library/busybox"
    assert_status 7
    sed -i 's/Linux/linux/' "$(blob_file manifest "$config")"
    sed -i 's/"schemaVersion":2/"schemaVersion": 2/' "$(blob_file manifest "$digest")"
    run cbpush pull "$addr/library/busybox@$digest"
    [ "$status" -eq 7 ] || [ "$status" -eq 4 ] || rig_fail "exit status $status: $output"
    assert_equal "$(cbpush images -q)" ''
}

@test "a digest that is not what the tag has: exit 4 or 7, FROM's line is named" {
    printf 'FROM busybox@sha256:%064d\n' 0 >ctx/Dockerfile
    run build
    [ "$status" -eq 7 ] || [ "$status" -eq 4 ] || rig_fail "exit status $status: $output"
    assert_contains "$output" 'Dockerfile:1'
}
