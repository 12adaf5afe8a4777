#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The same without root: an ordinary user with a range of subordinate ids, and one that has none. Run without root, the
# whole suite is rootless, and this file is skipped.
#
# On the disk: rights and extended attributes. (run.sh puts what the other files make into memory.)

load helpers
load build
load users

setup_file()
{
    [ "$(id -u)" -eq 0 ] || skip 'without root every file tests this'
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

@test "range: build, push and run; owners are those of the image" {
    dockerfile <<'END'
FROM busybox
RUN echo x >/owned && chown 5:6 /owned && chmod 4755 /owned && adduser -D someone 2>/dev/null || echo 'someone:x:1000:1000::/home:/bin/sh' >>/etc/passwd
COPY --chown=nobody:users Dockerfile /copied
RUN id -u >/root-id && touch /by-root
USER nobody
RUN id -u >/tmp/id && touch /tmp/by-nobody
END
    chown -R "$USER_ID" ctx
    as_user "$RANGE" "$CBPUSH" build --progress plain --push "$reg/test/app:1" ctx >build.log 2>&1 || { cat build.log >&2; false; }
    judged test/app:1
    assert_equal "$(mode_of /owned)" '4755 5:6'
    assert_equal "$(mode_of /copied)" '644 65534:100'
    assert_equal "$(mode_of /by-root)" '644 0:0'
    assert_equal "$(mode_of /tmp/by-nobody)" '644 65534:65534'
    assert_equal "$(cat "$rootfs/root-id" "$rootfs/tmp/id")" $'0\n65534'
    assert_equal "$(ran id -u)" 65534
    assert_equal "$(as_user "$RANGE" "$CBPUSH" run -u 5 "$reg/test/app:1" sh -c 'id -u; stat -c %u:%g /owned')" $'5\n5:6'
}

@test "range: the layers are the same as root's" {
    export SOURCE_DATE_EPOCH=1700000000
    dockerfile <<'END'
FROM busybox
WORKDIR /w
COPY --chown=3:4 Dockerfile /w/
RUN mkdir d && echo 1 >d/f && chown 7:8 d/f && rm /bin/vi && mkdir /etc/new && ln d/f /hard && mkfifo /fifo
RUN rm -r d && mkdir d && touch d/second
END
    chown -R "$USER_ID" ctx
    as_user "$RANGE" "$CBPUSH" build --progress quiet --push "$reg/test/user:1" ctx
    CBPUSH_ROOT=$BATS_TEST_TMPDIR/store cbpush build --progress quiet --push "$reg/test/root:1" ctx
    judged test/user:1
    local ids
    ids=$(diff_ids)
    judged test/root:1
    assert_equal "$(diff_ids)" "$ids"
}

@test "one id: build, push and run as root of the container" {
    dockerfile <<'END'
FROM busybox
WORKDIR /app
RUN id -u >/id && mkdir /d && echo 1 >/d/1 && rm /bin/vi && chmod 750 /d
COPY --chown=nobody:users Dockerfile /copied
RUN rm /d/1 && echo 2 >/d/2
CMD ["cat", "/id"]
END
    chown -R "$USER_ID" ctx
    as_user '' "$CBPUSH" build --progress plain --push "$reg/test/app:1" ctx >build.log 2>&1 || { cat build.log >&2; false; }
    judged test/app:1
    assert_equal "$(cat "$rootfs/id")" 0
    assert_equal "$(ls "$rootfs/d")" 2
    assert_equal "$(mode_of /d)" '750 0:0'
    assert_equal "$(mode_of /d/2)" '644 0:0'
    [ ! -L "$rootfs/bin/vi" ]
    # Ownership is kept in the layer, though not on the disk.
    assert_equal "$(mode_of /copied)" '644 65534:100'
    assert_equal "$(ran)" 0
    assert_equal "$(as_user '' "$CBPUSH" run "$reg/test/app:1")" 0
}

@test "one id: a parent whose files belong to many is unpacked, and its owners survive a RUN" {
    local dir=$BATS_TEST_TMPDIR/parent
    printf 'FROM busybox\nRUN mkdir /many && for i in 1 2 3; do echo $i >/many/$i; chown $i:$i /many/$i; done\n' >ctx/Dockerfile
    CBPUSH_ROOT=$dir cbpush build --progress quiet --push "$reg/test/many:1" ctx
    printf 'FROM %s/test/many:1\nRUN cat /many/* >/all && chmod 600 /many/2\n' "$reg" >ctx/Dockerfile
    chown -R "$USER_ID" ctx
    as_user '' "$CBPUSH" build --progress quiet --push "$reg/test/app:1" ctx
    judged test/app:1
    assert_equal "$(cat "$rootfs/all" | paste -s -d ' ')" '1 2 3'
    assert_equal "$(mode_of /many/1)" '644 1:1'
    assert_equal "$(mode_of /many/2)" '600 2:2'
}

# As with buildx, whose client writes them, and rootless podman: who ran the build can change and remove what it wrote.
@test "type=local: the files are the user's own, whoever they belong to in the image" {
    dockerfile <<'END'
FROM busybox
COPY --chown=nobody:users Dockerfile /copied
RUN mkdir -p /many && echo 1 >/many/1 && mkfifo /many/fifo && ln -s 1 /many/link && chown -Rh 5:6 /many && chmod 0500 /many
END
    chown -R "$USER_ID" ctx
    local range
    for range in "$RANGE" ''; do
        as_user "$range" "$CBPUSH" build --progress plain -o "$HOME/out" ctx >build.log 2>&1 || { cat build.log >&2; false; }
        # Over what is there, as well.
        as_user "$range" "$CBPUSH" build --progress plain -o "$HOME/out" ctx >build.log 2>&1 || { cat build.log >&2; false; }
        assert_equal "$(cat "$HOME/out/many/1")" 1
        assert_equal "$(stat -c %a "$HOME/out/many")" 500
        assert_equal "$(find "$HOME/out" ! -uid "$USER_ID" -o ! -gid "$USER_ID")" ''
        as_user '' sh -c 'chmod u+w "$1/many" && rm -r "$1"' sh "$HOME/out"
    done
}

@test "the sandbox is the same without root" {
    local range
    for range in "$RANGE" ''; do
        as_user "$range" "$CBPUSH" run "$image" sh -c '
            ls /proc | grep -c "^[0-9]"
            mount -t tmpfs none /tmp 2>/dev/null && echo mounted
            echo x 2>/dev/null >/proc/sys/kernel/hostname && echo writable
            grep -E "CapEff|Seccomp:" /proc/self/status | paste -s -d " "' >out
        [ "$(head -n 1 out)" -le 8 ]
        refute_contains "$(cat out)" mounted
        refute_contains "$(cat out)" writable
        assert_contains "$(cat out)" $'CapEff:\t00000000a80425fb'
        assert_contains "$(cat out)" $'Seccomp:\t2'
    done
}

@test "the sandbox hides what tells of the machine's heat, as Docker does" {
    # The machine's own /sys is shown without root, so it can have what this one lacks.
    mkdir -p cpus/cpu0/thermal_throttle cpus/cpu12/thermal_throttle cpus/cpufreq/thermal_throttle cpus/cpu1
    touch cpus/{cpu0,cpu12,cpufreq}/thermal_throttle/count
    chmod -R a+rX cpus
    heat()
    {
        mount --bind cpus /sys/devices/system/cpu
        as_user "$RANGE" "$CBPUSH" run "$@" "$image" find /sys/devices/system/cpu -name count
    }
    export -f heat as_user
    export RANGE USER_ID image
    assert_equal "$(unshare -m --propagation private bash -c heat)" /sys/devices/system/cpu/cpufreq/thermal_throttle/count
    assert_equal "$(unshare -m --propagation private bash -c 'heat --isolation oci')" \
        /sys/devices/system/cpu/cpufreq/thermal_throttle/count
}

@test "without root the store is below the home directory, and nobody else can read it" {
    unset CBPUSH_ROOT
    export -n CBPUSH_ROOT
    as_user "$RANGE" env "HOME=$HOME" "XDG_DATA_HOME=$XDG_DATA_HOME" "$CBPUSH" run "$image" true
    [ -d "$XDG_DATA_HOME/cbpush/blobs" ]
    assert_equal "$(stat -c '%u %a' "$XDG_DATA_HOME/cbpush")" "$USER_ID 700"
    export CBPUSH_ROOT=$XDG_DATA_HOME/cbpush
}

@test "prune removes trees that belong to subordinate ids" {
    printf 'FROM busybox\nRUN mkdir /x && touch /x/y && chown -R 9:9 /x && chmod 700 /x\nRUN touch /more\n' >ctx/Dockerfile
    chown -R "$USER_ID" ctx
    as_user "$RANGE" "$CBPUSH" build --progress quiet -t x ctx
    as_user "$RANGE" "$CBPUSH" run x true
    as_user "$RANGE" "$CBPUSH" rmi x
    as_user "$RANGE" "$CBPUSH" prune --all
    assert_equal "$(find "$CBPUSH_ROOT/trees" "$CBPUSH_ROOT/blobs" -type f 2>/dev/null | wc -l)" 0
}

@test "doctor tells which way is open" {
    run as_user "$RANGE" "$CBPUSH" doctor
    assert_status 0
    assert_contains "$output" subuid
    run as_user 200000:100 "$CBPUSH" doctor
    assert_status 0
    assert_contains "$output" 'missing  subuid range               101 ids are mapped: files cannot belong to users from 101 on'
    assert_contains "$output" usermod
    run as_user '' "$CBPUSH" doctor
    assert_contains "$output" subuid
    assert_contains "$output" '→'
}

# A user namespace with all ids, in which no other may be made: its process is $forbidding.
forbid_namespaces()
{
    mkdir -p "$(rig_dir)/userns"
    rig_spawn "$(rig_dir)/userns" unshare --user sleep 60
    local tries
    forbidding=$(cat "$(rig_dir)/userns/pid")
    for ((tries = 0; tries < 100; tries++)); do
        [ "$(readlink "/proc/$forbidding/ns/user")" = "$(readlink /proc/self/ns/user)" ] || break
        sleep 0.02
    done
    echo '0 0 4294967295' >"/proc/$forbidding/uid_map"
    echo '0 0 4294967295' >"/proc/$forbidding/gid_map"
    nsenter --user --target "$forbidding" --setuid 0 --setgid 0 sh -c 'echo 0 >/proc/sys/user/max_user_namespaces'
}

# An ordinary user there.
as_forbidden()
{
    # shellcheck disable=SC2016 # the other shell expands it
    nsenter --user --target "$forbidding" --setuid 0 --setgid 0 bash -c "$(declare -f as_user)"'
        USER_ID=$1
        shift
        as_user "$@"' bash "$USER_ID" "$RANGE" "$@"
}

@test "where user namespaces are forbidden: exit 6, and the one change that helps" {
    forbid_namespaces
    run as_forbidden "$CBPUSH" run "$image" true
    assert_status 6
    assert_contains "$output" max_user_namespaces
}

# As in a pod that may not run as root. Most images of Go programs and of static sites have no RUN.
@test "where user namespaces are forbidden: a build without RUN works, and one with RUN says what helps" {
    forbid_namespaces
    mkdir archive
    echo packed >archive/p
    tar -cf ctx/a.tar -C archive p
    dockerfile <<'END'
FROM busybox AS made
WORKDIR /made
COPY Dockerfile .
FROM busybox
COPY --from=made /made /copied
COPY --from=made /bin/busybox /other
COPY --chown=12:13 --chmod=640 Dockerfile /owned
ADD a.tar /unpacked/
END
    chown -R "$USER_ID" ctx
    as_forbidden "$CBPUSH" build --progress plain --push "$reg/test/app:1" ctx
    judged test/app:1
    assert_equal "$(mode_of /owned)" '640 12:13'
    assert_equal "$(mode_of /other)" '755 0:0'
    assert_equal "$(cat "$rootfs/unpacked/p")" packed
    cmp ctx/Dockerfile "$rootfs/copied/Dockerfile"
    as_forbidden "$CBPUSH" build --progress plain -o "$HOME/out" ctx
    assert_equal "$(cat "$HOME/out/unpacked/p")" packed
    echo 'RUN true' >>ctx/Dockerfile
    run as_forbidden "$CBPUSH" build --progress plain --push "$reg/test/app:2" ctx
    assert_status 6
    assert_contains "${lines[-1]}" 'Dockerfile:9: cannot make a user namespace (run `sysctl -w user.max_user_namespaces'
    as_forbidden "$CBPUSH" prune --all
}
