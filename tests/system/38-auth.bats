#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Whose credentials go where, and by which way: auth explain, files together, hosts.toml, sockets, proxies, certificates.

load helpers

setup_file()
{
    rig_setup_file
    registry_start --auth-token --tls --user writer:wr1te-canary --reader reader:re4d-canary --anonymous 'public/*' tokens
    registry_start plain
    registry_start --client-certs clients
    registry_start --tls --htpasswd --user writer:wr1te-canary basic
    registry_skopeo tokens copy -q "oci:$(make_busybox_image):latest" "docker://$(registry_addr tokens)/team/base:1"
    registry_skopeo plain copy -q "oci:$(make_busybox_image):latest" "docker://$(registry_addr plain)/team/base:1"
}

setup()
{
    rig_setup
    registry_forget tokens
    registry_forget plain
    tokens=$(registry_addr tokens)
    plain=$(registry_addr plain)
    SSL_CERT_FILE=$(rig_ca)
    export SSL_CERT_FILE
}

# auth_file FILE KEY USER:PASSWORD
auth_file()
{
    mkdir -p "$(dirname "$1")"
    jq -n --arg k "$2" --arg a "$(printf %s "$3" | base64 -w 0)" '{auths: {($k): {auth: $a}}}' >"$1"
}

hosts_toml()
{
    mkdir -p "$XDG_CONFIG_HOME/containers/certs.d/$1"
    cat >"$XDG_CONFIG_HOME/containers/certs.d/$1/hosts.toml"
}

explain()
{
    cbpush auth explain --json "$@" >explained 2>log
}

field()
{
    jq -rc "$1" explained
}

# ---- auth explain

@test "auth explain: file and key, realm, what is asked and granted; no secret; nothing is changed" {
    auth_file "$HOME/.docker/config.json" "$tokens" reader:re4d-canary
    auth_file "$XDG_RUNTIME_DIR/containers/auth.json" "$tokens/team" writer:wr1te-canary
    explain -D --push --mount-from team/base "$tokens/team/app:1"
    assert_equal "$(field '.endpoints[0].credentials | [.source, .key, .user, .kind]')" \
        "[\"$XDG_RUNTIME_DIR/containers/auth.json\",\"$tokens/team\",\"writer\",\"password\"]"
    assert_equal "$(field '.endpoints[0].challenge.scheme')" Bearer
    assert_equal "$(field '.endpoints[0].realm.may_have_credentials')" true
    assert_equal "$(field '.endpoints[0].asked')" '["repository:team/app:pull,push","repository:team/base:pull"]'
    assert_equal "$(field '.endpoints[0] | [.granted, .verified]')" \
        '[["repository:team/app:pull,push","repository:team/base:pull"],false]'
    assert_equal "$(field '.endpoints[0].mount.chance')" good
    assert_equal "$(field '.endpoints[0].tls.verified')" true
    refute_contains "$(cat explained log)" canary
    refute_contains "$(cat explained log)" eyJ # the beginning of every JSON web token
    cbpush auth explain --push "$tokens/team/app:1" >text 2>log
    assert_contains "$(cat text)" 'may have them'
    refute_contains "$(cat text)" canary
    assert_equal "$(registry_requests tokens '"(POST|PUT|PATCH|DELETE) ')" ''
}

@test "auth explain: 3 where the push or the pull would not be allowed, and says why" {
    auth_file "$HOME/.docker/config.json" "$tokens" reader:re4d-canary
    run -3 explain --push "$tokens/team/app:1"
    assert_equal "$(field '.endpoints[0].granted')" '["repository:team/app:pull"]'
    assert_contains "$(field '.endpoints[0].error')" 'gives no push of team/app'
    explain "$tokens/team/base:1"
    assert_equal "$(field '.endpoints[0].status')" 200
    run -4 explain "$tokens/team/base:nosuch"
    assert_contains "$(field '.endpoints[0].error')" "image team/base:nosuch not found in registry $tokens"
    rm "$HOME/.docker/config.json"
    run -3 explain "$tokens/team/base:1"
    assert_equal "$(field '.endpoints[0].credentials')" null
    explain --push --mount-from team/base "$tokens/public/app:1" || [ $? -eq 3 ]
    assert_equal "$(field '.endpoints[0].mount.chance')" none
}

