#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A hostile step: tests/probe tries P1 to P38 and G1 to G9 from inside, the tests below see what can only be seen from
# outside. Each mode has a table in which every id stands once; the last test looks at them. Needs root.

load helpers
load build
load users

CANARY=environment-canary-51c8e0
STEP_SECRET=secret-canary-7f22a9
STEP_NOW=secret-canary-now-0d41be

setup_file()
{
    [ "$(id -u)" -eq 0 ] || skip 'the modes are compared as root'
    rig_setup_file
    build_setup_file
    local flags='-std=gnu17 -D_GNU_SOURCE -O1 -Wall -Wextra -Wshadow -Wconversion -Wvla -Wformat=2 -Wstrict-prototypes
        -Wmissing-prototypes -Wwrite-strings -Wno-missing-field-initializers -Werror'
    mkdir "$BATS_FILE_TMPDIR/tables"
    # shellcheck disable=SC2086
    ${CC:-cc} $flags -static -o "$BATS_FILE_TMPDIR/probe" "$CB_TOP"/tests/probe/{main,table,proc,calls,net,rights,mounts,work}.c
    # shellcheck disable=SC2086
    ${CC:-cc} $flags -nostdlib -ffreestanding -fno-stack-protector -fcf-protection=none -static-pie -fPIE \
        -o "$BATS_FILE_TMPDIR/interp" "$CB_TOP/tests/probe/interp.c"
    chmod a+rx "$BATS_FILE_TMPDIR/probe"
    make_listeners
}

# Somebody who listens on 127.0.0.1 and on an abstract socket of the host.
make_listeners()
{
    local tries
    mkdir -p "$(rig_dir)/listener"
    rig_spawn "$(rig_dir)/listener" python3 -c '
import os, socket, sys, time
tcp = socket.create_server(("127.0.0.1", 0), backlog=100)
unix = socket.socket(socket.AF_UNIX)
unix.bind("\0cbpush-probe-%d" % os.getpid())
unix.listen(100)
print(tcp.getsockname()[1], "cbpush-probe-%d" % os.getpid(), flush=True)
time.sleep(600)'
    for ((tries = 0; tries < 100; tries++)); do [ ! -s "$(rig_dir)/listener/out" ] || break; sleep 0.05; done
    cat "$(rig_dir)/listener/out" >"$BATS_FILE_TMPDIR/listener"
}

setup()
{
    rig_setup
    build_setup
    user_setup
    read -r port abstract <"$BATS_FILE_TMPDIR/listener"
    cp "$BATS_FILE_TMPDIR/probe" ctx/probe
    echo context >ctx/mark
    mkdir hostdir
    echo precious >hostdir/canary
    chmod 755 hostdir
    chmod 644 hostdir/canary
    printf %s "$STEP_SECRET" >before.secret
    printf %s "$STEP_NOW" >probe.secret
    chmod 644 ./*.secret
    export HOST_CANARY=$CANARY
}

teardown()
{
    # Nothing of what steps do reaches these.
    local status=0
    [ ! -d hostdir ] || assert_equal "$(ls -A hostdir; cat hostdir/canary)" $'canary\nprecious' || status=1
    rig_teardown || status=1
    return "$status"
}

# ---- modes

# cb MODE VERB ARG…: cbpush as that mode has it; its store is $STORE, or one of the mode; $BEFORE comes before it.
cb()
{
    local mode=$1 verb=$2
    shift 2
    local -x CBPUSH_ROOT=${STORE:-$HOME/store-$mode}
    case $mode in
        root) ${BEFORE-} "$CBPUSH" "$verb" "$@" ;;
        range) as_user "$RANGE" ${BEFORE-} "$CBPUSH" "$verb" "$@" ;;
        single) as_user '' ${BEFORE-} "$CBPUSH" "$verb" "$@" ;;
        runc) ${BEFORE-} "$CBPUSH" "$verb" --runtime runc "$@" ;;
        chroot) ${BEFORE-} "$CBPUSH" "$verb" --isolation chroot "$@" ;;
    esac
}

# cb_build MODE [ARG…]: builds ctx; what it printed is in $log, what it returned in $status.
cb_build()
{
    local mode=$1
    shift
    chown -R "$USER_ID:$USER_ID" ctx
    status=0
    log=$(cb "$mode" build --progress plain "$@" ctx 2>&1 3>&-) || status=$?
}

must()
{
    [ "$status" -eq "$1" ] || rig_fail "exit status $status, wanted $1: $log"
}

# ---- tables

# What probes said in a log, without what they leave to us.
lines_of()
{
    sed -n 's/^#[0-9]* [0-9.]* \(\(PASS\|FAIL\|SKIP\) [PG][0-9]* .*\)$/\1/p' <<<"$1" | grep -v 'is seen from outside$' || :
}

# seen MODE ID [VERDICT [WHY]]: a line for what is seen from outside.
seen()
{
    local title
    title=$("$BATS_FILE_TMPDIR/probe" list | sed -n "s/^$2 outside \(.*\): .*/\1/p")
    [ -n "$title" ] || rig_fail "no probe $2 that is seen from outside" || return
    echo "${3:-PASS} $2 ${4:-$title}" >>"$BATS_FILE_TMPDIR/tables/$1"
}

