#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# cbpush run with what users of docker run write: options that are there, those that are refused with a hint, signals.

load helpers
load build

setup_file()
{
    rig_setup_file
    build_setup_file
}

setup()
{
    RIG_SHARED_STORE=1
    rig_setup
    build_setup
    image=$reg/library/busybox
}

run_image()
{
    cbpush run "$@"
}

# says STATUS TEXT ARG…: cbpush run ARG… ends with that status, and says TEXT.
says()
{
    local wanted=$1 text=$2
    shift 2
    run run_image "$@"
    assert_status "$wanted"
    assert_contains "$output" "$text"
}

# background NAME ARG…: cbpush run ARG…, with its signals as a terminal's child has them; returns when it printed "up".
background()
{
    local name=$1 tries
    shift
    mkdir -p "$(rig_dir)/$name"
    rig_spawn "$(rig_dir)/$name" env --default-signal=INT,HUP,TERM "$CBPUSH" run "$@"
    pid=$(cat "$(rig_dir)/$name/pid")
    for ((tries = 0; tries < 200; tries++)); do
        ! grep -q up "$(rig_dir)/$name/out" || return 0
        sleep 0.05
    done
    rig_fail "$name did not start: $(cat "$(rig_dir)/$name/err")"
}

# gone PID TENTHS: it ends within so long.
gone()
{
    local tries
    for ((tries = 0; tries < $2; tries++)); do
        rig_alive "$1" || return 0
        sleep 0.1
    done
    rig_fail "process $1 is still there"
}

@test "docker run: --rm --init --no-healthcheck -q are the case; they cannot be turned off" {
    run --separate-stderr run_image --rm --init --no-healthcheck -q "$image" echo done
    assert_status 0
    assert_equal "$output" done
    # shellcheck disable=SC2154 # set by run
    assert_equal "$stderr" ''
    says 2 dropped --rm=false "$image" true
    says 2 'PID 1' --init=false "$image" true
}

@test "docker run: --env-file as Docker reads it" {
    printf '\n  # comment\r\n  LEADING=1\nCR=2\r\nQUOTED="3"\nEMPTY=\nSPACED= 4 \nFROM_HERE\nNOT_HERE\n' >env
    FROM_HERE=5 run_image --env-file env "$image" env >out
    assert_equal "$(grep -E '^(LEADING|CR|QUOTED|EMPTY|SPACED|FROM_HERE|NOT_HERE)' out | sort | paste -s -d ';')" \
        'CR=2;EMPTY=;FROM_HERE=5;LEADING=1;QUOTED="3";SPACED= 4 '
    echo 'A B=1' >env
    says 2 'no blanks' --env-file env "$image" true
    echo '=1' >env
    says 2 'no name' --env-file env "$image" true
    says 2 'no name' -e =1 "$image" true
    run run_image --env-file missing "$image" true
    [ "$status" -ne 0 ]
    assert_contains "$output" missing
    # -e wins over the file, whatever the order.
    echo A=file >env
    # shellcheck disable=SC2016 # the container's
    assert_equal "$(run_image -e A=option --env-file env "$image" sh -c 'echo $A')" option
}

@test "docker run: -e NAME takes the image's variable away where we have none; a file does not" {
    printf 'FROM busybox\nENV TAKEN=image KEPT=image HOME=/tmp\n' >ctx/Dockerfile
    cbpush build -q -t env ctx >/dev/null
    printf 'KEPT\n' >env
    env -u TAKEN -u KEPT -u HOME "CBPUSH_ROOT=$CBPUSH_ROOT" "$CBPUSH" run -e TAKEN -e HOME --env-file env env env >out
    assert_equal "$(grep -E '^(TAKEN|KEPT|HOME)' out | sort | paste -s -d ';')" 'HOME=/root;KEPT=image'
    assert_equal "$(TAKEN=ours run_image -e TAKEN env env | grep TAKEN)" TAKEN=ours
}

@test "docker run: --hostname, -h, --add-host, --dns" {
    assert_equal "$(run_image -h box "$image" hostname)" box
    run_image -h box --add-host db:10.1.2.3 --add-host 'six=[::1]' "$image" cat /etc/hosts >out
    grep -E '^10\.1\.2\.3[[:space:]]+db$' out
    grep -E '^::1[[:space:]]+six$' out
    grep -E '[[:space:]]box$' out
    says 2 HOST:IP --add-host nonsense "$image" true
    assert_equal "$(run_image --dns 192.0.2.1 --dns-search example.test "$image" cat /etc/resolv.conf |
        grep -v options | paste -s -d ';')" 'nameserver 192.0.2.1;search example.test'
    says 2 'IP address' --dns nonsense "$image" true
}