@test "auth explain: credentials that cannot be had are told once, also where none are needed" {
    mkdir -p bin "$HOME/.docker"
    printf '#!/bin/sh\necho "no keychain here"\nexit 1\n' >bin/docker-credential-bad
    chmod +x bin/docker-credential-bad
    printf '{"credHelpers": {"%s": "bad", "%s": "bad"}}' "$tokens" "$plain" >"$HOME/.docker/config.json"
    PATH=$PWD/bin:$PATH run -3 --separate-stderr cbpush auth explain "$tokens/team/base:1"
    assert_equal "$(grep -c 'no keychain here' <<<"$output")" 1
    assert_contains "$output" "ERROR        registry $tokens: credentials for $tokens: "
    PATH=$PWD/bin:$PATH run -0 --separate-stderr cbpush auth explain "$plain/team/base:1"
    assert_equal "$(grep -c 'no keychain here' <<<"$output")" 1
    assert_contains "$output" 'request      HEAD /v2/team/base/manifests/1: 200'
}

@test "auth explain: usage" {
    run -2 cbpush auth explain
    run -2 cbpush auth tell "$tokens/x"
    run -2 cbpush auth explain --mount-from x "$tokens/x"
    assert_contains "$output" 'add --push'
    run -2 cbpush login --push-authfile x "$tokens"
}

@test "login, logout and auth explain need no store, and make none" {
    : >file
    export CBPUSH_ROOT=$PWD/file/store
    echo re4d-canary | cbpush login -u reader --password-stdin "$tokens" 2>log || rig_fail "$(cat log)"
    cbpush auth explain --root "$PWD/file/other" "$tokens/team/base:1" >text || rig_fail "$(cat text)"
    cbpush logout "$tokens"
    export CBPUSH_ROOT=$PWD/none
    run cbpush auth explain "$tokens/public/app:1"
    [ ! -e none ]
}

# ---- sources

@test "a key with a path goes to its repositories, whichever tool's file it is in" {
    auth_file "$HOME/.docker/config.json" "$tokens/team" writer:wr1te-canary
    auth_file "$XDG_CONFIG_HOME/containers/auth.json" "$tokens" reader:re4d-canary
    cbpush pull "$tokens/team/base:1" 2>log
    cbpush push "$tokens/team/base:1" "$tokens/team/deep/app:1" 2>log
    run -3 cbpush push "$tokens/team/base:1" "$tokens/other/app:1"
}

@test "--push-authfile and --pull-authfile: the parent is read as one, the image pushed as the other" {
    auth_file pull.json "$tokens" reader:re4d-canary
    auth_file push.json "$tokens" writer:wr1te-canary
    mkdir ctx
    printf 'FROM %s/team/base:1\nLABEL apart=1\n' "$tokens" >ctx/Dockerfile
    cbpush build --pull-authfile pull.json --push-authfile push.json --push "$tokens/team/apart:1" ctx 2>log
    token_requests tokens >requests
    assert_equal "$(jq -r 'select(.scope | any(test("push"))) | .account' requests | sort -u)" writer
    assert_equal "$(jq -r 'select(.scope | any(test("push")) | not) | .account' requests | sort -u)" reader
}

@test "--authfile <(…): a pipe is read once, for reading and pushing; a signal ends the wait for it" {
    auth_file pipe.json "$tokens" writer:wr1te-canary
    mkdir -p ctx
    printf 'FROM %s/team/base:1\nLABEL a=b\n' "$tokens" >ctx/Dockerfile
    cbpush build --authfile <(cat pipe.json) --push "$tokens/team/piped:1" ctx 2>log
    cbpush tags --authfile <(cat pipe.json) "$tokens/team/piped" >out
    assert_equal "$(cat out)" 1
    REGISTRY_AUTH_FILE=<(cat pipe.json) cbpush digest "$tokens/team/piped:1"
    mkfifo silent
    exec 8<>silent
    run timeout -s TERM 2 "$CBPUSH" tags --authfile silent "$tokens/team/piped"
    exec 8>&-
    assert_equal "$output" 'cbpush: interrupted'
    run cbpush tags --authfile <(echo '{') "$tokens/team/piped"
    assert_status 5
}

@test "an --authfile that is not there is told before anything is done" {
    local option
    for option in authfile push-authfile pull-authfile; do
        run -5 cbpush push "--$option" missing.json "$plain/team/base:1"
        assert_contains "$output" "--$option missing.json: No such file or directory"
    done
    run -5 cbpush tags --authfile missing.json "$plain/team/base"
    [ ! -e missing.json ]
}

