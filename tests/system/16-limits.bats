#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What a RUN may use of the machine: limits as the step feels them, what a Dockerfile may only ask for (--allow), CDI
# devices, name resolution, proxies.

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
}

# step COMMAND [ARG…]: the output of `RUN COMMAND` in an image of busybox, built with ARGs.
step()
{
    printf 'FROM busybox\nRUN %s\n' "$1" >ctx/Dockerfile
    shift
    cbpush build --no-cache --progress plain "$@" ctx >step.log 2>&1 || { cat step.log; return 1; }
    sed -n 's/^#[0-9]* [0-9.]* //p' step.log
}

# Whether a cgroup can be had here; without one a limit is an error that says what would help.
cgroups_work()
{
    [ "$(id -u)" -eq 0 ] || return 1
    local dir=/sys/fs/cgroup
    [ -e $dir/cgroup.controllers ] || dir=$dir/memory
    mkdir "$dir/cbpush-rig-$$" 2>/dev/null && rmdir "$dir/cbpush-rig-$$"
}

# cgroup_file NAME…: waits for a file of that name (v1's or v2's) in a cgroup of ours, and prints it.
cgroup_file()
{
    local tries name
    for ((tries = 0; tries < 100; tries++)); do
        for name; do
            find /sys/fs/cgroup -path "*cbpush-[0-9]*/$name" -exec cat {} + 2>/dev/null | grep . && return
        done
        sleep 0.05
    done
    rig_fail "no cgroup has $*"
}

@test "--ulimit: soft, hard, none; as the step sees them" {
    assert_equal "$(step 'ulimit -n; ulimit -Hn; ulimit -c' --ulimit nofile=123:456 --ulimit core=0 | paste -s -d ' ')" '123 456 0'
    assert_equal "$(step 'ulimit -s' --ulimit stack=unlimited)" unlimited
    refused 2 --ulimit nofile=5:4
    assert_contains "$output" 'above the hard one'
    refused 2 --ulimit nofiles=5
    assert_contains "$output" nofiles
    refused 2 --ulimit nofile
    refused 2 --ulimit nofile=many
}

@test "--shm-size: of /dev/shm" {
    assert_equal "$(step 'df -k /dev/shm | tail -n 1 | tr -s " " | cut -d " " -f 2')" 65536
    assert_equal "$(step 'df -k /dev/shm | tail -n 1 | tr -s " " | cut -d " " -f 2' --shm-size 3m)" 3072
    refused 2 --shm-size much
}

# The cgroups of the cbpush with this PID.
cgroups_of()
{
    find /sys/fs/cgroup -type d -name "cbpush-$1-*"
}

@test "cgroups: those of a cbpush that was killed go with the next one; what is in use stays; with what was made in them" {
    cgroups_work || skip 'no cgroup can be made here'
    local killed used dir
    "$CBPUSH" run --memory 64m --cpus 1 "$reg/library/busybox" sleep 600 3>&- &
    killed=$!
    "$CBPUSH" run --memory 64m "$reg/library/busybox" sleep 600 3>&- &
    used=$!
    for _ in {1..100}; do
        [ -z "$(cgroups_of $killed)" ] || [ -z "$(cgroups_of $used)" ] || break
        sleep 0.05
    done
    dir=$(cgroups_of $used | head -n 1)
    for _ in {1..100}; do grep -q . "$dir/cgroup.procs" && break; sleep 0.05; done
    kill -9 $killed
    wait $killed || :
    [ -n "$(cgroups_of $killed)" ]
    sleep 0.2
    cbpush run --memory 64m --cpus 1 "$reg/library/busybox" true
    assert_equal "$(cgroups_of $killed)" ''
    [ -d "$dir" ]
    mkdir "$dir/made"
    kill -TERM $used
    wait $used || :
    [ ! -d "$dir" ]
}