@test "docker run: --tmpfs, with --read-only; --shm-size" {
    run_image --read-only --tmpfs /scratch --tmpfs /small:size=1m,mode=0700 "$image" sh -c '
        echo x >/scratch/file && ! touch /file 2>/dev/null && stat -c %a /small
        head -c 2000000 /dev/zero >/small/file 2>/dev/null && echo unlimited; df -k /small | tail -n 1' >out
    assert_equal "$(head -n 1 out)" 700
    refute_contains "$(cat out)" unlimited
    assert_contains "$(cat out)" 1024
    says 1 'Read-only' --tmpfs /scratch:ro "$image" touch /scratch/file
    says 2 '--tmpfs scratch' --tmpfs scratch "$image" true
    says 2 'size=BYTES' --tmpfs /x:noexec "$image" true
    says 2 'size=BYTES' --tmpfs /x:mode=9 "$image" true
    assert_equal "$(run_image --shm-size 2m "$image" df -k /dev/shm | awk 'END { print $2 }')" 2048
    says 2 512m --shm-size many "$image" true
}

@test "docker run: --read-only leaves the image's VOLUMEs writable, with what is in them" {
    printf 'FROM busybox\nRUN mkdir -p /data && echo old >/data/old\nVOLUME /data /not/there /link\nUSER 7\n' >ctx/Dockerfile
    cbpush build -q -t volumes ctx >/dev/null
    local isolation command
    # shellcheck disable=SC2016 # the container's
    command='cat /data/old; echo new >/data/new && echo new >/not/there/new && cat /data/new; ! touch /x 2>/dev/null && ! touch /not/x 2>/dev/null'
    for isolation in native oci; do
        assert_equal "$(run_image --isolation "$isolation" -u 0 --read-only volumes sh -c "$command" | paste -s -d ' ')" 'old new'
    done
    mkdir data && echo mine >data/mine
    assert_equal "$(run_image --read-only -v "$PWD/data:/data:ro" volumes sh -c 'ls /data; touch /data/x 2>/dev/null || echo ro' | paste -s -d ' ')" 'mine ro'
    assert_equal "$(run_image volumes ls /data)" old
}

@test "docker run: --ulimit; memory and processors" {
    # shellcheck disable=SC2016 # the container's
    assert_equal "$(run_image --ulimit nofile=77:88 "$image" sh -c 'echo $(ulimit -n) $(ulimit -Hn)')" '77 88'
    says 2 nosuch --ulimit nosuch=1 "$image" true
    says 2 --cpus --cpus none "$image" true
    says 2 --memory --memory many "$image" true
}

@test "docker run: --platform of another machine, --pull" {
    says 2 nonsense --pull nonsense "$image" true
    says 5 'linux/amd64, not linux/s390x' --platform linux/s390x "$image" true
    says 5 'linux/amd64, not linux/s390x' --platform linux/s390x --pull always "$image" true
    run_image --platform linux/amd64 --pull always "$image" true
}

@test "docker run: --network bridge is private, --net is --network" {
    assert_equal "$(run_image --net none "$image" ls /sys/class/net)" lo
    says 2 container: --network container:other "$image" true
    [ -c /dev/net/tun ] && command -v pasta >/dev/null || skip 'needs pasta and /dev/net/tun'
    run run_image --network bridge "$image" wget -q -T 2 -O - "http://$reg/v2/"
    [ "$status" -ne 0 ]
}

@test "docker run: -p: several, another host port, an address; ranges are refused" {
    says 2 'of its own' -p 8000-8002:8000-8002 "$image" true
    says 2 'HOST_PORT:PORT' -p 80 "$image" true
    [ -c /dev/net/tun ] && command -v pasta >/dev/null || skip 'needs pasta and /dev/net/tun'
    local a b
    a=$(cb_free_port)
    b=$(cb_free_port)
    # shellcheck disable=SC2016 # the container's
    background web -p "$a:80" --publish "127.0.0.1:$b:81/tcp" "$image" \
        sh -c 'mkdir /a /b; echo a >/a/index.html; echo b >/b/index.html; httpd -p 81 -h /b; httpd -p 80 -h /a; echo up; sleep 600'
    assert_equal "$(curl -fsS --noproxy '*' --retry 20 --retry-connrefused --retry-delay 1 "http://127.0.0.1:$a/")" a
    assert_equal "$(curl -fsS --noproxy '*' --retry 20 --retry-connrefused --retry-delay 1 "http://127.0.0.1:$b/")" b
    # The second one is on one address only.
    assert_contains "$(ss -Htln "sport = :$b")" 127.0.0.1
}

# Whatever their order on the command line, as with docker and podman.
@test "docker run: a mount within another one is seen; one over another at the same place is refused" {
    mkdir -p data/sub other
    echo outer >data/sub/file
    echo inner >other/file
    assert_equal "$(cbpush run -v "$PWD/other:/data/sub" -v "$PWD/data:/data" "$image" cat /data/sub/file)" inner
    assert_equal "$(cbpush run -v "$PWD/data/:/data/" --tmpfs /data/sub "$image" sh -c 'ls /data/sub; echo x >/data/sub/new')" ''
    assert_equal "$(ls data/sub)" file
    assert_equal "$(cbpush run --tmpfs /data -v "$PWD/other:/data/sub" "$image" cat /data/sub/file)" inner
    says 2 'mounted twice' -v "$PWD/data:/data" -v "$PWD/other:/data/" "$image" true
    says 2 'mounted twice' -v "$PWD/data:/data" --tmpfs /data "$image" true
}

