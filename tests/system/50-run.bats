#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# cbpush run: options, exit codes, terminals, ports, the sandbox. Without root: 55-rootless.bats.

load helpers
load build

setup_file()
{
    rig_setup_file
    build_setup_file
    push_python reg
}

setup()
{
    # One store for the file: the image is unpacked once.
    RIG_SHARED_STORE=1
    rig_setup
    build_setup
    image=$reg/library/busybox
}

teardown()
{
    rm -rf "${other_bin-}"
    rig_teardown
}

run_image()
{
    cbpush run "$@"
}

# Until the port answers: a page's text.
fetch()
{
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        if curl -fsS --noproxy '*' --max-time 5 "$1" 2>/dev/null; then
            return 0
        fi
        sleep 0.1
    done
    rig_fail "$1 does not answer; $(cat "$(rig_dir)"/*/err 2>/dev/null)"
}

# background NAME ARG…: cbpush run ARG… in the background; rig_teardown ends it.
background()
{
    local name=$1
    shift
    mkdir -p "$(rig_dir)/$name"
    rig_spawn "$(rig_dir)/$name" "$CBPUSH" run "$@"
}

needs_pasta()
{
    [ -c /dev/net/tun ] && command -v pasta >/dev/null || skip 'needs pasta and /dev/net/tun'
}

@test "the command's exit status, 128 + signal, 127, 126" {
    run run_image "$image" true
    assert_status 0
    run run_image "$image" sh -c 'exit 7'
    assert_status 7
    run run_image "$image" sh -c 'kill -9 $$'
    assert_status 137
    run -127 run_image "$image" nosuchprogram
    assert_contains "$output" nosuchprogram
    run run_image "$image" /etc/passwd
    assert_status 126
}

@test "standard output and standard error are the command's, byte for byte" {
    run_image "$image" sh -c 'head -c 300000 /dev/zero | tr "\0" "\377"; echo error >&2' >out 2>err
    assert_equal "$(wc -c <out)" 300000
    assert_equal "$(tr -d '\377' <out | wc -c)" 0
    assert_equal "$(cat err)" error
}

@test "-i: standard input; without it there is none" {
    assert_equal "$(echo hello | run_image -i "$image" cat)" hello
    assert_equal "$(echo hello | run_image "$image" cat)" ''
    assert_equal "$(head -c 3000000 /dev/urandom | tee data | run_image -i "$image" cat | sha256sum)" "$(sha256sum <data)"
}

@test "the command's user opens /dev/stdout, /dev/stderr, /dev/stdin by name, whatever ours are; no -t, no terminal" {
    local user
    : >out && chmod 0600 out
    for user in 0 101; do
        run_image -u "$user" "$image" sh -c 'echo out >/dev/stdout; echo err >/dev/stderr' >out 2>err
        assert_equal "$(cat out err)" $'out\nerr'
        assert_equal "$(run_image -u "$user" "$image" sh -c 'echo out >/dev/stdout' | cat)" out
        assert_equal "$(echo in | run_image -i -u "$user" "$image" cat /dev/stdin)" in
    done
    # A service has a socket.
    python3 -B - "$CBPUSH" "$image" >out <<'END'
import socket, subprocess, sys
ours, its = socket.socketpair()
status = subprocess.call([sys.argv[1], "run", sys.argv[2], "sh", "-c", "echo out >/dev/stdout"], stdout=its)
its.close()
print(status, ours.recv(100).decode(), end="")
END
    assert_equal "$(cat out)" '0 out'
    assert_equal "$(script -qec "$CBPUSH run $image sh -c 'test -t 1 || test -t 2 || echo none'" /dev/null | tr -d '\r')" none
}