@test "cgroup v2: a controller that is not handed down is told from a kernel that has none" {
    [ "$(id -u)" -eq 0 ] && [ -e /sys/fs/cgroup/unified/cgroup.controllers ] || skip 'needs root, and both versions'
    ! grep -qw memory /sys/fs/cgroup/unified/cgroup.controllers || skip 'memory is with the second version'
    # shellcheck disable=SC2016 # the other shell's
    run unshare -m --propagation private sh -c 'umount -l /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup &&
        "$@"; status=$?; ls -d /sys/fs/cgroup/cbpush-[0-9]* 2>/dev/null; exit $status' sh \
        "$CBPUSH" run --memory 64m "$reg/library/busybox" true
    assert_status 6
    assert_contains "$output" 'not handed down'
    assert_contains "$output" Delegate=yes
    refute_contains "$output" /sys/fs/cgroup/cbpush-
}

@test "--pids-limit: a step that starts more gets no further, and ends" {
    cgroups_work && { [ -e /sys/fs/cgroup/pids ] || grep -qw pids /sys/fs/cgroup/cgroup.controllers; } || skip 'no cgroup can be made here'
    # shellcheck disable=SC2016 # the container's
    run cbpush run --pids-limit 5 "$reg/library/busybox" sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 60 & done 2>/dev/null; jobs | wc -l'
    refute_contains "$output" 8
    assert_equal "$(cbpush run --pids-limit 5 "$reg/library/busybox" sh -c '(:); echo all')" all
    assert_equal "$(step 'sleep 0.1 & sleep 0.1 & wait; echo all' --pids-limit 4)" all
    run step 'b() { b | b & }; b; sleep 5' --pids-limit 20
    assert_equal "$(cbpush run --pids-limit -1 "$reg/library/busybox" echo none)" none
    run cbpush run --pids-limit many "$reg/library/busybox" true
    assert_status 2
    run cbpush run --isolation oci --pids-limit 5 "$reg/library/busybox" true
    assert_status 6
    assert_contains "$output" native
}

@test "limits are not part of the cache key" {
    printf 'FROM busybox\nRUN cat /proc/sys/kernel/random/uuid >/when\n' >ctx/Dockerfile
    cbpush build --iidfile a ctx
    cbpush build --iidfile b --ulimit nofile=99 --shm-size 1m ctx
    assert_equal "$(cat a)" "$(cat b)"
    cbpush build --iidfile c --add-host x:192.0.2.1 ctx
    [ "$(cat a)" != "$(cat c)" ]
}

@test "--memory: a step that wants more is killed" {
    printf 'FROM busybox\nRUN head -c 60m /dev/zero >/dev/shm/x && echo enough\n' >ctx/Dockerfile
    run cbpush build --no-cache --memory 20m --progress plain ctx
    if ! cgroups_work; then
        assert_status 6
        assert_contains "$output" cgroup
        return
    fi
    assert_status 1
    assert_contains "$output" 'exit code: 137'
    run cbpush build --no-cache --memory 200m --progress plain ctx
    assert_status 0
    assert_contains "$output" enough
}

@test "--cpus, --cpu-shares, --cpuset-cpus, --cgroup-parent: the step's cgroup, gone afterwards" {
    printf 'FROM busybox\nRUN sleep 4\n' >ctx/Dockerfile
    if ! cgroups_work; then
        run cbpush build --no-cache --cpus 1 ctx
        assert_status 6
        assert_contains "$output" cgroup
        return
    fi
    local parent=cbpush-rig-$$
    cbpush build --no-cache --cpus 0.5 --cpu-shares 512 --cpuset-cpus 0 --memory 64m --memory-swap -1 \
        --cgroup-parent "/$parent/deep" ctx >out 2>&1 3>&- &
    local pid=$!
    cgroup_file cpu.cfs_quota_us cpu.max >quota
    assert_contains "$(cat quota)" 50000
    assert_contains "$(cgroup_file cpu.shares cpu.weight)" "$([ -e /sys/fs/cgroup/cgroup.controllers ] && echo 20 || echo 512)"
    assert_equal "$(cgroup_file cpuset.cpus)" 0
    assert_contains "$(find /sys/fs/cgroup -path '*/cbpush-[0-9]*/cgroup.procs')" "/$parent/deep/cbpush-"
    grep -q . "$(find /sys/fs/cgroup -path "*/$parent/deep/cbpush-*/cgroup.procs" | head -n 1)"
    wait "$pid"
    assert_equal "$(find /sys/fs/cgroup -name "$parent")" ''
    assert_equal "$(find /sys/fs/cgroup -name 'cbpush-[0-9]*')" ''
}

