#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# RUN --mount, all five types: what a step sees, what stays of it, and who cannot get at it.

load helpers
load build

CANARY=canary-9c1f0b7de2

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

# step OPTIONS COMMAND [ARG…]: a build of one RUN --mount=OPTIONS on busybox; its log in $log.
step()
{
    printf 'FROM busybox\nRUN --mount=%s %s\n' "$1" "$2" >ctx/Dockerfile
    shift 2
    built "$@"
}

# said [ARG…]: the build's steps said this; what was built is not looked at (a large parent takes the judges long).
said()
{
    local status=0
    build "$@" >build.log 2>&1 || status=$?
    log=$(cat build.log)
    [ "$status" -eq 0 ] || rig_fail "cbpush build: exit status $status: $log" || return
    said=$(sed -n 's/^#[0-9]* [0-9][0-9]*\.[0-9]* //p' build.log | grep -v ' sha256:\|^sha256:\|files, ' || :)
}

# What a store holds that could be a layer, a record or a table.
store_has()
{
    grep -rlF -- "$1" "$CBPUSH_ROOT" 2>/dev/null
}

# ---- bind

@test "bind: the context, read-only by default; nothing of it stays" {
    write ctx/dir/a <<<'aaa'
    write ctx/b <<<'bbb'
    dockerfile <<'END'
FROM busybox
WORKDIR /w
RUN --mount=target=/ctx --mount=type=bind,source=dir,target=d --mount=source=/b,dst=/file.txt \
    cat /ctx/dir/a d/a /file.txt >/out && stat -c %F /file.txt >>/out && \
    { touch /ctx/x || echo ro >>/out; } && { echo y >d/a || echo ro >>/out; } && { echo z >/file.txt || echo ro >>/out; }
END
    built
    assert_equal "$(cat "$rootfs/out")" $'aaa\naaa\nbbb\nregular file\nro\nro\nro'
    [ ! -e "$rootfs/ctx" ] && [ ! -e "$rootfs/file.txt" ] && [ ! -e "$rootfs/w/d" ]
    assert_equal "$(layer_names -1)" 'out'
}

@test "bind: rw is discarded, and neither the context nor the store changes" {
    write ctx/dir/a <<<'aaa'
    dockerfile <<'END'
FROM busybox AS other
RUN mkdir /o && echo ooo >/o/f
FROM busybox
RUN --mount=source=dir,target=/d,rw --mount=from=other,source=/o,target=/o,rw --mount=from=other,source=/o/f,target=/f,rw \
    echo new >/d/a && echo new >/d/b && echo new >/o/f && rm /o/f && echo new >/o/g && echo more >/f && cat /d/a /f >/out
RUN --mount=source=dir,target=/d,rw --mount=from=other,source=/o,target=/o cat /d/a /o/f >>/out && ls /d /o >>/out
END
    find ctx -type f -exec sha256sum {} + >before
    built
    assert_equal "$(cat "$rootfs/out")" $'new\nmore\naaa\nooo\n/d:\na\n\n/o:\nf'
    find ctx -type f -exec sha256sum {} + | cmp - before
    [ ! -e "$rootfs/d" ] && [ ! -e "$rootfs/o" ] && [ ! -e "$rootfs/f" ]
    # The stage is the same for whoever comes next.
    printf 'RUN --mount=from=other,source=/o,target=/o ls /o; cat /o/f\n' >>ctx/Dockerfile
    built
    assert_equal "$(grep -c '^#[0-9]* [0-9.]* \(ooo\|f\|g\)$' build.log)" 2
}

@test "bind: what .dockerignore leaves out cannot be reached" {
    write ctx/dir/seen <<<'seen'
    write ctx/dir/secret.key <<<"$CANARY"
    write ctx/dir/deep/secret.key <<<"$CANARY"
    write ctx/dir/deep/kept.key <<<'kept'
    write ctx/plain/p <<<'p'
    ln -s ../dir/secret.key ctx/plain/link
    printf '**/*.key\n!dir/deep/kept.key\n' >ctx/.dockerignore
    dockerfile <<'END'
FROM busybox
RUN --mount=target=/ctx --mount=source=dir,target=/d --mount=source=plain,target=/p \
    find /ctx /d /p | sort >/out; cat /p/link /d/../ctx/dir/secret.key 2>/dev/null; grep -r "canary[-]" /ctx /d /p /proc/self/root/ctx 2>/dev/null && exit 3; true
END
    built
    assert_contains "$(cat "$rootfs/out")" /d/deep/kept.key
    refute_contains "$(cat "$rootfs/out")" secret.key
    refute_contains "$log" "$CANARY"
    printf 'FROM busybox\nRUN --mount=source=dir/secret.key,target=/x cat /x\n' >ctx/Dockerfile
    refused 5
    assert_contains "$output" 'left out of the build context by .dockerignore'
    assert_contains "$output" 'Dockerfile:2'
}

