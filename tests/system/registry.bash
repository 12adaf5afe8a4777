# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Real registries (docker-registry) and a token server, on free ports of 127.0.0.1. Loaded by helpers.bash.
#
#   registry_start [OPTION…] NAME   returns once /v2/ answers
#       --auth-token                a token server is started with it, the registry verifies its tokens
#       --htpasswd                  Basic authentication
#       --user NAME:PASSWORD        may do everything (repeatable; testuser:testpassword if none is given)
#       --reader NAME:PASSWORD      may pull (--auth-token; repeatable)
#       --anonymous GLOB            repositories that all may pull (--auth-token; repeatable)
#       --client-certs              https, and only for clients with a certificate of the same CA (rig_client)
#       --tls                       https by a certificate of the run's own CA (rig_ca)
#       --no-delete                 it refuses DELETE
#       --relative                  Locations without scheme and host
#       --v3                        Distribution 3 instead of Debian's 2.8 (peers.bash)
#       --storage DIR               keeps its data there, instead of in an empty directory of its own
#   registry_stop NAME              stops it and its token server
#   registry_addr NAME              127.0.0.1:PORT
#   registry_url NAME               http(s)://127.0.0.1:PORT
#   registry_creds NAME             NAME:PASSWORD of the first --user, or nothing
#   registry_requests NAME [ERE]    the access log (Apache's combined form), only the lines that match
#   registry_forget NAME            empties the access log and the token log
#   registry_curl NAME PATH [ARG…]  curl with the CA; the status and the body of the answer, see there
#   registry_skopeo NAME ARG…       `skopeo ARG…` after which every --src/--dest/plain option the registry needs is set
#   token_requests NAME             the token server's log: a JSON line a request (token_server.py)
#   token_identity NAME USER:PASSWORD   an identity (refresh) token from the token server
#   rig_ca                          the CA's certificate
#   rig_client crt|key              a client's certificate, and its key
#   docker_config ADDR USER:PASSWORD    writes it to $HOME/.docker/config.json, beside what is there
#   mirror_conf ADDR [LOCATION]     registries.conf: ADDR is an insecure mirror of LOCATION (docker.io)

RIG_SERVICE=cbpush-test-registry
RIG_ISSUER=cbpush-test-issuer

# ---- keys

rig_openssl()
{
    cb_quietly openssl openssl "$@"
}

# The CA with a server certificate, and the token server's key.
rig_pki()
{
    rig_once pki rig_pki_make
}

rig_pki_make()
(
    mkdir "$1" && cd "$1" || exit 1
    rig_openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 30 -keyout ca.key -out ca.crt \
        -subj '/CN=cbpush test CA' -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign &&
    rig_openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout server.key -out server.csr -subj /CN=localhost &&
    printf 'subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:registry.test\nextendedKeyUsage=serverAuth\n' >server.ext &&
    rig_openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile server.ext -out server.crt &&
    rig_openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout client.key -out client.csr -subj /CN=client &&
    printf 'extendedKeyUsage=clientAuth\n' >client.ext &&
    rig_openssl x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile client.ext -out client.crt &&
    rig_openssl req -x509 -newkey rsa:2048 -noenc -days 30 -keyout token.key -out token.crt -subj '/CN=cbpush test tokens'
)

rig_ca()
{
    printf '%s/ca.crt\n' "$(rig_pki)"
}

rig_client()
{
    printf '%s/client.%s\n' "$(rig_pki)" "$1"
}

# ---- the token server

# token_server_start DIR TLS ARG…: starts it in DIR; its port is in DIR/port.
token_server_start()
{
    local dir=$1 tls=$2 pki tries arguments
    shift 2
    pki=$(rig_pki) || return
    mkdir -p "$dir"
    arguments=(--key "$pki/token.key" --cert "$pki/token.crt" --port-file "$dir/port" --log "$dir/log"
        --service "$RIG_SERVICE" --issuer "$RIG_ISSUER")
    [ -z "$tls" ] || arguments+=(--tls-cert "$pki/server.crt" --tls-key "$pki/server.key")
    : >"$dir/log"
    rig_spawn "$dir" python3 -B "$RIG_HERE/token_server.py" "${arguments[@]}" "$@"
    for ((tries = 0; tries < 200; tries++)); do
        [ ! -s "$dir/port" ] || return 0
        rig_alive "$(cat "$dir/pid")" || break
        sleep 0.05
    done
    rig_fail "the token server did not start: $(cat "$dir/err")"
}

