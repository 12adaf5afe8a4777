#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# RUN --mount as an ordinary user, with a range of subordinate ids and with one id.
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
    user_setup
}

# user_build RANGE [ARG…]: what the steps print is in $log.
user_build()
{
    local range=$1 status=0
    shift
    chown -R "$USER_ID" ctx
    as_user "$range" "$CBPUSH" build --progress plain --push "$reg/test/app:1" "$@" ctx >build.log 2>&1 || status=$?
    log=$(cat build.log)
    [ "$status" -eq 0 ] || rig_fail "exit status $status: $log" || return
    judged test/app:1
}

@test "all types of mounts, with a range of ids and with one" {
    printf s3cret >secret
    chmod 644 secret
    mkdir "$(rig_dir)/agent" agent
    chown "$USER_ID" agent
    rig_spawn "$(rig_dir)/agent" setpriv --reuid "$USER_ID" --regid "$USER_ID" --clear-groups ssh-agent -D -a "$BATS_TEST_TMPDIR/agent/sock"
    write ctx/d/f <<<'context'
    write ctx/d/hidden <<<'hidden'
    echo d/hidden >ctx/.dockerignore
    dockerfile <<'END'
FROM busybox AS other
RUN mkdir /o && echo stage >/o/f && mkdir /o/dir && echo x >/o/dir/x
FROM busybox
ARG N
RUN --mount=source=d,target=/d --mount=target=/rw,rw --mount=from=other,source=/o,target=/o,rw \
    cat /d/f /o/f >/out && ls /d >>/out && stat -c "%u:%g" /d/f >>/out && echo new >/o/f && rm -r /o/dir && echo new >/rw/d/f
RUN --mount=type=cache,target=/c --mount=type=cache,from=other,source=/o,target=/s --mount=type=tmpfs,target=/t,size=1m \
    echo "$N" >>/c/log && cat /c/log /s/f /s/dir/x >>/out && stat -c "%u:%g" /s/f >>/out && touch /t/x
RUN --mount=type=secret,id=s,required --mount=type=secret,id=s,env=S --mount=type=ssh,required \
    cat /run/secrets/s >>/out && stat -c " %a %u:%g" /run/secrets/s >>/out && echo "$S" >>/out && stat -c "%F %a" "$SSH_AUTH_SOCK" >>/out
RUN ls -d /d /rw /o /c /s /t /run 2>/dev/null | wc -l >>/out
END
    local range
    for range in "$RANGE" ''; do
        export CBPUSH_ROOT=$HOME/store-${range:+range}
        SSH_AUTH_SOCK=$BATS_TEST_TMPDIR/agent/sock user_build "$range" --build-arg N=1 --secret id=s,src=secret --ssh default
        assert_equal "$(cat "$rootfs/out")" $'context\nstage\nf\n0:0\n1\nstage\nx\n0:0\ns3cret 400 0:0\ns3cret\nsocket 600\n0'
        SSH_AUTH_SOCK=$BATS_TEST_TMPDIR/agent/sock user_build "$range" --build-arg N=2 --secret id=s,src=secret --ssh default
        assert_contains "$(paste -s -d ' ' "$rootfs/out")" '1 2 stage'
        assert_equal "$(cat ctx/d/f)" context
        run as_user "$range" "$CBPUSH" prune --mounts
        assert_contains "$output" 'freed 2 cache mounts'
    done
}

@test "range: owners of caches, secrets and sockets" {
    printf s3cret >secret
    chmod 644 secret
    dockerfile <<'END'
FROM busybox AS other
RUN mkdir /o && echo x >/o/f && chown 7:8 /o/f
FROM busybox
USER nobody
RUN --mount=type=cache,target=/c,uid=65534 --mount=type=cache,from=other,source=/o,target=/s --mount=type=secret,id=s,uid=65534 \
    cat /run/secrets/s >/tmp/out && touch /c/x && stat -c " %u:%g" /c/x /s/f >>/tmp/out
END
    user_build "$RANGE" --secret id=s,src=secret
    assert_equal "$(cat "$rootfs/tmp/out")" $'s3cret 65534:65534\n 7:8'
}

@test "one id: an owner that cannot be had is told of; the step goes on as root of its own" {
    printf s3cret >secret
    chmod 644 secret
    printf 'FROM busybox\nRUN --mount=type=secret,id=s,uid=5 true\n' >ctx/Dockerfile
    chown -R "$USER_ID" ctx
    run as_user '' "$CBPUSH" build --progress plain --secret id=s,src=secret ctx
    assert_status 0
    assert_contains "$output" 'only one id is mapped here, so it belongs to 0:0 and not to 5:0'
    printf 'FROM busybox\nRUN --mount=type=cache,target=/c,uid=5 true\n' >ctx/Dockerfile
    run as_user '' "$CBPUSH" build --progress plain ctx
    assert_status 0
    assert_contains "$output" 'only one id is mapped here, so it belongs to 0:0 and not to 5:0'
}

@test "key files: an agent that ends with the build" {
    ssh-keygen -q -t ed25519 -N '' -f key
    chown "$USER_ID" key
    printf 'FROM busybox\nRUN --mount=type=ssh,required stat -c %%F "$SSH_AUTH_SOCK" >/out\n' >ctx/Dockerfile
    user_build "$RANGE" --ssh default=key
    assert_equal "$(cat "$rootfs/out")" socket
    user_build '' --ssh default=key
}
