#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Interrupted, killed, and out of space: no partial image under any name, no process, mount or temporary file, and the
# store is usable at once.
#
# On the disk: what is synced, and what is left of what was killed. (run.sh puts what the other files make into memory.)

load helpers
load build

setup_file()
{
    rig_setup_file
    build_setup_file
}

setup()
{
    rig_setup
    build_setup
    slow_dockerfile
}

# Takes about two seconds, with something to do in every phase.
slow_dockerfile()
{
    head -c 20000000 /dev/urandom >ctx/big
    dockerfile <<'END'
FROM busybox AS one
COPY big /big
RUN sleep 0.4 & sleep 0.4; cp /big /again; wait
FROM busybox
COPY --from=one /again /
RUN sleep 0.5; sha256sum /again >/sum
END
}

# start ARG…: cbpush in the background, with signals as a terminal would have it; its pid in $pid.
start()
{
    env --default-signal=INT,QUIT "$CBPUSH" "$@" >start.log 2>&1 3>&- &
    pid=$!
}

# The process's end; its status in $status.
finish()
{
    status=0
    rig_await "$pid"
    wait "$pid" || status=$?
}

assert_no_image()
{
    assert_equal "$(cbpush images -q)" ''
    [ ! -e "$(rig_find reg)/storage/docker/registry/v2/repositories/test/app/_manifests/tags/1" ]
}

# interrupt SIGNAL STATUS: at several moments of a build; each time the next build works as if nothing had been.
interrupt()
{
    local delay
    for delay in 0.01 0.05 0.1 0.2 0.4 0.6 0.8 1.1; do
        export CBPUSH_ROOT=$BATS_TEST_TMPDIR/store-$delay
        start build --progress plain --push "$reg/test/interrupted$delay:1" ctx
        sleep "$delay"
        kill "-$1" "$pid" 2>/dev/null || :
        finish
        [ "$status" -eq "$2" ] || [ "$status" -eq 0 ] || rig_fail "after $delay s: exit status $status: $(cat start.log)" || return
        [ "$status" -eq 0 ] || assert_equal "$(cbpush images -q)" '' || return
        assert_no_leftovers || rig_fail "after $delay s" || return
    done
    CBPUSH_ROOT=$BATS_TEST_TMPDIR/store-0.6 built
    cmp ctx/big "$rootfs/again"
}

@test "Ctrl-C at several moments: 130, nothing left, the next build works" {
    interrupt INT 130
}

@test "TERM at several moments: 143, nothing left, the next build works" {
    interrupt TERM 143
}

@test "Ctrl-C ends a RUN and all its processes at once" {
    printf 'FROM busybox\nRUN sleep 611 & setsid sleep 612 & sleep 613\n' >ctx/Dockerfile
    start build --progress plain -t x ctx
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        [ "$(pgrep -fc 'sleep 61[123]' || :)" -lt 3 ] || break
        sleep 0.05
    done
    local began=$SECONDS
    kill -INT "$pid"
    finish
    assert_equal "$status" 130
    [ $((SECONDS - began)) -le 3 ]
    assert_equal "$(pgrep -fx 'sleep 61[123]' || :)" ''
    assert_contains "$(cat start.log)" interrupted
}

# held ARG…: somebody else has what cbpush wants: it says so, and a Ctrl-C ends the wait.
held()
{
    start "$@"
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        ! grep -q 'waiting for another' start.log || break
        sleep 0.1
    done
    assert_contains "$(cat start.log)" "waiting for another"
    local began=$SECONDS
    kill -INT "$pid"
    finish
    assert_equal "$status" 130 "$(cat start.log)"
    [ $((SECONDS - began)) -le 3 ]
    assert_contains "$(cat start.log)" interrupted
}

@test "who waits for another process's lock of the store says so, and ends at once" {
    printf 'FROM scratch\nCOPY Dockerfile /\n' >ctx/Dockerfile
    cbpush build --progress quiet -t x ctx
    exec 8<"$CBPUSH_ROOT/lock"
    flock -x 8
    held tag x y 8<&-
    held build --progress plain -t z ctx 8<&-
    exec 8<&-
    cbpush tag x y
}