token_requests()
{
    local dir
    dir=$(rig_find "$1.token") && cat "$dir/log"
}

token_identity()
{
    local dir answer
    dir=$(rig_find "$1.token") || return
    answer=$(curl -sSf --cacert "$(rig_ca)" "$(registry_scheme "$1")://127.0.0.1:$(cat "$dir/port")/token" \
        -d grant_type=password -d access_type=offline -d service="$RIG_SERVICE" -d client_id=test \
        --data-urlencode "username=${2%%:*}" --data-urlencode "password=${2#*:}") || return
    jq -er .refresh_token <<<"$answer"
}

# ---- the registry

# registry_config: config.yml of the registry that the variables of registry_start describe.
registry_config()
{
    local pki
    pki=$(rig_pki)
    cat <<END
version: 0.1
log: {level: info, accesslog: {disabled: false}}
storage: {filesystem: {rootdirectory: "$storage"}, delete: {enabled: $delete}}
http:
  addr: 127.0.0.1:$port
  secret: cbpush-test
${relative:+  relativeurls: true}
${tls:+  tls: {certificate: "$pki/server.crt", key: "$pki/server.key"${clients:+, clientcas: ["$pki/ca.crt"]}\}}
END
    case $auth in
        token) cat <<END
auth:
  token:
    realm: $scheme://127.0.0.1:$(cat "$dir.token/port")/token
    service: $RIG_SERVICE
    issuer: $RIG_ISSUER
    rootcertbundle: $pki/token.crt
END
            ;;
        htpasswd) printf 'auth: {htpasswd: {realm: %s, path: "%s/htpasswd"}}\n' "$RIG_SERVICE" "$dir" ;;
    esac
}

# htpasswd_line NAME:PASSWORD: a line of an htpasswd file, with bcrypt.
htpasswd_line()
{
    # shellcheck disable=SC2016 # perl's
    printf '%s:%s\n' "${1%%:*}" "$(perl -e 'print crypt($ARGV[0], q($2b$05$cbpushcbpushcbpushcbpu))' "${1#*:}")"
}

registry_start()
{
    local auth='' tls='' clients='' relative='' delete=true program=docker-registry scheme=http storage='' users=() rest=() name dir port user
    while [ $# -gt 1 ]; do
        case $1 in
            --auth-token) auth=token ;;
            --htpasswd) auth=htpasswd ;;
            --v3) program=$PEERS_DIR/registry ;;
            --no-delete) delete=false ;;
            --relative) relative=1 ;;
            --tls) tls=1 scheme=https ;;
            --client-certs) tls=1 scheme=https clients=1 ;;
            --user) users+=("$2"); shift ;;
            --storage) storage=$2; shift ;;
            --reader | --anonymous) rest+=("$1" "$2"); shift ;;
            *) rig_fail "registry_start: $1 is no option" || return ;;
        esac
        shift
    done
    name=$1 dir=$(rig_dir)/$1
    [ ! -e "$dir/pid" ] || rig_fail "registry $name runs already" || return
    [ -z "$auth" ] || [ ${#users[@]} -gt 0 ] || users=(testuser:testpassword)
    rm -rf "$dir"
    mkdir -p "$dir"
    : "${storage:=$dir/storage}"
    printf '%s\n' "$scheme" >"$dir/scheme"
    [ -z "$clients" ] || : >"$dir/clients"
    [ -z "$auth" ] || printf '%s\n' "${users[0]}" >"$dir/creds"
    case $auth in
        token)
            for user in "${users[@]}"; do rest+=(--user "$user"); done
            token_server_start "$dir.token" "$tls" "${rest[@]}" || return ;;
        htpasswd)
            for user in "${users[@]}"; do htpasswd_line "$user"; done >"$dir/htpasswd" ;;
    esac
    registry_serve
}