# ---- hosts.toml

# The three ways in which pipelines miss it.
@test "credentials that a variable names and that are not there: which, and what it names" {
    local basic
    basic=$(registry_addr basic)
    auth_file dc/config.json "$basic" writer:wr1te-canary
    DOCKER_CONFIG=$PWD/dc/config.json run cbpush tags "$basic/team/app"
    assert_status 3
    assert_contains "$output" " logs in (DOCKER_CONFIG names the directory of config.json, but $PWD/dc/config.json is a file)"
    mv dc/config.json dc/.dockerconfigjson
    DOCKER_CONFIG=$PWD/dc run cbpush tags "$basic/team/app"
    assert_status 3
    assert_contains "$output" " ($PWD/dc, which DOCKER_CONFIG names, has .dockerconfigjson: mount it as config.json)"
    DOCKER_CONFIG=$PWD/none REGISTRY_AUTH_FILE=$PWD/lost.json run cbpush tags "$basic/team/app"
    assert_status 3
    assert_contains "$output" " (REGISTRY_AUTH_FILE names $PWD/lost.json: No such file or directory)"
    assert_contains "$output" " ($PWD/none, which DOCKER_CONFIG names, has no config.json)"
}

@test "hosts.toml: a mirror that may not resolve serves by digest, the server the tag; a push goes to the server" {
    local digest
    hosts_toml registry.test <<END
server = "http://$plain"
[host."http://$plain/v2"]
capabilities = ["pull"]
[host."http://$plain/v2".header]
x-key = "header-canary"
END
    cbpush pull -D registry.test/team/base:1 2>log
    refute_contains "$(cat log)" header-canary
    assert_contains "$(registry_requests plain '"(GET|HEAD) /v2/team/base/manifests/1')" 'ns=registry.test'
    cbpush push registry.test/team/base:1 registry.test/team/pushed:1 2>log
    judge_skopeo plain team/pushed:1 >/dev/null
    digest=$(registry_curl plain /v2/team/base/manifests/1 -I -H 'Accept: application/vnd.oci.image.manifest.v1+json' |
        tr -d '\r' | awk 'tolower($1) == "docker-content-digest:" { print $2 }')
    explain "registry.test/team/base@$digest"
    assert_equal "$(field '[.endpoints[].role]')" '["mirror","registry"]'
    assert_equal "$(field '.endpoints[0].headers')" '["x-key"]'
    assert_equal "$(field '.configuration.hosts_toml')" "$XDG_CONFIG_HOME/containers/certs.d/registry.test/hosts.toml"
    refute_contains "$(cat explained)" header-canary
}

@test "hosts.toml: what is wrong in it is named with its line: exit 5" {
    printf 'server = "http://%s"\ncolour = "blue"\n' "$plain" | hosts_toml registry.test
    run -5 cbpush pull registry.test/team/base:1
    assert_contains "$output" 'hosts.toml: line 2: "colour" is not known'
}

@test "a registry that listens on a socket is pushed to and pulled from by its name" {
    local dir sock=$BATS_TEST_TMPDIR/reg.sock tries
    dir=$(rig_dir)/socket
    mkdir -p "$dir"
    cat >"$dir/config.yml" <<END
version: 0.1
storage: {filesystem: {rootdirectory: "$dir/storage"}}
http: {addr: "$sock", net: unix, secret: x}
END
    rig_spawn "$dir" env -i "PATH=$PATH" "RIG_FILE_MARK=$RIG_FILE_MARK" "RIG_TEST_MARK=$RIG_TEST_MARK" \
        docker-registry serve "$dir/config.yml"
    for ((tries = 0; tries < 200; tries++)); do [ ! -S "$sock" ] || break; sleep 0.05; done
    hosts_toml team.test <<<"server = \"unix://$sock\""
    cbpush pull "$plain/team/base:1" 2>log
    cbpush push "$plain/team/base:1" team.test/app:1 2>log
    cbpush rmi team.test/app:1 2>log || :
    CBPUSH_ROOT=$PWD/other cbpush pull team.test/app:1 2>log
    explain team.test/app:1
    assert_equal "$(field '.endpoints[0].socket')" "$sock"
}

