#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# One mapped id: an ordinary user without subordinate ids. Owners are on no disk, and the layers have them all the same.
#
# On the disk: rights and extended attributes. (run.sh puts what the other files make into memory.)

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

@test "one id: mounts that are to belong to somebody: secret, cache, ssh" {
    command -v ssh-agent >/dev/null || skip 'needs ssh-agent'
    echo word >secret
    ssh-keygen -q -t ed25519 -N '' -f key
    chown "$USER_ID" secret key
    dockerfile <<'END'
FROM busybox
USER 1000:1000
RUN --mount=type=secret,id=s,uid=1000,gid=1000 --mount=type=cache,target=/c,uid=1000,gid=1000,mode=0700 \
    --mount=type=ssh,uid=1000,gid=1000 cp /run/secrets/s /tmp/seen && touch /c/made && test -S "$SSH_AUTH_SOCK"
RUN --mount=type=cache,target=/c,uid=1000,gid=1000,mode=0700 ls /c >/tmp/cache
END
    single --secret id=s,src=secret --ssh default=key
    assert_equal "$(cat "$rootfs/tmp/seen" "$rootfs/tmp/cache")" $'word\nmade'
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

@test "one id: apt-get update and install from the network" {
    push_python reg
    dockerfile <<'END'
FROM python:3.9-slim
RUN apt-get update >/tmp/log 2>&1 && apt-get install -y --no-install-recommends hello >>/tmp/log 2>&1 && hello >/hello; \
    echo "status $?" >>/tmp/log
END
    single
    if grep -qE 'Could not (resolve|connect)|Temporary failure' "$rootfs/tmp/log"; then
        skip 'no network for apt'
    fi
    refute_contains "$(cat "$rootfs/tmp/log")" 'Could not switch'
    assert_equal "$(tail -n 1 "$rootfs/tmp/log")" 'status 0'
    assert_equal "$(cat "$rootfs/hello")" 'Hello, world!'
    assert_equal "$(stat -c %u "$rootfs/var/lib/apt/lists/partial")" "$(awk -F: '$1 == "_apt" { print $3 }' "$rootfs/etc/passwd")"
}

@test "one id: USER runs as the one id, what it makes is the user's, and a warning says so" {
    dockerfile <<'END'
FROM busybox
RUN mkdir -p /home/app && chown 1000:1001 /home/app && touch /r
USER 1000:1001
RUN id -u >/home/app/id && mkdir /home/app/d && touch /home/app/d/f && echo more >>/r && touch /tmp/g && chown 5:6 /tmp/g
WORKDIR /home/app
END
    single
    assert_contains "$log" 'only one id is mapped'
    assert_contains "$log" /etc/subuid
    assert_equal "$(cat "$rootfs/home/app/id")" 0
    assert_equal "$(mode_of /home/app/d/f)" '644 1000:1001'
    assert_equal "$(mode_of /home/app/d)" '755 1000:1001'
    assert_equal "$(mode_of /home/app)" '755 1000:1001'
    assert_equal "$(mode_of /r)" '644 0:0'
    assert_equal "$(mode_of /tmp/g)" '644 5:6'
    assert_equal "$(config -r .config.User)" 1000:1001
}

@test "one id: programs are told that they became somebody else, until they execute another" {
    push_python reg
    write ctx/ids.py <<'END'
import os

def told(): return os.getresuid() + os.getresgid() + tuple(os.getgroups())

def refused(f, *ids):
    try: f(*ids)
    except PermissionError: return
    raise SystemExit(f'{f.__name__}{ids} was not refused')

os.setgroups([5, 6])
os.setresgid(10, 11, 12)
os.setreuid(20, 21)
assert told() == (20, 21, 21, 10, 11, 12, 5, 6), told()
refused(os.setuid, 0)
refused(os.setgid, 0)
refused(os.setgroups, [])
os.setuid(20)
os.setegid(10)
assert told() == (20, 20, 21, 10, 10, 12, 5, 6), told()
if os.fork() == 0:
    os.execvp('sh', ['sh', '-c', 'test "$(id -u)" = 0 && touch /tmp/done'])
os.wait()
END
    dockerfile <<'END'
FROM python:3.9-slim
COPY ids.py /tmp/
RUN python3 /tmp/ids.py && rm /tmp/done && python3 -c 'import os; os.seteuid(7); os.seteuid(0); os.setresuid(8, 8, 8); os.execvp("sh", ["sh", "-c", "chown 3:4 /srv"])'
RUN setpriv --bounding-set -chown --inh-caps -chown sh -c '! chown 1:1 /tmp/ids.py 2>/tmp/err && chown 0:0 /tmp/ids.py' && grep -q 'not permitted' /tmp/err
RUN su -s /bin/sh nobody -c 'touch /tmp/su' && su nobody -s /bin/sh -c true && setpriv --reuid 33 --regid 33 --clear-groups true
END
    single
    assert_equal "$(stat -c %u:%g "$rootfs/srv")" 3:4
}

# Calls of three ABIs, from one program: argument 1 is the file, the others are directories of its.
@test "one id: calls of the other ABIs, by descriptor, and relative to directories" {
    cat >abi.c <<'END'
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static long int80(long nr, long a, long b, long c)
{
    long r;
    __asm__ volatile("int $0x80" : "=a"(r) : "a"(nr), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
    return r;
}

static void check(const char *what, int ok)
{
    if (!ok)
        exit((printf("%s: %s\n", what, strerror(errno)), 1));
}

int main(void)
{
    char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    strcpy(low, "/t/a"); /* what the caller made */
    long r = int80(182, (long)low, 301, 0x1ffff);
    if (r == -ENOSYS)
        puts("no 32-bit calls in this kernel");
    else
        check("chown of 16 bits", r == 0);
    strcpy(low, "/t/b");
    check("chown32", r == -ENOSYS || int80(212, (long)low, 70000, 70001) == 0);
    check("setuid16", r == -ENOSYS || (int80(23, 99, 0, 0) == 0 && int80(24, 0, 0, 0) == 99 && getuid() == 99));
    check("x32", syscall(0x40000000 | SYS_chown, "/t/c", 1, 2) == 0 || errno == ENOSYS);
    int dir = open("/t/d", O_PATH | O_DIRECTORY), file = open("/t/d/f", O_RDONLY);
    check("fchown", fchown(file, 4, 5) == 0);
    check("fchownat", fchownat(dir, "g", 6, 7, 0) == 0 && fchownat(dir, "", 8, 9, AT_EMPTY_PATH) == 0);
    check("relative", chdir("/t/d") == 0 && chown("../d/./h", 10, 11) == 0);
    check("through a link", chown("/t/d/out", 12, 13) == 0 && lchown("/t/d/out", 14, 15) == 0);
    check("bad pointer", chown((char *)8, 1, 1) < 0 && errno == EFAULT);
    check("bad descriptor", fchown(99, 1, 1) < 0 && errno == EBADF && fchown(-1, 1, 1) < 0 && errno == EBADF);
    check("bad flag", fchownat(dir, "g", 1, 1, 0x4000) < 0 && errno == EINVAL);
    check("no file", chown("/t/none", 1, 1) < 0 && errno == ENOENT && chown("", 1, 1) < 0 && errno == ENOENT);
    check("no directory", chown("/t/a/x", 1, 1) < 0 && errno == ENOTDIR);
    check("proc", chown("/proc/1/status", 1, 1) < 0 && chown("/sys/kernel", 1, 1) < 0);
    check("chroot", chroot("/t/d") == 0 && chown("/abs", 16, 17) == 0 && chown("../../../../abs2", 18, 19) == 0);
    int tmp = open("/", O_TMPFILE | O_RDWR, 0600);
    check("no name", tmp < 0 || fchown(tmp, 1, 1) == 0);
    int p[2];
    check("pipe", pipe(p) == 0 && fchown(p[0], 1, 1) == 0);
    return 0;
}
END
    [ "$(uname -m)" = x86_64 ] && gcc -static -o ctx/abi abi.c || skip 'no compiler for static programs of x86-64 here'
    dockerfile <<'END'
FROM busybox
COPY abi /abi
RUN mkdir -p /t/d && cd /t && touch a b c d/f d/g d/h target d/abs d/abs2 && ln -s /t/target d/out && /abi
END
    single
    refute_contains "$log" 'no 32-bit calls'
    assert_equal "$(mode_of /t/a)" '644 301:0'
    assert_equal "$(mode_of /t/b)" '644 70000:70001'
    assert_equal "$(mode_of /t/d/f)" '644 4:5'
    assert_equal "$(mode_of /t/d/g)" '644 6:7'
    assert_equal "$(mode_of /t/d)" '755 8:9'
    assert_equal "$(mode_of /t/d/h)" '644 10:11'
    assert_equal "$(mode_of /t/target)" '644 12:13'
    assert_equal "$(stat -c %u:%g "$rootfs/t/d/out")" 14:15
    assert_equal "$(mode_of /t/d/abs)" '644 16:17'
    assert_equal "$(mode_of /t/d/abs2)" '644 18:19'
}

@test "one id: a path that is raced never leads out of the root, and two steps at once" {
    # What would be hit: it belongs to the user, so that nothing but the root would be in the way.
    mkdir out && echo safe >out/file && chown -R "$USER_ID:$USER_ID" out && chmod 4755 out/file
    local before
    before=$(stat -c '%a %u:%g %Z' out/file)
    write ctx/race.sh 755 <<END
#!/bin/sh
mkdir -p /r/real/deep && touch /r/real/deep/file /r/real/file
(while :; do
    ln -sfn $BATS_TEST_TMPDIR/out /r/x; ln -sfn real /r/x; ln -sfn ../../../../../../..$BATS_TEST_TMPDIR/out /r/x
    mv /r/real/deep /r/moved; mv /r/moved /r/real/deep
done) 2>/dev/null &
i=0
while [ \$i -lt 300 ]; do
    chown 5:6 /r/x/file; (cd /r/real/deep && chown 7:8 ../../x/file ../../../../../../../..$BATS_TEST_TMPDIR/out/file)
    i=\$((i + 1))
done 2>/dev/null
kill \$!
ln -sfn real /r/x
END
    sed -i 's/\\\$/$/g' ctx/race.sh
    dockerfile <<'END'
FROM busybox AS raced
COPY race.sh /
RUN /race.sh
FROM busybox AS other
RUN i=0; while [ $i -lt 200 ]; do touch /o$i && chown $i:$i /o$i; i=$((i + 1)); done
FROM busybox
COPY --from=raced /r/ /r/
COPY --from=other /o0 /o199 /
END
    single
    assert_equal "$(stat -c '%a %u:%g %Z' out/file)" "$before"
    assert_equal "$(mode_of /o199)" '644 199:199'
    assert_equal "$(mode_of /o0)" '644 0:0'
}