# Starts the program, on another port if somebody took the first; waits until it answers.
registry_serve()
{
    local round tries
    for ((round = 0; round < 5; round++)); do
        port=$(cb_free_port) || return
        printf '%s\n' "$port" >"$dir/port"
        registry_config >"$dir/config.yml"
        # An environment of its own: docker-registry reads REGISTRY_* as configuration.
        rig_spawn "$dir" env -i "PATH=$PATH" "RIG_FILE_MARK=${RIG_FILE_MARK-}" "RIG_TEST_MARK=${RIG_TEST_MARK-}" \
            "$program" serve "$dir/config.yml"
        for ((tries = 0; tries < 200 ; tries++)); do
            if registry_curl "$name" /v2/ >/dev/null 2>&1; then
                : >"$dir/out"
                return 0
            fi
            rig_alive "$(cat "$dir/pid")" || break
            sleep 0.05
        done
        rig_stop "$(cat "$dir/pid")"
        grep -q 'address already in use' "$dir/err" || break
    done
    rm -f "$dir/pid"
    rig_fail "registry $name did not start: $(tail -n 20 "$dir/err")"
}

registry_stop()
{
    local dir pidfile
    dir=$(rig_find "$1") || return
    for pidfile in "$dir/pid" "$dir.token/pid"; do
        [ -e "$pidfile" ] || continue
        rig_stop "$(cat "$pidfile")"
        rm -f "$pidfile"
    done
}

registry_scheme()
{
    local dir
    dir=$(rig_find "$1") && cat "$dir/scheme"
}

registry_addr()
{
    local dir
    dir=$(rig_find "$1") && printf '127.0.0.1:%s\n' "$(cat "$dir/port")"
}

registry_url()
{
    local addr
    addr=$(registry_addr "$1") && printf '%s://%s\n' "$(registry_scheme "$1")" "$addr"
}

registry_creds()
{
    local dir
    dir=$(rig_find "$1") || return
    [ ! -e "$dir/creds" ] || cat "$dir/creds"
}

registry_requests()
{
    local dir
    dir=$(rig_find "$1") || return
    grep -E -e "${2-.}" "$dir/out" || [ $? -eq 1 ]
}

registry_forget()
{
    local dir
    dir=$(rig_find "$1") || return
    : >"$dir/out"
    [ ! -e "$dir.token/log" ] || : >"$dir.token/log"
}

# The answer's body, then its status on a line of its own. Fails only if there is no answer.
registry_curl()
{
    local url path=$2 client=()
    url=$(registry_url "$1") || return
    [ ! -e "$(rig_find "$1")/clients" ] || client=(--cert "$(rig_client crt)" --key "$(rig_client key)")
    shift 2
    curl -sS --max-time 20 --cacert "$(rig_ca)" "${client[@]}" -w '\n%{http_code}\n' "$@" "$url$path"
}

# registry_skopeo NAME COMMAND ARG…: skopeo with the credentials and the CA of the registry; for `copy` the registry is
# the destination, or the source with --from put before COMMAND.
registry_skopeo()
{
    local name=$1 side='' creds certs options=()
    shift
    if [ "$1" = --from ]; then
        side=src-
        shift
    elif [ "$1" = copy ]; then
        side=dest-
    fi
    creds=$(registry_creds "$name") || return
    [ -z "$creds" ] || options+=("--${side}creds=$creds")
    if [ "$(registry_scheme "$name")" = https ]; then
        certs=$(rig_certs) || return
        options+=("--${side}cert-dir=$certs")
    else
        options+=("--${side}tls-verify=false")
    fi
    skopeo "$1" "${options[@]}" "${@:2}"
}

# A directory with nothing but the CA, in the form that skopeo's --cert-dir wants.
rig_certs()
{
    local dir=$BATS_FILE_TMPDIR/rig/certs
    mkdir -p "$dir"
    cp "$(rig_ca)" "$dir/ca.crt"
    printf '%s\n' "$dir"
}

# ---- configuration for clients

docker_config()
{
    local file=$HOME/.docker/config.json auth
    mkdir -p "$HOME/.docker"
    [ -e "$file" ] || echo '{}' >"$file"
    auth=$(printf %s "$2" | base64 -w 0)
    jq --arg addr "$1" --arg auth "$auth" '.auths[$addr].auth = $auth' "$file" >"$file.new"
    chmod 0600 "$file.new"
    mv "$file.new" "$file"
}

mirror_conf()
{
    local location=${2-docker.io}
    mkdir -p "$HOME/.config/containers"
    cat >>"$HOME/.config/containers/registries.conf" <<END
[[registry]]
prefix = "$location"
location = "$location"

[[registry.mirror]]
location = "$1"
insecure = true
END
}