@test "bind: a source is a file or a directory, found inside its root whatever links say" {
    write ctx/real/f <<<'inside'
    ln -s /real ctx/link
    ln -s ../../../../../../real/f ctx/up
    dockerfile <<'END'
FROM busybox AS other
RUN mkdir /rootdir-real && echo stage >/marker && ln -s / /rootdir && ln -s ../../../../marker /m
FROM busybox
RUN --mount=source=link,target=/l --mount=source=../../up,target=/u --mount=from=other,source=/rootdir,target=/r,rw \
    --mount=from=other,source=../../m,target=/m cat /l/f /u /r/marker /m >/out && touch /r/touched && ls -d /r/bin
END
    built
    assert_equal "$(cat "$rootfs/out")" $'inside\ninside\nstage\nstage'
    [ ! -e /touched ]
    printf 'FROM busybox\nRUN --mount=source=nowhere,target=/x true\n' >ctx/Dockerfile
    refused 5
    assert_contains "$output" '/nowhere'
    printf 'FROM busybox\nRUN --mount=from=busybox,source=/nowhere,target=/x true\n' >ctx/Dockerfile
    refused 5
    assert_contains "$output" '/nowhere'
}

@test "bind: from a stage by name or number, from an image, from scratch" {
    dockerfile <<'END'
FROM busybox AS One
RUN echo 1 >/n
FROM busybox
RUN echo 2 >/n
FROM scratch AS nothing
FROM busybox AS unused
RUN echo never; false
FROM busybox
RUN --mount=from=one,target=/a --mount=from=1,target=/b --mount=from=busybox,source=/etc,target=/c --mount=from=nothing,target=/e \
    --mount=from=scratch,target=/s,rw cat /a/n /b/n >/out && grep -c root /c/passwd >>/out && ls /e /s | wc -l >>/out && touch /s/x
END
    built
    assert_equal "$(cat "$rootfs/out")" $'1\n2\n1\n3'
    refute_contains "$log" never
    printf 'FROM busybox\nRUN --mount=from=later,target=/x true\nFROM busybox AS later\nFROM 0\n' >ctx/Dockerfile
    refused 5 --target 0
    assert_contains "$output" 'stands before'
}

@test "bind: files are root's, whoever owns the context" {
    [ "$(id -u)" -eq 0 ] || skip 'needs another user'
    write ctx/d/f <<<'f'
    chown -R 4321:4321 ctx/d
    step source=d,target=/d 'stat -c "%u:%g %a" /d /d/f > /out'
    assert_equal "$(cat "$rootfs/out")" $'0:0 755\n0:0 644'
}

@test "bind: a FIFO of the context leads nowhere" {
    mkdir ctx/d && mkfifo ctx/d/p
    step source=d,target=/d 'stat -c %F /d/p > /out; stat -c %i /d/p >> /out'
    assert_equal "$(head -n 1 "$rootfs/out")" fifo
    [ "$(tail -n 1 "$rootfs/out")" != "$(stat -c %i ctx/d/p)" ]
}

@test "bind: the cache follows what is shown, and only that" {
    write ctx/d/f <<<'1'
    dockerfile <<'END'
FROM busybox AS s
COPY stage /stage
FROM busybox
RUN --mount=source=d,target=/d --mount=from=s,source=/stage/used,target=/u cat /d/f /u >/out
END
    write ctx/stage/used <<<'u1'
    write ctx/stage/unused <<<'x'
    built
    write ctx/other <<<'not shown'
    write ctx/stage/unused <<<'changed'
    built
    assert_contains "$log" 'CACHED'
    assert_equal "$(cat "$rootfs/out")" $'1\nu1'
    write ctx/d/f <<<'2'
    built
    assert_equal "$(cat "$rootfs/out")" $'2\nu1'
    write ctx/stage/used <<<'u2'
    built
    assert_equal "$(cat "$rootfs/out")" $'2\nu2'
}

