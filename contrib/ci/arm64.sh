#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds for arm64 on an amd64 machine, warnings being errors, and runs by qemu what unit tests can run there: those that
# need no namespaces, no programs of the system and no other processes. Ends with "N programs passed, N failed".
# usage: arm64.sh   Needs root; takes some 1.2 GB below $TMPDIR, which go again.
# ARM64_MIRROR: a Debian mirror.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=contrib/lib.sh
. "$here/../lib.sh"
CB_TOP=$(cb_top)
mirror=${ARM64_MIRROR:-http://deb.debian.org/debian}
cb_need_packages mmdebstrap git

work=$(mktemp -d)
chmod 0755 "$work"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

packages=gcc-aarch64-linux-gnu,libc6-dev-arm64-cross,libcmocka-dev:arm64,libc6:arm64
for package in $CB_BUILD_PACKAGES; do
    case $package in
        lib*-dev | zlib1g-dev) package=$package:arm64 ;;
        gcc | uidmap | passt) continue ;;
    esac
    packages=$packages,$package
done
cb_say 'making a root file system with a cross compiler'
cb_quietly mmdebstrap mmdebstrap --architectures=amd64,arm64 --variant=minbase --include="$packages" \
    --aptopt='APT::Install-Recommends "false"' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$work/root" "$mirror"
# bookworm's qemu does not know openat2(2).
cb_quietly mmdebstrap mmdebstrap --variant=extract --include=qemu-user trixie "$work/qemu" "$mirror"
cp "$work/qemu/usr/bin/qemu-aarch64" "$work/root/usr/bin/"
mkdir "$work/root/src"
git -c safe.directory="$CB_TOP" -C "$CB_TOP" ls-files -z | (cd "$CB_TOP" && tar -c --null -T - -f -) |
    tar -x -C "$work/root/src" -f -

cat >"$work/root/build.sh" <<'END'
set -eu
cd /src
./autogen.sh
mkdir build
cd build
export PKG_CONFIG_LIBDIR=/usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig
../configure --host=aarch64-linux-gnu --enable-werror CC=aarch64-linux-gnu-gcc
make -j"$(nproc)"
make -j"$(nproc)" check TESTS=
END
cat >"$work/root/test.sh" <<'END'
export CB_TEST_DATA=/src/tests/data
cd /src/build/tests/unit || exit 1
good=0 bad=0
qemu-aarch64 ../../cbpush version || exit 1
for kind in util oci dockerfile layer http cache build exec_seccomp exec_notify exec_cdi exec_subid; do
    for program in test_"$kind" test_"$kind"_*; do
        case $program in
            *.* | test_util_secret) continue ;; # qemu passes no MADV_WIPEONFORK on
        esac
        [ -x "$program" ] || continue
        if timeout 300 qemu-aarch64 "$program" >/tmp/log 2>&1; then
            good=$((good + 1))
        else
            bad=$((bad + 1))
            echo "FAILED: $program"
            tail -n 40 /tmp/log
        fi
    done
done
echo "$good programs passed, $bad failed"
[ "$bad" -eq 0 ] && [ "$good" -gt 0 ]
END
cb_say 'building'
cb_quietly 'the build for arm64' chroot "$work/root" sh /build.sh
cb_say 'running'
# shellcheck disable=SC2016 # the other shell expands it
unshare --mount --pid --fork --kill-child sh -c '
    mount --rbind /dev "$1/dev" && mount -t proc proc "$1/proc" && exec chroot "$1" sh /test.sh' sh "$work/root"