# ---- certificates, addresses

@test "client certificates: by certs.d and by hosts.toml; refused without" {
    local clients
    clients=$(registry_addr clients)
    cbpush pull "$plain/team/base:1" 2>log
    run cbpush push --retry 0 "$plain/team/base:1" "$clients/team/app:1"
    [ "$status" -ne 0 ]
    mkdir -p "$XDG_CONFIG_HOME/containers/certs.d/$clients"
    cp "$(rig_client crt)" "$XDG_CONFIG_HOME/containers/certs.d/$clients/me.cert"
    cp "$(rig_client key)" "$XDG_CONFIG_HOME/containers/certs.d/$clients/me.key"
    cbpush push "$plain/team/base:1" "$clients/team/app:1" 2>log
    rm -r "$XDG_CONFIG_HOME/containers/certs.d/$clients"
    unset SSL_CERT_FILE
    hosts_toml "${clients/:/_}_" <<END
server = "https://$clients"
ca = "$(rig_ca)"
client = [["$(rig_client crt)", "$(rig_client key)"]]
END
    CBPUSH_ROOT=$PWD/other cbpush pull "$clients/team/app:1" 2>log
}

@test "a registry by its IPv6 address" {
    local dir port
    ip -6 addr show dev lo 2>/dev/null | grep -q '::1' || skip 'no IPv6 here'
    dir=$(rig_dir)/six
    port=$(cb_free_port)
    mkdir -p "$dir"
    printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: "%s"}}\nhttp: {addr: "[::1]:%s", secret: x}\n' \
        "$dir/storage" "$port" >"$dir/config.yml"
    rig_spawn "$dir" env -i "PATH=$PATH" "RIG_FILE_MARK=$RIG_FILE_MARK" "RIG_TEST_MARK=$RIG_TEST_MARK" \
        docker-registry serve "$dir/config.yml"
    curl -sS --retry 20 --retry-connrefused --retry-delay 0 -o /dev/null "http://[::1]:$port/v2/"
    cbpush pull "$plain/team/base:1" 2>log
    cbpush push "$plain/team/base:1" "[::1]:$port/team/app:1" 2>log
    CBPUSH_ROOT=$PWD/other cbpush pull "[::1]:$port/team/app:1" 2>log
}

# ---- proxies, rates

# proxy_start [OPTION…]: for registry.test, with a password; its port in $proxy.
proxy_start()
{
    local dir tries
    dir=$(rig_dir)/proxy
    mkdir -p "$dir"
    : >"$dir/log"
    rig_spawn "$dir" python3 -B "$RIG_HERE/proxy_server.py" --port-file "$dir/port" --log "$dir/log" \
        --user 'proxy:pr0xy-canary' --map "registry.test:443=$(registry_addr basic)" "$@"
    for ((tries = 0; tries < 200; tries++)); do [ ! -s "$dir/port" ] || break; sleep 0.05; done
    proxy=127.0.0.1:$(cat "$dir/port")
    proxy_log=$dir/log
}

@test "a proxy with a password: it alone gets that, and the registry's goes through it unseen" {
    proxy_start
    cbpush pull "$plain/team/base:1" 2>log
    auth_file "$HOME/.docker/config.json" registry.test writer:wr1te-canary
    export HTTPS_PROXY=http://proxy:pr0xy-canary@$proxy
    run -0 cbpush push -D "$plain/team/base:1" registry.test/team/base:1
    assert_contains "$(cat "$proxy_log")" '200 registry.test:443'
    assert_equal "$(grep -c 'authorization\|cookie' "$proxy_log")" 0
    refute_contains "$output" canary
    explain registry.test/team/base:1
    assert_equal "$(field '.endpoints[0].challenge.scheme')" Basic
    assert_equal "$(field '.endpoints[0].proxy')" "http://xxxxx@$proxy"
    refute_contains "$(cat explained log)" canary

    : >"$proxy_log"
    run -3 env HTTPS_PROXY="http://proxy:wrong-canary@$proxy" "$CBPUSH" pull -D registry.test/team/base:1
    assert_contains "$(cat "$proxy_log")" 407
    refute_contains "$output" canary

    : >"$proxy_log"
    run -4 env NO_PROXY=".test:443" no_proxy= "$CBPUSH" pull --retry 0 registry.test/team/base:1
    assert_equal "$(cat "$proxy_log")" ''
    unset HTTPS_PROXY
    https_proxy=$proxy run -3 cbpush pull registry.test/team/base:1
    assert_contains "$(cat "$proxy_log")" 407
}

