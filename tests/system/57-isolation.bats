#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The same steps through every isolation come out as the same files: native as root and as ordinary users, oci with runc
# and with a current crun, chroot in a container as Docker makes them by default. Needs root.

load helpers
load build
load users

setup_file()
{
    [ "$(id -u)" -eq 0 ] || skip 'the isolations are compared as root'
    rig_setup_file
    build_setup_file
}

setup()
{
    rig_setup
    build_setup
    image=$reg/library/busybox
    user_setup
}

# What any user can do; owners of several ids are in more_steps.
steps()
{
    cat <<'END'
FROM busybox
RUN echo new >/new && mkdir -p /dir/sub/deep && echo 1 >/dir/sub/one && chmod 750 /dir && rm /bin/vi
RUN rm -r /dir/sub && mkdir /dir/sub && echo 2 >/dir/sub/two && ln /dir/sub/two /hard && ln -s ../new /dir/link
RUN mv /etc/group /etc/moved && mkfifo /fifo && chmod 6711 /fifo && rm -r /var && echo file >/var && chmod u+s /new
RUN test -c /dev/null && test -w /tmp && echo gone >/dev/null && touch -d @1000000000 /dir/old && stat -c %a /fifo >/seen
RUN cat /etc/resolv.conf >/dev/null && grep localhost /etc/hosts >/dev/null && echo x >>/etc/hosts
RUN rm /var && mkdir -p /var/lib && echo back >/var/lib/file && : >/dir/sub/two
RUN <<EOS
#!/bin/sh -e
echo "$0" >/script
EOS
WORKDIR /work
RUN echo "$PWD $HOME" >here && rm /dir/old && true
END
}

more_steps()
{
    steps
    cat <<'END'
RUN mkdir /many && for i in 1 2 3; do echo $i >/many/$i && chown $i:$((i + 1)) /many/$i; done && chown 5:6 /new
RUN chown 7 /many/1 && rm /many/2 && chmod 4755 /many/3
USER nobody
RUN id -u >/tmp/id && id -G >>/tmp/id && ! touch /many/x 2>/dev/null
END
}

# tree ARG…: what came out, one line a file: name, type, mode, owner, links, target or content.
tree()
{
    (cd "$rootfs" && find . -printf '%p %y %m %U:%G %l ' \( -type f -exec sh -c 'stat -c %h "$1"; sha256sum <"$1"' sh {} \; \
        -o -printf '\n' \) | paste -s -d ' ' | sed 's/ \.\//\n.\//g' | sort)
}

# compare NAME DOCKERFILE-FUNCTION BUILDER…: builds by `BUILDER… build …` and compares with native's of root.
compare()
{
    local name=$1 what=$2
    shift 2
    "$what" >ctx/Dockerfile
    chown -R "$USER_ID" ctx
    CBPUSH_ROOT=$BATS_TEST_TMPDIR/native-store cbpush build --progress plain --isolation native --push "$reg/test/native:1" ctx \
        >native.log 2>&1 || { cat native.log >&2; return 1; }
    judged test/native:1
    tree >native.tree
    "$@" build --progress plain --push "$reg/test/$name:1" ctx >"$name.log" 2>&1 || { cat "$name.log" >&2; return 1; }
    judged "test/$name:1"
    tree >"$name.tree"
    grep -q '^./hard f' native.tree
    diff -u native.tree "$name.tree"
    # What is put into the root for a step stays out of the image.
    [ ! -e "$rootfs/etc/resolv.conf" ] && [ ! -e "$rootfs/etc/hosts" ]
    [ -z "$(ls -A "$rootfs/dev" "$rootfs/proc" "$rootfs/sys" | grep -v :)" ]
}

by()
{
    local isolation=$1
    shift
    "$CBPUSH" "$1" --isolation "$isolation" "${@:2}"
}

by_runtime()
{
    local runtime=$1
    shift
    "$CBPUSH" "$1" --runtime "$runtime" "${@:2}"
}

# ---- a crun that is new enough