@test "what goes to one file stays in its order; what cannot be written fails; nobody hangs with a reader that sleeps" {
    # shellcheck disable=SC2016 # the container's
    run_image "$image" sh -c 'for i in 1 2 3 4 5; do echo o$i; echo e$i >&2; done' >both 2>&1
    assert_equal "$(paste -s -d ' ' both)" 'o1 e1 o2 e2 o3 e3 o4 e4 o5 e5'
    run bash -c '"$0" run "$1" echo x >/dev/full' "$CBPUSH" "$image"
    assert_status 6
    assert_contains "$output" 'No space left'
    echo in >in
    run_image -i -u 101 "$image" sh -c 'exec <&-; sleep 0.1' <in
    local pid
    mkfifo fifo && exec 7<>fifo
    env --default-signal=TERM "$CBPUSH" run "$image" yes >fifo 3>&- 7>&- &
    pid=$!
    sleep 1
    kill -TERM "$pid"
    for _ in {1..120}; do rig_alive "$pid" || break; sleep 0.1; done
    run ! rig_alive "$pid"
    exec 7>&-
}

@test "options end at the image: flags behind it are the command's" {
    assert_equal "$(run_image --rm "$image" echo -e --rm -p 1)" '--rm -p 1'
    run run_image --no-such-option "$image"
    assert_status 2
    run run_image
    assert_status 2
}

@test "-e, --env-file, and nothing of our own environment" {
    printf '# comment\nFILE=from file\nTAKEN\n\nLAST=1\n' >env
    export SECRET_OF_OURS=leak TAKEN=taken BARE=bare
    run_image -e A=1 -e 'B=with space' -e BARE -e NOTSET --env-file env "$image" env >out
    assert_equal "$(grep -E '^(A|B|BARE|FILE|TAKEN|LAST|NOTSET|SECRET.*|CBPUSH.*|XDG.*)=' out | sort | paste -s -d ';')" \
        'A=1;B=with space;BARE=bare;FILE=from file;LAST=1;TAKEN=taken'
    assert_contains "$(cat out)" PATH=/usr/sbin:/usr/bin:/sbin:/bin
    assert_contains "$(cat out)" HOME=/root
}

@test "-w, -u, --hostname" {
    assert_equal "$(run_image -w /tmp "$image" pwd)" /tmp
    assert_equal "$(run_image -u nobody "$image" id -u)" 65534
    assert_equal "$(run_image -u 12:34 "$image" sh -c 'id -u; id -g' | paste -s -d ' ')" '12 34'
    assert_equal "$(run_image -u nobody:users "$image" id -g)" 100
    assert_equal "$(run_image -u nobody "$image" sh -c 'echo $HOME')" /home
    assert_equal "$(run_image --hostname box "$image" hostname)" box
    run run_image -u ghost "$image" true
    [ "$status" -ne 0 ]
    assert_contains "$output" ghost
}

@test "ENTRYPOINT and CMD: put together, replaced, cleared" {
    printf 'FROM busybox\nENTRYPOINT ["echo", "entry"]\nCMD ["cmd"]\n' >ctx/Dockerfile
    cbpush build -t both ctx 2>build.log
    assert_equal "$(run_image both)" 'entry cmd'
    assert_equal "$(run_image both other words)" 'entry other words'
    assert_equal "$(run_image --entrypoint printf both 'x%s' y)" xy
    assert_equal "$(run_image --entrypoint= both echo cleared)" cleared
    printf 'FROM scratch\nCOPY Dockerfile /\n' >ctx/Dockerfile
    cbpush build -t none ctx 2>build.log
    run run_image none
    assert_status 2
}

@test "what a container changes is dropped" {
    run_image "$image" sh -c 'echo x >/changed; rm /bin/vi; echo y >>/etc/passwd'
    run_image "$image" sh -c 'test ! -e /changed && test -e /bin/vi && ! grep -q ^y /etc/passwd'
}

