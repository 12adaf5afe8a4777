#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# From a fresh Debian 12 machine to a running container: installs what cbpush needs, builds it, starts a registry, builds
# and pushes contrib/examples/flask, runs the image and fetches its page.
# usage: sh contrib/quickstart.sh     (as root, or as a user who may use sudo)
#
# The parent python:3.9-slim comes from Docker Hub. Where that cannot be reached, mmdebstrap makes a root file system of
# Debian 11 (Python 3.9, pip) from the package sources of this machine, cbpush turns it into an image and pushes it, and
# registries.conf (a temporary one) names the local registry as a mirror of Docker Hub.
#
# CBPUSH_QUICKSTART_DIR (/var/cache/cbpush-quickstart) keeps what a second run uses again: the parent's root file system,
# cbpush's store and the registry's data. Remove it to begin anew. Everything else, processes too, goes at the end.
# Proxies, certificates and the settings of pip are those of this machine.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=contrib/lib.sh
. "$here/lib.sh"
CB_TOP=$(cb_top)
export CB_TOP
cd "$CB_TOP"
PATH=$PATH:/usr/sbin:/sbin
export PATH

cbpush=$CB_TOP/build-quickstart/cbpush
state=${CBPUSH_QUICKSTART_DIR:-/var/cache/cbpush-quickstart}
temp='' job='' group='' registry='' container='' times=''

# ---- processes and times

# Ends a process and waits for it.
end()
{
    [ -n "$1" ] || return 0
    kill -TERM "$1" 2>/dev/null || :
    wait "$1" 2>/dev/null || :
}

# Ends a process group: what a program that we started has started itself.
end_group()
{
    [ -n "$1" ] || return 0
    kill -TERM -- "-$1" 2>/dev/null || return 0
    tries=0
    while [ "$tries" -lt 20 ]; do
        kill -0 -- "-$1" 2>/dev/null || return 0
        sleep 0.5
        tries=$((tries + 1))
    done
    kill -KILL -- "-$1" 2>/dev/null || :
}

stop()
{
    trap '' EXIT INT TERM HUP
    end_group "$group"
    end "$job"
    end "$container"
    end "$registry"
    if [ -n "$temp" ]; then
        rm -rf "$temp" "$state/parent/new.tar"
    fi
    exit "$1"
}
trap 'stop 130' INT
trap 'stop 143' TERM HUP
trap 'stop $?' EXIT

# In the background and waited for, so that a signal is heard at once.
run()
{
    "$@" &
    job=$!
    wait "$job" || { job=''; return 1; }
    job=''
}

# The same for a program that starts others: with a process group of its own, and its output in a log.
run_group()
{
    setsid "$@" >"$temp/log" 2>&1 </dev/null &
    job=$! group=$!
    wait "$job" || { tail -n 100 "$temp/log" >&2; group='' job=''; return 1; }
    group='' job=''
}

now()
{
    date +%s.%N
}

# part NAME COMMAND…: runs it and notes how long it took.
part()
{
    part_name=$1 part_start=$(now)
    shift
    "$@" || cb_die "$part_name: failed"
    part_took=$(echo "$part_start $(now)" | awk '{ printf "%.1f s", $2 - $1 }')
    times="$times$part_name|$part_took
"
}

# ---- first half: as whoever called

install_packages()
{
    # shellcheck disable=SC2086 # a list of packages
    cb_need_packages $CB_BUILD_PACKAGES docker-registry mmdebstrap curl iproute2 jq
}

build()
{
    # shellcheck disable=SC2016 # the other shell expands it
    TMPDIR=$temp run_group sh -c '. "$CB_TOP/contrib/lib.sh"; cb_build build-quickstart'
}

# The other half works as root: containers, their file systems, the parent.
become_root()
{
    [ "$(id -u)" -ne 0 ] || return 0
    keep=$(env | sed -n 's/^\([A-Za-z_]*_proxy\|[A-Z_]*_PROXY\|PIP_[A-Z_]*\|CBPUSH_QUICKSTART_DIR\|CB_TOP\|TERM\|PATH\)=.*/\1/p' |
        paste -s -d ,)
    rm -rf "$temp"
    exec sudo --preserve-env="$keep" sh "$here/quickstart.sh" --as-root "$times"
}

# ---- the registry

registry_answers()
{
    curl -fsS --noproxy '*' -o /dev/null --max-time 2 "http://127.0.0.1:$port/v2/" 2>/dev/null
}