@test "who waits for another program that uses the store's index says so, and ends at once" {
    printf 'FROM scratch\nCOPY Dockerfile /\n' >ctx/Dockerfile
    cbpush build --progress quiet -t x ctx
    mkfifo go
    python3 -c '
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("BEGIN EXCLUSIVE")
open("ready", "w").close()
open("go").read()' "$CBPUSH_ROOT/index.sqlite" 3>&- &
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        [ ! -e ready ] || break
        sleep 0.05
    done
    printf 'LABEL a=b\n' >>ctx/Dockerfile
    printf x >ctx/new
    printf 'COPY new /\n' >>ctx/Dockerfile
    held build --progress plain -t y ctx
    : >go
    cbpush build --progress quiet -t y ctx
}

# waiting ARG…: cbpush reads standard input, where nothing ever comes, and is told to end.
waiting()
{
    local gate=$BATS_TEST_TMPDIR/gate
    [ -e "$gate" ] || mkfifo "$gate"
    timeout -k 5 -s TERM 0.5 "$CBPUSH" "$@" <>"$gate" >start.log 2>&1 3>&- || status=$?
    [ "$status" -eq 124 ] || rig_fail "$*: exit status $status: $(cat start.log)" || return
    assert_contains "$(cat start.log)" interrupted
}

@test "who waits for standard input ends at once" {
    waiting build -f - ctx
    waiting build -
    waiting load
    waiting append "$reg/library/busybox" -
    waiting manifest put "$reg/x:1"
    waiting blob put "$reg/x"
    waiting mirror plan -
    waiting rollback -
    waiting lint -f -
    waiting login -u x --password-stdin "$reg"
}

# A password that is asked for is not shown; afterwards what is typed is.
@test "Ctrl-C at a question of login: 130, and the terminal is as it was" {
    timeout -k 1 20 python3 -B - "$CBPUSH" "$reg" <<'END'
import os, pty, sys, termios

def ask(*typed):
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(sys.argv[1], [sys.argv[1], "login", sys.argv[2]])
    for question, answer in zip((b"Username: ", b"Password: "), typed):
        seen = b""
        while question not in seen:
            seen += os.read(fd, 1000)
        os.write(fd, answer)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 130, status
    assert termios.tcgetattr(fd)[3] & termios.ECHO
    os.close(fd)

ask(b"\x03")
ask(b"me\n", b"sec\x03")
END
}

@test "Ctrl-C during a pull, a push, a save and a load" {
    build >build.log 2>&1
    local verb
    for verb in pull push save load; do
        CBPUSH_ROOT=$BATS_TEST_TMPDIR/store cbpush save -o image.tar "$reg/test/app:1"
        export CBPUSH_ROOT=$BATS_TEST_TMPDIR/store
        case $verb in
            pull) CBPUSH_ROOT=$BATS_TEST_TMPDIR/store-pull; start pull "$reg/test/app:1" ;;
            push) start push "$reg/test/app:1" "$reg/other/app:1" ;;
            save) start save -o saved.tar "$reg/test/app:1" ;;
            load) CBPUSH_ROOT=$BATS_TEST_TMPDIR/store-load; start load -i image.tar ;;
        esac
        sleep 0.03
        kill -INT "$pid" 2>/dev/null || :
        finish
        [ "$status" -eq 130 ] || [ "$status" -eq 0 ] || rig_fail "$verb: exit status $status: $(cat start.log)"
        assert_no_leftovers
        assert_equal "$(find . -maxdepth 1 -name 'saved.tar?*')" '' "$verb"
    done
}