@test "-v: read-write, read-only, a file, and a path that has to be made" {
    mkdir data
    echo one >data/one
    run_image -v "$PWD/data:/data" "$image" sh -c 'cat /data/one >/data/two'
    assert_equal "$(cat data/two)" one
    run run_image -v "$PWD/data:/data:ro" "$image" touch /data/three
    [ "$status" -ne 0 ]
    [ ! -e data/three ]
    assert_equal "$(run_image -v "$PWD/data/one:/etc/one:ro" "$image" cat /etc/one)" one
    assert_equal "$(run_image -v "$PWD/data:/a/b/c" "$image" ls /a/b/c | paste -s -d ' ')" 'one two'
    run run_image -v relative:/data "$image" true
    assert_status 2
    run run_image -v "$PWD/missing:/data" "$image" true
    assert_status 2
    run run_image -v "$PWD/data:/data:rx" "$image" true
    assert_status 2
    assert_contains "$output" '"rx" is not done here; the options are ro, rw and z'
    assert_equal "$(run_image -v ./data:/data "$image" cat /data/one)" one
    run_image -v "$PWD/data:/data:z" -v "$PWD/data:/other:Z,rw" -v "$PWD/data:/third:rprivate,cached" "$image" rm /other/two
    [ ! -e data/two ]
    run run_image -v "$PWD/data:/data:z,ro" "$image" touch /data/three
    [ "$status" -ne 0 ]
    [ ! -e data/three ]
}

@test "-v: the devices that every container has may be opened elsewhere, and no others" {
    local isolation
    for isolation in native oci; do
        run_image --isolation "$isolation" -v /dev/null:/etc/group -v /dev/zero:/dev/random -v /dev/full:/full "$image" sh -c '
            cat /etc/group && echo x >/etc/group && head -c 3 /dev/random | od -An -tx1 && ! echo x >/full' >out 2>/dev/null
        assert_equal "$(cat out)" ' 00 00 00'
    done
    [ ! -c /dev/kmsg ] || assert_contains "$(run_image -v /dev/kmsg:/kmsg "$image" head -c 1 /kmsg 2>&1 || :)" 'Permission denied'
}

@test "-v: a link of the image does not lead the mount out of it" {
    mkdir data outside
    printf 'FROM busybox\nRUN ln -s %s/outside /link\n' "$PWD" >ctx/Dockerfile
    cbpush build -t linked ctx 2>build.log
    run run_image -v "$PWD/data:/link/x" linked sh -c 'echo in >/link/x/file'
    assert_equal "$(ls -A outside)" ''
}

@test "--read-only" {
    run run_image --read-only "$image" touch /x
    [ "$status" -ne 0 ]
    run_image --read-only "$image" sh -c 'echo x >/dev/null'
}

@test "--network none, host; names resolve in /etc/hosts" {
    assert_equal "$(run_image --network none "$image" ls /sys/class/net)" lo
    # shellcheck disable=SC2012 # names of interfaces
    assert_equal "$(run_image --network host "$image" ls /sys/class/net | sort)" "$(ls /sys/class/net | sort)"
    run_image --network none "$image" grep -q localhost /etc/hosts
    run run_image --network nosuch "$image" true
    assert_status 2
    # The registry listens on the host's loopback.
    run_image --network host "$image" wget -q -O - "http://$reg/v2/"
    run run_image --network none "$image" wget -q -T 2 -O - "http://$reg/v2/"
    [ "$status" -ne 0 ]
}

@test "in a network of its own any user may have port 80, as with Docker; the machine's settings are untouched" {
    local before
    before=$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range)
    assert_contains "$(run_image --network none -u 101 "$image" sh -c 'httpd -p 80 -h /etc && wget -q -O - http://127.0.0.1/group')" nogroup
    [ "$(id -u)" -ne 0 ] ||
        assert_contains "$(run_image --network none "$image" cat /proc/sys/net/ipv4/ping_group_range)" $'0\t2147483647'
    assert_equal "$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range)" "$before"
}

@test "-p: a port of ours reaches the container, on a network of its own" {
    needs_pasta
    local port other
    port=$(cb_free_port)
    other=$(cb_free_port)
    background web -p "$port:80" -p "127.0.0.1:$other:81" "$image" \
        sh -c 'mkdir /www; echo page >/www/index.html; httpd -p 81 -h /www; exec httpd -f -p 80 -h /www'
    assert_equal "$(fetch "http://127.0.0.1:$port/")" page
    assert_equal "$(fetch "http://127.0.0.1:$other/")" page
    # Its port 80 is not ours.
    [ -z "$(ss -Htln 'sport = :81')" ]
}

@test "--network private: the host's loopback is not there" {
    needs_pasta
    run run_image --network private "$image" wget -q -T 2 -O - "http://$reg/v2/"
    [ "$status" -ne 0 ]
    assert_contains "$(run_image --network private "$image" ls /sys/class/net)" lo
}

