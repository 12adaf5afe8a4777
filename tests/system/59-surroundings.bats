#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What a program finds where it is started: signals, limits, devices, HOME, and namespaces that somebody else made.

load helpers
load build
load users

setup_file()
{
    rig_setup_file
    build_setup_file
}

setup()
{
    rig_setup
    build_setup
    printf 'FROM %s/library/busybox\nCOPY f /f\nRUN echo made >/g\n' "$reg" >ctx/Dockerfile
    echo text >ctx/f
}

# ---- signals

# Supervisors that do not want to wait for their children ignore SIGCHLD, and that is handed down.
@test "who starts it ignores SIGCHLD: steps can be waited for all the same" {
    perl -e '$SIG{CHLD} = "IGNORE"; exec @ARGV' "$CBPUSH" build --progress plain --push "$reg/test/app:1" ctx
    judged test/app:1
    assert_equal "$(cat "$rootfs/g")" made
}

# ---- namespaces

# `unshare -r` gives a user namespace alone: its root may mount nothing in the mount namespace that it is in.
@test "root of a user namespace that came without a mount namespace" {
    user_setup
    as_user '' unshare --map-root-user "$CBPUSH" build --progress plain --push "$reg/test/app:1" ctx
    judged test/app:1
    assert_equal "$(cat "$rootfs/g")" made
    run as_user '' unshare --map-root-user "$CBPUSH" doctor
    assert_status 0
    assert_contains "$output" 'ok       native isolation'
}

# ---- variables

@test "a wrong value of a variable is an error that names it, before anything is built" {
    local row
    for row in 'CBPUSH_THREADS=many: a number from 1 to 1024' 'CBPUSH_THREADS=0: a number' 'CBPUSH_THREADS=1025: a number' \
        'CBPUSH_TREES=files: directories or images' 'BUILDKIT_PROGRESS=fancy: auto, tty, plain' \
        'BUILDX_METADATA_PROVENANCE=mix: min, max or disabled'; do
        run env "${row%%:*}" "$CBPUSH" build -t x --metadata-file m.json ctx
        assert_status 2
        assert_equal "${#lines[@]}" 1
        assert_contains "$output" "$row"
    done
    [ ! -e m.json ]
    CBPUSH_THREADS= CBPUSH_TREES= BUILDKIT_PROGRESS= BUILDX_METADATA_PROVENANCE= cbpush build -t x ctx
    BUILDKIT_PROGRESS=fancy cbpush build -t x --progress plain ctx
    BUILDKIT_PROGRESS=fancy cbpush build -t x -q ctx
    BUILDKIT_PROGRESS=fancy cbpush images
}

# ---- limits

@test "a machine that gives nothing more: exit 6, no crash" {
    local i
    for ((i = 6; i < 80; i++)); do
        run bash -c "ulimit -n $i; exec '$CBPUSH' build --progress plain -t x ctx"
        [ "$status" -ne 0 ] || break
        assert_status 6
        assert_contains "${lines[-1]}" 'ulimit -n'
        rm -rf "$CBPUSH_ROOT"
    done
    [ "$i" -gt 30 ]
    run cbpush build --progress plain -t x ctx
    assert_status 0
}

# ---- devices

# with_dev COMMAND…: it finds a /dev with these and nothing else: $NODES.
with_dev()
{
    # shellcheck disable=SC2016 # the other shell expands it
    unshare --mount --propagation private sh -c '
        mkdir nodes && mount -t tmpfs t nodes || exit 99
        for n in $NODES; do : >nodes/$n && mount --bind /dev/$n nodes/$n || exit 99; done
        mount --rbind nodes /dev && exec "$@"' sh "$@"
}

@test "no /dev/null: that is told, and what helps" {
    [ "$(id -u)" -eq 0 ] || skip 'hides /dev'
    NODES='' run with_dev "$CBPUSH" build --progress plain -t x ctx
    assert_status 6
    assert_equal "$output" 'cbpush: /dev/null: No such file or directory (mount /dev here: `mount --bind /dev DIR/dev` in front of a chroot)'
}

