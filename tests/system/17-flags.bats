#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The command lines of buildx, podman, buildah and kaniko, as scripts have them; and the files that scripts read.

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
    dockerfile <<'END'
FROM busybox AS one
RUN cat /proc/sys/kernel/random/uuid >/one
FROM one AS two
ARG A=none
RUN echo "$A" >/a; cat /proc/sys/kernel/random/uuid >/two
END
}

# digest_of REPO:TAG, raw_of REPO:TAG: what the registry has, without a conversion.
digest_of()
{
    registry_skopeo reg inspect --format '{{.Digest}}' "docker://$reg/$1"
}

raw_of()
{
    registry_skopeo reg inspect --raw "docker://$reg/$1"
}

# executor ARG…: cbpush by kaniko's name.
executor()
{
    [ -e bin/executor ] || { mkdir -p bin && ln -s "$CBPUSH" bin/executor; }
    bin/executor "$@"
}

@test "flags without effect: accepted, told once" {
    cbpush build --rm --force-rm --compress --builder default --layers --disable-content-trust -t x:1 ctx >out 2>&1
    assert_equal "$(grep -c warning: out)" 1
    assert_contains "$(grep warning: out)" '--rm, --force-rm, --compress, --builder=default, --disable-content-trust'
    cbpush build --provenance=false --sbom false --attest type=provenance,disabled=true --rm=false -t x:1 ctx >out 2>&1
    refute_contains "$(cat out)" warning:
}

@test "flags that are not done yet, and unknown ones: errors that name them" {
    refused 2 --attest type=vex
    assert_contains "$output" --attest
    refused 2 --ulimits nofile=1
    assert_contains "$output" 'did you mean --ulimit'
    refused 2 --cache-form x
}

@test "--no-cache-filter: the steps of these stages run again, the others do not" {
    local first second third
    built
    first=$(cat "$rootfs/one" "$rootfs/two")
    built --no-cache-filter two
    second=$(cat "$rootfs/one" "$rootfs/two")
    [ "$first" != "$second" ]
    assert_equal "$(head -n 1 <<<"$first")" "$(head -n 1 <<<"$second")"
    built --no-cache-filter TWO,ONE
    third=$(cat "$rootfs/one")
    [ "$third" != "$(head -n 1 <<<"$first")" ]
    refused 2 --no-cache-filter three
    assert_contains "$output" three
}

@test "--no-cache-filter: steps that only take from such a stage use what it is now" {
    local first second third
    dockerfile <<'END'
FROM busybox AS one
RUN cat /proc/sys/kernel/random/uuid >/one
FROM busybox AS two
RUN cat /proc/sys/kernel/random/uuid >/two
FROM busybox AS three
RUN --mount=from=two,target=/t cat /t/two >/three
FROM busybox
COPY --from=one /one /
COPY --from=two /two /
COPY --from=three /three /
END
    built
    first=$(cat "$rootfs/one" "$rootfs/two" "$rootfs/three")
    built --no-cache-filter two --explain
    second=$(cat "$rootfs/one" "$rootfs/two" "$rootfs/three")
    assert_equal "$(head -n 1 <<<"$first")" "$(head -n 1 <<<"$second")"
    [ "$(sed -n 2p <<<"$first")" != "$(sed -n 2p <<<"$second")" ]
    assert_equal "$(sed -n 2p <<<"$second")" "$(sed -n 3p <<<"$second")"
    assert_contains "$log" 'steps   6, 2 of them cached'
    assert_contains "$log" 'the cache was off for this stage (--no-cache-filter)'
    built
    third=$(cat "$rootfs/one" "$rootfs/two" "$rootfs/three")
    assert_equal "$second" "$third"
    assert_contains "$log" 'steps   6, 6 of them cached'
}

@test "--build-arg: the last of a name counts; --build-arg-file comes before" {
    printf '# arguments\n\nA=file\r\nB\nA=again\n' >args
    built --build-arg-file args
    assert_equal "$(cat "$rootfs/a")" again
    built --build-arg-file args --build-arg A=1 --build-arg A=2
    assert_equal "$(cat "$rootfs/a")" 2
    A=environment built --build-arg A
    assert_equal "$(cat "$rootfs/a")" environment
    refused 2 --build-arg-file nowhere
    built --build-arg-file <(printf 'A=pipe\n')
    assert_equal "$(cat "$rootfs/a")" pipe
    built --build-arg-file /dev/null
    assert_equal "$(cat "$rootfs/a")" none
    assert_contains "$output" nowhere
}

