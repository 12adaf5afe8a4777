# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Base images that cbpush did not make: from Debian's packages, by umoci, pushed by skopeo. Loaded by helpers.bash.
#
#   make_busybox_layer DIR        a root file system of busybox-static in DIR
#   make_busybox_image            an OCI layout with it, made once a run; prints its path; its tag is latest
#   make_debian_python            an OCI layout that stands for python:3.9-slim (Debian 11's python3.9 and pip), tag
#                                 latest; made once and kept in CBPUSH_TEST_CACHE; prints its path. Needs the network
#                                 the first time
#   push_busybox REGISTRY [REPO:TAG]   pushes it to the registry of that name, as library/busybox:latest
#   push_python REGISTRY [REPO:TAG]    … as library/python:3.9-slim

# umoci needs to be told when it may not chown.
rig_umoci()
{
    local verb=$1
    shift
    if [ "$(id -u)" -ne 0 ] && [[ $verb == unpack || $verb == insert ]]; then
        set -- --rootless "$@"
    fi
    cb_quietly umoci umoci "$verb" "$@"
}

make_busybox_layer()
{
    local applet
    mkdir -p "$1"/{bin,dev,etc,home,proc,root,sys,tmp,usr/bin,var}
    chmod 1777 "$1/tmp"
    for applet in $(busybox --list); do
        ln -s busybox "$1/bin/$applet"
    done
    rm "$1/bin/busybox"
    cp "$(command -v busybox)" "$1/bin/busybox"
    printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n' >"$1/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\nusers:x:100:games\n' >"$1/etc/group"
    chmod 0644 "$1/etc/passwd" "$1/etc/group"
}

# rig_image DIR ROOTFS UMOCI-CONFIG…: an OCI layout with one layer of ROOTFS.
rig_image()
{
    local dir=$1 rootfs=$2
    shift 2
    rig_umoci init --layout "$dir" && rig_umoci new --image "$dir:latest" &&
        rig_umoci insert --image "$dir:latest" "$rootfs" / && rig_umoci config --image "$dir:latest" "$@"
}

make_busybox_image()
{
    rig_once busybox.oci rig_busybox_image
}

rig_busybox_image()
{
    make_busybox_layer "$1.rootfs" &&
        rig_image "$1" "$1.rootfs" --config.cmd sh --config.env PATH=/usr/sbin:/usr/bin:/sbin:/bin &&
        rm -rf "$1.rootfs"
}

push_busybox()
{
    rig_push "$(make_busybox_image)" "$1" "${2-library/busybox:latest}"
}

rig_push()
{
    local addr
    addr=$(registry_addr "$2") || return
    registry_skopeo "$2" copy -q "oci:$1:latest" "docker://$addr/$3"
}

# ---- python

rig_cache()
{
    printf '%s\n' "${CBPUSH_TEST_CACHE:-/var/cache/cbpush-test}"
}

# What is put over Debian's tree: this machine's certificates and pip.conf, so that `pip install` works in the image
# wherever it works here.
rig_python_overlay()
{
    mkdir -p "$1/usr/local/bin" "$1/etc/ssl/certs"
    ln -s /usr/bin/python3 "$1/usr/local/bin/python"
    cp /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/ca-certificates.crt"
    [ ! -f /etc/pip.conf ] || cp /etc/pip.conf "$1/etc/pip.conf"
}

# Changes whenever the image would: the recipe and what the overlay copies.
rig_python_key()
{
    {
        declare -f rig_python_overlay rig_python_image rig_image
        cat /etc/ssl/certs/ca-certificates.crt /etc/pip.conf 2>/dev/null
    } | sha256sum | cut -c1-16
}

rig_python_image()
{
    local dir=$1
    mkdir "$dir/rootfs" || return
    # Without root it works as another user, who cannot enter the tests' TMPDIR.
    cb_quietly mmdebstrap env TMPDIR=/tmp mmdebstrap --variant=minbase --include=python3,python3-pip \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        bullseye "$dir/rootfs.tar" "${CBPUSH_TEST_MIRROR:-http://deb.debian.org/debian}" || return
    tar -x -f "$dir/rootfs.tar" -C "$dir/rootfs" --exclude './dev/*' || return
    rig_python_overlay "$dir/rootfs" || return
    rig_image "$dir/oci" "$dir/rootfs" --config.cmd python3 \
        --config.env PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
        --config.env LANG=C.UTF-8 --config.env PYTHON_VERSION=3.9.2
}

# Makes the image DIR of the cache unless somebody else just did; one at a time. Old ones go after a day without change.
rig_cache_python()
{
    local dir=$1 new
    (
        flock 9
        [ ! -d "$dir" ] || exit 0
        new=$(mktemp -d "$(rig_cache)/new.XXXXXX") || exit
        # apt in mmdebstrap hands a descriptor to dash, which knows ten: the lock and what bats has open must not be there.
        rig_python_image "$new" 3>&- 4>&- 9>&- && mv -T "$new/oci" "$dir"
        status=$?
        rm -rf "$new"
        find "$(rig_cache)" -mindepth 1 -maxdepth 1 -mtime +0 ! -path "$dir" -type d -exec rm -rf {} +
        exit "$status"
    ) 9>"$(rig_cache)/lock"
}

make_debian_python()
{
    local dir
    dir=$(rig_cache)/python-3.9-slim-$(rig_python_key)
    if [ ! -d "$dir" ]; then
        mkdir -p "$(rig_cache)" && rig_cache_python "$dir" || return
    fi
    printf '%s\n' "$dir"
}

push_python()
{
    local dir
    dir=$(make_debian_python) || return
    rig_push "$dir" "$1" "${2-library/python:3.9-slim}"
}