@test "--network private: names are resolved where the machine's only name server is on its loopback" {
    needs_pasta
    [ "$(id -u)" -eq 0 ] || skip 'replaces resolv.conf by a mount, as root'
    cat >dns.py <<'END'
import socket, subprocess, sys, threading
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.77", 53))
def answer():
    while True:
        query, client = server.recvfrom(512)
        end = query.index(0, 12) + 5
        server.sendto(query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + query[12:end] + b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" +
                      bytes([192, 0, 2, 77]), client)
threading.Thread(target=answer, daemon=True).start()
sys.exit(subprocess.call(sys.argv[1:]))
END
    echo 'nameserver 127.0.0.77' >resolv.conf
    run unshare -m --propagation private sh -c 'mount --bind resolv.conf /etc/resolv.conf && exec "$@"' sh \
        python3 -B dns.py "$CBPUSH" run --network private "$image" nslookup -type=a name.test
    assert_status 0
    assert_contains "$output" 192.0.2.77
}

@test "-p: words that are no ports, a port that is taken" {
    local spec
    for spec in x 80 0:80 80:0 70000:80 1:2:3:4 80:80/udp; do
        run run_image -p "$spec" "$image" true
        assert_status 2
    done
    run run_image --network none -p 8080:80 "$image" true
    assert_status 2
    run run_image --network host -p 8080:80 "$image" true
    assert_status 2
    run run_image --network host -p 127.0.0.1:8080:8080 "$image" true
    assert_status 2
    assert_contains "$output" 'which address'
    # The port is there anyway.
    run_image --network host -p 8080:8080 "$image" true
    needs_pasta
    run run_image -p "${reg##*:}:80" "$image" true
    assert_status 6
    assert_contains "$output" "${reg##*:}"
}

@test "a pasta that ends in silence, cannot be started, or complains: why" {
    needs_pasta
    local real
    real=$(command -v pasta)
    # Not below /tmp, which it has for itself.
    other_bin=$(mktemp -d /var/tmp/cbpush-test.XXXXXX)
    ln -s "$other_bin" bin
    printf '#!/bin/sh\nexit 3\n' >bin/pasta
    chmod 0755 bin/pasta
    PATH=$other_bin:$PATH run run_image --network private "$image" true
    assert_status 6
    assert_contains "$output" 'pasta ended with status 3'
    printf '#!/bin/sh\nkill -9 $$\n' >bin/pasta
    PATH=$other_bin:$PATH run run_image --network private "$image" true
    assert_contains "$output" 'pasta ended by signal 9'
    echo 'no program' >bin/pasta
    PATH=$other_bin:$PATH run run_image --network private "$image" true
    assert_status 6
    assert_contains "$output" 'Exec format error'
    printf '#!/bin/sh\n"%s" --no-such-option\n' "$real" >bin/pasta
    PATH=$other_bin:$PATH run run_image --network private "$image" true
    assert_contains "$output" 'no-such-option'
}

@test "a pasta that is slow: nothing begins before its interface has a default route" {
    needs_pasta
    local real
    real=$(command -v pasta)
    other_bin=$(mktemp -d /var/tmp/cbpush-test.XXXXXX)
    # An interface that is up has routes of its link at once.
    cat >"$other_bin/pasta" <<END
#!/bin/sh
for netns; do :; done
nsenter --net="\$netns" sh -c 'ip link add one type veth peer name two && ip link set one up && ip link set two up'
sleep 1
exec $real "\$@"
END
    chmod 0755 "$other_bin/pasta"
    PATH=$other_bin:$PATH run run_image --network private "$image" sh -c 'ip link; ip route'
    assert_status 0
    assert_contains "$output" 'one@two'
    assert_contains "$output" 'default via'
}

@test "the flask example serves its page" {
    needs_pasta
    cbpush build -t flask "$CB_TOP/contrib/examples/flask" 2>build.log || { cat build.log >&2; false; }
    local port
    port=$(cb_free_port)
    background flask -p "$port:5000" flask
    assert_equal "$(fetch "http://127.0.0.1:$port/")" 'Hello, World!'
}