@test "limits that make no sense, or that the kernel refuses" {
    printf 'FROM busybox\nRUN true\n' >ctx/Dockerfile
    refused 2 --memory-swap 1g
    refused 2 --memory 1g --memory-swap 512m
    refused 2 --cpus 0
    refused 2 --cpus 1.x
    refused 2 --cpus 1 --cpu-quota 5000
    refused 2 --cpu-period 5
    cgroups_work || return 0
    refused 2 --no-cache --cpuset-cpus 9999
    assert_contains "$output" --cpuset-cpus
    assert_equal "$(find /sys/fs/cgroup -name 'cbpush-[0-9]*')" ''
}

@test "RUN --network=host, --security=insecure, --device: only on the command line's word" {
    printf 'FROM busybox\nRUN --network=host true\n' >ctx/Dockerfile
    refused 5
    assert_contains "$output" 'Dockerfile:2'
    assert_contains "$output" '--allow network.host'
    refused 5 --network none
    build --allow network.host
    build --no-cache --network host
    printf 'FROM busybox\nRUN --security=insecure true\n' >ctx/Dockerfile
    refused 5 --allow network.host
    assert_contains "$output" '--allow security.insecure'
    printf 'FROM busybox\nRUN --device=v.com/c=d true\n' >ctx/Dockerfile
    refused 5
    assert_contains "$output" '--allow device=v.com/c=d'
    refused 5 --allow device=v.com/other
    refused 2 --allow everything
    assert_contains "$output" 'security.insecure'
}

@test "RUN --security=insecure: every capability, no filter, nothing masked; the next step has none of it" {
    printf '%s\n' 'FROM busybox' \
        'RUN --security=insecure grep -E "^(CapEff|Seccomp):" /proc/self/status && mkdir /m && mount -t tmpfs none /m && umount /m && rmdir /m && mount | grep " /sys "' \
        'RUN grep -E "^(CapEff|Seccomp):" /proc/self/status; mount -t tmpfs none /mnt || echo refused' >ctx/Dockerfile
    build --no-cache --allow security.insecure >out 2>&1
    assert_contains "$(cat out)" $'Seccomp:\t0'
    assert_contains "$(cat out)" $'Seccomp:\t2'
    assert_contains "$(cat out)" refused
    assert_contains "$(grep ' on /sys ' out)" 'rw,'
    if [ "$(id -u)" -eq 0 ]; then
        grep -E $'CapEff:\t000001f{8,}' out || assert_contains "$(cat out)" "$(grep CapEff /proc/self/status)"
    fi
}

@test "RUN --security=insecure is part of the cache key" {
    printf 'FROM busybox\nRUN cat /proc/sys/kernel/random/uuid >/when\n' >ctx/Dockerfile
    cbpush build --iidfile a ctx
    printf 'FROM busybox\nRUN --security=insecure cat /proc/sys/kernel/random/uuid >/when\n' >ctx/Dockerfile
    cbpush build --iidfile b --allow security.insecure ctx
    [ "$(cat a)" != "$(cat b)" ]
}

# cdi FILE: standard input becomes a spec; build with $cdi.
cdi()
{
    write "cdi/$1"
    cdi=(--allow device --cdi-config-dir "$PWD/cdi")
}

