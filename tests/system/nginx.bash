# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# nginx as it stands before registries. `load helpers`, `load nginx`.
#
#   nginx_start NAME TO [DIRECTIVE…]   nginx with TLS (h2 too) before the registry TO, with these lines of its location;
#                                      then NAME is a registry, too
#   nginx_requests NAME [ERE]          "METHOD PATH STATUS LENGTH" of each request, only those that match; LENGTH is the
#                                      body's as it was announced, or -
#   nginx_direct TO                    what the registry TO was asked by others than nginx

nginx_config()
{
    local pki line
    pki=$(rig_pki)
    cat <<END
daemon off;
master_process off;
pid $dir/nginx.pid;
error_log $dir/err info;
events {}
http {
    log_format rig '\$request_method \$uri \$status \$content_length';
    access_log $dir/out rig;
    client_body_temp_path $dir/body;
    proxy_temp_path $dir/proxy;
    fastcgi_temp_path $dir/fastcgi;
    uwsgi_temp_path $dir/uwsgi;
    scgi_temp_path $dir/scgi;
    server {
        listen 127.0.0.1:$port ssl http2;
        ssl_certificate $pki/server.crt;
        ssl_certificate_key $pki/server.key;
        location / {
            proxy_pass $(registry_url "$to");
            proxy_http_version 1.1;
            proxy_set_header User-Agent "through nginx: \$http_user_agent";
END
    for line; do
        printf '            %s;\n' "$line"
    done
    printf '        }\n    }\n}\n'
}

nginx_start()
{
    local name=$1 to=$2 dir port tries
    shift 2
    dir=$(rig_dir)/$name
    mkdir -p "$dir"
    port=$(cb_free_port) || return
    printf '%s\n' "$port" >"$dir/port"
    printf 'https\n' >"$dir/scheme"
    registry_creds "$to" >"$dir/creds"
    [ -s "$dir/creds" ] || rm "$dir/creds"
    nginx_config "$@" >"$dir/nginx.conf"
    rig_spawn "$dir" nginx -p "$dir" -e "$dir/err" -c "$dir/nginx.conf"
    for ((tries = 0; tries < 200; tries++)); do
        if registry_curl "$name" /v2/ >/dev/null 2>&1; then
            registry_forget "$name"
            return 0
        fi
        rig_alive "$(cat "$dir/pid")" || break
        sleep 0.05
    done
    rig_fail "nginx did not start: $(tail -n 20 "$dir/err")"
}

nginx_requests()
{
    registry_requests "$@"
}

nginx_direct()
{
    registry_requests "$1" | grep -v '"through nginx: ' || :
}
