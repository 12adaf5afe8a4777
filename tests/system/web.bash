# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# A web server and git repositories for the tests of remote inputs (web_server.py says what it serves).
# `load helpers`, `load build`, `load web`.
#
#   web_start [NAME [--tls]]  starts it, with TLS by the run's own CA; then $NAME (web) is http(s)://127.0.0.1:PORT, and
#                             $webroot the directory that all of them serve
#   web_requests [ERE]        the log of web, the lines that match; web_forget empties it
#   web_log NAME              the log of NAME
#   web_lock VALUE            /locked/… wants this Authorization
#   web_old NAME              a file of $webroot is an hour old, so that its Last-Modified and ETag count as conditions
#   git_make NAME             a repository $webroot/NAME.git with a work tree ./NAME: two commits, branch dev, tag v1
#   git_in NAME ARG…          git in its work tree; git_publish NAME pushes all of it

web_start()
{
    local name=${1-web} dir tries scheme=http tls=()
    dir=$(rig_dir)/$name
    webroot=$(rig_dir)/web/root
    mkdir -p "$webroot" "$dir"
    : >"$dir/log"
    if [ "${2-}" = --tls ]; then
        scheme=https
        tls=(--tls "$(rig_pki)")
    fi
    rig_spawn "$dir" python3 -B "$RIG_HERE/web_server.py" --root "$webroot" --log "$dir/log" --port-file "$dir/port" \
        --authorization "$(rig_dir)/web/authorization" "${tls[@]}"
    for ((tries = 0; tries < 200; tries++)); do
        [ ! -s "$dir/port" ] || break
        sleep 0.05
    done
    export webroot "$name=$scheme://127.0.0.1:$(cat "$dir/port")"
}

web_requests()
{
    grep -E -- "${1-.}" "$(rig_find web)/log" || :
}

web_log()
{
    cat "$(rig_find "$1")/log"
}

web_lock()
{
    printf %s "$1" >"$(rig_find web)/authorization"
}

web_forget()
{
    : >"$(rig_find web)/log"
}

web_old()
{
    touch -d '-1 hour' "$webroot/$1"
}

git_in()
{
    local name=$1
    shift
    GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_DATE='2020-02-02T02:02:02Z' GIT_COMMITTER_DATE='2020-02-02T02:02:02Z' \
        git -C "$name" -c user.name=t -c user.email=t@example.com -c init.defaultBranch=main \
        -c protocol.file.allow=always -c commit.gpgsign=false "$@"
}

git_publish()
{
    git_in "$1" push -q --mirror "$webroot/$1.git"
    git --git-dir "$webroot/$1.git" update-server-info
}

git_make()
{
    mkdir -p "$1"
    git_in "$1" init -q
    git_in . init -q --bare "$webroot/$1.git"
    echo one >"$1/a.txt"
    mkdir "$1/sub"
    echo below >"$1/sub/b.txt"
    printf '#!/bin/sh\n' >"$1/run.sh"
    chmod 0755 "$1/run.sh"
    ln -s a.txt "$1/link"
    printf 'FROM busybox\nCOPY . /got/\n' >"$1/Dockerfile"
    printf 'FROM busybox\nCOPY b.txt /sub-got\n' >"$1/sub/Dockerfile"
    git_in "$1" add -A
    git_in "$1" commit -q -m one
    git_in "$1" tag -a -m v1 v1
    git_in "$1" checkout -q -b dev
    echo dev >"$1/a.txt"
    git_in "$1" commit -q -a -m dev
    git_in "$1" checkout -q main
    echo two >"$1/a.txt"
    git_in "$1" commit -q -a -m two
    git_publish "$1"
}