@test "a proxy whose URL is written wrongly or that is not there: told, at once, without its password" {
    local url
    for url in 'http://u:canary@127.0.0.1:port' 'http://u:canary#x@127.0.0.1:9' 'http://u:canary/x@127.0.0.1:9' \
        'http://u:canary canary@127.0.0.1:9' 'ftp://u:canary@127.0.0.1:9'; do
        HTTPS_PROXY=$url run timeout 10 "$CBPUSH" digest registry.test/team/base:1
        assert_status 5 "$url"
        assert_contains "$output" 'the URL of the proxy cannot be used: write http://USER:PASSWORD@HOST:PORT'
        refute_contains "$output" canary
        HTTPS_PROXY=$url run timeout 10 "$CBPUSH" auth explain registry.test/team/base:1
        refute_contains "$output" canary
    done
    HTTPS_PROXY=http://u:canary@127.0.0.1:9 run cbpush digest --retry 0 registry.test/team/base:1
    assert_status 4
    assert_contains "$output" ': the proxy: Failed to connect to 127.0.0.1 port 9'
    refute_contains "$output" canary
}

@test "a proxy that is spoken to in TLS is verified as the machine trusts, not as the registry is" {
    local pki
    pki=$(rig_pki)
    proxy_start --tls-cert "$pki/server.crt" --tls-key "$pki/server.key"
    auth_file "$HOME/.docker/config.json" registry.test writer:wr1te-canary
    cbpush pull "$plain/team/base:1" 2>log
    export HTTPS_PROXY=https://proxy:pr0xy-canary@$proxy
    cbpush push "$plain/team/base:1" registry.test/team/tls:1 2>log
    unset SSL_CERT_FILE
    run cbpush push --retry 0 --tls-verify=false "$plain/team/base:1" registry.test/team/tls:1
    [ "$status" -ne 0 ]
    refute_contains "$output" canary
}

@test "--limit-rate: a push within it arrives; nonsense is refused" {
    cbpush pull --limit-rate 50M "$plain/team/base:1" 2>log
    cbpush push --limit-rate 20M "$plain/team/base:1" "$plain/team/slow:1" 2>log
    judge_skopeo plain team/slow:1 >/dev/null
    run -2 cbpush pull --limit-rate fast "$plain/team/base:1"
    assert_contains "$output" 'write bytes a second'
}

@test "copy: each side has credentials and a word on TLS of its own" {
    local basic
    basic=$(registry_addr basic)
    run cbpush copy -q "$tokens/team/base:1" "$tokens/team/sides:1"
    assert_status 3
    cbpush copy -q --src-creds reader:re4d-canary --dest-creds writer:wr1te-canary "$tokens/team/base:1" "$tokens/team/sides:1"
    cbpush copy -q --src-creds reader:re4d-canary --dest-creds writer:wr1te-canary "$tokens/team/base:1" "$basic/team/sides:1"
    run cbpush copy -q --src-creds reader:re4d-canary --dest-creds writer:wrong "$tokens/team/base:1" "$basic/team/sides:2"
    assert_status 3
    run cbpush copy -q --src-creds reader:re4d-canary "$tokens/team/base:1" "$tokens/team/sides:3"
    assert_status 3
    run cbpush copy -q --dest-creds a:b "$plain/team/base:1" oci:layout:1
    assert_status 2
    assert_contains "$output" 'oci:layout:1 is in no registry'
    refute_contains "$(cat "$(rig_find plain)"/out*)" re4d-canary
    unset SSL_CERT_FILE
    run cbpush copy -q --dest-tls-verify=false --src-creds reader:re4d-canary "$tokens/team/base:1" oci:layout:1
    assert_status 7
    cbpush copy -q --src-tls-verify=false --src-creds reader:re4d-canary "$tokens/team/base:1" oci:layout:1
    run cbpush copy -q --src-tls-verify=false --dest-creds writer:wr1te-canary oci:layout:1 "$basic/team/sides:4"
    assert_status 7
    cbpush copy -q --dest-tls-verify=false --dest-creds writer:wr1te-canary oci:layout:1 "$basic/team/sides:4"
}