# The mount shows the directory itself: what the step read is not what its key says.
@test "bind: what somebody writes to while the step runs is not recorded, nor what stands on it" {
    write ctx/d/f <<<'old'
    write ctx/d/other <<<'other'
    dockerfile <<'END'
FROM busybox AS s
RUN --mount=source=d,target=/d,readonly sleep 2; cat /d/f >/one
RUN cat /one >/two
FROM busybox
COPY --from=s /two /three
END
    local to="type=local,dest=$PWD/cache,mode=max"
    (
        until [ -n "$(find "$CBPUSH_ROOT/steps" -type f 2>/dev/null)" ]; do sleep 0.05; done
        echo new >ctx/d/f
    ) 3>&- &
    built --cache-to "$to"
    wait $!
    assert_contains "$log" 'WARN: mount /d: /d/f changed while the step ran'
    assert_equal "$(cat "$rootfs/three")" new
    write ctx/d/f <<<'old'
    built --cache-to "$to"
    assert_equal "$(grep -c CACHED build.log)" 0
    assert_equal "$(cat "$rootfs/three")" old
    rm -r "$CBPUSH_ROOT"
    built --cache-from "type=local,src=$PWD/cache"
    assert_equal "$(grep -c CACHED build.log)" 3
    assert_equal "$(cat "$rootfs/three")" old
}

@test "bind: a copy for the step is what its key says, or the build fails" {
    write ctx/d/f <<<'old'
    dockerfile <<'END'
FROM busybox
RUN sleep 2
RUN --mount=source=d,target=/d,rw cat /d/f >/out
END
    (
        until [ -n "$(find "$CBPUSH_ROOT/steps" -type f 2>/dev/null)" ]; do sleep 0.05; done
        echo new >ctx/d/f
    ) 3>&- &
    local status=0
    build >build.log 2>&1 || status=$?
    wait $!
    assert_equal "$status" 6
    assert_contains "$(cat build.log)" 'd/f changed while it was being read'
}

@test "a mount point that an attacker swaps for a link is cleaned up, and what the link names is not touched" {
    mkdir victim && touch victim/kept
    step "source=Dockerfile,target=/made/point" "umount /made/point 2>/dev/null; rm -rf /made/point; mv /made /moved; ln -s $PWD/victim /made/point; ln -s $PWD/victim /made; true"
    assert_equal "$(ls victim)" kept
    [ ! -e "$rootfs/made/point" ]
}

# ---- cache

@test "cache: outlives builds, is in no layer, and is not part of the cache key's contents" {
    dockerfile <<'END'
FROM busybox
ARG N
RUN --mount=type=cache,target=/c echo "$N" >>/c/log && cat /c/log >/out && stat -c "%a %u:%g" /c >>/out
END
    built --build-arg N=1
    assert_equal "$(cat "$rootfs/out")" $'1\n755 0:0'
    built --build-arg N=2
    assert_equal "$(cat "$rootfs/out")" $'1\n2\n755 0:0'
    [ ! -e "$rootfs/c" ]
    assert_equal "$(layer_names -1)" out
    built --build-arg N=2
    assert_contains "$log" CACHED
    cbpush prune --all
    built --build-arg N=3
    assert_equal "$(cat "$rootfs/out")" $'1\n2\n3\n755 0:0'
}