@test "files for scripts: what is in them, without newlines" {
    local digest config
    cbpush build --push -t "$reg/test/other:2" -t "$reg/test/app:1" --iidfile iid --iidfile-raw raw --digest-file digest \
        --image-name-with-digest-file names --image-name-tag-with-digest-file tags --metadata-file metadata.json ctx
    judged test/app:1
    digest=$(digest_of test/other:2)
    config=$(manifest -r .config.digest)
    printf '%s' "$config" | cmp - iid
    printf '%s' "${config#sha256:}" | cmp - raw
    printf '%s' "$digest" | cmp - digest
    printf '%s\n' "$reg/test/other@$digest" "$reg/test/app@$digest" | sort | cmp - <(sort names)
    printf '%s\n' "$reg/test/other:2@$digest" "$reg/test/app:1@$digest" | sort | cmp - <(sort tags)
    assert_equal "$(metadata -r '."containerimage.digest"')" "$digest"
    assert_equal "$(metadata -r '."containerimage.config.digest"')" "$config"
    assert_equal "$(metadata -r '."containerimage.descriptor".size')" "$(stat -c %s "$oci/blobs/sha256/${digest#sha256:}")"
    assert_equal "$(metadata '."cbpush.timings" | length')" "$(metadata '."cbpush.steps"')"
    assert_contains "$(metadata -r '."cbpush.timings"[0].name')" 'RUN cat'
    assert_equal "$(metadata '."cbpush.timings"[0].cached')" false
    assert_contains "$(metadata -r '."cbpush.compressor"')" libdeflate
    [ "$(metadata '."cbpush.bytes.uploaded"')" -gt 0 ]
    build --digest-file /dev/stdout >stdout
    assert_equal "$(cat stdout)" "$digest"
}

@test "a failing RUN: its own status in --metadata-file, and as ours with --propagate-exit" {
    printf 'FROM busybox\nRUN exit 42\n' >ctx/Dockerfile
    refused 1
    assert_equal "$(metadata '."cbpush.error".stepExitCode')" 42
    assert_equal "$(metadata '."cbpush.error".exitCode')" 1
    refused 42 --propagate-exit
    printf 'FROM nowhere.invalid/x\n' >ctx/Dockerfile
    refused 4 --propagate-exit --retry 0
}

@test "--squash: this build's layers become one, the parent's stay; --squash-all: one layer" {
    mkdir -p ctx/tree/sub
    echo data >ctx/tree/file
    ln ctx/tree/file ctx/tree/sub/hard
    dockerfile <<'END'
FROM busybox
COPY tree /tree
RUN echo secret >/gone && mkdir -p /d/e && echo keep >/d/e/keep && echo drop >/d/drop && chown 5:6 /d/e/keep
RUN rm /gone /d/drop && rm -rf /bin/vi && rm -rf /usr && ln /d/e/keep /linked && ln -s d /soft
RUN rm -rf /home && echo file >/home
ENV X=1
END
    built
    local base plain=$rootfs
    base=$(raw_of library/busybox:latest | jq '.layers | length')
    assert_equal "$(manifest '.layers | length')" $((base + 4))
    (cd "$plain" && find . -printf '%p %y %m %U:%G %l %s\n' | sort) >plain.list
    built --squash
    assert_equal "$(manifest '.layers | length')" $((base + 1))
    (cd "$rootfs" && find . -printf '%p %y %m %U:%G %l %s\n' | sort) >squash.list
    diff plain.list squash.list
    assert_equal "$(stat -c %i "$rootfs/tree/file")" "$(stat -c %i "$rootfs/tree/sub/hard")"
    assert_equal "$(stat -c %i "$rootfs/d/e/keep")" "$(stat -c %i "$rootfs/linked")"
    refute_contains "$(layer_names -1)" gone
    refute_contains "$(layer_names -1)" drop
    assert_contains "$(layer_names -1)" bin/.wh.vi
    assert_equal "$(config '[.history[] | select(.empty_layer | not)] | length')" $((base + 1))
    assert_equal "$(config '.rootfs.diff_ids | length')" $((base + 1))
    assert_equal "$(config -r '.config.Env[]' | grep X=)" X=1
    local id
    id=$(metadata -r '."containerimage.digest"')
    build --squash
    assert_equal "$(metadata -r '."containerimage.digest"')" "$id"
    assert_equal "$(metadata '."cbpush.cached" == ."cbpush.steps"')" true
    built --squash-all
    assert_equal "$(manifest '.layers | length')" 1
    (cd "$rootfs" && find . -printf '%p %y %m %U:%G %l %s\n' | sort) >all.list
    diff plain.list all.list
    assert_equal "$(config '[.history[] | select(.empty_layer | not)] | length')" 1
    built --layers=false
    assert_equal "$(manifest '.layers | length')" $((base + 1))
}

# A parent without a history and two layers: nothing of the build's own is there to tell of the one that they become.
@test "--squash-all: of a parent alone, whose history may be missing" {
    PYTHONPATH=$RIG_HERE/trees:$RIG_HERE/seeds python3 -B - made <<'END'
import io, sys, tarfile, world
def layer(name):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return out.getvalue()
world.layout(sys.argv[1], [layer("a"), layer("b")])
END
    printf 'FROM made\n' >ctx/Dockerfile
    built --squash-all --build-context "made=oci-layout://$PWD/made"
    assert_equal "$(manifest '.layers | length')" 1
    [ -f "$rootfs/a" ] && [ -f "$rootfs/b" ]
    printf 'FROM busybox\nCOPY Dockerfile /\n' >ctx/Dockerfile
    cbpush build -o "type=oci,tar=false,dest=$PWD/parent" ctx
    printf 'FROM parent\n' >ctx/Dockerfile
    built --squash-all --build-context "parent=oci-layout://$PWD/parent"
    assert_equal "$(manifest '.layers | length')" 1
    assert_equal "$(config '[.history[] | select(.empty_layer | not)] | length')" 1
}

@test "--squash: names of a file whose first name became another file keep its bytes, and are one file" {
    dockerfile <<'END'
FROM busybox
RUN echo one >/a && ln /a /b && ln /a /c
RUN rm /a && echo another >/a
END
    local flag
    for flag in --squash --squash-all; do
        built $flag
        assert_equal "$(cat "$rootfs/a" "$rootfs/b" "$rootfs/c")" $'another\none\none' "$flag"
        assert_equal "$(stat -c '%h %i' "$rootfs/b")" "2 $(stat -c %i "$rootfs/c")" "$flag"
    done
}

# times: the modification times in the last layer, each once.
times()
{
    judge_blob "$oci" "$(manifest -r '.layers[-1].digest')" | tar -tvz --full-time --utc | awk '{print $4 "T" $5}' | sort -u | paste -s -d ' '
}

@test "--timestamp: every time is this one, and two builds are the same" {
    printf 'FROM busybox\nCOPY old new /d/\nENV A=1\nRUN touch /x\n' >ctx/Dockerfile
    touch -d @1000000 ctx/old
    touch -d @2000000000 ctx/new
    built --timestamp 1234567890
    assert_equal "$(times)" 2009-02-13T23:31:30
    assert_equal "$(config -r .created)" 2009-02-13T23:31:30Z
    assert_equal "$(config -r '.history[-1].created')" 2009-02-13T23:31:30Z
    local first
    first=$(metadata -r '."containerimage.digest"')
    touch ctx/old
    CBPUSH_ROOT=$PWD/another build --timestamp 1234567890
    assert_equal "$(metadata -r '."containerimage.digest"')" "$first"
    rm -rf another
    printf 'FROM busybox\nCOPY old new /d/\n' >ctx/Dockerfile
    touch -d @1000000 ctx/old
    built --timestamp 1234567890
    assert_equal "$(times)" 2009-02-13T23:31:30
    built --source-date-epoch 1234567890 --rewrite-timestamp
    assert_equal "$(times)" '1970-01-12T13:46:40 2009-02-13T23:31:30'
    refused 2 --timestamp 1 --source-date-epoch 1
    refused 2 --timestamp tomorrow
}

@test "SOURCE_DATE_EPOCH=context: the newest file that is not ignored, or the commit" {
    printf 'FROM busybox\nCOPY . /d/\n' >ctx/Dockerfile
    echo late >ctx/late
    echo late >ctx/.dockerignore
    find ctx -exec touch -h -d @1000000000 {} +
    touch -d @1300000000 ctx/late
    touch -d @1200000000 ctx/.dockerignore
    built --source-date-epoch context
    assert_equal "$(config -r .created)" 2008-01-10T21:20:00Z
    built --build-arg SOURCE_DATE_EPOCH=context
    assert_equal "$(config -r .created)" 2008-01-10T21:20:00Z
    command -v git >/dev/null || skip 'git is not installed'
    git -C ctx init -q
    git -C ctx add .
    GIT_COMMITTER_DATE=@1111111111 git -C ctx -c user.name=x -c user.email=x@x commit -q -m x
    SOURCE_DATE_EPOCH=context built
    assert_equal "$(config -r .created)" 2005-03-18T01:58:31Z
    rm -rf ctx/.git
    mkdir ctx/.git
    refused 6 --source-date-epoch context
    assert_contains "$output" git
}

@test "podman's words: --format, --env, --unsetenv, --unsetlabel, --os, --arch, --ignorefile, --compression-format, --jobs, --logfile" {
    printf 'FROM busybox\nENV KEEP=1 DROP=1\nLABEL l=1 m=1\nCOPY . /d/\nRUN env >/env\n' >ctx/Dockerfile
    touch ctx/a ctx/b
    echo b >ignore
    built --format docker --env NEW=1 --env KEEP=2 --unsetenv DROP --unsetlabel l --ignorefile ignore --jobs 1 --logfile log
    assert_contains "$(raw_of test/app:1 | jq -r .mediaType)" docker
    assert_contains "$(config -c .config.Env)" '"NEW=1"'
    assert_contains "$(config -c .config.Env)" '"KEEP=2"'
    refute_contains "$(config -c .config.Env)" DROP
    assert_equal "$(config -c .config.Labels)" '{"m":"1"}'
    [ -e "$rootfs/d/a" ] && [ ! -e "$rootfs/d/b" ]
    refute_contains "$(cat "$rootfs/env")" NEW
    assert_contains "$(cat log)" 'RUN env'
    refute_contains "$(cat build.log)" '#3'
    build --compression-format zstd --compression-level 5
    assert_contains "$(raw_of test/app:1 | jq -r '.layers[-1].mediaType')" zstd
    # Pipes of the shell, too.
    printf 'a\n' >ctx/.dockerignore
    built -f <(printf 'FROM busybox\nCOPY . /d/\n') --ignorefile <(echo b)
    [ -e "$rootfs/d/a" ] && [ ! -e "$rootfs/d/b" ]
    built -f <(printf 'FROM busybox\nCOPY . /d/\n') --ignorefile /dev/null
    [ -e "$rootfs/d/a" ] && [ -e "$rootfs/d/b" ]
    built -f <(printf 'FROM busybox\nCOPY . /d/\n')
    [ ! -e "$rootfs/d/a" ]
    rm ctx/.dockerignore
    refused 2 --compression-format zstd --format docker
    refused 2 --format qcow
    refused 2 --compression-format lzma
    refused 2 --ignorefile nowhere
    run cbpush build --platform linux/amd64 --arch arm64 ctx
    assert_status 2
    printf 'FROM scratch\nCOPY a /\n' >ctx/Dockerfile
    built --os linux --arch arm --variant v7
    assert_equal "$(config -r '"\(.os)/\(.architecture)/\(.variant)"')" linux/arm/v7
}

@test "--logfile: one that cannot be written is an error, where it is opened and later" {
    printf 'FROM busybox\nRUN echo said\n' >ctx/Dockerfile
    cbpush build --logfile log -t x:1 ctx
    assert_contains "$(cat log)" ' said'
    run cbpush build --logfile missing/log -t x:1 ctx
    assert_status 6
    assert_contains "$output" '--logfile missing/log'
    run cbpush build --no-cache --logfile /dev/full -t x:1 ctx
    assert_status 6
    assert_contains "$output" '--logfile /dev/full: No space left on device'
    # What went wrong before that is what is told.
    echo 'RUN exit 3' >>ctx/Dockerfile
    run cbpush build --logfile /dev/full -t x:1 ctx
    assert_status 1
}

@test "--pull=newer: what is in the store will do where the registry cannot be asked" {
    printf 'FROM busybox\nRUN true\n' >ctx/Dockerfile
    cbpush pull busybox >/dev/null 2>&1
    cbpush tag busybox "127.0.0.1:1/gone:1"
    printf 'FROM 127.0.0.1:1/gone:1\nRUN true\n' >ctx/Dockerfile
    run cbpush build --pull=always --retry 0 ctx
    assert_status 4
    run cbpush build --pull=newer --retry 0 ctx
    assert_status 0
    assert_contains "$output" 'warning: 127.0.0.1:1/gone:1 as the store has it, since the registry cannot be asked: '
    assert_contains "$output" 'connect'
    cbpush pull busybox >/dev/null 2>&1
    run cbpush run --pull=newer busybox true
    refute_contains "$output" warning
    run cbpush build --pull=newest ctx
    assert_status 2
}

@test "--load: a stream to docker load, or podman load; its failure is ours" {
    mkdir bin
    write bin/docker 755 <<'END'
#!/bin/sh
[ "$1" = load ] || exit 9
cat >"$HOME/loaded.tar"
echo "Loaded image: x:1"
END
    PATH=$PWD/bin:$PATH cbpush build --load -t x:1 ctx >out 2>&1
    skopeo copy -q "docker-archive:$HOME/loaded.tar" oci:loaded:judged
    assert_equal "$(skopeo inspect --config --raw oci:loaded:judged | jq -c .rootfs)" "$(cbpush inspect --config x:1 | jq -c .rootfs)"
    assert_contains "$(tar -xOf "$HOME/loaded.tar" manifest.json)" 'x:1'
    printf '#!/bin/sh\ncat >/dev/null; echo "no daemon here" >&2; exit 1\n' >bin/docker
    PATH=$PWD/bin:$PATH run cbpush build -o type=docker -t x:1 ctx
    assert_status 6
    assert_contains "$output" 'no daemon here'
    mv bin/docker bin/podman
    PATH=$PWD/bin run "$CBPUSH" build --load -t x:1 ctx
    assert_status 6
    assert_contains "$output" podman
    rm bin/podman
    PATH=$PWD/bin run "$CBPUSH" build --load -t x:1 ctx
    assert_status 2
    assert_contains "$output" 'type=docker,dest='
}

@test "kaniko: pushes to every destination, by default; files and layouts" {
    executor --context "dir://$PWD/ctx" --dockerfile Dockerfile -d "$reg/test/app:1" --destination "$reg/test/more:2" \
        --digest-file digest --image-name-with-digest-file names --oci-layout-path layout --tar-path image.tar \
        --build-arg A=kaniko --label l=1 --cache=false --snapshot-mode=redo --use-new-run --cleanup --log-format text \
        --insecure --insecure-registry "$reg" -v info >out 2>&1
    assert_contains "$(cat out)" 'warning: --snapshot-mode=redo, --use-new-run, --cleanup, --log-format=text'
    judged test/more:2
    assert_equal "$(cat "$rootfs/a")" kaniko
    assert_equal "$(config -r .config.Labels.l)" 1
    local digest
    digest=$(digest_of test/app:1)
    assert_equal "$(cat digest)" "$digest"
    assert_contains "$(cat names)" "$reg/test/app@$digest"
    skopeo inspect --raw docker-archive:image.tar >/dev/null
    assert_equal "$(jq -r '.manifests[0].digest' layout/index.json)" "$digest"
}

@test "kaniko: --no-push, --context-sub-path, --single-snapshot, --reproducible" {
    mkdir -p deep/er
    mv ctx deep/er/ctx
    executor -c deep --context-sub-path er/ctx --no-push --single-snapshot --reproducible --oci-layout-path layout >out 2>&1
    skopeo copy -q oci:layout "oci:judge:judged"
    oci=$PWD/judge
    assert_equal "$(config -r .created)" 1970-01-01T00:00:00Z
    assert_equal "$(config '[.history[] | select(.created == "1970-01-01T00:00:00Z" and (.empty_layer | not))] | length')" 1
    assert_contains "$(registry_curl reg /v2/test/nothing/tags/list)" NAME_UNKNOWN
}

@test "kaniko: --cache keeps steps of all stages beside the image, or where --cache-repo says" {
    printf 'FROM busybox AS a\nRUN echo 1 >/a\nFROM busybox\nCOPY --from=a /a /\n' >ctx/Dockerfile
    executor -c ctx -d "$reg/test/kaniko:1" --cache --insecure
    assert_contains "$(registry_curl reg /v2/test/kaniko/cache/tags/list | head -n 1 | jq '.tags | length')" 3
    export CBPUSH_ROOT=$BATS_TEST_TMPDIR/other
    executor -c ctx -d "$reg/test/kaniko:2" --cache=true --no-push-cache --cache-repo "$reg/test/kaniko/cache" \
        --insecure >out 2>&1
    assert_contains "$(cat out)" '2 of them cached'
    executor -c ctx --no-push --cache=true --cache-repo oci:shared
    [ -e shared/index.json ]
}

@test "kaniko: contexts that are tars, by file and by standard input, and what is not read" {
    tar -C ctx -cz . >ctx.tar.gz
    local id
    id=$(cbpush build -q ctx)
    executor -c tar://ctx.tar.gz --no-push --oci-layout-path one >out 2>&1
    executor -c tar://stdin --no-push --oci-layout-path two <ctx.tar.gz >out 2>&1
    assert_equal "$(skopeo inspect --raw oci:one | jq -r .config.digest)" "$id"
    assert_equal "$(skopeo inspect --raw oci:two | jq -r .config.digest)" "$id"
    run executor -c tar://nowhere.tar.gz --no-push
    assert_status 2
    assert_contains "$output" 'nowhere.tar.gz: No such file'
    run executor -c tar://ctx.tar.gz --context-sub-path sub --no-push
    assert_status 2
    assert_contains "$output" --context-sub-path
    run executor -c gs://bucket/x --no-push
    assert_status 2
    assert_contains "$output" 'tar://stdin'
}

@test "kaniko: RUN's own exit status; what is wrong is an error" {
    printf 'FROM busybox\nRUN exit 37\n' >ctx/Dockerfile
    run executor -c ctx --no-push
    assert_status 37
    run executor -c ctx
    assert_status 2
    assert_contains "$output" --destination
    run executor -c ctx --no-push --cache
    assert_status 2
    assert_contains "$output" --cache-repo
    run executor -c s3://bucket/x --no-push
    assert_status 2
    assert_contains "$output" s3://
    run executor -c ctx --no-push --cach
    assert_status 2
    assert_contains "$output" 'did you mean --cache'
    run executor --help
    assert_status 0
    assert_contains "$output" --registry-mirror
    run executor version
    assert_status 0
    assert_contains "$output" "$(cbpush --version)"
}

@test "buildah: its variables, where no flag says otherwise" {
    local row
    BUILDAH_FORMAT=docker built
    assert_contains "$(raw_of test/app:1 | jq -r .mediaType)" vnd.docker.distribution.manifest
    BUILDAH_FORMAT=docker built --format oci
    assert_contains "$(raw_of test/app:1 | jq -r .mediaType)" vnd.oci.image.manifest
    BUILDAH_LAYERS=true built
    assert_equal "$(diff_ids | wc -l)" 3
    BUILDAH_LAYERS=False built
    assert_equal "$(diff_ids | wc -l)" 2
    BUILDAH_LAYERS=0 built --layers
    assert_equal "$(diff_ids | wc -l)" 3
    BUILDAH_ISOLATION=oci built --no-cache
    assert_contains "$log" 'isolation: oci'
    CBPUSH_ISOLATION=native BUILDAH_ISOLATION=oci built --no-cache
    refute_contains "$log" 'isolation: oci'
    BUILDAH_ISOLATION=oci built --no-cache --isolation native
    refute_contains "$log" 'isolation: oci'
    BUILDAH_ISOLATION=chroot built --no-cache
    refute_contains "$log" 'isolation: chroot'
    BUILDAH_ISOLATION=rootless BUILDAH_LAYERS= BUILDAH_FORMAT= built --no-cache
    for row in 'BUILDAH_FORMAT=v2s1: oci or docker' 'BUILDAH_LAYERS=maybe: true or false' \
        'BUILDAH_ISOLATION=vm: oci, rootless or chroot' 'CBPUSH_ISOLATION=vm: auto, native, oci or chroot'; do
        run env "${row%%:*}" "$CBPUSH" build -t x ctx
        assert_status 2
        assert_contains "$output" "$row"
    done
    BUILDAH_ISOLATION=rootless run cbpush build --runtime runc -t x ctx
    assert_status 2
    assert_contains "$output" 'isolation rootless (BUILDAH_ISOLATION)'
}

@test "kaniko: its variables, --secret, and its older spellings" {
    printf 'FROM busybox\nRUN --mount=type=secret,id=s,required cat /run/secrets/s >/s\n' >ctx/Dockerfile
    echo hidden >file
    KANIKO_NO_PUSH=true executor -c ctx -d "$reg/test/unpushed:1" --secret id=s,src=file --tarPath image.tar --whitelist-var-run \
        --force-build-metadata >out 2>&1
    assert_equal "$(skopeo inspect --config --raw docker-archive:image.tar | jq '.rootfs.diff_ids | length')" 2
    assert_contains "$(registry_curl reg /v2/test/unpushed/tags/list)" NAME_UNKNOWN
    KANIKO_NO_PUSH=0 executor -c ctx -d "$reg/test/pushed:1" --secret id=s,src=file --no-push >out 2>&1
    digest_of test/pushed:1
    KANIKO_NO_PUSH=maybe run executor -c ctx --no-push
    assert_status 2
    assert_contains "$output" 'KANIKO_NO_PUSH=maybe: true or false'
    rm -f "$XDG_CONFIG_HOME/containers/registries.conf"
    printf 'FROM busybox\nRUN true\n' >ctx/Dockerfile
    KANIKO_REGISTRY_MIRROR=$reg executor -c ctx --no-push --skip-default-registry-fallback
    printf 'FROM from.invalid/library/busybox\nRUN true\n' >ctx/Dockerfile
    KANIKO_REGISTRY_MAP=from.invalid=$reg executor -c ctx --no-push
}

@test "kaniko: what is not done says what does the same" {
    local row
    for row in '--git=branch=main|git://HOST/X#refs/heads/BRANCH' '--credential-helpers=env|credHelpers' '--materialize|-o DIR' \
        '--push-ignore-immutable-tag-errors|name another' '-b=x|tar://FILE' '--bucket=x|tar://FILE'; do
        run executor -c ctx --no-push "${row%%|*}"
        assert_status 2
        assert_contains "$output" 'is not supported'
        assert_contains "$output" "${row#*|}"
    done
    run executor -c https://127.0.0.1:1/x.tar.gz --no-push --push-retry 0
    assert_status 4
    run executor -c https://127.0.0.1:1/x.tar.gz --no-push --context-sub-path sub
    assert_status 2
}

@test "kaniko: --registry-mirror, --registry-map, --skip-default-registry-fallback" {
    rm -f "$XDG_CONFIG_HOME/containers/registries.conf"
    printf 'FROM busybox\nRUN true\n' >ctx/Dockerfile
    executor -c ctx --no-push --registry-mirror "$reg" --skip-default-registry-fallback
    printf 'FROM from.invalid/library/busybox\nRUN true\n' >ctx/Dockerfile
    executor -c ctx --no-push --registry-map "x.invalid=y.invalid;from.invalid=$reg"
    printf 'FROM index.docker.io/library/missing\nRUN true\n' >ctx/Dockerfile
    run executor -c ctx --no-push --registry-mirror "$reg" --skip-default-registry-fallback
    [ "$status" -eq 4 ] || [ "$status" -eq 5 ] || rig_fail "status $status: $output"
    refute_contains "$output" registry-1.docker.io
    run executor -c ctx --no-push --registry-map nothing
    assert_status 2
}

@test "--build-arg without a name: refused" {
    refused 2 --build-arg =x
    assert_contains "$output" 'NAME=VALUE'
}

@test "files that are written at the end: looked at before anything is built" {
    local flag
    : >plain
    printf 'FROM busybox\nRUN false\n' >ctx/Dockerfile
    for flag in --iidfile --metadata-file --digest-file --iidfile-raw --image-name-with-digest-file; do
        refused 6 "$flag" none/x
        assert_contains "$output" 'write none/x: No such file or directory'
        refused 6 "$flag" plain/x
        refused 6 "$flag" .
        assert_contains "$output" 'Is a directory'
    done
    refused 6 -o type=oci,dest=none/x
    assert_contains "$output" none/x
    refute_contains "$output" RUN
}

@test "--push and --output as buildx has them: cacheonly, archives to standard output, their names" {
    cb_quietly 'a build' cbpush build -t only:1 -o type=cacheonly ctx
    assert_equal "$(cbpush images -q)" ''
    cbpush build -o type=oci,name=named/here:2 --target one ctx 2>log >oci.tar
    tar -tf oci.tar >list
    assert_contains "$(cat list)" index.json
    assert_contains "$(tar -xOf oci.tar index.json)" named/here:2
    cbpush build -o type=tar --target one ctx 2>log | tar -t >list
    assert_contains "$(cat list)" one
    cbpush build --quiet -o type=docker,dest=-,name=named/here:3 --target one ctx >docker.tar
    assert_equal "$(tar -xOf docker.tar manifest.json | jq -r '.[0].RepoTags[0]')" named/here:3
}