@test "CDI: device node, mount, environment; gone after the step, and not in the image" {
    write shared/lib <<<'from the machine'
    cdi v.json <<END
{"cdiVersion": "0.6.0", "kind": "v.com/gpu",
 "containerEdits": {"env": ["ALL=1"]},
 "devices": [
  {"name": "one", "containerEdits": {"env": ["GPU=one"],
    "deviceNodes": [{"path": "/dev/v/one", "hostPath": "/dev/null"}, {"path": "/opt/zero", "hostPath": "/dev/zero"}],
    "mounts": [{"hostPath": "$PWD/shared", "containerPath": "/opt/v", "options": ["rbind"]}]}},
  {"name": "two", "containerEdits": {"env": ["GPU2=two"]}}]}
END
    printf '%s\n' 'FROM busybox' \
        'RUN --device=v.com/gpu=one echo "$ALL $GPU" >/said; echo lost >/dev/v/one && head -c 3 /opt/zero | wc -c >>/said; cat /opt/v/lib >>/said; touch /opt/v/x 2>/dev/null || echo readonly >>/said' \
        'RUN ls /dev/v /opt 2>&1 | grep -v "No such" >>/said; echo "[$ALL$GPU]" >>/said' \
        'RUN --device=v.com/gpu=* echo "$GPU $GPU2" >>/said' \
        'RUN --device=v.com/gpu echo "first [$GPU][$GPU2]" >>/said' >ctx/Dockerfile
    built "${cdi[@]}"
    assert_equal "$(paste -s -d '|' "$rootfs/said")" '1 one|3|from the machine|readonly|[]|one two|first [one][]'
    [ ! -e "$rootfs/opt" ]
    assert_equal "$(find "$rootfs" -path '*v/one')" ''
    [ ! -e shared/x ]
    assert_equal "$(config '[.config.Env[] | select(test("GPU|ALL"))]')" '[]'
}

@test "CDI: the step's mode and owner of a device are not felt by the machine" {
    [ "$(id -u)" -eq 0 ] || skip 'an ordinary user owns no device'
    cdi v.json <<<'{"kind":"v.com/x","devices":[{"name":"n","containerEdits":{"deviceNodes":[{"path":"/dev/n","type":"c","major":1,"minor":3,"fileMode":384,"uid":7}]}}]}'
    printf '%s\n' 'FROM busybox' 'RUN --device=v.com/x=n stat -c "%a %u:%g %t:%T" /dev/n && chmod 0 /dev/n' >ctx/Dockerfile
    local before
    before=$(stat -c %a /dev/null)
    build "${cdi[@]}" >out 2>&1
    assert_contains "$(cat out)" '600 7:0 1:3'
    assert_equal "$(stat -c %a /dev/null)" "$before"
}

@test "CDI: a device that is not there: required or not; hooks and YAML are refused" {
    cdi v.json <<<'{"kind":"v.com/x","devices":[{"name":"hooked","containerEdits":{"hooks":[{"hookName":"createRuntime","path":"/bin/true"}]}}]}'
    printf 'FROM busybox\nRUN --device=v.com/x=none true\n' >ctx/Dockerfile
    build "${cdi[@]}" >out 2>&1
    assert_contains "$(cat out)" 'v.com/x=none is not there'
    printf 'FROM busybox\nRUN --device=v.com/x=none,required true\n' >ctx/Dockerfile
    refused 5 "${cdi[@]}"
    assert_contains "$output" 'v.com/x=none'
    printf 'FROM busybox\nRUN --device=v.com/x=hooked true\n' >ctx/Dockerfile
    refused 5 "${cdi[@]}"
    assert_contains "$output" hooks
    assert_contains "$output" v.json
    : | write cdi/nvidia.yaml
    printf 'FROM busybox\nRUN --device=nvidia.com/gpu=0 true\n' >ctx/Dockerfile
    refused 5 "${cdi[@]}"
    assert_contains "$output" nvidia.yaml
    cdi broken.json <<<'{"kind":'
    refused 5 "${cdi[@]}"
    assert_contains "$output" broken.json
}

