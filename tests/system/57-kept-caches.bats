#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What cache mounts hold after a step in isolation chroot, which is shown a copy: that, whatever the step has done to it,
# and never half of it. Needs root.

load helpers
load build

setup_file()
{
    [ "$(id -u)" -eq 0 ] || skip 'isolation chroot is for root'
    rig_setup_file
    build_setup_file
}

setup()
{
    rig_setup
    build_setup
}

# chroot_step COMMAND [OPTIONS] [ARG…]: one RUN with a cache mount at /c, which prints; what cbpush says is in $log.
chroot_step()
{
    local command=$1 options=${2-} status=0
    shift "$(($# < 2 ? $# : 2))"
    printf 'FROM busybox\nRUN --mount=type=cache,id=%s,target=/c%s sh <<'"'EOF'"'\n%s\nEOF\n' "${id-kept}" "$options" "$command" >ctx/Dockerfile
    rm -rf out
    cbpush build --no-cache --progress plain --isolation "${isolation-chroot}" -o out "$@" ctx >step.log 2>&1 || status=$?
    log=$(cat step.log)
    return "$status"
}

# What the cache holds, as a step in native sees it.
cached()
{
    isolation=native chroot_step "${1-cd /c && find . ! -type d | sort | tr '\n' ' ' >/report}" || rig_fail "$log" || return
    cat out/report
}

@test "chroot: what a step makes of a cache mount stays there, with owners, links, modes and times" {
    local look='cd /c && find . | sort | while read -r x; do echo "$x $(stat -c "%F %a %u:%g %h %Y" "$x")"; done >/report; cat b w d/f >>/report'
    chroot_step "cd /c && mkdir d && echo one >a && ln a b && echo f >d/f && chown -R 12:34 d && chmod 2750 d && ln -s /etc/x l &&
        mkfifo p && chmod 4711 a && echo who >w && chown 65534:7 w && touch -d @1000000000 w d/f a d . && $look"
    refute_contains "$log" WARN
    cp out/report first
    assert_contains "$(cat first)" './a regular file 4711 0:0 2 1000000000'
    [ ! -e out/c ]
    chroot_step "$look"
    diff -u first out/report
    assert_equal "$(cached "$look" | cat)" "$(cat first)"
    chroot_step 'rm /c/a /c/w && mv /c/d /c/e && echo more >>/c/b && chmod 700 /c'
    assert_equal "$(cached)" './b ./e/f ./l ./p '
    assert_equal "$(cached 'cat /c/b >/report; stat -c "%a %h" /c /c/b >>/report')" $'one\nmore\n700 3\n4711 1'
    chroot_step 'rm -r /c/* && ! ls /c/*'
    assert_equal "$(cached)" ''
}

@test "chroot: a step that fails keeps its cache mount, a step that may only read it does not" {
    chroot_step 'echo half >/c/x; exit 3' && false
    assert_contains "$log" 'exit code: 3'
    assert_equal "$(cached 'cat /c/x >/report')" half
    chroot_step 'echo other >/c/x; echo y >/c/y' ,readonly
    chroot_step 'echo other >/c/x; echo y >/c/y' ,ro
    refute_contains "$log" WARN
    assert_equal "$(cached)" './x '
    assert_equal "$(cached 'cat /c/x >/report')" half
}

