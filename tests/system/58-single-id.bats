#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# One mapped id: an ordinary user without subordinate ids. Owners are on no disk, and the layers have them all the same.

load helpers
load build
load users

setup_file()
{
    [ "$(id -u)" -eq 0 ] || skip 'it needs a user that has no subordinate ids'
    rig_setup_file
    build_setup_file
}

setup()
{
    rig_setup
    build_setup
    user_setup
}

# The build of ctx as that user, judged.
single()
{
    chown -R "$USER_ID" ctx
    as_user '' "$CBPUSH" build --progress plain --push "$reg/test/app:1" "$@" ctx >build.log 2>&1 ||
        { cat build.log >&2; return 1; }
    log=$(cat build.log)
    judged test/app:1
}

@test "one id: chown gives files, directories and links to anybody" {
    dockerfile <<'END'
FROM busybox
RUN mkdir -p /d/sub && touch /d/f /d/sub/g && ln -s f /d/link && ln /d/f /d/hard && mkfifo /d/fifo && \
    chown -R 5:6 /d && chown -h 7:8 /d/link && touch /d/late
RUN touch /x && chmod 6755 /x && chown 1:2 /x && touch /y && chown 3:4 /y && chmod 4755 /y && mv /y /z && chown 11:12 /etc/passwd
RUN chown 0:0 /d/f && chown 20:6 /d/sub && cd /d/sub && chown 21:22 ./g && touch /d/sub/g && rm /x
RUN cd /d && chgrp 44 late && stat -c %u:%g f >/seen && ! chown 1:1 /nowhere 2>/dev/null && chown 1:4 /etc/../z && cat /proc/self/cmdline >/dev/null
END
    single
    assert_equal "$(mode_of /d)" '755 5:6'
    assert_equal "$(mode_of /d/f)" '644 0:0'
    assert_equal "$(mode_of /d/hard)" '644 5:6'
    assert_equal "$(stat -c %u:%g "$rootfs/d/link")" 7:8
    assert_equal "$(mode_of /d/fifo)" '644 5:6'
    assert_equal "$(mode_of /d/sub)" '755 20:6'
    assert_equal "$(mode_of /d/sub/g)" '644 21:22'
    assert_equal "$(mode_of /d/late)" '644 0:44'
    assert_equal "$(mode_of /z)" '755 1:4'
    assert_equal "$(mode_of /etc/passwd)" '644 11:12'
    assert_equal "$(cat "$rootfs/seen")" 0:0
}

@test "one id: the layers are the same as root's" {
    export SOURCE_DATE_EPOCH=1700000000
    dockerfile <<'END'
FROM busybox
RUN mkdir /w && touch /w/a /w/b && chown -R nobody:users /w && chmod 4711 /w/a && mv /w/b /w/c && ln -s c /w/l && chown -h 4:5 /w/l
COPY --chown=3:4 Dockerfile /w/
RUN chown 7:8 /w/Dockerfile && chown 65534:99 /w/c && rm -r /w/a && cp /bin/busybox /w/a && chown 1234567:7654321 /w/a
END
    chown -R "$USER_ID" ctx
    as_user '' "$CBPUSH" build --progress quiet --push "$reg/test/user:1" ctx
    CBPUSH_ROOT=$BATS_TEST_TMPDIR/store cbpush build --progress quiet --push "$reg/test/root:1" ctx
    judged test/user:1
    local ids
    ids=$(diff_ids)
    judged test/root:1
    assert_equal "$(diff_ids)" "$ids"
}

@test "one id: Debian's own tools: useradd, chown -R, tar, install, groupadd and what they leave" {
    push_python reg
    dockerfile <<'END'
FROM python:3.9-slim
RUN groupadd -g 1500 team && useradd -m -u 1500 -g team worker && mkdir /opt/app && touch /opt/app/a /opt/app/b && \
    chown -R worker:team /opt/app && chgrp 42 /opt/app/b && install -o worker -g 7 -m 640 /etc/hostname /opt/inst
RUN python3 -c 'import os; os.chown("/opt/app/a", -1, 9); os.lchown("/opt/app/b", 10, -1); os.chown("/opt/app/b", 11, 12, dir_fd=None); \
    f = os.open("/opt/app/a", os.O_RDONLY); os.fchown(f, 13, -1)'
RUN cd /tmp && mkdir t && touch t/x && tar -c --owner=77 --group=78 -f t.tar t && rm -r t && tar -xf t.tar && chmod 600 t/x
END
    single
    assert_equal "$(mode_of /home/worker | cut -d ' ' -f 2)" 1500:1500
    assert_equal "$(mode_of /opt/app)" '755 1500:1500'
    assert_equal "$(mode_of /opt/app/a)" '644 13:9'
    assert_equal "$(mode_of /opt/app/b)" '644 11:12'
    assert_equal "$(mode_of /opt/inst)" '640 1500:7'
    assert_equal "$(mode_of /tmp/t/x)" '600 77:78'
    assert_equal "$(mode_of /etc/shadow | cut -d ' ' -f 2)" 0:42
}

@test "one id: dpkg and apt install what belongs to others" {
    push_python reg
    mkdir -p pkg/DEBIAN pkg/var/lib/thing
    printf 'Package: thing\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.com>\nDescription: x\n' >pkg/DEBIAN/control
    printf '#!/bin/sh\nset -e\ngetent group thing || groupadd -r thing\ngetent passwd thing || useradd -r -g thing thing\nchown thing:thing /var/lib/thing/own\nsu -s /bin/sh thing -c true\n' >pkg/DEBIAN/postinst
    chmod 755 pkg/DEBIAN/postinst
    touch pkg/var/lib/thing/{own,games}
    ln -s games pkg/var/lib/thing/link
    chown -h 5:60 pkg/var/lib/thing/{games,link}
    dpkg-deb --build pkg ctx/thing.deb >/dev/null
    dockerfile <<'END'
FROM python:3.9-slim
COPY thing.deb /tmp/
RUN apt-get install -y --no-install-recommends /tmp/thing.deb && getent passwd thing | cut -d: -f3,4 >/ids
RUN dpkg -s thing >/dev/null && dpkg -P thing
RUN dpkg -i /tmp/thing.deb
END
    single
    assert_equal "$(mode_of /var/lib/thing/own)" "644 $(cat "$rootfs/ids")"
    assert_equal "$(mode_of /var/lib/thing/games)" '644 5:60'
    assert_equal "$(stat -c %u:%g "$rootfs/var/lib/thing/link")" 5:60
}