seen_in()
{
    local id=$1 mode
    shift
    for mode; do seen "$mode" "$id" || return; done
}

no_failures()
{
    ! grep -E ' FAIL [PG]|^FAIL' <<<"$1" >&2
}

# ---- what the program finds out alone

tell()
{
    backwards() { printf %s "$1" | rev; }
    told=(--build-arg "PROBE_CANARY=$(backwards "$CANARY")" --build-arg "PROBE_SECRET=$(backwards "$STEP_SECRET")"
        --build-arg "PROBE_HOSTDIR=$PWD/hostdir" --build-arg "PROBE_ABSTRACT=$abstract" --build-arg "PROBE_PORT=$port"
        --build-arg "PROBE_NETNS=$(stat -L -c %i /proc/self/ns/net)"
        --secret "id=before,src=before.secret" --secret "id=probe,src=probe.secret")
}

# The links of the image lie where a RUN has /dev and resolv.conf; /linked is what they lead to.
write_all_steps()
{
    mkdir -p ctx/image/dev ctx/image/etc
    ln -s /linked ctx/image/dev/null
    ln -s /linked ctx/image/dev/pts
    ln -s /linked ctx/image/dev/tty
    echo untouched >ctx/image/linked
    write ctx/Dockerfile <<END
FROM busybox AS stage
RUN ln -s / /rootdir && echo stage >/mark
FROM busybox
COPY probe /probe
COPY image /
ARG PROBE_CANARY PROBE_SECRET PROBE_HOSTDIR PROBE_ABSTRACT PROBE_PORT PROBE_NETNS
RUN --mount=type=secret,id=before,required --mount=target=/rw,rw --mount=type=cache,id=../../../..$PWD/hostdir,target=/g3 \
    ["/probe", "prepare"]
RUN --mount=target=/ro --mount=target=/rw,rw --mount=type=secret,id=probe,required \
    --mount=type=bind,from=stage,source=/rootdir,target=/g2,rw \
    --mount=type=cache,id=../../../..$PWD/hostdir,target=/g3 \
    --mount=type=bind,source=../../../../..,target=/g3ctx --mount=type=bind,from=stage,source=../../..,target=/g3stage \
    ["/probe", "-k", "step"]
RUN --network=none ["/probe", "-k", "net"]
RUN test ! -e /run/secrets && test ! -e /rw && test ! -e /g2 && test ! -e /g3
END
}

# all_steps MODE: the table but for what is seen from outside.
all_steps()
{
    tell
    write_all_steps
    cb_build "$1" "${told[@]}" -o type=oci,dest=out.tar
    lines_of "$log" >>"$BATS_FILE_TMPDIR/tables/$1"
    must 0 && no_failures "$log" || return
    # P24: no byte of the secrets in what was built, or what is kept.
    run ! grep -rlF -e "$STEP_SECRET" -e "$STEP_NOW" "$HOME/store-$1" out.tar
}