# Which directory it is.
inode()
{
    stat -c %i "$(compgen -G "$CBPUSH_ROOT/mounts/*/0/fs")"
}

@test "chroot: a step that changes nothing in a cache mount leaves the very directory there" {
    local how was
    chroot_step 'mkdir /c/d && echo 1 >/c/d/x'
    was=$(inode)
    chroot_step 'cat /c/d/x; test ! -e /c/y'
    assert_equal "$(inode)" "$was"
    for how in 'touch /c/y && rm /c/y' 'chmod 700 /c' 'chmod 600 /c/d/x' 'touch -h -d @1 /c/d/x' 'rm /c/d/x'; do
        chroot_step "$how"
        [ "$(inode)" != "$was" ] || rig_fail "$how: the old one is there"
        was=$(inode)
    done
    assert_equal "$(cached 'stat -c %a /c >/report; find /c | sort >>/report')" $'700\n/c\n/c/d'
}

@test "chroot: a step that is cancelled, or that does not begin, leaves its cache mount as it was" {
    local pid status=0
    chroot_step 'echo old >/c/x'
    printf 'FROM busybox\nRUN --mount=type=cache,id=kept,target=/c echo new >/c/x && echo began && sleep 4715\n' >ctx/Dockerfile
    "$CBPUSH" build --progress plain --isolation chroot ctx >cancelled.log 2>&1 3>&- &
    pid=$!
    until grep -q ' began$' cancelled.log; do rig_alive "$pid"; sleep 0.05; done
    kill -TERM "$pid"
    rig_await "$pid"
    wait "$pid" || status=$?
    assert_equal "$status" 143
    refute_contains "$(cat cancelled.log)" WARN
    assert_equal "$(cached 'cat /c/x >/report')" old
    printf 'FROM busybox\nRUN --mount=type=cache,id=kept,target=/c ["/no/such"]\n' >ctx/Dockerfile
    run cbpush build --progress plain --isolation chroot ctx
    assert_status 1
    assert_equal "$(cached 'cat /c/x >/report')" old
}

@test "chroot: a target that is removed or replaced leaves the cache as it was, and nothing outside is touched" {
    local how
    mkdir "$BATS_TEST_TMPDIR/outside"
    echo safe >"$BATS_TEST_TMPDIR/outside/file"
    chroot_step 'echo 1 >/c/x'
    for how in 'rm -r /c' 'rm -r /c && echo file >/c' "rm -r /c && ln -s $BATS_TEST_TMPDIR/outside /c" 'rm -r /c && ln -s /etc /c' \
        'rm -r /c && mkfifo /c' 'mv /c /d' 'cd /c; for i in $(seq 1030); do mkdir d && cd d; done'; do
        chroot_step "$how" || rig_fail "$how: $log"
        assert_contains "$log" 'WARN: mount /c: '
        assert_equal "$(cached 'cat /c/x >/report')" 1 "$how"
    done
    # Also where it is a directory above that was replaced.
    printf 'FROM busybox\nRUN --mount=type=cache,id=kept,target=/a/b/c rm -r /a/b && mkdir -p /tmp/c && ln -s /tmp /a/b && echo 2 >/a/b/c/x\n' >ctx/Dockerfile
    run cbpush build --no-cache --progress plain --isolation chroot ctx
    assert_status 0
    assert_contains "$output" 'WARN: mount /a/b/c: '
    assert_equal "$(cached 'cat /c/x >/report')" 1
    assert_equal "$(cat "$BATS_TEST_TMPDIR/outside/file")" safe
    # A directory that the step has put there is what it has there.
    chroot_step 'mkdir /n && echo new >/n/y && rm -r /c && mv /n /c'
    assert_equal "$(cached)" './y '
}

@test "chroot: a hard link between a cache mount and the layer is two files after the step" {
    printf '%s\n' 'FROM busybox' 'RUN --mount=type=cache,id=kept,target=/c echo layer >/c/x && ln /c/x /x && ln /c/x /c/y && ln /bin/busybox /c/bb' >ctx/Dockerfile
    cbpush build --progress plain --isolation chroot -t linked ctx
    isolation=native chroot_step 'echo cache >>/c/x; cat /c/y >/report; stat -c %h /c/x /c/bb >>/report'
    assert_equal "$(cat out/report)" $'layer\ncache\n2\n1'
    printf '%s\n' 'FROM linked' 'RUN cat /x >/seen; stat -c %h /x >>/seen' >ctx/Dockerfile
    rm -rf out
    cbpush build --no-cache --progress plain -o out ctx
    assert_equal "$(cat out/seen)" $'layer\n1'
    assert_equal "$(cat out/x)" layer
}

@test "chroot: cache mounts of a stage, of a directory of one, private and locked ones, and one within another" {
    printf '%s\n' 'FROM busybox AS seed' 'RUN mkdir -p /s/sub && echo seed >/s/sub/f && ln -s sub /s/link' \
        'FROM busybox' \
        'RUN --mount=type=cache,id=a,from=seed,source=/s,target=/c echo more >>/c/sub/f && echo top >/c/t' \
        'RUN --mount=type=cache,id=a,from=seed,source=/s,target=/c cat /c/sub/f /c/t >/seen' \
        'RUN --mount=type=cache,id=p,sharing=private,target=/c echo p >/c/p' \
        'RUN --mount=type=cache,id=p,sharing=private,target=/c cat /c/p >>/seen && echo l >/c/l' \
        'RUN --mount=type=cache,id=p,sharing=locked,target=/c cat /c/l >>/seen' \
        'RUN --mount=type=cache,id=out,target=/o mkdir /o/in && echo hidden >/o/in/h' \
        'RUN --mount=type=cache,id=out,target=/o --mount=type=cache,id=in,target=/o/in --mount=type=tmpfs,target=/o/t echo o >/o/x && echo i >/o/in/y && echo t >/o/t/z' \
        'RUN --mount=type=cache,id=out,target=/1 --mount=type=cache,id=in,target=/2 cd / && find /1 /2 -type f | sort >>/seen; test ! -e /1/t' >ctx/Dockerfile
    for isolation in native chroot; do
        rm -rf out
        CBPUSH_ROOT=$BATS_TEST_TMPDIR/$isolation cbpush build --progress plain --isolation "$isolation" -o out ctx
        assert_equal "$(paste -s -d ' ' out/seen)" 'seed more top p l /1/in/h /1/x /2/y' "$isolation"
    done
}

@test "chroot: a cache that a step mounts twice is that of the last of them, and the step says so" {
    printf '%s\n' 'FROM busybox' 'RUN --mount=type=cache,id=kept,target=/a --mount=type=cache,id=kept,target=/b echo a >/a/a && echo b >/b/b' >ctx/Dockerfile
    run cbpush build --progress plain --isolation chroot ctx
    assert_status 0
    assert_contains "$output" 'WARN: mount /a: '
    refute_contains "$output" 'WARN: mount /b'
    assert_equal "$(cached)" './b '
}

@test "chroot: of steps that share a cache at once each keeps what the other has made" {
    printf 'FROM busybox AS one\nRUN --mount=type=cache,id=kept,target=/c %s\nFROM busybox AS two\nRUN --mount=type=cache,id=kept,target=/c %s
FROM busybox\nCOPY --from=one /d /1\nCOPY --from=two /d /2\n' 'sleep 0.3; echo 1 >/c/1; echo >/d' 'sleep 0.3; echo 2 >/c/2; echo >/d' >ctx/Dockerfile
    run cbpush build --progress plain --isolation chroot ctx
    assert_status 0
    refute_contains "$output" WARN
    assert_equal "$(cached)" './1 ./2 '
}

old_cache()
{
    chroot_step 'rm -rf /c/*; mkdir /c/d && for i in 1 2 3; do echo old >/c/d/$i; done'
    printf 'FROM busybox\nRUN --mount=type=cache,id=kept,target=/c rm /c/d/1; for i in 2 3 4; do echo new >/c/d/$i; done\n' >ctx/Dockerfile
}

# exchanging INJECTION: the build, with that done to the call that exchanges the caches.
exchanging()
{
    exec strace -f -o trace -e trace=renameat2 -e "inject=renameat2:$1" "$CBPUSH" build --no-cache --progress plain --isolation chroot ctx
}

@test "chroot: a kill while a cache mount is kept leaves the old or the new one" {
    local pid look='cat /c/d/* | paste -s -d " " >/report; ls /c/d | paste -s -d " " >>/report'
    old_cache
    (exchanging signal=SIGKILL:when=1) >killed.log 2>&1 3>&- || :
    grep -q RENAME_EXCHANGE trace
    assert_equal "$(cached "$look")" $'old old old\n1 2 3'
    old_cache
    exchanging delay_exit=20000000:when=1 >killed.log 2>&1 3>&- &
    pid=$!
    until compgen -G "$CBPUSH_ROOT/mounts/*/0/fs/d/4" >/dev/null; do rig_alive "$pid"; sleep 0.05; done
    pkill -KILL -P "$pid"
    wait "$pid" || :
    assert_equal "$(cached "$look")" $'new new new\n2 3 4'
}