@test "load, save: what is done is told, unless --quiet" {
    build >build.log 2>&1
    cbpush save -o image.tar "$reg/test/app:1" 2>log
    grep -q '#1 saving to image.tar' log
    grep -qE '#1 sha256:[0-9a-f]{12} 20\.0.MB / 20\.0.MB .*done' log
    export CBPUSH_ROOT=$BATS_TEST_TMPDIR/store-load
    cbpush load -q -i image.tar >out 2>log
    assert_equal "$(cat log)" ''
    cbpush load <image.tar >out 2>log
    grep -q '#1 loading standard input' log
    grep -qE '#1 sha256:[0-9a-f]{12} 20\.0.MB / 20\.0.MB .*done' log
}

@test "Ctrl-C ends a load in the middle" {
    build >build.log 2>&1
    cbpush save -o image.tar "$reg/test/app:1"
    export CBPUSH_ROOT=$BATS_TEST_TMPDIR/store-load
    mkfifo slow
    sh -c 'head -c 15000000 image.tar; exec sleep 30' 3>&- >slow &
    local writer=$!
    start load -i slow
    sleep 0.7
    kill -INT "$pid"
    local began=$SECONDS
    finish
    [ $((SECONDS - began)) -le 3 ]
    assert_equal "$status" 130
    kill "$writer"
    assert_no_leftovers
}

@test "kill -9 at several moments: no process and no mount, and a rebuild works in the same store" {
    local delay
    for delay in 0.05 0.2 0.4 0.7 1.0; do
        start build --progress plain --push "$reg/test/killed:$delay" ctx
        sleep "$delay"
        kill -KILL "$pid" 2>/dev/null || :
        finish
        [ "$status" -eq 137 ] || [ "$status" -eq 0 ] || rig_fail "exit status $status: $(cat start.log)"
        local tries left
        for ((tries = 0; tries < 40; tries++)); do
            left=$(rig_cbpush_processes)
            [ -n "$left" ] || break
            sleep 0.05
        done
        assert_equal "$left" '' "processes after $delay s"
        assert_equal "$(rig_mounts "$BATS_TEST_TMPDIR")" '' "mounts after $delay s"
    done
    built
    cmp ctx/big "$rootfs/again"
    # What the killed ones left is gone, without anybody's help.
    assert_no_leftovers
    # Every file in the store is what its name says.
    (cd "$CBPUSH_ROOT/blobs/sha256" && find . -type f -printf '%f  %p\n' | sha256sum -c --quiet)
}

@test "a full disk: exit 6 that says so, no image, and the store is usable at once" {
    [ "$(id -u)" -eq 0 ] || skip 'mounts a small file system'
    local size
    mkdir full
    for size in 300k 1500k 4m 30m; do
        mount -t tmpfs -o "size=$size" none full
        export CBPUSH_ROOT=$PWD/full/store
        run build
        [ "$status" -eq 6 ] || [ "$status" -eq 1 ] || rig_fail "$size: exit status $status: $output"
        assert_contains "$output" 'No space left'
        [ "$status" -eq 1 ] || assert_contains "$output" '`cbpush prune` makes room'
        assert_equal "$(find full/store/tmp -mindepth 1 -maxdepth 1 2>/dev/null)" '' "$size"
        if [ "$size" = 30m ]; then
            assert_equal "$(cbpush images -q)" ''
            mount -o remount,size=200m full
            built
            cmp ctx/big "$rootfs/again"
        fi
        umount full
    done
    export CBPUSH_ROOT=$BATS_TEST_TMPDIR/store
}

@test "a full disk during a pull and a load" {
    [ "$(id -u)" -eq 0 ] || skip 'mounts a small file system'
    build >build.log 2>&1
    cbpush save -o image.tar "$reg/test/app:1"
    mkdir full
    mount -t tmpfs -o size=8m none full
    export CBPUSH_ROOT=$PWD/full/store
    run cbpush pull "$reg/test/app:1"
    assert_status 6
    assert_contains "$output" 'No space left'
    assert_contains "$output" '`cbpush prune` makes room'
    run cbpush load -i image.tar
    assert_status 6
    assert_contains "$output" '`cbpush prune` makes room'
    assert_equal "$(cbpush images -q)" ''
    assert_equal "$(find full/store/tmp -mindepth 1 -maxdepth 1)" ''
    cb_quietly pull cbpush pull "$reg/library/busybox"
    cbpush run "$reg/library/busybox" true
    umount full
    export CBPUSH_ROOT=$BATS_TEST_TMPDIR/store
}

