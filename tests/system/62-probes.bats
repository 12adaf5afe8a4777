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

# cb MODE VERB ARG…: cbpush as that mode has it.
cb()
{
    local mode=$1 verb=$2
    shift 2
    export CBPUSH_ROOT=$HOME/store-$mode
    case $mode in
        root) "$CBPUSH" "$verb" "$@" ;;
        range) as_user "$RANGE" "$CBPUSH" "$verb" "$@" ;;
        single) as_user '' "$CBPUSH" "$verb" "$@" ;;
        runc) "$CBPUSH" "$verb" --runtime runc "$@" ;;
        chroot) "$CBPUSH" "$verb" --isolation chroot "$@" ;;
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
    run ! grep -rlF -e "$STEP_SECRET" -e "$STEP_NOW" "$CBPUSH_ROOT" out.tar
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
