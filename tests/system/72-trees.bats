#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What goes into layers comes out of them: random files and changes, from fixed seeds, and cases that such runs have found.
# CBPUSH_TEST_SEEDS=FIRST-LAST: others, CBPUSH_TEST_SECONDS: no new seed is begun after that time (HACKING.md).

load helpers
load build

setup_file()
{
    rig_setup_file
    build_setup_file
    ${CC:-cc} -std=gnu17 -D_GNU_SOURCE -O2 -Wall -Wextra -Wshadow -Werror -static -o "$BATS_FILE_TMPDIR/fsop" "$RIG_HERE/trees/fsop.c"
}

setup()
{
    rig_setup
    build_setup
    cp "$BATS_FILE_TMPDIR/fsop" ctx/fsop
}

# A context with a list of operations for each RUN.
ops()
{
    printf '%s\n' "${@:2}" >"ctx/$1"
}

@test "trees: a socket in the place of a file or directory: what was there is gone" {
    ops first 'mkdir /d 755' 'write /d/f 5 1' 'write /f 5 1' 'write /stays 5 1'
    ops second 'remove /d' 'node /d s 755 0 0' 'remove /f' 'node /f s 755 0 0' 'node /new s 755 0 0'
    dockerfile <<'END'
FROM busybox
COPY fsop /fsop
RUN --mount=type=bind,target=/ctx /fsop run /ctx/first
RUN --mount=type=bind,target=/ctx /fsop run /ctx/second
END
    local isolation
    for isolation in native chroot; do
        built --no-cache --isolation "$isolation"
        assert_equal "$(layer_names 3)" '.wh.d .wh.f' "$isolation"
        [ -f "$rootfs/stays" ] && [ ! -e "$rootfs/d" ] && [ ! -e "$rootfs/f" ]
    done
}

@test "trees: chroot: an extended attribute that a step takes away is gone" {
    ops first 'mkdir /d 755' 'setx /d user.a 61' 'setx /d user.b 62' 'write /f 1 1' 'setx /f user.a 61'
    ops second 'delx /d user.a' 'delx /f user.a'
    dockerfile <<'END'
FROM busybox
COPY fsop /fsop
RUN --mount=type=bind,target=/ctx /fsop run /ctx/first
RUN --mount=type=bind,target=/ctx /fsop run /ctx/second
RUN /fsop list proc sys dev | grep '^/[df] ' >/seen && touch /d/new
END
    built --isolation chroot
    assert_equal "$(grep -c user.b=b "$rootfs/seen")" 1
    refute_contains "$(cat "$rootfs/seen")" user.a
    assert_equal "$(python3 -c 'import os, sys; print(os.listxattr(sys.argv[1]))' "$rootfs/d")" "['user.b']"
}
