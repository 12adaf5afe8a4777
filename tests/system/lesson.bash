# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Stand-ins for the images of Docker Hub that the lesson (80-lesson.bats) names. `load lesson` after helpers.
#
#   push_lesson REGISTRY      pushes all of them as library/NAME:TAG: alpine:3.14 and nginx:alpine (busybox), ubuntu:20.04
#                             and python:3.9-slim (Debian 11 with apt, Python 3.9 and pip), node:14 (that, with Node.js
#                             14 and npm 6 of the package nodejs-bin on PyPI)
#   needs_node                skips the test, with the reason, where Node.js could not be fetched
#   needs_apt                 … where Debian's mirror cannot be reached from this machine
#
# Node.js is kept in CBPUSH_TEST_CACHE as the image of Python is.

LESSON_NODE=14.19.3a4

push_lesson()
{
    push_python "$1" && lesson_alpine "$1" && lesson_nginx "$1" && lesson_ubuntu "$1" || return
    lesson_node "$1" 2>"$BATS_FILE_TMPDIR/node.log" || : >"$BATS_FILE_TMPDIR/no-node"
}

# lesson_layer FROM TREE TAG: the image with one more layer, in the file's directory; prints its path.
lesson_layer()
{
    local dir=$BATS_FILE_TMPDIR/rig/$3.oci
    cp -r "$1" "$dir" && rig_umoci insert --image "$dir:latest" "$2" / && printf '%s\n' "$dir"
}

lesson_alpine()
{
    rig_push "$(make_busybox_image)" "$1" library/alpine:3.14
}

# Serves what stands where nginx's pages do.
lesson_nginx()
{
    local tree=$BATS_FILE_TMPDIR/rig/nginx dir
    mkdir -p "$tree/usr/share/nginx/html"
    echo 'Welcome to nginx!' >"$tree/usr/share/nginx/html/index.html"
    dir=$(lesson_layer "$(make_busybox_image)" "$tree" nginx) &&
        rig_umoci config --image "$dir:latest" --config.exposedports 80/tcp --config.cmd httpd --config.cmd -f \
            --config.cmd -p --config.cmd 80 --config.cmd -h --config.cmd /usr/share/nginx/html &&
        rig_push "$dir" "$1" library/nginx:alpine
}

# Debian, with what this machine's apt is told of reaching the archive.
lesson_ubuntu()
{
    local tree=$BATS_FILE_TMPDIR/rig/ubuntu python dir
    mkdir -p "$tree/etc/apt/apt.conf.d"
    cat /etc/apt/apt.conf /etc/apt/apt.conf.d/* 2>/dev/null | grep '^ *Acquire::.*;$' \
        >"$tree/etc/apt/apt.conf.d/99machine" || :
    python=$(make_debian_python) && dir=$(lesson_layer "$python" "$tree" ubuntu) &&
        rig_umoci config --image "$dir:latest" --config.cmd bash && rig_push "$dir" "$1" library/ubuntu:20.04
}

needs_apt()
{
    local mirror=${CBPUSH_TEST_MIRROR:-http://deb.debian.org/debian}
    curl -fsSL --max-time 60 -o /dev/null "$mirror/dists/bullseye/Release" ||
        skip "Debian's mirror cannot be reached from this machine"
}

# ---- Node.js

# A wheel is a zip archive, in which modes are lost.
lesson_fetch_node()
{
    local new=$1
    cb_quietly pip python3 -m pip download -q --no-deps --pre -d "$new" "nodejs-bin==$LESSON_NODE" || return
    python3 -m zipfile -e "$new"/nodejs_bin-*.whl "$new/wheel" || return
    mkdir -p "$new/tree/usr/local/bin" "$new/tree/usr/local/lib/node_modules" "$new/tree/usr/local/etc"
    mv "$new/wheel/nodejs/bin/node" "$new/tree/usr/local/bin/node"
    mv "$new/wheel/nodejs/lib/node_modules/npm" "$new/tree/usr/local/lib/node_modules/npm"
    ln -s ../lib/node_modules/npm/bin/npm-cli.js "$new/tree/usr/local/bin/npm"
    chmod 0755 "$new/tree/usr/local/bin/node" "$new/tree/usr/local/lib/node_modules/npm/bin/npm-cli.js"
    chmod -R go+rX "$new/tree"
}

make_node_tree()
{
    local dir new
    dir=$(rig_cache)/node-$LESSON_NODE
    mkdir -p "$(rig_cache)"
    (
        flock 9
        [ ! -d "$dir" ] || exit 0
        new=$(mktemp -d "$(rig_cache)/new.XXXXXX") || exit
        lesson_fetch_node "$new" && chmod 0755 "$new/tree" && mv -T "$new/tree" "$dir"
        status=$?
        rm -rf "$new"
        exit "$status"
    ) 9>"$(rig_cache)/lock.node" || return
    printf '%s\n' "$dir"
}

# npm trusts what this machine trusts, and asks the registry that this machine's npm asks.
lesson_npmrc()
{
    echo cafile=/etc/ssl/certs/ca-certificates.crt
    echo update-notifier=false
    ! command -v npm >/dev/null || printf 'registry=%s\n' "$(npm config get registry)"
}

lesson_node()
{
    local tree=$BATS_FILE_TMPDIR/rig/node cached python dir
    cached=$(make_node_tree) && cp -r "$cached" "$tree" && lesson_npmrc >"$tree/usr/local/etc/npmrc" || return
    python=$(make_debian_python) && dir=$(lesson_layer "$python" "$tree" node) || return
    rm -rf "$tree"
    rig_umoci config --image "$dir:latest" --config.cmd node && rig_push "$dir" "$1" library/node:14
}

needs_node()
{
    [ ! -e "$BATS_FILE_TMPDIR/no-node" ] ||
        skip "Node.js $LESSON_NODE cannot be fetched on this machine: $(tail -n 1 "$BATS_FILE_TMPDIR/node.log")"
}