@test "a full disk under an output: exit 6, and nothing of it is left there" {
    [ "$(id -u)" -eq 0 ] || skip 'mounts a small file system'
    local spec
    mkdir full
    for spec in type=local,dest=full/tree type=tar,dest=full/a.tar type=oci,dest=full/a.tar type=docker,dest=full/a.tar; do
        mount -t tmpfs -o size=1500k none full
        run build -o "$spec"
        assert_status 6
        assert_contains "$output" 'No space left'
        refute_contains "$output" 'cbpush prune' # the store has room
        assert_equal "$(find full ! -type d)" '' "$spec"
        umount full
    done
}

@test "a store that cannot be written: exit 6 with the path" {
    [ "$(id -u)" -eq 0 ] || skip 'mounts a read-only file system'
    mkdir ro
    mount -t tmpfs -o ro none ro
    CBPUSH_ROOT=$PWD/ro/store run build
    assert_status 6
    assert_contains "$output" "$PWD/ro"
    umount ro
    : >file
    CBPUSH_ROOT=$PWD/file run build
    assert_status 6
}

@test "few file descriptors: it works, or says so" {
    local i
    for ((i = 0; i < 300; i++)); do echo "$i" >"ctx/f$i"; done
    printf 'FROM busybox\nCOPY . /x/\nRUN ls /x | wc -l >/n\n' >ctx/Dockerfile
    run bash -c "ulimit -n 128; exec '$CBPUSH' build --progress quiet -t x ctx"
    [ "$status" -eq 0 ] || [ "$status" -eq 6 ] || rig_fail "exit status $status: $output"
}

@test "damaged files of the store are noticed or made anew, not used" {
    built
    local blob
    blob=$(find "$CBPUSH_ROOT/blobs" -type f -size +10M | head -n 1)
    [ -n "$blob" ]
    truncate -s 1000 "$blob"
    run cbpush push "$reg/test/app:1" "$reg/damaged/app:1"
    if [ "$status" -ne 0 ]; then
        [ "$status" -eq 7 ] || [ "$status" -eq 6 ] || rig_fail "exit status $status: $output"
    else
        judged damaged/app:1
    fi
}

@test "a file of an unpacked layer that has changed is not copied out of it" {
    local tree
    printf 'FROM busybox AS a\nRUN echo right >/file; echo other >/other\nFROM scratch\nCOPY --from=a /other /\n' >ctx/Dockerfile
    CBPUSH_TREES=directories built
    tree=$(find "$CBPUSH_ROOT/trees" -name file -type f)
    [ "$(cat "$tree")" = right ]
    printf 'wrong' >"$tree"
    printf '\n' >>"$tree"
    printf 'FROM busybox AS a\nRUN echo right >/file; echo other >/other\nFROM scratch\nCOPY --from=a /file /here\n' >ctx/Dockerfile
    run cbpush build --push "$reg/test/app:2" ctx
    assert_status 7
    assert_contains "$output" '/here: file is not what its layer says that it is'
    assert_contains "$output" Dockerfile:4
    assert_equal "$(curl -sS -o /dev/null -w "%{http_code}" "$(registry_url reg)/v2/test/app/manifests/2")" 404
}

@test "nothing but the store and the outputs is written" {
    mkdir marker
    cp -r ctx before
    built
    diff -r --no-dereference before ctx
    assert_equal "$(find "$HOME" "$TMPDIR" "$XDG_RUNTIME_DIR" -newer marker -type f -not -path '*/containers/registries.conf')" ''
}

@test "the store and what is in it belong to nobody else" {
    built
    assert_equal "$(stat -c %a "$CBPUSH_ROOT")" 700
}