@test "TERM ends the container and its processes; the status says so" {
    mkdir -p "$(rig_dir)/long"
    background long "$image" sh -c 'trap "echo bye; exit 3" TERM; sleep 600 & sleep 601 & wait'
    local pid tries status=0
    pid=$(cat "$(rig_dir)/long/pid")
    for ((tries = 0; tries < 100; tries++)); do
        [ "$(pgrep -fc 'sleep 60[01]' || :)" -lt 2 ] || break
        sleep 0.05
    done
    kill -TERM "$pid"
    for ((tries = 0; tries < 100; tries++)); do rig_alive "$pid" || break; sleep 0.05; done
    run ! rig_alive "$pid"
    assert_equal "$(cat "$(rig_dir)/long/out")" bye
    assert_equal "$(pgrep -fc 'sleep 60[01]' || :)" 0
}

@test "a container that ignores TERM is killed after its grace" {
    background stubborn "$image" sh -c 'trap "" TERM; while :; do sleep 0.2; done'
    local pid tries
    pid=$(cat "$(rig_dir)/stubborn/pid")
    sleep 1
    kill -TERM "$pid"
    for ((tries = 0; tries < 300; tries++)); do rig_alive "$pid" || break; sleep 0.05; done
    run ! rig_alive "$pid"
}

@test "processes that outlive the command end with it" {
    run_image "$image" sh -c 'sleep 602 & setsid sleep 602 & true'
    assert_equal "$(pgrep -fc 'sleep 602' || :)" 0
}

@test "-t: a reader that has gone hangs the terminal up" {
    SHELL=/bin/bash run script -qec "$CBPUSH run -t $image sh -c 'while :; do echo line; done' | head -n 1; echo status \${PIPESTATUS[0]}" /dev/null
    assert_contains "$output" "status $((128 + 1))"
    refute_contains "$output" 'Broken pipe'
}

@test "-it: a terminal, its size, and the status" {
    run script -qec "stty rows 33 cols 77; $CBPUSH run -it $image sh -c 'tty; stty size; exit 5'" /dev/null
    assert_status 5
    assert_contains "$output" /dev/
    assert_contains "$output" '33 77'
    run run_image -it "$image" true </dev/null
    assert_status 2
    assert_contains "$(run_image "$image" tty || :)" 'not a tty'
}

@test "the sandbox: processes, masked paths, devices, capabilities, seccomp" {
    run_image "$image" sh -c '
        ls /proc | grep -c "^[0-9]"
        cat /proc/kcore 2>/dev/null | head -c 1 | wc -c
        echo x 2>/dev/null >/proc/sys/kernel/hostname && echo writable
        touch /sys/x 2>/dev/null && echo writable
        echo b 2>/dev/null >/proc/sysrq-trigger && echo sysrq
        mknod /b b 8 0 2>/dev/null && cat /b >/dev/null 2>&1 && echo device
        mount -t tmpfs none /tmp 2>/dev/null && echo mounted
        unshare -U true 2>/dev/null && echo userns
        ls /dev | sort | paste -s -d " "
        grep -E "CapEff|Seccomp:" /proc/self/status | paste -s -d " "' >out
    [ "$(head -n 1 out)" -le 8 ]
    assert_equal "$(sed -n 2p out)" 0
    refute_contains "$(cat out)" writable
    refute_contains "$(cat out)" sysrq$'\n'
    refute_contains "$(cat out)" device
    refute_contains "$(cat out)" mounted
    refute_contains "$(cat out)" userns
    assert_contains "$(cat out)" 'fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero'
    assert_contains "$(cat out)" $'CapEff:\t00000000a80425fb'
    assert_contains "$(cat out)" $'Seccomp:\t2'
}

@test "the sandbox: an ordinary user of the image has no capabilities" {
    assert_contains "$(run_image -u nobody "$image" grep CapEff /proc/self/status)" $'CapEff:\t0000000000000000'
}

@test "zombies are reaped" {
    run_image "$image" sh -c 'for i in 1 2 3; do (sleep 0.1 &) ; done; sleep 0.5; ps -o stat | grep -c Z' >out || :
    assert_equal "$(cat out)" 0
}