@test "chroot: where names cannot be exchanged the cache is as it was, and the step says so" {
    old_cache
    (exchanging error=EINVAL:when=1) >refused.log 2>&1 3>&-
    assert_contains "$(cat refused.log)" 'WARN: mount /c: what the step has there is not kept'
    assert_equal "$(cached 'cat /c/d/* | paste -s -d " " >/report')" 'old old old'
}

@test "chroot: a step waits for one in another isolation that has its cache, and sees what that has made" {
    local pid waits
    printf 'FROM busybox\nRUN --mount=type=cache,id=kept,target=/c touch /c/began; while ! test -e /c/go; do sleep 0.1; done; echo native >/c/x\n' >native.df
    "$CBPUSH" build --progress plain --isolation native -f native.df ctx >native.log 2>&1 3>&- &
    pid=$!
    until compgen -G "$CBPUSH_ROOT/mounts/*/0/fs/began" >/dev/null; do rig_alive "$pid"; sleep 0.05; done
    (chroot_step 'cat /c/x >/report; echo chroot >>/c/x' && cp out/report report) >waits.log 2>&1 3>&- &
    waits=$!
    until grep -q 'waiting for the cache /c' step.log; do rig_alive "$waits"; sleep 0.05; done
    touch "$(compgen -G "$CBPUSH_ROOT/mounts/*/0/fs")/go"
    wait "$pid"
    wait "$waits"
    assert_equal "$(cat report)" native
    assert_equal "$(cached 'cat /c/x >/report')" $'native\nchroot'
}

@test "chroot: cache mounts in places are those that steps have kept" {
    chroot_step 'echo 1 >/c/x && ln /c/x /c/y' '' --cache-mount-to "type=local,dest=$PWD/place"
    refute_contains "$log" WARN
    chroot_step 'cat /c/x' '' --cache-mount-to "type=local,dest=$PWD/place"
    assert_contains "$log" unchanged
    chroot_step 'echo 2 >>/c/x' '' --cache-mount-to "type=local,dest=$PWD/place"
    export CBPUSH_ROOT=$BATS_TEST_TMPDIR/other
    chroot_step 'cat /c/y >/report; echo 3 >>/c/x' '' --cache-mount-from "type=local,src=$PWD/place"
    assert_equal "$(cat out/report)" $'1\n2'
    assert_equal "$(cached 'cat /c/y >/report')" $'1\n2\n3'
}