@test "cache: id, namespace, owner and mode, read-only, seeds" {
    dockerfile <<'END'
FROM busybox AS seed
RUN mkdir -p /s/sub && echo seeded >/s/sub/f && chown 5:6 /s/sub/f && ln /s/sub/f /s/hard && ln -s f /s/sub/l
FROM busybox
ARG N=1
RUN --mount=type=cache,id=shared,target=/a echo a >/a/f
RUN --mount=type=cache,id=shared,target=/b cat /b/f >/out
RUN --mount=type=cache,target=/own,uid=7,gid=8,mode=0700 stat -c "%u:%g %a" /own >>/out
RUN --mount=type=cache,id=shared,target=/b,ro touch /b/x || echo ro >>/out
RUN --mount=type=cache,from=seed,source=/s,target=/t cat /t/sub/f /t/sub/l /t/hard >>/out && stat -c "%u:%g %h" /t/sub/f >>/out && rm /t/hard
RUN --mount=type=cache,from=seed,source=/s,target=/t ls /t >>/out
RUN --mount=type=cache,id=shared,target=/a mkdir /a/sub && touch /a/sub/inner && ln -s / /a/root
RUN --mount=type=cache,id=shared,source=sub,target=/z ls /z >>/out
RUN --mount=type=cache,id=shared,source=../../root,target=/z ls /z | wc -l >>/out
END
    built
    assert_equal "$(cat "$rootfs/out")" $'a\n7:8 700\nro\nseeded\nseeded\nseeded\n5:6 2\nsub\ninner\n3'
    printf 'FROM busybox\nARG N\nRUN --mount=type=cache,id=shared,target=/b ls /b | wc -l >/out\n' >ctx/Dockerfile
    built --build-arg BUILDKIT_CACHE_MOUNT_NS=mine
    assert_equal "$(cat "$rootfs/out")" 0
    printf 'FROM busybox\nRUN --mount=type=cache,id=shared,source=nosuch,target=/b true\n' >ctx/Dockerfile
    refused 5
    assert_contains "$output" nosuch
}

@test "cache: ids are names, not paths" {
    mkdir outside && touch outside/kept
    dockerfile <<'END'
FROM busybox
RUN --mount=type=cache,id=../../../../outside,target=/c echo x >/c/x && ls /c >/out
RUN --mount=type=cache,id=/etc,target=/d ls /d | wc -l >>/out
END
    built
    assert_equal "$(cat "$rootfs/out")" $'x\n0'
    assert_equal "$(ls outside)" kept
    assert_equal "$(find "$CBPUSH_ROOT/mounts" -mindepth 1 -maxdepth 1 -type d | grep -cE '/[0-9a-f]{64}(-[a-z]+)?$')" 2
}

# two SHARING: two builds at once whose steps each want the cache for a second and write when they begin and end.
two()
{
    local n pids='' pid
    for n in 1 2; do
        mkdir -p "c$n"
        printf 'FROM busybox\nRUN --mount=type=cache,id=x,sharing=%s,target=/c echo begin >>/c/log; sleep 2; echo end >>/c/log; cp /c/log /out; echo %s\n' "$1" "$n" >"c$n/Dockerfile"
    done
    for n in 1 2; do
        "$CBPUSH" build --progress plain --push "$reg/test/two:$n" "c$n" >"log$n" 2>&1 3>&- &
        pids+=" $!"
    done
    for pid in $pids; do wait "$pid" || { cat log1 log2 >&2; return 1; }; done
}

@test "cache: locked waits for the other process" {
    two locked
    judged test/two:1 && cp "$rootfs/out" out1
    judged test/two:2 && cp "$rootfs/out" out2
    assert_equal "$(sort -u <(wc -l <out1; wc -l <out2) | wc -l)" 2 'one of them saw the other'
    refute_contains "$(paste -s -d ' ' out1) $(paste -s -d ' ' out2)" 'begin begin'
    grep -q 'another step has it' log1 log2
}

@test "cache: private gets a directory of its own, shared the same one" {
    two private
    judged test/two:1 && cp "$rootfs/out" out1
    judged test/two:2 && cp "$rootfs/out" out2
    assert_equal "$(cat out1 out2 | paste -s -d ' ')" 'begin end begin end'
    assert_equal "$(find "$CBPUSH_ROOT"/mounts/*/ -name fs | wc -l)" 2
    cbpush prune --mounts
    two shared
    judged test/two:1 && cp "$rootfs/out" out1
    judged test/two:2 && cp "$rootfs/out" out2
    assert_contains "$(paste -s -d ' ' out1) $(paste -s -d ' ' out2)" 'begin begin'
    assert_equal "$(find "$CBPUSH_ROOT"/mounts/*/ -name fs | wc -l)" 1
}