@test "/etc/hosts and /etc/resolv.conf: what the step sees; the image's own are untouched" {
    printf '%s\n' 'FROM busybox' 'COPY hosts resolv.conf /etc/' \
        'RUN cat /etc/hosts /etc/resolv.conf; echo 6.6.6.6 evil >>/etc/hosts; echo nameserver 6.6.6.6 >>/etc/resolv.conf; touch /made' \
        >ctx/Dockerfile
    echo '# of the image' | tee ctx/hosts >ctx/resolv.conf
    built --add-host db:192.0.2.7 --add-host 'six=[2001:db8::1]' --add-host gw:host-gateway \
        --dns 192.0.2.53 --dns-search lan.example --dns-search example.com --dns-option ndots:2
    assert_contains "$log" $'127.0.0.1\tlocalhost'
    assert_contains "$log" $'192.0.2.7\tdb'
    assert_contains "$log" $'2001:db8::1\tsix'
    assert_contains "$log" $'127.0.0.1\tgw'
    assert_contains "$log" 'nameserver 192.0.2.53'
    assert_contains "$log" 'search lan.example example.com'
    assert_contains "$log" 'options ndots:2'
    assert_equal "$(cat "$rootfs/etc/hosts" "$rootfs/etc/resolv.conf" | sort -u)" '# of the image'
    assert_equal "$(layer_names -1)" made
    refused 2 --dns not-an-address
    refused 2 --dns-search 'a b'
}

@test "symbolic links in the place of /etc/hosts and /etc/resolv.conf stay, and so does what they lead to" {
    mkdir -p ctx/root/etc ctx/root/run/r
    ln -s ../run/r/resolv.conf ctx/root/etc/resolv.conf
    ln -s /run/r/missing ctx/root/etc/hosts
    echo kept >ctx/root/run/r/resolv.conf
    printf '%s\n' 'FROM busybox' 'COPY root /' \
        'RUN cat /etc/resolv.conf /etc/hosts; echo changed | tee /etc/resolv.conf >/etc/hosts' >ctx/Dockerfile
    built --dns 192.0.2.53
    assert_contains "$log" 'nameserver 192.0.2.53'
    assert_contains "$log" $'127.0.0.1\tlocalhost'
    assert_equal "$(cat "$rootfs/run/r/resolv.conf")" kept
    assert_equal "$(readlink "$rootfs/etc/resolv.conf")" ../run/r/resolv.conf
    assert_equal "$(readlink "$rootfs/etc/hosts")" /run/r/missing
    [ ! -e "$rootfs/run/r/missing" ]
}

@test "proxies: of docker's config.json and --build-arg in RUN, not in history, environment or key" {
    printf 'FROM busybox\nRUN echo "[$HTTPS_PROXY][$https_proxy][$no_proxy]" >/said; cat /proc/sys/kernel/random/uuid >/when\n' >ctx/Dockerfile
    mkdir docker
    export DOCKER_CONFIG=$PWD/docker
    echo '{"proxies": {"default": {"httpsProxy": "http://p.example:3128", "noProxy": "lan"}}}' >docker/config.json
    built
    assert_equal "$(cat "$rootfs/said")" '[http://p.example:3128][http://p.example:3128][lan]'
    refute_contains "$(config .)" p.example
    local before
    before=$(metadata -r '."containerimage.digest"')
    build --build-arg https_proxy=http://other.example
    assert_equal "$(metadata -r '."containerimage.digest"')" "$before"
    built --no-cache --build-arg HTTPS_PROXY=http://given.example
    assert_contains "$(cat "$rootfs/said")" '[http://given.example][http://given.example]'
    echo '{"proxies": []}' >docker/config.json
    refused 5
    assert_contains "$output" config.json
    echo '{}' >docker/config.json
    https_proxy=http://env.example built --no-cache --http-proxy
    assert_contains "$(cat "$rootfs/said")" '[http://env.example]'
}