@test "all probes from inside: root, native" {
    sleep 100 3>&- &
    local bystander=$!
    all_steps root
    rig_alive "$bystander"
    kill "$bystander"
}

@test "all probes from inside: an ordinary user with a range of ids" {
    chmod 777 .
    all_steps range
}

@test "all probes from inside: an ordinary user with one id" {
    chmod 777 .
    all_steps single
}

@test "all probes from inside: oci, runc" {
    all_steps runc
}

# ---- networks

# P15 to P17 hold where the network is not the host's; on the host's (RUN's default) the same probes have to see it.
@test "the network: private shuts the host out, host does not" {
    tell
    printf 'FROM busybox\nCOPY probe /probe\nARG %s\nRUN ["/probe", "-k", "net"]\n' \
        'PROBE_CANARY PROBE_SECRET PROBE_HOSTDIR PROBE_ABSTRACT PROBE_PORT PROBE_NETNS' >ctx/Dockerfile
    cb_build root "${told[@]}"
    must 0
    assert_contains "$log" "FAIL P15 abstract sockets of the host: @$abstract answers"
    assert_contains "$log" "FAIL P16 the host's 127.0.0.1: 127.0.0.1:$port answers"
    [ -c /dev/net/tun ] && command -v pasta >/dev/null || skip 'private needs pasta and /dev/net/tun'
    cb_build root "${told[@]}" --no-cache --network private
    must 0
    # P17 is where the host's routes lead.
    no_failures "$(grep -v 'FAIL P17' <<<"$log")"
    assert_contains "$log" 'PASS P15'
    assert_contains "$log" 'PASS P16'
}

# ---- chroot, which does not hold who wants out

# What holds there too, for a root of the machine. The rest is not held: no namespaces (P3 P4 P5 P15 P16), no /proc, /sys
# and /dev of its own (P6 P7 P8 P11 P19 P38 G6 G7 G8; without /proc P20 and P21 cannot be seen), no mounts of ours (P23 P24 P25 G2 G3).
CHROOT_HOLDS='P1 P9 P10 P12 P13 P22 P37 G9'

@test "chroot: what it holds" {
    printf 'FROM busybox\nCOPY probe /probe\nRUN ["/probe", "-k", "%s"]\n' "${CHROOT_HOLDS// /\", \"}" >ctx/Dockerfile
    cb_build chroot
    must 0
    no_failures "$log"
    assert_equal "$(lines_of "$log" | grep -c ^PASS)" "$(wc -w <<<"$CHROOT_HOLDS")"
}

# ---- what is seen from outside

MODES='root range single runc'

# Nothing has got at the host's directory.
host_is_untouched()
{
    assert_equal "$(ls -A hostdir; cat hostdir/canary)" $'canary\nprecious' "$1"
}

@test "P2: WORKDIR /proc/self/fd/N" {
    local mode n
    for mode in $MODES; do
        for n in 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
            [ "$mode" = root ] || [ "$n" -lt 4 ] || continue
            printf 'FROM busybox\nWORKDIR /proc/self/fd/%s\nRUN true\n' "$n" >ctx/Dockerfile
            cb_build "$mode"
            [ "$status" -ne 0 ] || rig_fail "$mode: $n is a working directory: $log" || return
        done
        seen "$mode" P2
    done
}

@test "P26: a set-user-ID file is a subordinate id's, and nobody else gets at it" {
    local mode file owner
    for mode in $MODES; do
        owner=7
        [ "$mode" != single ] || owner=0
        printf 'FROM busybox\nRUN cp /bin/busybox /set-user-id && chown %s /set-user-id && chmod 4755 /set-user-id\n' "$owner" >ctx/Dockerfile
        cb_build "$mode"
        must 0
        file=$(find "$HOME/store-$mode" -name set-user-id -perm -4000 | head -n 1)
        [ -n "$file" ] || rig_fail "$mode: it is not in the store" || return
        run -1 setpriv --reuid 65534 --regid 65534 --clear-groups test -e "$file"
        case $mode in
            range) assert_equal "$(stat -c %u "$file")" 200006 || return ;;
            single) assert_equal "$(stat -c %u "$file")" "$USER_ID" || return ;;
        esac
        seen "$mode" P26
    done
}