@test "an ordinary user whose /dev lacks a node: which one is told" {
    user_setup
    NODES='null urandom' run with_dev bash -c "$(declare -f as_user); USER_ID=$USER_ID BATS_TEST_TMPDIR='$BATS_TEST_TMPDIR'
        as_user '' '$CBPUSH' build --isolation native --progress plain -t x ctx"
    assert_status 6
    assert_contains "${lines[-1]}" 'Dockerfile:3: fill /dev: /dev/zero: No such file or directory'
}

# ---- HOME

# Kubernetes and OpenShift start programs as a user that no passwd knows; HOME is / then, or the one of the image's user.
as_nobody_known()
{
    setpriv --reuid 1000650000 --regid 0 --clear-groups "$@"
}

@test "without HOME: that of the password file, or none is needed" {
    user_setup
    as_user '' env -u HOME -u XDG_DATA_HOME -u XDG_CONFIG_HOME -u CBPUSH_ROOT \
        "$CBPUSH" build --progress plain --push "$reg/test/app:1" ctx
    [ -d "$HOME/.local/share/cbpush/blobs" ]
    mkdir -m 777 other
    as_nobody_known env -u HOME -u XDG_DATA_HOME -u XDG_CONFIG_HOME -u XDG_RUNTIME_DIR CBPUSH_ROOT="$PWD/other/store" \
        "$CBPUSH" build --progress plain --push "$reg/test/other:1" ctx
    judged test/other:1
    assert_equal "$(cat "$rootfs/g")" made
}

@test "a HOME that is not one's own: what to set is told" {
    user_setup
    local unset=(env -u XDG_DATA_HOME -u XDG_CONFIG_HOME -u XDG_RUNTIME_DIR -u CBPUSH_ROOT)
    run as_nobody_known "${unset[@]}" HOME=/ "$CBPUSH" build --progress plain -t x ctx
    assert_status 6
    assert_equal "$output" \
        'cbpush: open the store: create directory /.local: Permission denied (--root DIR or CBPUSH_ROOT names another place for it)'
    mkdir -m 700 hers
    run as_nobody_known "${unset[@]}" HOME="$PWD/hers" "$CBPUSH" digest "$reg/library/busybox"
    [ "$status" -ne 0 ]
    assert_contains "$output" "$PWD/hers/"
    assert_contains "$output" "Permission denied (HOME is another user's directory: set it to one of yours)"
}

# ---- the store

# As in a pod whose root is read-only: who only goes between registries needs no place of his own.
@test "where no store can be kept, registries are worked on without one, and nothing is left" {
    user_setup
    local homeless=(as_nobody_known env -u XDG_DATA_HOME -u XDG_CONFIG_HOME -u XDG_RUNTIME_DIR -u CBPUSH_ROOT TMPDIR="$PWD/spool")
    local why="nothing is kept for the next call: open the store: create directory /.local: Permission denied"
    mkdir -m 777 spool
    echo more >spool/file
    tar -C spool -cf more.tar file
    rm spool/file
    run "${homeless[@]}" HOME=/ "$CBPUSH" copy --progress plain "$reg/library/busybox" "$reg/test/copied:1"
    assert_status 0
    assert_contains "$output" "$why"
    run "${homeless[@]}" HOME=/dev/null "$CBPUSH" append -t "$reg/test/copied:2" "$reg/test/copied:1" more.tar
    assert_status 0
    run --separate-stderr "${homeless[@]}" HOME= "$CBPUSH" ls "$reg/test/copied:2" file
    assert_status 0
    assert_contains "$output" ' file'
    run --separate-stderr "${homeless[@]}" HOME=/ "$CBPUSH" copy --quiet "$reg/test/copied:2" "$reg/test/copied:3"
    assert_status 0
    assert_equal "$stderr" ''
    judged test/copied:3
    assert_equal "$(cat "$rootfs/file")" more
    assert_equal "$(ls -A spool)" ''
}