# Debian sid's with the libraries that it wants, by apt's own means; kept in CBPUSH_TEST_CACHE. Prints its path.
current_crun()
{
    local dir
    dir=$(rig_cache)/crun-sid
    printf '%s\n' "$dir/crun"
    [ ! -x "$dir/crun" ] || return 0
    mkdir -p "$(rig_cache)" && rm -rf "$dir.new" && fetch_crun "$dir.new" "$dir/root" >&2 && rm -rf "$dir" && mv "$dir.new" "$dir"
}

# fetch_crun DIR ROOT: ROOT is what DIR/root will be called.
fetch_crun()
{
    local dir=$1 lib=$2/usr/lib deb
    local -a apt=(-o "Dir::Etc::sourcelist=$dir/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State=$dir/state"
        -o "Dir::State::status=$dir/status" -o "Dir::Cache=$dir/cache" -o APT::Sandbox::User=root -o Acquire::Languages=none)
    mkdir -p "$dir"/{state/lists/partial,cache/archives/partial,debs,root}
    : >"$dir/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${CBPUSH_TEST_MIRROR:-http://deb.debian.org/debian} sid main" \
        >"$dir/sources.list"
    timeout 120 apt-get "${apt[@]}" -q update || return
    (cd "$dir/debs" && timeout 120 apt-get "${apt[@]}" -q download crun libblake3-0 libc6 libcap2 libjson-c5 libseccomp2 \
        libsystemd0) || return
    for deb in "$dir"/debs/*.deb; do dpkg-deb -x "$deb" "$dir/root" || return; done
    rm -rf "$dir/debs" "$dir/state" "$dir/cache"
    printf '#!/bin/sh\nexec %s/%s/ld-linux-*.so.? --library-path %s/%s --argv0 crun %s/usr/bin/crun "$@"\n' \
        "$lib" "$(uname -m)-linux-gnu" "$lib" "$(uname -m)-linux-gnu" "$2" >"$dir/crun"
    chmod 0755 "$dir/crun"
}

need_crun()
{
    crun=$(current_crun 2>crun.log) || skip "no crun of Debian sid: $(tail -n 1 crun.log)"
}

# ---- a container as Docker makes them

# in_container UID ARG…: cbpush in it; the store is a tmpfs that goes with it.
in_container()
{
    local uid=$1 dir=$BATS_TEST_TMPDIR/container name state status=0
    shift
    rm -rf "$dir"
    mkdir -p "$dir/rootfs"/{usr,etc,proc,sys,dev,tmp,ctx,home,var/lib/cbpush}
    for name in bin sbin lib lib64; do ln -s "usr/$name" "$dir/rootfs/$name"; done
    chmod 1777 "$dir/rootfs/tmp"
    touch "$dir/rootfs/cbpush"
    # No apparmor, no cgroup of its own for the network: what is said on the command line is what runs.
    CBPUSH_ROOT=/var/lib/cbpush python3 -B "$CB_TOP/tests/system/container.py" "$uid" "$CBPUSH:/cbpush" "$BATS_TEST_TMPDIR/ctx:/ctx" \
        "$HOME:$HOME" -- ${BEFORE-} /cbpush "$@" >"$dir/config.json" || return
    mkdir -p "$dir/rootfs$HOME"
    state=$(mktemp -d "$BATS_TEST_TMPDIR/runc.XXXXXX")
    (cd "$dir/rootfs" && exec timeout 120 runc --root "$state" run -b "$dir" "cbpush-test-$BASHPID" </dev/null 3>&-) || status=$?
    return "$status"
}

in_default_container()
{
    local -a args=("$@")
    args[$# - 1]=/ctx
    in_container 0 "${args[@]}"
}

# ---- the same everywhere

@test "native as an ordinary user with a range of ids" {
    compare range more_steps as_user "$RANGE" "$CBPUSH"
}

@test "native with one mapped id" {
    compare single steps as_user '' "$CBPUSH"
}

@test "oci with runc" {
    compare runc more_steps by_runtime runc
    assert_contains "$(cat runc.log)" 'isolation: oci (runc '
}

@test "oci with a current crun" {
    need_crun
    compare crun more_steps by_runtime "$crun"
    assert_contains "$(cat crun.log)" 'isolation: oci (crun 1.'
}

@test "oci with runc as an ordinary user with a range of ids" {
    rootless_oci() { as_user "$RANGE" "$CBPUSH" "$1" --runtime runc "${@:2}"; }
    compare runc-range more_steps rootless_oci
}

@test "oci with a current crun as an ordinary user with one mapped id" {
    need_crun
    rootless_oci() { as_user '' "$CBPUSH" "$1" --runtime "$crun" "${@:2}"; }
    compare crun-single steps rootless_oci
}

@test "chroot as root" {
    compare chroot more_steps by chroot
    assert_contains "$(cat chroot.log)" 'isolation: chroot'
}

@test "auto in a container with Docker's default capabilities and seccomp profile: chroot" {
    compare container more_steps in_default_container
    assert_contains "$(cat container.log)" 'isolation: chroot; native: '
}

# ---- what a step is told and how it ends

each_isolation()
{
    local isolation
    need_crun
    for isolation in native "oci --runtime runc" "oci --runtime $crun" chroot; do
        echo "# $isolation" >&2
        # shellcheck disable=SC2086 # two words
        "$@" --isolation $isolation || return
    done
}

ends()
{
    run cbpush run "$@" "$image" sh -c 'echo out; echo err >&2; exit 7'
    assert_status 7
    assert_contains "$output" out
    assert_contains "$output" err
    run -127 cbpush run "$@" "$image" /no/such/program
    run -127 cbpush run "$@" "$image" no-such-program
    assert_contains "$output" 'executable file not found in $PATH'
    run cbpush run "$@" "$image" /etc/passwd
    assert_status 126
    run cbpush run "$@" -w /no/such/dir "$image" true
    assert_status 5
    run cbpush run "$@" -w /proc/self "$image" true
    assert_status 5
    run cbpush run "$@" -e A=1 -u 65534:100 "$image" sh -c 'echo $A $(id -u) $(id -g); cat >/dev/null'
    assert_status 0
    assert_equal "$output" '1 65534 100'
}

@test "exit codes, output, programs and directories that are not there" {
    each_isolation ends
}

capabilities()
{
    run cbpush run "$@" "$image" sh -c \
        "grep -E 'Cap(Inh|Eff|Bnd|Amb)|Seccomp:|NoNew' /proc/self/status; ulimit -c; ulimit -n; umask"
    assert_status 0
    echo "$output" >caps
    [ -e native.caps ] || cp caps native.caps
    diff -u native.caps caps
}

@test "capabilities, seccomp and limits are those of native" {
    local isolation
    need_crun
    for isolation in native "oci --runtime runc" "oci --runtime $crun"; do
        # shellcheck disable=SC2086
        capabilities --isolation $isolation
    done
}

sandboxed()
{
    run cbpush run "$@" "$image" sh -c '
        mount -t tmpfs none /tmp 2>/dev/null && echo mounted
        echo x 2>/dev/null >/proc/sys/kernel/hostname && echo writable
        mknod /tmp/sda b 8 0 2>/dev/null && echo node
        unshare -U true 2>/dev/null && echo user-namespace
        ls /sys/fs/cgroup | head -n 3; ls /sys/firmware
        for file in kcore keys timer_list sched_debug; do test ! -e /proc/$file || head -c 1 /proc/$file; done
        ls -d /proc/[0-9]* | wc -l
        hostname'
    assert_status 0
    # The shell, ls, wc; native has its init besides.
    assert_contains "$(tail -n 1 <<<"$output")" cbpush
    [ "$(tail -n 2 <<<"$output" | head -n 1)" -le 5 ]
    assert_equal "$(head -n -2 <<<"$output")" ''
}

@test "what is closed to a step in native is closed in oci" {
    local isolation
    need_crun
    for isolation in native "oci --runtime runc" "oci --runtime $crun"; do
        # shellcheck disable=SC2086
        sandboxed --isolation $isolation
    done
}

canceled()
{
    local pid status=0
    "$CBPUSH" run "$@" "$image" sh -c 'sleep 4711 & echo started >&2; sleep 4711; exit 0' 2>cancel.log 3>&- &
    pid=$!
    until grep -q started cancel.log; do rig_alive "$pid"; sleep 0.1; done
    kill -TERM "$pid"
    rig_await "$pid"
    wait "$pid" || status=$?
    assert_equal "$status" 143
    [ -z "$(pgrep -f 'sleep 4711')" ]
    assert_no_leftovers
}

@test "a signal ends every process of the step" {
    each_isolation canceled
}

killed()
{
    local pid
    "$CBPUSH" run "$@" "$image" sh -c 'setsid sleep 4712 & echo started >&2; sleep 4712' 2>kill.log 3>&- &
    pid=$!
    until grep -q started kill.log; do rig_alive "$pid"; sleep 0.1; done
    kill -KILL "$pid"
    wait "$pid" || :
    while pgrep -f 'sleep 4712' >/dev/null; do sleep 0.1; done
    [ -z "$(rig_mounts "$CBPUSH_ROOT")" ]
    # What is left in the store goes with the next start.
    cbpush run "$@" "$image" true
    assert_no_leftovers
}

@test "when cbpush is killed, nothing of the step goes on" {
    each_isolation killed
}

@test "daemons of a step end with it" {
    each_isolation daemons
}

daemons()
{
    cbpush run "$@" "$image" sh -c 'for i in 1 2 3; do (setsid sleep 4713 >/dev/null 2>&1 &); done; true'
    [ -z "$(pgrep -f 'sleep 4713')" ]
}

no_network()
{
    run cbpush run "$@" --network none "$image" sh -c 'grep -c : /proc/net/dev; cat /etc/resolv.conf'
    if [[ $* == *chroot* ]]; then
        assert_status 6
        assert_contains "$output" 'native or oci'
    else
        assert_status 0
        assert_equal "$output" 1
    fi
}

@test "network none: alone with the loopback, or a clear error" {
    each_isolation no_network
}

mounts()
{
    echo data >volume/file
    run cbpush run "$@" -v "$PWD/volume:/mnt/in:ro" "$image" sh -c 'cat /mnt/in/file; echo x 2>/dev/null >/mnt/in/new || echo refused'
    assert_status 0
    [[ $* == *chroot* ]] || assert_equal "$output" $'data\nrefused'
    assert_contains "$output" data
    [ ! -e volume/new ]
    run cbpush run "$@" -v "$PWD/volume:/mnt/out" "$image" sh -c 'echo back >/mnt/out/back'
    if [[ $* == *chroot* ]]; then
        assert_status 6
        assert_contains "$output" 'native or oci'
    else
        assert_status 0
        assert_equal "$(cat volume/back)" back
        rm volume/back
    fi
}

@test "volumes: read-only ones everywhere, others where there is mount(2)" {
    mkdir volume
    each_isolation mounts
}

run_mounts()
{
    rm -rf out
    cbpush build --no-cache --progress plain "$@" -o out ctx >mounts.log 2>&1 || { cat mounts.log >&2; return 1; }
    assert_equal "$(cat out/seen)" $'from the stage\nfrom the context\ntmpfs'
    [ ! -e out/mnt ] && [ ! -e out/t ]
    printf 'FROM busybox\nRUN --mount=type=secret,id=s cat /run/secrets/s >/leak\n' >secret.df
    printf 'FROM busybox\nRUN --mount=type=cache,target=/c echo x >>/c/x && cat /c/x >/x\n' >cache.df
    run cbpush build --no-cache --progress plain "$@" --secret id=s,src=secret.df -f secret.df -t x ctx
    [[ $* == *chroot* ]] || assert_status 0
    [[ $* != *chroot* ]] || assert_status 6
    # A cache is kept, and the image has nothing of it.
    rm -rf out cached
    cbpush build --no-cache --progress plain "$@" -f cache.df -o out ctx >mounts.log 2>&1 || { cat mounts.log >&2; return 1; }
    cbpush build --no-cache --progress plain "$@" -f cache.df -o cached ctx >>mounts.log 2>&1 || { cat mounts.log >&2; return 1; }
    [ ! -e out/c ] && [ ! -e cached/c ]
    assert_equal "$(wc -l <cached/x)" "$(($(wc -l <out/x) + 1))"
    refute_contains "$(cat mounts.log)" WARN
    printf 'FROM busybox\nRUN --mount=type=bind,source=file,target=/f,rw --mount=from=busybox,source=/bin,target=/b,rw %s\n' \
        'echo y >>/f && rm /b/vi && ls /b | wc -l >/n && cat /f >/x' >rw.df
    rm -rf out
    cbpush build --no-cache --progress plain "$@" -f rw.df -o out ctx >mounts.log 2>&1 || { cat mounts.log >&2; return 1; }
    assert_equal "$(cat out/x)" $'from the context\ny'
    assert_equal "$(cat ctx/file)" 'from the context'
    [ ! -e out/f ] && [ ! -e out/b ]
    refute_contains "$(cat mounts.log)" WARN
}

@test "chroot: a step that fails is told that it had no /proc" {
    printf 'FROM busybox\nRUN cat /proc/self/stat\n' >ctx/Dockerfile
    run cbpush build --progress plain --isolation chroot ctx
    assert_status 1
    assert_contains "$output" 'WARN: isolation chroot has no /proc'
    printf 'FROM busybox\nRUN exit 3\n' >ctx/Dockerfile
    run cbpush build --progress plain ctx
    refute_contains "$output" WARN
}

@test "RUN --mount: binds, caches and tmpfs everywhere, the rest where it can be kept" {
    echo 'from the context' >ctx/file
    cat >ctx/Dockerfile <<'END'
FROM busybox AS stage
RUN mkdir /s && echo 'from the stage' >/s/file
FROM busybox
RUN --mount=type=bind,from=stage,source=/s,target=/mnt/stage --mount=type=bind,source=file,target=/mnt/file \
    --mount=type=tmpfs,target=/t cat /mnt/stage/file /mnt/file >/seen && echo tmpfs >/t/x && cat /t/x >>/seen
END
    each_isolation run_mounts
}

@test "in a default container: what one step leaves in a cache mount the next one finds" {
    printf 'FROM busybox\nRUN --mount=type=cache,target=/c mkdir /c/d && echo kept >/c/d/x && chown 5:6 /c/d/x\nRUN --mount=type=cache,target=/c cp -a /c/d/x /x\n' >ctx/Dockerfile
    in_container 0 build --progress plain --push "$reg/test/kept:1" /ctx >kept.log 2>&1 || rig_fail "$(cat kept.log)"
    refute_contains "$(cat kept.log)" 'WARN: mount'
    judged test/kept:1
    assert_equal "$(cat "$rootfs/x") $(stat -c %u:%g "$rootfs/x")" 'kept 5:6'
}

terminal()
{
    script -qec "$(printf '%q ' "$CBPUSH" run -it "$@" "$image" sh -c 'test -t 0 && test -t 1 && stty size && echo tty-ok; exit 3')" \
        /dev/null </dev/null >terminal.log || status=$?
    assert_equal "$status" 3
    assert_contains "$(cat terminal.log)" tty-ok
}

@test "run -it has a terminal" {
    local status=0
    each_isolation terminal
}

read_only()
{
    run cbpush run "$@" --read-only "$image" sh -c 'touch /x 2>/dev/null && echo written; echo y >/dev/null'
    if [[ $* == *chroot* ]]; then
        assert_status 6
    else
        assert_status 0
        assert_equal "$output" ''
    fi
}

@test "chroot: what a step makes after it has replaced or removed /etc/hosts is in the layer" {
    dockerfile <<'END'
FROM busybox
RUN sed -i s/a/a/ /etc/hosts && rm /etc/resolv.conf && for i in 1 2 3 4 5 6 7 8; do echo $i >/etc/$i; done
END
    built --isolation chroot
    assert_equal "$(cat "$rootfs"/etc/[1-8] | paste -s -d ' ')" '1 2 3 4 5 6 7 8'
    [ ! -e "$rootfs/etc/hosts" ]
}

@test "a read-only root, or a clear error" {
    each_isolation read_only
}

# The container is ours as soon as its parent, here a child of what we take for the runtime, has ended: so it may end
# before the runtime.
@test "oci: a step that ends before its runtime keeps its status" {
    cat >slow-runc <<'END'
#!/bin/sh
"$(command -v runc)" "$@"
status=$?
[ "$1" = --version ] || sleep 0.3
exit "$status"
END
    chmod +x slow-runc
    printf 'FROM busybox\nRUN exit 3\n' >ctx/Dockerfile
    run cbpush build --progress plain --isolation oci --runtime "$PWD/slow-runc" ctx
    assert_status 1
    assert_contains "$output" 'exit code: 3'
    printf 'FROM busybox\nRUN true\n' >ctx/Dockerfile
    run cbpush build --progress plain --isolation oci --runtime "$PWD/slow-runc" ctx
    assert_status 0
}

# ends_with_the_signal COMMAND: a runtime is that, writes mute.log and sends no terminal.
ends_with_the_signal()
{
    local pid status=0
    printf '#!/bin/sh\n[ "$1" != --version ] || exec "$(command -v runc)" --version\n%s\n' "$1" >mute-runc
    chmod +x mute-runc
    "$CBPUSH" run -t --runtime "$PWD/mute-runc" "$image" true >run.log 2>&1 3>&- &
    pid=$!
    until [ -s mute.log ]; do rig_alive "$pid"; sleep 0.1; done
    kill -TERM "$pid"
    rig_await "$pid"
    wait "$pid" || status=$?
    assert_equal "$status" 143
    [ -z "$(pgrep -f 'sleep 4714')" ]
    assert_no_leftovers
}

@test "oci: a runtime that never sends its terminal ends with the signal" {
    ends_with_the_signal "echo began >$PWD/mute.log; exec sleep 4714"
}

@test "oci: so does one that connects, and sends nothing" {
    cat >connects.py <<'END'
import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect("tty")
os.set_inheritable(s.fileno(), True)
with open(sys.argv[1], "w") as log:
    log.write("began")
os.execlp("sleep", "sleep", "4714")
END
    ends_with_the_signal "exec python3 -B $PWD/connects.py $PWD/mute.log"
}

# ---- hostile images

@test "oci: labels, annotations and odd environment never reach the runtime's configuration" {
    cat >spy <<'END'
#!/bin/sh
for word; do
    case $word in --bundle=*) cp "${word#--bundle=}/config.json" "$SPY" ;; esac
done
exec runc "$@"
END
    sed -i "s|\$SPY|$PWD/config.json|" spy
    chmod +x spy
    printf 'FROM busybox\nLABEL run.oci.hooks.stdout=/x run.oci.handler=wasm org.criu.config=/y\nRUN true\nLABEL a=b\nRUN echo done\n' >ctx/Dockerfile
    cbpush build --progress plain --runtime "$PWD/spy" --annotation run.oci.seccomp.receiver=/z -t x ctx
    jq -e '(.annotations == null) and (.hooks == null) and ([.mounts[].destination] | index("/dev")) and
        (.linux.seccomp.defaultAction == "SCMP_ACT_ERRNO") and (.linux.devices == null) and
        (.process.capabilities.inheritable == []) and (.process.capabilities.ambient == [])' config.json
    refute_contains "$(cat config.json)" run.oci
    refute_contains "$(cat config.json)" criu
}

@test "an image whose /dev or /proc is a link gets nothing mounted or made there" {
    local link
    for link in dev proc; do
        printf 'FROM scratch\nCOPY --from=busybox /bin /bin\nCOPY %s /\nRUN true\n' "$link" >ctx/Dockerfile
        rm -rf ctx/dev ctx/proc
        mkdir -p "ctx/$link"
        ln -s /tmp "ctx/$link/$link"
        each_isolation refuses_link
    done
}

refuses_link()
{
    run cbpush build --no-cache --progress plain "$@" -t x ctx
    assert_status 5
    assert_contains "$output" 'symbolic link'
}

@test "mount targets that are links stay inside the root, and leave nothing" {
    mkdir -p ctx/links/etc
    ln -s ../run/resolv.conf ctx/links/etc/resolv.conf
    ln -s /../../outside ctx/links/etc/hosts
    printf 'FROM busybox\nCOPY links /\nRUN grep -q localhost /outside && cat /run/resolv.conf >/seen\n' >ctx/Dockerfile
    each_isolation links
}

links()
{
    rm -rf out
    cbpush build --no-cache --progress plain "$@" -o out ctx >links.log 2>&1 || { cat links.log >&2; return 1; }
    [ -L out/etc/resolv.conf ] && [ -L out/etc/hosts ] && [ ! -e out/run ] && [ ! -e out/outside ]
    [ ! -e /outside ]
}

# ---- choosing

@test "what is asked for is checked: names, runtimes, versions" {
    run cbpush run --isolation magic "$image" true
    assert_status 2
    assert_contains "$output" 'auto, native, oci or chroot'
    run cbpush run --isolation native --runtime runc "$image" true
    assert_status 2
    run cbpush run --runtime no-such-runtime "$image" true
    assert_status 6
    assert_contains "$output" 'no such program'
    printf '#!/bin/sh\necho crun version 1.8.1\n' >old-crun
    printf '#!/bin/sh\necho something else\n' >odd
    chmod +x old-crun odd
    run cbpush run --runtime ./old-crun "$image" true
    assert_status 6
    assert_contains "$output" '1.28 or newer'
    run cbpush run --runtime "$PWD/odd" "$image" true
    assert_status 6
    assert_contains "$output" 'neither crun, runc nor runsc'
    run env CBPUSH_ISOLATION=chroot "$CBPUSH" run --network none "$image" true
    assert_status 6
    assert_contains "$output" 'isolation chroot'
    run env CBPUSH_ISOLATION=chroot "$CBPUSH" run --isolation rootless --network none "$image" true
    assert_status 0
}

@test "auto: a shortage of descriptors is an error, and no reason for a lesser isolation" {
    local n good=0 bad=0
    cbpush pull -q "$image" >/dev/null
    for ((n = 10; n < 60; n++)); do
        run bash -c "ulimit -n $n && exec \"\$0\" run -D --progress plain \"\$1\" true" "$CBPUSH" "$image"
        refute_contains "$output" 'isolation: chroot'
        refute_contains "$output" 'isolation: oci'
        [ "$status" -eq 0 ] && good=$((good + 1)) || bad=$((bad + 1))
    done
    [ "$good" -gt 0 ] && [ "$bad" -gt 0 ]
    run bash -c "ulimit -n 24 && exec \"\$0\" run \"\$1\" true" "$CBPUSH" "$image"
    assert_status 6
    assert_contains "$output" 'Too many open files'
}

@test "doctor says which isolations work, and ends with 0 where one does" {
    run cbpush doctor
    assert_status 0
    assert_contains "$output" 'auto takes native'
    assert_contains "$output" 'oci (runc'
    run in_container 0 doctor
    assert_status 0
    assert_contains "$output" 'auto takes chroot'
    assert_contains "$output" 'CAP_SYS_ADMIN'
    cbpush doctor --json | jq -e '[.[] | select(.name == "chroot isolation" and .state == "ok")] | length == 1'
    cbpush doctor --json | jq -e '.[] | select(.name == "layers") | .detail | test("filtered system calls, a root of their own")'
}

@test "as an ordinary user in a default container: exit 6, and what helps" {
    run in_container 1000 run --root /tmp/store "$image" true
    assert_status 6
    assert_contains "$output" '--isolation=chroot'
}

@test "as an ordinary user in a default container: a build without RUN" {
    printf 'FROM %s\nCOPY Dockerfile /copied\nWORKDIR /made\n' "$image" >ctx/Dockerfile
    in_container 1000 build --root /tmp/store --progress plain --push "$reg/test/copied:1" /ctx
    judged test/copied:1
    cmp ctx/Dockerfile "$rootfs/copied"
}

@test "nothing works in a container without capabilities: the reasons of all are told" {
    BEFORE="setpriv --bounding-set -all" run in_container 0 run "$image" true
    assert_status 6
    assert_contains "$output" 'native: '
    assert_contains "$output" 'oci: '
    assert_contains "$output" 'chroot: '
}

@test "network private where an ordinary user may not open /dev/net/tun: the remedy, no hang" {
    [ -c /dev/net/tun ] || skip 'no /dev/net/tun here'
    # shellcheck disable=SC2016 # the other shell expands it
    run unshare --mount --propagation private bash -c "$(declare -f as_user)"'
        mount -t tmpfs tmpfs /dev/net && mknod -m 0600 /dev/net/tun c 10 200 || exit 99
        USER_ID=$1
        as_user "$2" timeout 60 "$CBPUSH" run --network private "$3" true' bash "$USER_ID" "$RANGE" "$image"
    assert_status 6
    assert_contains "$output" 'chmod 0666 /dev/net/tun'
}