programs()
{
    sha256sum "$CBPUSH" "$(command -v runc)"
    stat -c '%a %u %g' "$CBPUSH" "$(command -v runc)"
}

# The kernel takes the program that is running for the script's interpreter, which is cbpush or the runtime, and for that
# one's the image's ld.so, which is interp.c.
@test "P27: #!/proc/self/exe does not get at cbpush or the runtime" {
    local mode before
    before=$(programs)
    mkdir -p ctx/lib64 ctx/lib
    cp "$BATS_FILE_TMPDIR/interp" ctx/lib64/ld-linux-x86-64.so.2
    cp "$BATS_FILE_TMPDIR/interp" ctx/lib/ld-linux-aarch64.so.1
    chmod 755 ctx/lib*/*
    printf '#!/proc/self/exe\n' >ctx/evil
    chmod 755 ctx/evil
    for mode in $MODES; do
        printf 'FROM busybox\nCOPY lib64 /lib64/\nCOPY lib /lib/\nCOPY evil /\nRUN ["/evil"]\n' >ctx/Dockerfile
        cb_build "$mode"
        [ "$status" -ne 0 ] || rig_fail "$mode: it ran: $log" || return
        # runc itself is a copy in memory there.
        [ "$mode" = runc ] || refute_contains "$log" 'interpreter: ' || return
        refute_contains "$log" WRITABLE || return
        assert_equal "$(programs)" "$before" "$mode" || return
        seen "$mode" P27
    done
}

# start_swapped MODE N: a step starts a program of the cache that the other build swaps.
start_swapped()
{
    printf 'FROM busybox\nCOPY lib64 /lib64/\nCOPY lib /lib/\nENV N=%s\n%s\n' "$2" \
        'RUN --mount=type=cache,id=swap,target=/c ["/c/a"]' >look/Dockerfile
    log=$(cb "$1" build --progress plain look 2>&1 3>&-) || :
}

# seconds_for BUILDER ARG…: how many seconds something has to be swapped for BUILDER ARG… N to build often enough meanwhile.
seconds_for()
{
    local began=${EPOCHREALTIME/./}
    "$@" 0
    echo $((2 + 4 * (${EPOCHREALTIME/./} - began) / 1000000))
}

# Whatever is looked at before a program starts may be another a moment later.
@test "P27: the program is swapped between the look at it and its start" {
    local mode before pid n
    before=$(programs)
    mkdir -p look/lib64 look/lib
    cp "$BATS_FILE_TMPDIR/interp" look/lib64/ld-linux-x86-64.so.2
    cp "$BATS_FILE_TMPDIR/interp" look/lib/ld-linux-aarch64.so.1
    chmod 755 look/lib*/*
    for mode in root range single; do
        printf 'FROM busybox\nCOPY probe /probe\nRUN --mount=type=cache,id=swap,target=/c ["/probe", "exchange", "/c", "%s"]\n' \
            "$(seconds_for start_swapped "$mode")" >ctx/Dockerfile
        chown -R "$USER_ID" ctx look
        cb "$mode" build --progress plain ctx >flip.log 2>&1 3>&- &
        pid=$!
        n=0
        while rig_alive "$pid"; do
            n=$((n + 1))
            start_swapped "$mode" "$n"
            refute_contains "$log" 'interpreter: ' || return
        done
        wait "$pid"
        [ "$n" -gt 2 ] || rig_fail "only $n builds in that time"
        [ "$(sed -n 's/.* flipped //p' flip.log)" -ge 100000 ] || rig_fail "$(cat flip.log)"
        assert_equal "$(programs)" "$before" "$mode" || return
    done
}