# The port of the last time, if it is free: names in the store stay the same.
pick_port()
{
    port=$(cat "$state/port" 2>/dev/null) || port=
    if [ -z "$port" ] || [ -n "$(ss -Htln "sport = :$port")" ]; then
        port=$(cb_free_port)
    fi
    printf '%s\n' "$port" >"$state/port"
}

start_registry()
{
    pick_port
    cat >"$temp/registry.yml" <<END
version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: "$state/registry"}}
http: {addr: "127.0.0.1:$port", secret: quickstart}
END
    # docker-registry takes REGISTRY_* of its environment for configuration.
    env -i "PATH=$PATH" docker-registry serve "$temp/registry.yml" >"$temp/registry.log" 2>&1 &
    registry=$!
    tries=0
    until registry_answers; do
        tries=$((tries + 1))
        if [ "$tries" -gt 100 ] || ! kill -0 "$registry" 2>/dev/null; then
            tail -n 20 "$temp/registry.log" >&2
            return 1
        fi
        sleep 0.1
    done
    cb_say "registry: 127.0.0.1:$port, data in $state/registry"
}

# ---- the parent image

# Docker Hub answers 401 to whom it does not know; a proxy that forbids it says something else.
docker_hub_answers()
{
    answer=$(curl -sS -o /dev/null -w '%{http_code}' --connect-timeout 4 --max-time 8 https://registry-1.docker.io/v2/ 2>/dev/null) || return 1
    [ "$answer" = 401 ] || [ "$answer" = 200 ]
}

# pip's settings of this machine: /etc/pip.conf as it is, PIP_* where they say where packages come from.
pip_settings()
{
    env | sed -n 's/^PIP_\(INDEX_URL\|EXTRA_INDEX_URL\|TRUSTED_HOST\|PROXY\|DEFAULT_TIMEOUT\|RETRIES\)=/\1=/p' |
        awk -F = 'NR == 1 { print "[global]" } { key = tolower($1); gsub("_", "-", key); sub(/[^=]*=/, ""); print key " = " $0 }'
}

# Where this machine's own packages come from, if apt tells.
package_mirror()
{
    # shellcheck disable=SC2016 # apt expands it
    apt-get indextargets --format '$(REPO_URI) $(LABEL)' 'Created-By: Packages' 2>/dev/null |
        sed -n 's/ Debian$//p' | head -n 1
}

# The tar that becomes the parent: Debian 11 without documents, python, this machine's certificates and pip settings.
make_rootfs()
{
    cp /etc/ssl/certs/ca-certificates.crt "$temp/ca.crt"
    : >"$temp/pip.conf"
    [ ! -r /etc/pip.conf ] || cp /etc/pip.conf "$temp/pip.conf"
    pip_settings >"$temp/pip-environment.conf"
    cb_say 'parent: Debian 11 with Python 3.9, by mmdebstrap (about a minute)'
    # pip reads /usr/pip.conf after /etc/pip.conf, as the environment counts more than the file here.
    chmod 0711 "$temp" # apt gets its packages as a user of its own
    # shellcheck disable=SC2016,SC2046 # mmdebstrap's shell expands it; a mirror or nothing
    TMPDIR=$temp run_group mmdebstrap --variant=minbase --include=python3,python3-pip --skip=output/dev \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --customize-hook='ln -s /usr/bin/python3 "$1/usr/local/bin/python"; mkdir -p "$1/etc/ssl/certs"' \
        --customize-hook="cp '$temp/ca.crt' \"\$1/etc/ssl/certs/ca-certificates.crt\"" \
        --customize-hook="[ ! -s '$temp/pip.conf' ] || cp '$temp/pip.conf' \"\$1/etc/pip.conf\"" \
        --customize-hook="[ ! -s '$temp/pip-environment.conf' ] || cp '$temp/pip-environment.conf' \"\$1/usr/pip.conf\"" \
        bullseye "$state/parent/new.tar" $(package_mirror) || return
    mv "$state/parent/new.tar" "$state/parent/rootfs.tar"
}

# Changes when the parent would.
parent_key()
{
    { cat /etc/ssl/certs/ca-certificates.crt /etc/pip.conf 2>/dev/null; pip_settings; echo 1; } | sha256sum | cut -c 1-64
}

# Python 3.9 from Debian, as an image that cbpush made, in the local registry.
provide_parent()
{
    mkdir -p "$state/parent"
    key=$(parent_key)
    if [ "$(cat "$state/parent/key" 2>/dev/null)" != "$key" ]; then
        rm -f "$state/parent/key"
        make_rootfs || return
        printf '%s\n' "$key" >"$state/parent/key"
    fi
    cat >"$state/parent/Dockerfile" <<'END'
FROM scratch
ADD rootfs.tar /
ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
CMD ["python3"]
END
    run "$cbpush" build --push "localhost:$port/library/python:3.9-slim" "$state/parent"
}

mirror_docker_hub()
{
    cat >"$temp/registries.conf" <<END
[[registry]]
prefix = "docker.io"
location = "docker.io"

[[registry.mirror]]
location = "localhost:$port"
insecure = true
END
    CONTAINERS_REGISTRIES_CONF=$temp/registries.conf
    export CONTAINERS_REGISTRIES_CONF
}

get_parent()
{
    if docker_hub_answers && run "$cbpush" pull python:3.9-slim; then
        return 0
    fi
    cb_say 'Docker Hub cannot be reached from here: a parent of our own takes its place'
    provide_parent || return
    mirror_docker_hub
}

# ---- the example

build_and_push()
{
    image=localhost:$port/myapp:1.0
    set -- build --push "$image" --metadata-file "$temp/metadata.json"
    # What a RUN needs to get out of this machine; bare names take the value from the environment.
    for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
        eval "[ -z \"\${$name-}\" ]" || set -- "$@" --build-arg "$name"
    done
    run "$cbpush" "$@" contrib/examples/flask
}

container_port()
{
    host_port=5000
    [ -z "$(ss -Htln "sport = :$host_port")" ] || host_port=$(cb_free_port)
}

# Retries for 20 seconds; the page goes to $temp/page.
fetch_page()
{
    tries=0
    until curl -fsS --noproxy '*' --max-time 5 -o "$temp/page" "http://127.0.0.1:$host_port/" 2>"$temp/curl"; do
        tries=$((tries + 1))
        if [ "$tries" -ge 200 ] || ! kill -0 "$container" 2>/dev/null; then
            cat "$temp/curl" "$temp/container.log" >&2
            return 1
        fi
        sleep 0.1
    done
}

run_and_fetch()
{
    container_port
    cb_say "cbpush run -p $host_port:5000 $image"
    "$cbpush" run -p "$host_port:5000" "$image" >"$temp/container.log" 2>&1 &
    container=$!
    fetch_page
}

print_pushed()
{
    jq -r '
        def size: if . >= 1048576 then "\(. * 10 / 1048576 | round / 10) MiB" elif . >= 1024 then "\(. / 1024 | round) KiB" else "\(.) B" end;
        def row: "  \(.digest[7:19])  \(.size | size | (" " * (9 - length)) + .)  \(.outcome)";
        "digest  \(.["containerimage.digest"])",
        "steps   \(.["cbpush.steps"]), \(.["cbpush.cached"]) of them cached",
        (.["cbpush.pushed"] // [] | if length == 0 then "pushed  nothing: the registry has it already"
            else "pushed  \(length) blobs, \(map(.sent) | add | size) sent", (.[] | row) end)' "$temp/metadata.json"
}

print_times()
{
    printf '%s' "$times" | awk -F '|' '{ printf "  %-46s %s\n", $1, $2 }'
}

# ---- all together

if [ "${1-}" = --as-root ]; then
    times=$2
    temp=$(mktemp -d)
elif [ $# -gt 0 ]; then
    sed -n '3,/^set /p' "$0" | sed -n 's/^# \{0,1\}//p' >&2
    exit 2
else
    temp=$(mktemp -d)
    part 'installing packages' install_packages
    part 'building cbpush' build
    become_root
fi

umask 022
mkdir -p "$state/store" "$state/registry"
CBPUSH_ROOT=$state/store
export CBPUSH_ROOT
exec 9>"$state/lock"
flock -n 9 || cb_die "another quickstart works in $state"

part 'starting the registry' start_registry
part 'providing the parent python:3.9-slim' get_parent
part 'building and pushing contrib/examples/flask' build_and_push
part 'starting it and fetching the page' run_and_fetch
end "$container"
container=''

echo
cat "$temp/page"
echo
echo
echo "$image"
print_pushed
echo
echo 'time'
print_times