@test "cache: who is killed gives it back; what is in use is not pruned" {
    printf 'FROM busybox\nRUN --mount=type=cache,sharing=locked,target=/c echo 1 >>/c/log; sleep 100\n' >ctx/Dockerfile
    "$CBPUSH" build --progress plain ctx >killed.log 2>&1 3>&- &
    local pid=$! tries
    for ((tries = 0; tries < 200; tries++)); do
        ! find "$CBPUSH_ROOT/mounts" -path '*/fs/log' 2>/dev/null | grep -q . || break
        sleep 0.05
    done
    run cbpush prune --mounts
    assert_contains "$output" '1 in use'
    kill -9 "$pid"
    wait "$pid" || :
    step type=cache,sharing=locked,target=/c 'echo 2 >>/c/log; cp /c/log /out'
    assert_equal "$(paste -s -d ' ' "$rootfs/out")" '1 2'
    run cbpush prune --mounts --dry-run
    assert_contains "$output" 'would free 1 cache mounts'
    cbpush prune --mounts
    assert_equal "$(find "$CBPUSH_ROOT/mounts" -mindepth 1 -type d | wc -l)" 0
}

@test "cache: a mount below another one, and one on a directory that the image has" {
    dockerfile <<'END'
FROM busybox
RUN mkdir /have && echo image >/have/f
RUN --mount=type=tmpfs,target=/have --mount=type=cache,target=/have/in/side --mount=type=cache,target=/a/b,id=o --mount=type=cache,target=/a/b/c \
    ls /have >/out; touch /have/in/side/x /a/b/y /a/b/c/z && find /have /a | sort >>/out
RUN ls /have >>/out
END
    built
    assert_equal "$(paste -s -d ' ' "$rootfs/out")" 'in /a /a/b /a/b/c /a/b/c/z /a/b/y /have /have/in /have/in/side /have/in/side/x f'
    [ ! -e "$rootfs/a" ]
}

@test "cache: pip finds its wheels the second time" {
    push_python reg
    printf 'FROM python:3.9-slim\nARG N\nRUN --mount=type=cache,target=/root/.cache/pip pip install --target /tmp/w docopt==0.6.2 && rm -r /tmp/w\n' >ctx/Dockerfile
    said --build-arg N=1
    assert_contains "$said" 'Building wheel'
    said --build-arg N=2
    refute_contains "$said" 'Building wheel'
    assert_contains "$said" 'Successfully installed docopt'
    assert_equal "$(cbpush run "$reg/test/app:1" ls -A /root/.cache 2>&1 | grep -v 'No such')" ''
}

# ---- tmpfs

@test "tmpfs: empty, gone afterwards, as large as it may be" {
    step type=tmpfs,target=/t,size=1m 'df -k /t | tail -n 1 | awk "{ print \$2 }" >/out; stat -c %a /t >>/out; dd if=/dev/zero of=/t/x bs=1k count=2048 2>/dev/null || echo full >>/out'
    assert_equal "$(cat "$rootfs/out")" $'1024\n1777\nfull'
    [ ! -e "$rootfs/t" ]
    step type=tmpfs,target=/tmp,ro 'touch /tmp/x || echo ro >/out'
    assert_equal "$(cat "$rootfs/out")" ro
    assert_equal "$(mode_of /tmp)" '1777 0:0'
}

# ---- secret

@test "secret: a file of that user, or a variable, and nothing when it is not given" {
    printf %s "$CANARY" >secret.txt
    export TOKEN=$CANARY-env
    dockerfile <<'END'
FROM busybox
RUN --mount=type=secret,id=one --mount=type=secret,id=dir/two,uid=65534,gid=100,mode=0440,target=/x/two --mount=type=secret,id=tok,env=TOK --mount=type=secret,id=tok,env=,target=/tok \
    wc -c </run/secrets/one >/out && stat -c "%a %u:%g" /run/secrets/one /x/two >>/out && echo "${#TOK} ${#tok}" >>/out && \
    { touch /run/secrets/one 2>/dev/null || echo ro; } >>/out && test "$(cat /tok)" = "$TOK"
RUN ls /run/secrets /x 2>/dev/null; test -z "$TOK" && test ! -e /run && test ! -e /x
RUN --mount=type=secret,id=absent test ! -e /run/secrets/absent
USER nobody
RUN --mount=type=secret,id=one cat /run/secrets/one || echo eacces >/tmp/denied
END
    built --secret id=one,src=secret.txt --secret id=dir/two,type=file,source=secret.txt --secret id=tok,env=TOKEN
    assert_equal "$(cat "$rootfs/out")" "${#CANARY}"$'\n400 0:0\n440 65534:100\n'"$((${#CANARY} + 4)) $((${#CANARY} + 4))"$'\nro'
    [ -e "$rootfs/tmp/denied" ] || [ "$(id -u)" -ne 0 ]
}