@test "P28: links in the place of system directories and files" {
    local mode name
    for name in dev proc sys; do
        mkdir -p "ctx/root-$name/bin"
        cp "$(command -v busybox)" "ctx/root-$name/bin/sh"
        ln -s "$PWD/hostdir" "ctx/root-$name/$name"
    done
    for mode in $MODES; do
        for name in dev proc sys; do
            printf 'FROM scratch\nCOPY root-%s /\nRUN : >/%s/x\n' "$name" "$name" >ctx/Dockerfile
            cb_build "$mode"
            must 5 && assert_contains "$log" "symbolic link" || return
        done
        cat >ctx/Dockerfile <<END
FROM busybox
RUN rm -rf /etc/resolv.conf /etc/hosts /run/secrets; mkdir -p /run; ln -s $PWD/hostdir /run/secrets
RUN --mount=type=secret,id=probe echo x >/etc/resolv.conf; echo x >/etc/hosts; test \$(cat /run/secrets/probe | wc -c) -gt 9
RUN test ! -e $PWD/hostdir/canary -o ! -s $PWD/hostdir/canary
END
        cb_build "$mode" --secret id=probe,src=probe.secret
        must 0 && host_is_untouched "$mode" || return
        # Those two are mounted over while a step runs, so an earlier stage's layer has to bring the links.
        mkdir -p ctx/links/etc
        ln -sf "$PWD/hostdir/canary" ctx/links/etc/resolv.conf
        ln -sf "../../../../../..$PWD/hostdir/canary" ctx/links/etc/hosts
        printf 'FROM busybox\nCOPY links /\nRUN echo x >/etc/resolv.conf; echo x >/etc/hosts; true\n' >ctx/Dockerfile
        cb_build "$mode"
        must 0 && host_is_untouched "$mode" || return
        seen "$mode" P28
    done
}

@test "P29, G5: stubs and their parents are swapped during a step" {
    local mode victim=$PWD/hostdir
    mkdir -p ctx/d
    echo x >ctx/d/x
    for mode in $MODES; do
        cat >ctx/Dockerfile <<END
FROM busybox
RUN --mount=source=mark,target=/late/canary umount /late/canary; mv /late /moved; rm -rf /late; ln -s $victim /late; true
RUN --mount=source=d,target=/deep/er/d mv /deep/er /gone; rm -rf /deep; ln -s $victim /deep; true
END
        cb_build "$mode"
        must 0 && host_is_untouched "$mode" || return
        seen "$mode" P29 && seen "$mode" G5
    done
}

# look_until PID LOOKER [ARG…]: builds as LOOKER ARG… N does while that process runs; none may see the host.
look_until()
{
    local pid=$1 n=0
    shift
    while rig_alive "$pid"; do
        n=$((n + 1))
        "$@" "$n" || return
        refute_contains "$log" precious || return
    done
    [ "$n" -gt 2 ] || rig_fail "only $n builds in that time"
}

look_at_cache()
{
    mkdir -p look
    printf 'FROM busybox\nRUN --mount=type=cache,id=race,source=a,target=/z cat /z/canary; echo %s\n' "$2" >look/Dockerfile
    log=$(cb "$1" build --progress plain look 2>&1 3>&-) || :
}

look_at_context()
{
    printf 'FROM busybox\nRUN --mount=source=race/a,target=/z cat /z/canary; echo %s\n' "$2" >ctx/Dockerfile
    log=$(cb "$1" build --progress plain ctx 2>&1 3>&-) || :
}

@test "G1: two builds, one of which swaps the cache directory that the other mounts" {
    local mode pid
    for mode in root range; do
        printf 'FROM busybox\nCOPY probe /probe\nRUN --mount=type=cache,id=race,target=/c ["/probe", "flip", "/c", "%s/hostdir", "%s"]\n' \
            "$PWD" "$(seconds_for look_at_cache "$mode")" >ctx/Dockerfile
        chown -R "$USER_ID" ctx
        cb "$mode" build --progress plain ctx >flip.log 2>&1 3>&- &
        pid=$!
        look_until "$pid" look_at_cache "$mode"
        wait "$pid"
        [ "$(sed -n 's/.* flipped //p' flip.log)" -ge 100000 ] || rig_fail "$(cat flip.log)"
        seen "$mode" G1
    done
    seen single G1 SKIP 'tried as root and with a range'
    seen runc G1 SKIP 'tried as root and with a range'
}