@test "where no store can be kept: its images are not said to be missing, and one that is named is no other" {
    user_setup
    local homeless=(as_nobody_known env -u XDG_DATA_HOME -u XDG_CONFIG_HOME -u XDG_RUNTIME_DIR -u CBPUSH_ROOT TMPDIR="$PWD/spool" HOME=/)
    local words
    mkdir -m 777 spool
    for words in "ls store:x" "copy store:x $reg/test/x:1" "copy $reg/library/busybox store:x" "pull $reg/library/busybox" \
        "images" "ls --root /x/y $reg/library/busybox"; do
        # shellcheck disable=SC2086 # words
        run "${homeless[@]}" "$CBPUSH" $words
        assert_status 6
        assert_contains "$output" 'open the store: create directory /'
        assert_contains "$output" 'Permission denied (--root DIR or CBPUSH_ROOT names another place for it)'
    done
    run "${homeless[@]}" CBPUSH_ROOT=/x/y "$CBPUSH" ls "$reg/library/busybox"
    assert_status 6
    mkdir -p hers/.local/share/cbpush
    touch hers/.local/share/cbpush/thing
    chmod -R a+rwX hers
    run "${homeless[@]}" HOME="$PWD/hers" "$CBPUSH" ls "$reg/library/busybox"
    assert_status 2
    assert_contains "$output" 'is no store of cbpush and not empty'
    run "${homeless[@]}" TMPDIR=/x "$CBPUSH" ls "$reg/library/busybox"
    assert_status 6
    assert_contains "$output" 'open the store: create directory /.local: Permission denied'
    assert_equal "$(ls -A spool)" ''
}

@test "a store of one call that was killed goes with the next" {
    user_setup
    local homeless=(as_nobody_known env -u XDG_DATA_HOME -u XDG_CONFIG_HOME -u XDG_RUNTIME_DIR -u CBPUSH_ROOT HOME=/)
    local pid
    mkdir -m 777 spool
    mkfifo fifo
    exec 9<>fifo # nothing comes, and no end
    TMPDIR="$PWD/spool" "${homeless[@]}" "$CBPUSH" append -t "$reg/test/killed:1" "$reg/library/busybox" - <&9 3>&- 9>&- &
    pid=$!
    until compgen -G 'spool/cbpush-store-*/version' >/dev/null; do rig_alive "$pid"; sleep 0.1; done
    TMPDIR="$PWD/spool" "${homeless[@]}" "$CBPUSH" ls "$reg/library/busybox" >/dev/null
    compgen -G 'spool/cbpush-store-*/version' >/dev/null # of one that is at work
    kill -KILL "$(pgrep -P "$pid")" # who runs as somebody else
    wait "$pid" || true
    compgen -G 'spool/cbpush-store-*/version' >/dev/null
    mkdir spool/cbpush-store-of-another spool/else
    TMPDIR="$PWD/spool" "${homeless[@]}" "$CBPUSH" ls "$reg/library/busybox" >/dev/null
    assert_equal "$(ls spool | tr '\n' ' ')" 'cbpush-store-of-another else '
}

# A volume of Kubernetes belongs to root, and a pod may write to it.
@test "a variable of ours that says what there is not is an error, and named" {
    local pair
    mkdir plain
    printf 'FROM scratch\nCOPY Dockerfile /\n' >plain/Dockerfile
    for pair in CBPUSH_TREES=images CBPUSH_TREES= CBPUSH_THREADS=3 CBPUSH_THREADS= CBPUSH_ISOLATION=auto CBPUSH_ISOLATION=; do
        run env "$pair" "$CBPUSH" build plain
        assert_status 0
    done
    for pair in CBPUSH_ISOLATION=jail DOCKER_DEFAULT_PLATFORM=dos; do
        run env "$pair" "$CBPUSH" build plain
        assert_status 2
        assert_contains "$output" "$pair: "
    done
    run cbpush build --platform dos plain
    assert_status 2
    assert_contains "$output" '--platform'
    # Options are stronger than variables, and what does not look at these is not in the way.
    DOCKER_DEFAULT_PLATFORM=dos cbpush build --platform linux/amd64 plain
    CBPUSH_ISOLATION=jail cbpush build --isolation auto plain
    CBPUSH_TREES=dirs cbpush version
}