@test "docker run: -v: names and relative paths are told from directories" {
    says 2 'no named volumes' -v data:/data "$image" true
    says 2 '-v ./data: No such file' -v ./data:/data "$image" true
    says 2 './PATH' -v data/here:/data "$image" true
    says 2 /HOST/PATH -v "$PWD:data" "$image" true
    says 2 '"U" is not done here' -v "$PWD:/data:z,U" "$image" true
}

@test "docker run: what it has and this has not is refused with what to do instead" {
    says 2 'kill $!' -d "$image" true
    says 2 'kill $!' --detach "$image" true
    says 2 'nothing can ask' --name web "$image" true
    says 2 'nothing can ask' --restart always "$image" true
    run_image --restart no "$image" true
    says 2 'build --label' --label a=b "$image" true
    says 2 capabilities --privileged "$image" true
    says 2 capabilities --cap-add SYS_ADMIN "$image" true
    says 2 capabilities --cap-drop=ALL "$image" true
    says 2 --tmpfs --mount type=bind,src=/a,dst=/b "$image" true
    says 2 '-p HOST_PORT:PORT' -P "$image" true
    says 2 'are not run' --health-cmd true "$image" true
    says 2 'did you mean --volume?' --volum /a:/b "$image" true
    says 2 'unknown option -Z' -Z "$image" true
}

@test "docker run: TERM, INT, HUP reach the command as they are; the status is 128 + the signal" {
    local name number status
    for name in TERM:143 INT:130 HUP:129; do
        number=${name#*:} name=${name%:*} status=0
        : >out # of the one before
        # shellcheck disable=SC2016 # the container's
        env --default-signal=INT,HUP,TERM "$CBPUSH" run "$image" sh -c \
            'for s in TERM INT HUP; do trap "echo got $s; exit 3" $s; done; echo up; while :; do sleep 0.1; done' \
            >out 2>err 3>&- &
        pid=$!
        for _ in {1..100}; do grep -q up out && break; sleep 0.05; done
        kill -"$name" "$pid"
        rig_await "$pid"
        wait "$pid" || status=$?
        assert_equal "$(paste -s -d ' ' out)" "up got $name"
        assert_equal "$status" "$number"
        assert_contains "$(cat err)" interrupted
    done
}

@test "docker run: a second INT, more than a second later, ends what ignores the first" {
    background stubborn "$image" sh -c 'trap "" INT TERM; echo up; while :; do sleep 0.1; done'
    kill -INT "$pid"
    sleep 1.2
    rig_alive "$pid"
    kill -INT "$pid"
    gone "$pid" 30
    # Its directory in the store goes with the next call, once the kernel has let go of what was mounted there.
    local tries
    for ((tries = 0; tries < 50; tries++)); do
        cbpush prune >/dev/null
        [ -n "$(ls "$CBPUSH_ROOT/tmp")" ] || break
        sleep 0.1
    done
}

@test "docker run: STOPSIGNAL is for docker stop: TERM comes as TERM; HEALTHCHECK is not run" {
    printf 'FROM busybox\nSTOPSIGNAL SIGUSR1\nHEALTHCHECK --interval=1s CMD touch /checked\n' >ctx/Dockerfile
    printf 'CMD trap "echo term; exit" TERM; trap "echo usr1" USR1; echo up; while :; do sleep 0.1; done\n' >>ctx/Dockerfile
    cbpush build -q -t stop ctx
    background stop stop
    sleep 1.5
    kill -TERM "$pid"
    gone "$pid" 50
    assert_equal "$(paste -s -d ' ' "$(rig_dir)/stop/out")" 'up term'
    assert_equal "$(run_image stop sh -c 'sleep 1.5; ls /checked 2>/dev/null' || :)" ''
}

@test "docker run: -it: the terminal's size, also when it changes; Ctrl-C goes to the command" {
    cat >terminal.py <<'END'
import fcntl, os, pty, struct, sys, termios, time
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
def size(rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))
def until(text):
    seen = b''
    while text not in seen:
        seen += os.read(fd, 4096)
size(30, 90)
until(b'up')
size(41, 123)
until(b'resized')
os.write(fd, b'\x03')
until(b'interrupted')
while True:
    try:
        if not os.read(fd, 4096):
            break
    except OSError:
        break
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
END
    # shellcheck disable=SC2016 # the container's
    run timeout 30 python3 -B terminal.py "$CBPUSH" run -it "$image" sh -c '
        trap "echo interrupted; exit 9" INT
        echo up
        while [ "$(stty size)" != "41 123" ]; do sleep 0.1; done
        echo resized
        while :; do sleep 0.1; done'
    assert_status 9
}