@test "P30: the source of a bind is swapped while it is mounted" {
    local mode pid
    mkdir -p ctx/race/a
    for mode in root range; do
        ctx/probe flip ctx/race "$PWD/hostdir" "$(seconds_for look_at_context "$mode")" >flip.log 3>&- &
        pid=$!
        look_until "$pid" look_at_context "$mode"
        wait "$pid"
        [ "$(sed -n 's/^flipped //p' flip.log)" -ge 100000 ] || rig_fail "$(cat flip.log)"
        seen "$mode" P30
    done
    seen single P30 SKIP 'tried as root and with a range'
    seen runc P30 SKIP 'tried as root and with a range'
}

@test "P31: passwd is a FIFO, a link to a device, or huge" {
    local mode how begin
    for mode in $MODES; do
        for how in 'rm /etc/passwd && mkfifo /etc/passwd' 'ln -sf /dev/zero /etc/passwd' \
            'ln -sf /proc/kmsg /etc/passwd' 'dd if=/dev/zero of=/etc/passwd bs=1M count=11'; do
            case $mode:$how in single:dd* | runc:dd*) continue ;; esac
            printf 'FROM busybox\nRUN %s\nUSER bin\nRUN true\n' "$how" >ctx/Dockerfile
            begin=$SECONDS
            cb_build "$mode"
            [ "$status" -ne 0 ] && [ "$status" -lt 124 ] || rig_fail "$mode: $how: exit status $status: $log" || return
            [ $((SECONDS - begin)) -lt 10 ] || rig_fail "$mode: $how: $((SECONDS - begin)) s" || return
            refute_contains "$log" 'internal error' || return
        done
        seen "$mode" P31
    done
}

@test "P32: a fork bomb and a step that wants all memory" {
    local mode
    for mode in $MODES; do
        # Nobody counts the processes of the machine's root, so there the step is somebody else.
        printf 'FROM busybox\nCOPY probe /probe\nARG PROBE_MEMORY\n%bRUN ["/probe", "P32"]\n' \
            "$(case $mode in root | runc) echo 'USER 54399\n' ;; esac)" >ctx/Dockerfile
        cb_build "$mode" --ulimit nproc=64 --memory 64m
        if [ "$status" -eq 6 ]; then
            # An ordinary user needs a delegated cgroup, and is told.
            assert_contains "$log" cgroup || return
            cb_build "$mode" --ulimit nproc=64 --build-arg PROBE_MEMORY=none
        fi
        must 0 && assert_contains "$log" 'PASS P32' || return
        seen "$mode" P32
    done
}

@test "P33: no more space, no more inodes" {
    local mode what
    mkdir -p full
    for mode in $MODES; do
        for what in bytes inodes; do
            mount -t tmpfs -o size=48m,nr_inodes=3000,mode=755 none full
            chown "$USER_ID" full
            STORE=$PWD/full/store
            printf 'FROM busybox\nCOPY mark /kept\n' >ctx/Dockerfile
            cb_build "$mode" -t kept
            must 0 || return
            printf 'FROM busybox\nCOPY probe /probe\nRUN ["/probe", "fill", "%s"]\n' "$what" >ctx/Dockerfile
            cb_build "$mode"
            [ "$status" -ne 0 ] || rig_fail "$mode: nothing was full" || return
            assert_contains "$log" 'No space left on device' || return
            assert_equal "$(cb "$mode" run kept cat /kept)" context "$mode: $what" || return
            assert_equal "$(find full/store/tmp -mindepth 1 -maxdepth 1)" '' || return
            umount full
        done
        seen "$mode" P33
    done
}