@test "secret: by its name alone, a variable of that name first, else a file" {
    printf file >both
    printf file >onlyfile
    dockerfile <<'END'
FROM busybox
RUN --mount=type=secret,id=both,required --mount=type=secret,id=onlyfile,required=true cat /run/secrets/both /run/secrets/onlyfile >/out
END
    both=variable built --secret id=both --secret id=onlyfile
    assert_equal "$(cat "$rootfs/out")" variablefile
}

@test "secret: required and not given is an error with the remedy; so is a bad --secret" {
    printf 'FROM busybox\nRUN --mount=type=secret,id=tok,required true\n' >ctx/Dockerfile
    refused 2
    assert_contains "$output" '--secret id=tok,src='
    assert_contains "$output" Dockerfile:2
    refused 2 --secret id=tok,src=/nonexistent
    assert_contains "$output" nonexistent
    refused 2 --secret src=x
    assert_contains "$output" 'id='
    refused 2 --secret id=a,sorce=x
    assert_contains "$output" sorce
    refused 2 --secret id=a,type=vault
    assert_contains "$output" vault
    head -c 512001 /dev/zero >large
    refused 2 --secret id=tok,src=large
    assert_contains "$output" 512000
    head -c 512000 /dev/zero >large
    built --secret id=tok,src=large
}