@test "--memory: over it the command is killed" {
    run run_image --memory 32m "$image" sh -c 'head -c 300m /dev/zero | tail -c 200m | wc -c'
    if [ "$status" -eq 6 ]; then
        assert_contains "$output" cgroup
    else
        [ "$output" != 209715200 ] || rig_fail 'it was not limited'
    fi
    run run_image --memory many "$image" true
    assert_status 2
}

@test "an image is found by name, by ID, by digest; --pull" {
    cb_quietly pull cbpush pull "$image"
    local id
    id=$(cbpush inspect "$image" | jq -r .Id)
    run_image "${id:7:12}" true
    run_image "$id" true
    run_image "$image@$(cbpush inspect "$image" | jq -r .Digest)" true
    run_image --pull always "$image" true
    run run_image --pull never "$reg/not/here" true
    assert_status 5
    run run_image "$reg/not/here" true
    assert_status 4
    run run_image 'Not A Name' true
    [ "$status" -ne 0 ] && [ "$status" -ne 139 ]
}

@test "standard output closed: the container's status is not lost, and nothing hangs" {
    run timeout 20 bash -c "'$CBPUSH' run '$image' yes | head -n 1"
    assert_status 0
    assert_equal "$output" y
}

@test "many containers at the same time" {
    local i pids=()
    for i in 1 2 3 4 5 6; do
        "$CBPUSH" run "$image" sh -c "sleep 0.5; echo $i" >"out$i" 2>&1 3>&- &
        pids+=("$!")
    done
    for i in "${pids[@]}"; do wait "$i"; done
    assert_equal "$(cat out? | sort | paste -s -d ' ')" '1 2 3 4 5 6'
}

# What needs neither registry nor archive does without the libraries for them; what does, says which is missing.
@test "libraries that cannot be loaded" {
    [ "$(id -u)" -eq 0 ] || skip 'hides files by mounts, as root'
    local curl archive
    curl=$(ldconfig -p | sed -n 's/.*libcurl\.so\.4 .*=> //p' | head -n 1)
    archive=$(ldconfig -p | sed -n 's/.*libarchive\.so\.13 .*=> //p' | head -n 1)
    [ -n "$curl" ] && [ -n "$archive" ] && [ -z "$(ldd "$CBPUSH" | grep libcurl)" ] || skip 'they are linked'
    mkdir plain && echo a >plain/a && printf 'FROM scratch\nCOPY a /\n' >plain/Dockerfile
    tar -C plain -cf plain/t.tar a
    hidden()
    {
        # shellcheck disable=SC2016 # the inner shell's
        run unshare -m --propagation private sh -c 'mount --bind /dev/null "$1" && mount --bind /dev/null "$2" && shift 2 &&
            exec "$@"' sh "$curl" "$archive" "$CBPUSH" "$@"
    }
    hidden --version
    assert_status 0
    hidden build -o type=oci,dest=plain.oci,tar=false plain
    assert_status 0
    hidden pull 127.0.0.1:1/x:1
    assert_status 6
    assert_contains "$output" 'libcurl.so.4 cannot be loaded'
    printf 'FROM scratch\nADD t.tar /\n' >plain/Dockerfile
    hidden build plain
    assert_status 6
    assert_contains "$output" 'libarchive.so.13 cannot be loaded'
}

@test "help, version, doctor" {
    local verb
    for verb in build run pull push tag images rmi inspect history save load prune login logout doctor version; do
        run --separate-stderr cbpush "$verb" --help
        assert_status 0
        assert_contains "$output" "cbpush $verb"
        # shellcheck disable=SC2154 # set by run
        assert_equal "$stderr" ''
        assert_contains "$(cbpush help)" "$verb"
    done
    assert_contains "$(cbpush version)" cbpush
    assert_contains "$(cbpush version)" libarchive
    run cbpush --version
    assert_equal "${#lines[@]}" 1
    assert_contains "$output" cbpush
    run cbpush doctor
    assert_status 0
    cbpush doctor --json | jq -e 'map(.state) | length > 3'
}