@test "P34: one endless line" {
    local mode kib limit=98304
    ! grep -q __asan_init "$CBPUSH" || limit=1048576
    for mode in $MODES; do
        printf 'FROM busybox\nCOPY probe /probe\nRUN ["/probe", "line", "32"]\n' >ctx/Dockerfile
        chown -R "$USER_ID" ctx
        export -f cb as_user
        export USER_ID RANGE
        kib=$(python3 -c '
import resource, subprocess, sys
status = subprocess.call(["bash", "-c", "cb \"$@\"", "bash"] + sys.argv[1:], stdout=open("line.log", "wb"), stderr=subprocess.STDOUT)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)' "$mode" build --progress plain ctx) || rig_fail "$(tail -c 2000 line.log)" || return
        [ "$kib" -lt "$limit" ] || rig_fail "$mode: $kib KiB" || return
        run ! grep -q $'\033' line.log
        rm line.log
        seen "$mode" P34
    done
}

@test "P35: a daemon ends with its step" {
    local mode
    for mode in $MODES; do
        printf 'FROM busybox\nCOPY probe /probe\nRUN /probe daemon && sleep 0.1\nRUN ! pgrep probe\n' >ctx/Dockerfile
        cb_build "$mode"
        must 0 || return
        [ -z "$(pgrep -fx '/probe daemon')" ] || rig_fail "$mode: it is still there" || return
        seen "$mode" P35
    done
}

@test "P36: a step that ignores every signal is over ten seconds after ^C" {
    local mode pids jobs='' tries
    printf 'FROM busybox\nCOPY probe /probe\nRUN ["/probe", "stubborn"]\n' >ctx/Dockerfile
    chown -R "$USER_ID" ctx
    for mode in $MODES; do
        # Signals as a terminal would have them.
        BEFORE='env --default-signal=INT,QUIT' cb "$mode" build --progress plain ctx >"stubborn-$mode.log" 2>&1 3>&- &
        jobs+=" $!"
    done
    for mode in $MODES; do
        for ((tries = 0; tries < 200; tries++)); do grep -q ' stubborn$' "stubborn-$mode.log" && break; sleep 0.05; done
    done
    pids=$(pgrep -f "^$CBPUSH build")
    # shellcheck disable=SC2086
    kill -INT $pids
    for ((tries = 0; tries < 200; tries++)); do
        pgrep -fx '/probe stubborn' >/dev/null || break
        sleep 0.05
    done
    [ "$tries" -lt 200 ] || rig_fail "after 10 s: $(pgrep -fax '/probe stubborn')"
    # shellcheck disable=SC2086
    wait $jobs || :
    # shellcheck disable=SC2086
    seen_in P36 $MODES
}

@test "G4: mount options that nobody knows, and a link as the target" {
    local mode option
    for mode in $MODES; do
        for option in bind-propagation=shared,suid suid dev exec propagation=rshared; do
            printf 'FROM busybox\nRUN --mount=type=bind,target=/x,%s true\n' "$option" >ctx/Dockerfile
            cb_build "$mode"
            must 5 && assert_contains "$log" "${option%%[=,]*}" || return
        done
        printf 'FROM busybox\nRUN ln -s %s/hostdir /link\nRUN --mount=target=/link,rw --mount=type=tmpfs,target=/link/t test -e /link/mark && : >/link/canary\n' \
            "$PWD" >ctx/Dockerfile
        cb_build "$mode"
        must 0 && host_is_untouched "$mode" || return
        seen "$mode" G4
    done
}

# ---- the whole

@test "the table is complete: every id once in every mode, and none has failed" {
    local mode wanted
    wanted=$( (printf 'P%d\n' {1..38}; printf 'G%d\n' {1..9}) | sort)
    assert_equal "$("$BATS_FILE_TMPDIR/probe" list | cut -d ' ' -f 1 | sort)" "$wanted" 'probe list'
    for mode in $MODES; do
        sed "s/^/# $mode: /" "$BATS_FILE_TMPDIR/tables/$mode"
        assert_equal "$(cut -d ' ' -f 2 "$BATS_FILE_TMPDIR/tables/$mode" | sort)" "$wanted" "$mode (all tests of this file have to run)"
        run ! grep ^FAIL "$BATS_FILE_TMPDIR/tables/$mode"
    done
}