@test "secret: no byte of it in store, image, history, logs, keys or command lines" {
    printf %s "$CANARY" >secret.txt
    export TOKEN=$CANARY
    dockerfile <<'END'
FROM busybox
RUN --mount=type=secret,id=f --mount=type=secret,id=e,env=E --mount=type=cache,target=/c \
    test -s /run/secrets/f && test -n "$E" && cat /proc/self/mountinfo >/mounts && cat /proc/1/environ >/env1 2>&1; grep -q "canary[-]" /proc/self/cmdline && exit 4; sleep 3; touch /done
END
    "$CBPUSH" build --progress plain -D --push "$reg/test/app:1" --metadata-file meta.json --secret id=f,src=secret.txt --secret id=e,env=TOKEN ctx >build.log 2>&1 3>&- &
    local pid=$! tries seen=0
    printf %s "$CANARY" >pattern
    for ((tries = 0; tries < 100 && seen < 5; tries++)); do
        if grep -lsFf pattern /proc/[0-9]*/cmdline; then rig_fail 'it is on a command line'; fi
        [ -z "$(store_has "$CANARY")" ] || rig_fail "in the store: $(store_has "$CANARY")"
        ! grep -q 'RUN --mount' build.log || seen=$((seen + 1))
        sleep 0.2
        rig_alive "$pid" || break
    done
    wait "$pid" || { cat build.log >&2; false; }
    judged test/app:1
    [ -z "$(store_has "$CANARY")" ]
    run ! grep -rlF "$CANARY" build.log meta.json "$rootfs" "$oci"
    zcat -f "$oci"/blobs/sha256/* >blobs
    run ! grep -qF "$CANARY" blobs
    refute_contains "$(cat "$rootfs/mounts")" "$CANARY"
    # Another value is no reason to build again: only the id is part of the key.
    printf other >secret.txt
    built --secret id=f,src=secret.txt --secret id=e,env=TOKEN
    assert_contains "$log" CACHED
}

@test "secret: not on a disk while the step runs, and out of reach of everybody but the step" {
    printf %s "$CANARY" >secret.txt
    step type=secret,id=f 'awk "\$5 == \"/run/secrets/f\"" /proc/self/mountinfo >/out; cat /proc/1/mem /proc/1/maps 2>&1 | grep -c canary; true' --secret id=f,src=secret.txt
    assert_contains "$(cat "$rootfs/out")" ' ramfs '
    assert_contains "$(cat "$rootfs/out")" 'ro,nosuid,nodev,noexec'
    refute_contains "$(cat "$rootfs/out")" "$CANARY"
}

# ---- ssh

agent_start()
{
    command -v ssh-agent >/dev/null || skip 'needs openssh-client'
    ssh-keygen -q -t ed25519 -N '' -C canary-key -f key
    mkdir -p "$(rig_dir)/agent"
    rig_spawn "$(rig_dir)/agent" ssh-agent -D -a "$BATS_TEST_TMPDIR/a.sock"
    local tries
    for ((tries = 0; tries < 100; tries++)); do [ ! -S a.sock ] || break; sleep 0.05; done
    SSH_AUTH_SOCK=$BATS_TEST_TMPDIR/a.sock ssh-add -q key
}

# ask.py asks the agent at $SSH_AUTH_SOCK for its keys ("N comment…"), or sends a message of that type: prints the reply's.
write_asker()
{
    cat >ctx/ask.py <<'END'
import os, socket, struct, sys
def ask(kind, body=b''):
    s.sendall(struct.pack('>IB', 1 + len(body), kind) + body)
    n = struct.unpack('>I', s.recv(4, socket.MSG_WAITALL))[0]
    return s.recv(n, socket.MSG_WAITALL)
def field(b, at):
    n = struct.unpack('>I', b[at:at + 4])[0]
    return b[at + 4:at + 4 + n], at + 4 + n
s = socket.socket(socket.AF_UNIX)
s.connect(os.environ['SSH_AUTH_SOCK'])
if len(sys.argv) > 1 and sys.argv[1] != 'sign':
    print(ask(int(sys.argv[1]))[0])
    sys.exit()
r = ask(11)
n = struct.unpack('>I', r[1:5])[0]
blob, at = field(r, 5)
comment, at = field(r, at)
print(n, comment.decode())
if sys.argv[1:] == ['sign']:
    data = b'data'
    r = ask(13, struct.pack('>I', len(blob)) + blob + struct.pack('>I', len(data)) + data + struct.pack('>I', 0))
    print('signed' if r[0] == 14 else 'refused')
END
}

@test "ssh: the agent's keys can be listed and used, and not changed" {
    agent_start
    write_asker
    push_python reg
    dockerfile <<'END'
FROM python:3.9-slim
RUN --mount=type=ssh,required --mount=source=ask.py,target=/ask.py echo "$SSH_AUTH_SOCK" && stat -c "%F %a %u:%g" "$SSH_AUTH_SOCK" && \
    python3 /ask.py sign && for m in 19 22 25 18; do python3 /ask.py $m; done && python3 /ask.py
RUN --mount=type=ssh,id=other,target=/s.sock,uid=65534,mode=0666 stat -c "%a %u" /s.sock
RUN --mount=type=ssh,id=absent test ! -e "$SSH_AUTH_SOCK"
RUN test -z "$SSH_AUTH_SOCK" && test ! -e /run/buildkit && test ! -e /s.sock
END
    SSH_AUTH_SOCK=$BATS_TEST_TMPDIR/a.sock said --ssh default --ssh "other=$BATS_TEST_TMPDIR/a.sock"
    assert_equal "$said" $'/run/buildkit/ssh_agent.0\nsocket 600 0:0\n1 canary-key\nsigned\n5\n5\n5\n5\n1 canary-key\n666 65534'
    assert_equal "$(SSH_AUTH_SOCK=$BATS_TEST_TMPDIR/a.sock ssh-add -l | wc -l)" 1
}

@test "ssh: key files get an agent that ends with the build" {
    command -v ssh-agent >/dev/null || skip 'needs openssh-client'
    ssh-keygen -q -t ed25519 -N '' -C first -f k1
    ssh-keygen -q -t rsa -b 2048 -N '' -C second -f k2
    ssh-keygen -q -t ed25519 -N passphrase -f locked
    chmod 644 k1
    write_asker
    push_python reg
    printf 'FROM python:3.9-slim\nRUN --mount=type=ssh,id=k --mount=source=ask.py,target=/ask.py python3 /ask.py sign; sleep 1\n' >ctx/Dockerfile
    said --ssh k=k1,k2
    assert_contains "$said" '2 '
    assert_contains "$said" signed
    refused 2 --ssh k=locked
    assert_contains "$output" passphrase
    refused 2 --ssh k=ctx/Dockerfile
    # Killed, the agent goes too.
    printf 'FROM busybox\nRUN --mount=type=ssh,id=k sleep 100\n' >ctx/Dockerfile
    "$CBPUSH" build --progress plain --ssh k=k1 ctx >killed.log 2>&1 3>&- &
    local pid=$! tries
    for ((tries = 0; tries < 200; tries++)); do ! pgrep -P "$pid" -x ssh-agent >/dev/null || break; sleep 0.05; done
    local agent
    agent=$(pgrep -P "$pid" -x ssh-agent)
    kill -9 "$pid"
    wait "$pid" || :
    for ((tries = 0; tries < 40; tries++)); do rig_alive "$agent" || break; sleep 0.05; done
    run ! rig_alive "$agent"
    cbpush images >/dev/null
}

@test "ssh: required and not given, no agent, two of a name" {
    printf 'FROM busybox\nRUN --mount=type=ssh,required true\n' >ctx/Dockerfile
    unset SSH_AUTH_SOCK
    refused 2
    assert_contains "$output" '--ssh default'
    refused 2 --ssh default
    assert_contains "$output" SSH_AUTH_SOCK
    refused 2 --ssh default=/nonexistent
    assert_contains "$output" nonexistent
}

# ---- all

@test "variables are expanded, and what comes out is checked" {
    write ctx/dir/f <<<'f'
    dockerfile <<'END'
FROM busybox
ARG T=cache WHERE=/c ID=i MODE=0700 REQ=false SRC=dir
RUN --mount=type=$T,target=$WHERE,id=${ID}x,mode=$MODE,sharing=${NONE:-locked} --mount=type=secret,id=$ID,required=$REQ --mount=source=$SRC,target=/d \
    stat -c %a /c >/out && cat /d/f >>/out
END
    built
    assert_equal "$(cat "$rootfs/out")" $'700\nf'
    local mount
    for mount in 'type=cache,target=/c,mode=$BAD' 'type=cache,target=/c,sharing=$BAD' 'type=cache,target=/c,uid=$BAD' \
        'type=tmpfs,target=/c,size=$BAD' 'type=secret,id=x,required=$BAD' 'type=$BAD,target=/c' 'target=$ROOT'; do
        printf 'FROM busybox\nARG BAD=bad ROOT=/.\nRUN --mount=%s true\n' "$mount" >ctx/Dockerfile
        refused 5
        assert_contains "$output" 'Dockerfile:3'
    done
}

@test "ONBUILD triggers may mount" {
    write ctx/d/f <<<'f'
    printf 'FROM busybox\nONBUILD RUN --mount=source=d,target=/d --mount=from=lib,source=/x,target=/x cat /d/f /x >/out\n' >ctx/Dockerfile
    cbpush build --progress quiet --push "$reg/test/trigger:1" ctx
    printf 'FROM busybox AS lib\nRUN echo x >/x\nFROM %s/test/trigger:1\n' "$reg" >ctx/Dockerfile
    built
    assert_equal "$(cat "$rootfs/out")" $'f\nx'
}

@test "steps whose mounts change under them stay inside" {
    # A cache directory in which one step swaps a directory and a link as fast as it can, while another mounts it.
    dockerfile <<'END'
FROM busybox AS flip
RUN --mount=type=cache,id=race,target=/c mkdir -p /c/real; end=$(($(date +%s) + 8)); while [ $(date +%s) -lt $end ]; do for i in 1 2 3 4 5 6 7 8 9; do ln -sfn /etc /c/l; rm /c/l; mkdir /c/l; rmdir /c/l; done; done
FROM busybox AS look
RUN --mount=type=cache,id=race,target=/c mkdir -p /c/l || true
END
    mkdir looker
    "$CBPUSH" build --progress plain --target flip ctx >flip.log 2>&1 3>&- &
    local pid=$! n
    for ((n = 0; n < 20; n++)); do
        printf 'FROM busybox\nRUN --mount=type=cache,id=race,source=l,target=/z test ! -e /z/hostname && test ! -e /z/shadow; echo %s\n' "$n" >looker/Dockerfile
        cbpush build --progress plain looker >look.log 2>&1 || grep -qE 'source=/l|mount /z: No such file' look.log
    done
    wait "$pid"
}