@test "a store that is the top of a volume: a directory below it is named" {
    user_setup
    mkdir -m 777 volume
    run as_nobody_known env HOME=/ "$CBPUSH" build --root "$PWD/volume" --progress plain -t x ctx
    assert_status 6
    assert_contains "$output" "belongs to another user: name a directory below it, $PWD/volume/cbpush"
    as_nobody_known env -u XDG_CONFIG_HOME HOME=/ "$CBPUSH" build --root "$PWD/volume/cbpush" --progress plain -t x ctx
}

# GitLab keeps caches only of what is below the directory of the project.
@test "a store in the context is no part of it" {
    export CBPUSH_ROOT=$PWD/ctx/.cache/cbpush
    printf 'FROM %s/library/busybox\nCOPY . /x\nRUN --mount=type=bind,target=/ctx find /ctx | sort >/seen\n' "$reg" >ctx/Dockerfile
    local i
    for i in 1 2 3; do cbpush build --progress plain --push "$reg/test/app:1" ctx >"log$i" 2>&1 || rig_fail "$(cat "log$i")"; done
    assert_contains "$(cat log1)" "left out: $CBPUSH_ROOT, the store"
    assert_contains "$(cat log3)" 'steps   2, 2 of them cached'
    judged test/app:1
    assert_equal "$(cd "$rootfs/x" && find . | sort | tr '\n' ' ')" '. ./.cache ./Dockerfile ./f '
    assert_equal "$(tr '\n' ' ' <"$rootfs/seen")" '/ctx /ctx/.cache /ctx/Dockerfile /ctx/f '
}

# ---- system calls

refusing()
{
    python3 -B "$RIG_HERE/refusing.py" "$@"
}

@test "an older kernel, and a filter of before its time: what is needed is told" {
    run refusing openat2 ENOSYS "$CBPUSH" build --progress plain -t x ctx
    assert_status 6
    assert_equal "$output" 'cbpush: openat2(2): Function not implemented (Linux 5.12 or newer is needed)'
    run refusing openat2 EPERM "$CBPUSH" build --progress plain -t x ctx
    assert_status 6
    assert_contains "$output" 'cbpush: openat2(2) is refused by the filter of this container (Docker 20.10 with libseccomp 2.5'
    # What needs no files of others needs neither.
    refusing openat2 ENOSYS "$CBPUSH" digest "$reg/library/busybox"
}

@test "a store on a file system without locks: that is told" {
    run refusing flock ENOLCK "$CBPUSH" build --progress plain -t x ctx
    assert_status 6
    assert_contains "$output" 'No locks available (the file system has no flock(2): --root DIR or CBPUSH_ROOT names another place for it)'
}

# ---- doctor

# Containers of Docker with userns-remap, of Podman without root and of pods with hostUsers: false.
@test "root of a user namespace without CAP_SYS_ADMIN: doctor's remedies help there" {
    user_setup
    run as_user '' unshare --map-root-user --mount setpriv --bounding-set -sys_admin --inh-caps -all "$CBPUSH" doctor
    assert_status 6
    local line
    line=$(grep -A1 '^broken   overlayfs' <<<"$output" | tail -1)
    assert_contains "$line" '→ give it CAP_SYS_ADMIN'
    line=$(grep -A1 '^broken   chroot isolation' <<<"$output" | tail -1)
    assert_contains "$line" '→ run as root of the machine: device nodes cannot be made in a user namespace'
}

# A chroot of debootstrap, schroot or pbuilder, by an ordinary user.
@test "in a chroot, as an ordinary user: why there is no user namespace" {
    user_setup
    mkdir -p root/{usr,proc,dev,tmp}
    local dir
    for dir in bin sbin lib lib32 lib64 libx32; do [ ! -L "/$dir" ] || ln -s "usr/$dir" "root/$dir"; done
    cp "$CBPUSH" root/cbpush
    chmod 1777 root/tmp
    run unshare --mount --propagation private sh -c '
        mount --rbind /usr root/usr && mount --rbind /dev root/dev && mount --rbind /proc root/proc &&
            exec chroot --userspec=1000:1000 root env -i PATH=/usr/bin /cbpush run --root /tmp/store x'
    assert_status 6
    assert_contains "$output" 'in a chroot the kernel makes none'
}
