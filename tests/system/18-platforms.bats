#!/usr/bin/env bats
# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Several platforms in one build: one index.

load helpers
load build

setup_file()
{
    rig_setup_file
    build_setup_file
    host=$(skopeo inspect --raw --config "oci:$(make_busybox_image):latest" | jq -r .architecture)
    # A machine of neither: RUN cannot work for it without an emulator.
    case $host in
        arm64) other=amd64 ;;
        *) other=arm64 ;;
    esac
    export host other
}

setup()
{
    rig_setup
    build_setup
    echo same >ctx/same
    echo "for $host" >"ctx/$host"
    echo "for $other" >"ctx/$other"
}

# Two platforms, nothing is run.
copy_only()
{
    dockerfile <<'EOF'
FROM scratch
ARG TARGETARCH
COPY same /same
COPY $TARGETARCH /own
EOF
}

# both ARG…: built for this machine and the other one.
both()
{
    build --platform "linux/$host,linux/$other" "$@" >build.log 2>&1 || rig_fail "$(cat build.log)"
    log=$(cat build.log)
}

# steps ERE: how many steps of the log have such a name; plain progress may print a name again.
steps()
{
    grep -E "^#[0-9]+ \[.*$1" build.log | sort -u | wc -l
}

# index [-r] FILTER: jq of what the tag stands for.
index()
{
    registry_skopeo reg inspect --raw "docker://$reg/test/app:1" | jq -cS "$@"
}

# arch_of ARCH: what the configuration of that platform's image says.
arch_of()
{
    skopeo --override-arch "$1" inspect --config --tls-verify=false "docker://$reg/test/app:1" | jq -r .architecture
}

# pulled ARCH: skopeo copies that platform's image to ./ARCH.oci, umoci unpacks it; prints the root file system.
pulled()
{
    rm -rf "$1.oci"
    skopeo --override-arch "$1" copy -q --src-tls-verify=false "docker://$reg/test/app:1" "oci:$1.oci:judged" &&
        judge_umoci "$PWD/$1.oci" judged
}

# What the registry was sent, one line a request.
sent()
{
    registry_requests reg '"(PUT|POST|PATCH) '
}

@test "COPY only: an index in the order asked, each image is its platform's" {
    local root
    copy_only
    both --iidfile iid
    assert_equal "$(index -r .mediaType)" application/vnd.oci.image.index.v1+json
    assert_equal "$(index '[.manifests[].platform]')" \
        "[{\"architecture\":\"$host\",\"os\":\"linux\"},{\"architecture\":\"$other\",\"os\":\"linux\"}]"
    for arch in "$host" "$other"; do
        root=$(pulled "$arch")
        assert_equal "$(cat "$root/own")" "for $arch"
        assert_equal "$(cat "$root/same")" same
        assert_equal "$(skopeo inspect --raw --config "oci:$arch.oci:judged" | jq -r .architecture)" "$arch"
    done
    assert_equal "$(metadata -r '."containerimage.digest"')" "$(registry_curl reg /v2/test/app/manifests/1 \
        -H 'Accept: application/vnd.oci.image.index.v1+json' -o /dev/null -D - | tr -d '\r' | sed -n 's/^docker-content-digest: //Ip')"
    assert_equal "$(metadata -r '."containerimage.descriptor".digest')" "$(cat iid)"
    assert_equal "$(metadata -r '."containerimage.digest"')" "$(cat iid)"
    assert_equal "$(metadata 'has("containerimage.config.digest")')" false
    both --platform "linux/$other" --platform "linux/$host"
    build --platform "linux/$other" --platform "linux/$host" >/dev/null 2>&1
    assert_equal "$(index -r '[.manifests[].platform.architecture] | join(" ")')" "$other $host"
}

@test "what both have is made once and sent once, blobs before manifests, the tag last" {
    copy_only
    registry_forget reg
    both --toc=false # tables are counted elsewhere
    # COPY same is one step of both.
    assert_equal "$(steps 'COPY same /same$')" 1
    assert_equal "$(metadata '."cbpush.steps"')" 3
    assert_equal "$(metadata '[."cbpush.pushed"[].digest] | length == (unique | length)')" true
    # Three layers and two configs; two manifests by digest, then the index by tag.
    assert_equal "$(sent | grep -c '"PUT [^ ]*/blobs/uploads/')" 5
    assert_equal "$(sent | grep -o '"PUT [^ ]*/manifests/[^ ]*' | sed 's,.*/manifests/,,; s/:.*//' | paste -s -d ' ')" \
        'sha256 sha256 1'
    assert_equal "$(sent | grep '"PUT ' | tail -n 3 | grep -c /manifests/)" 3
}

@test "an unchanged build runs nothing and sends nothing" {
    local before
    copy_only
    both
    before=$(metadata -r '."containerimage.digest"')
    registry_forget reg
    both
    assert_equal "$(metadata -r '."containerimage.digest"')" "$before"
    assert_equal "$(metadata '."cbpush.steps" == ."cbpush.cached"')" true
    assert_equal "$(sent)" ''
    assert_contains "$log" 'nothing to do'
}

@test "a stage of BUILDPLATFORM runs once for all" {
    dockerfile <<'EOF'
FROM --platform=$BUILDPLATFORM busybox AS tool
RUN echo made >/made; cat /proc/sys/kernel/random/uuid >/once
FROM --platform=$BUILDPLATFORM busybox AS cross
ARG TARGETARCH
RUN echo "cross $TARGETARCH" >/out
FROM scratch
COPY --from=tool /made /once /
COPY --from=cross /out /out
EOF
    both
    assert_equal "$(steps 'RUN echo made')" 1
    assert_contains "$log" "[linux/$host tool 2/2] RUN echo made"
    assert_contains "$log" "[linux/$host cross 2/2] RUN echo"
    assert_contains "$log" "[linux/$host->$other cross 2/2] RUN echo"
    assert_equal "$(steps '2/3. COPY --from=tool')" 1
    assert_equal "$(cat "$(pulled "$host")/once")" "$(cat "$(pulled "$other")/once")"
    assert_equal "$(cat "$(pulled "$other")/out")" "cross $other"
    assert_equal "$(cat "$(pulled "$host")/out")" "cross $host"
}

@test "one platform stays a plain manifest, and its steps have no prefix" {
    copy_only
    build --platform "linux/$other" >build.log 2>&1
    assert_equal "$(index -r .mediaType)" application/vnd.oci.image.manifest.v1+json
    assert_contains "$(cat build.log)" '[2/3] COPY same /same'
}

@test "platform ARGs: normalised, redeclared in stages, overridden by --build-arg" {
    dockerfile <<'EOF'
FROM scratch AS args
ARG TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT TARGETOSVERSION TARGETSTAGE BUILDARCH
COPY <<F /args
$TARGETPLATFORM|$TARGETOS|$TARGETARCH|$TARGETVARIANT|$TARGETOSVERSION|$TARGETSTAGE
F
FROM args
EOF
    build --platform linux/arm64/v8,linux/arm,linux/amd64/v2 -o type=local,dest=out >build.log 2>&1 || rig_fail "$(cat build.log)"
    assert_equal "$(cat out/linux_arm64/args)" 'linux/arm64|linux|arm64|||default'
    assert_equal "$(cat out/linux_arm_v7/args)" 'linux/arm/v7|linux|arm|v7||default'
    assert_equal "$(cat out/linux_amd64_v2/args)" 'linux/amd64/v2|linux|amd64|v2||default'
    build --platform linux/arm64,linux/arm64/v8 --target args --build-arg TARGETARCH=mine -o type=local,dest=one >build.log 2>&1
    assert_equal "$(cat one/args)" 'linux/arm64|linux|mine|||args'
    DOCKER_DEFAULT_PLATFORM=linux/s390x,local build -o type=local,dest=two >build.log 2>&1
    assert_equal "$(ls two)" "$(printf '%s\n' linux_s390x "linux_$host" | sort)"
}

@test "the summary names the platforms that were asked for, whatever the parent says of itself" {
    printf 'FROM --platform=$BUILDPLATFORM busybox AS bare\nFROM bare\nCOPY Dockerfile /\n' >ctx/Dockerfile
    cbpush build --platform linux/arm/v6,linux/amd64/v2 -t x:1 ctx >build.log 2>&1 || rig_fail "$(cat build.log)"
    assert_equal "$(awk '$1 == "platform" { print $2 }' build.log | paste -s -d ,)" linux/arm/v6,linux/amd64/v2
}

@test "a failure of one platform moves no tag, and says which" {
    local before
    copy_only
    both
    before=$(index .)
    rm "ctx/$other"
    refused 5 --platform "linux/$host,linux/$other"
    assert_contains "$output" "Dockerfile:4: linux/$other: "
    assert_equal "$(index .)" "$before"
    echo 'FROM nobody/has-this' >ctx/Dockerfile
    refused 4 --platform "linux/$host,linux/$other" || refused 3 --platform "linux/$host,linux/$other" ||
        refused 5 --platform "linux/$host,linux/$other"
    assert_equal "$(index .)" "$before"
}

@test "an index as parent is chosen for each platform; what it has not is said" {
    copy_only
    both
    printf 'FROM %s/test/app:1\nCOPY same /more\n' "$reg" >ctx/Dockerfile
    cbpush build --pull --platform "linux/$host,linux/$other" -o type=local,dest=out ctx >build.log 2>&1 ||
        rig_fail "$(cat build.log)"
    assert_equal "$(cat "out/linux_$host/own")" "for $host"
    assert_equal "$(cat "out/linux_$other/own")" "for $other"
    refused 5 --pull --platform "linux/$host,linux/riscv64"
    assert_contains "$output" 'linux/riscv64'
}

@test "a parent that is a plain manifest serves every platform, with a warning" {
    printf 'FROM busybox\nCOPY same /more\n' >ctx/Dockerfile
    both
    assert_contains "$log" "is for linux/$host, and linux/$other was asked for"
    assert_equal "$(index '[.manifests[].platform.architecture] | unique | length')" 2
    # Each image says of itself what the index says, and so does one that is built alone, or is another's stage.
    assert_equal "$(arch_of "$host") $(arch_of "$other")" "$host $other"
    build --platform "linux/$other" >build.log 2>&1
    assert_equal "$(arch_of "$other")" "$other"
    printf 'FROM --platform=$BUILDPLATFORM busybox\nCOPY same /more\n' >ctx/Dockerfile
    build --platform "linux/$other" >build.log 2>&1
    assert_equal "$(arch_of "$other")" "$other"
    build >build.log 2>&1
    assert_equal "$(arch_of "$host")" "$host"
    # Where no platform was named it is the parent's.
    printf 'FROM --platform=linux/%s busybox\nCOPY same /more\n' "$other" >ctx/Dockerfile
    build >build.log 2>&1
    assert_equal "$(arch_of "$host")" "$host"
}

@test "--join: what the parts say of themselves, of a parent that is a plain manifest" {
    printf 'FROM busybox\nCOPY same /more\n' >ctx/Dockerfile
    for i in "$host" "$other"; do
        build --platform "linux/$i" --join lone --expect "linux/$host,linux/$other" >build.log 2>&1
    done
    assert_equal "$(index '[.manifests[].platform.architecture] | unique | length')" 2
    assert_equal "$(arch_of "$host") $(arch_of "$other")" "$host $other"
}

@test "output: an OCI layout holds the index" {
    copy_only
    build --platform "linux/$host,linux/$other" -o type=oci,dest=out.tar -o type=oci,dest=dir,tar=false >build.log 2>&1 ||
        rig_fail "$(cat build.log)"
    mkdir tar && tar -xf out.tar -C tar
    cmp tar/index.json dir/index.json
    assert_equal "$(jq -r '.manifests | length' dir/index.json)" 1
    assert_equal "$(jq -r '.manifests[0].mediaType' dir/index.json)" application/vnd.oci.image.index.v1+json
    assert_equal "$(jq -r '.manifests[0].digest' dir/index.json)" "$(metadata -r '."containerimage.digest"')"
    for arch in "$host" "$other"; do
        skopeo --override-arch "$arch" copy -q "oci-archive:$PWD/out.tar" "oci:$arch.oci:judged"
        assert_equal "$(cat "$(judge_umoci "$PWD/$arch.oci" judged)/own")" "for $arch"
    done
}

@test "output: files go to a directory for each platform" {
    copy_only
    build --platform "linux/$host,linux/$other" -o type=local,dest=out -o type=tar,dest=out.tar >build.log 2>&1 ||
        rig_fail "$(cat build.log)"
    assert_equal "$(cat "out/linux_$host/own" "out/linux_$other/own")" "for $host
for $other"
    mkdir tar && tar -xf out.tar -C tar
    diff -r out tar
    build --platform "linux/$other" -o type=local,dest=plain -o type=local,dest=split,platform-split=true >/dev/null 2>&1
    assert_equal "$(cat plain/own "split/linux_$other/own")" "for $other
for $other"
    refused 2 --platform "linux/$host,linux/$other" -o type=local,dest=no,platform-split=false
    assert_contains "$output" platform-split
}

@test "output: a docker archive holds no index, which is said before anything is done" {
    copy_only
    refused 2 --platform "linux/$host,linux/$other" -o type=docker,dest=out.tar
    assert_contains "$output" 'docker archive'
    [ ! -e out.tar ]
    both -o type=image,oci-mediatypes=false
    assert_equal "$(index -r .mediaType)" application/vnd.docker.distribution.manifest.list.v2+json
    assert_equal "$(index -r '.manifests[0].mediaType')" application/vnd.docker.distribution.manifest.v2+json
    pulled "$other"
}

@test "annotations go where they are told to" {
    copy_only
    both --annotation plain=1 --annotation "index,manifest:two=2" --annotation "manifest[linux/$other]:two=other" \
        --annotation manifest-descriptor:d=3 --annotation "manifest-descriptor[linux/$host]:own=4" \
        --annotation index-descriptor:i=5 -o type=oci,dest=dir,tar=false
    assert_equal "$(index .annotations)" '{"two":"2"}'
    assert_equal "$(index '[.manifests[].annotations]')" '[{"d":"3","own":"4"},{"d":"3"}]'
    pulled "$host"
    pulled "$other"
    assert_equal "$(judge_manifest "$host.oci" judged | jq -cS .annotations)" '{"plain":"1","two":"2"}'
    assert_equal "$(judge_manifest "$other.oci" judged | jq -cS .annotations)" '{"plain":"1","two":"other"}'
    assert_equal "$(jq -r '.manifests[0].annotations.i' dir/index.json)" 5
    # The same as fields of an output.
    both -o "type=image,annotation.plain=1,annotation-index.two=2,annotation-manifest[linux/$other].two=other"
    assert_equal "$(index .annotations)" '{"two":"2"}'
    pulled "$other"
    assert_equal "$(judge_manifest "$other.oci" judged | jq -cS .annotations)" '{"plain":"1","two":"other"}'
    refused 2 -o 'type=image,annotation-layer.a=b'
    refused 2 --annotation index:a=b
    assert_contains "$output" 'one platform makes no index'
    refused 2 --annotation 'manifest[linux/s390x]:a=b'
    refused 2 --annotation 'nothing:a=b'
    build --annotation manifest-descriptor:d=e --annotation "manifest[linux/$host]:f=g" >/dev/null 2>&1
    assert_equal "$(metadata -r '."containerimage.descriptor".annotations.d')" e
    assert_equal "$(index .annotations)" '{"f":"g"}'
}

@test "the verbs of the store take an index" {
    local digest
    copy_only
    cbpush build -t app --platform "linux/$host,linux/$other" ctx >build.log 2>&1 || rig_fail "$(cat build.log)"
    digest=$(cbpush images --json | jq -r '.[0].digest')
    assert_equal "$(cbpush images --json | jq -c '.[0].platforms')" "[\"linux/$host\",\"linux/$other\"]"
    assert_equal "sha256:$(cbpush inspect --raw app | sha256sum | cut -d' ' -f1)" "$digest"
    assert_equal "$(cbpush inspect app | jq -r .Architecture)" "$host"
    assert_equal "$(cbpush inspect --platform "$other" app | jq -r .Architecture)" "$other"
    assert_equal "$(cbpush history --platform "$other" app | grep -c COPY)" 2
    cbpush tag app "$reg/test/app:1"
    assert_equal "$(cbpush push --quiet "$reg/test/app:1")" "$digest"
    assert_equal "$(cat "$(pulled "$other")/own")" "for $other"
    registry_forget reg
    assert_equal "$(cbpush push --quiet "$reg/test/app:1")" "$digest"
    assert_equal "$(sent)" ''
    cbpush save --format oci-archive -o all.tar app
    skopeo --override-arch "$other" copy -q "oci-archive:$PWD/all.tar" "oci:$other.oci:judged"
    cbpush save --platform "$other" --format oci-dir -o one app
    assert_equal "$(jq -r '.manifests[0].mediaType' one/index.json)" application/vnd.oci.image.manifest.v1+json
    cbpush save -o docker.tar app
    skopeo copy -q "docker-archive:docker.tar" "oci:$host.oci:judged"
    assert_equal "$(skopeo inspect --raw --config "oci:$host.oci:judged" | jq -r .architecture)" "$host"
    cbpush prune >/dev/null 2>&1
    assert_equal "$(cbpush inspect --platform "$other" app | jq -r .Architecture)" "$other"
    cbpush rmi app >/dev/null
    cbpush rmi "$reg/test/app:1" >/dev/null
    assert_equal "$(cbpush images -q)" ''
    assert_contains "$(cbpush load -i all.tar)" "$digest"
    assert_equal "$(cbpush images --json | jq -c '.[0].platforms | length')" 2
}

@test "run takes this machine's image of an index" {
    printf 'FROM busybox\nARG TARGETARCH\nCOPY $TARGETARCH /own\n' >ctx/Dockerfile
    cbpush build -t app --platform "linux/$other,linux/$host" ctx >build.log 2>&1 || rig_fail "$(cat build.log)"
    assert_equal "$(cbpush run app cat /own)" "for $host"
    run cbpush run --platform "linux/$other" app cat /own
    # It is what was asked for, whatever its parent is.
    assert_status 6
    assert_contains "$output" "programs of linux/$other"
}

# ---- RUN of other platforms

# Static programs of another architecture, from Debian; kept in CBPUSH_TEST_CACHE. foreign_deb PACKAGE ARCH: its tree.
foreign_deb()
{
    local dir new
    dir=$(rig_cache)/deb-$1-$2
    printf '%s\n' "$dir"
    [ ! -d "$dir" ] || return 0
    mkdir -p "$(rig_cache)"
    (
        flock 9
        [ ! -d "$dir" ] || exit 0
        new=$(mktemp -d "$(rig_cache)/new.XXXXXX") && mkdir -p "$new"/apt/{lists/partial,cache/archives/partial} "$new/tree" || exit
        printf 'APT::Architectures { "%s"; "%s"; };\nDir::State::Lists "%s/apt/lists";\nDir::Cache "%s/apt/cache";\n' \
            "$(dpkg --print-architecture)" "$2" "$new" "$new" >"$new/apt.conf"
        export APT_CONFIG=$new/apt.conf
        # One index of many that cannot be had does not matter unless it is the one.
        cd "$new" && { apt-get -q update >/dev/null 2>&1 || :; } && cb_quietly apt apt-get -q download "$1:$2" &&
            dpkg -x "$1"_*.deb "$new/tree" && touch "$new/tree" && mv -T "$new/tree" "$dir"
        status=$?
        rm -rf "$new"
        exit "$status"
    ) 9>"$(rig_cache)/lock" 3>&- 4>&-
}

foreign_dockerfile()
{
    dockerfile <<'EOF'
FROM scratch AS base
ARG TARGETARCH
COPY busybox-$TARGETARCH /bin/busybox

FROM base
RUN ["/bin/busybox", "sh", "-c", "echo ran >/made"]
EOF
    cp "$(command -v busybox)" "ctx/busybox-$host"
}

@test "RUN of a platform that cannot run here is refused before anything runs" {
    [[ $(cbpush doctor) != *linux/mips64le* ]] || skip 'this machine runs even mips64le'
    foreign_dockerfile
    sed -i 's/busybox-$TARGETARCH/same/' ctx/Dockerfile
    refused 6 --platform "linux/$host,linux/mips64le"
    assert_contains "$output" 'Dockerfile:6: linux/mips64le: '
    assert_contains "$output" 'qemu-user-static'
    assert_contains "$output" '--install mips64le'
    refute_contains "$output" '] COPY'
    # Nothing foreign is run: nothing is needed.
    sed -i /^RUN/d ctx/Dockerfile
    build --platform "linux/$host,linux/mips64le" >build.log 2>&1 || rig_fail "$(cat build.log)"
    printf 'FROM scratch\nCOPY same /\nRUN ["/same"]\n' >ctx/Dockerfile
    refused 6 --platform windows/amd64
    assert_contains "$output" 'programs of windows/amd64 cannot run here'
}

@test "32-bit x86 runs on amd64 without an emulator" {
    [ "$host" = amd64 ] || skip 'this machine is no amd64'
    foreign_dockerfile
    cp "$(foreign_deb busybox-static i386)/bin/busybox" ctx/busybox-386
    build --platform linux/amd64,linux/386 -o type=local,dest=out >build.log 2>&1 || rig_fail "$(cat build.log)"
    assert_equal "$(cat out/linux_386/made)" ran
    assert_contains "$(cbpush doctor)" linux/386
}

# emulated [FLAGS]: stdin is a script that is run where linux/arm64 has an interpreter, registered in a user namespace
# of the test's own (Linux 6.7 and later).
emulated()
{
    cat >script
    cat >emulate <<EOF
set -e
mkdir -p bf
mount -t binfmt_misc none bf
printf ':cbtest:M:0:\\\\x7fELF\\\\x02\\\\x01\\\\x01\\\\x00\\\\x00\\\\x00\\\\x00\\\\x00\\\\x00\\\\x00\\\\x00\\\\x00\\\\x02\\\\x00\\\\xb7\\\\x00:\\\\xff\\\\xff\\\\xff\\\\xff\\\\xff\\\\xff\\\\xff\\\\x00\\\\xff\\\\xff\\\\xff\\\\xff\\\\xff\\\\xff\\\\xff\\\\xff\\\\xfe\\\\xff\\\\xff\\\\xff:$interpreter:$1' >bf/register
exec bash -e script
EOF
    unshare -U -r -m sh emulate
}

@test "RUN of arm64 works by a registered interpreter" {
    [ "$host" = amd64 ] || skip 'this machine is no amd64'
    mkdir -p bf
    unshare -U -r -m mount -t binfmt_misc none bf 2>/dev/null || skip 'binfmt_misc cannot be mounted in a user namespace'
    foreign_dockerfile
    cp "$(foreign_deb busybox-static arm64)/bin/busybox" ctx/busybox-arm64
    interpreter=$(foreign_deb qemu-user-static amd64)/usr/bin/qemu-aarch64-static
    printf 'RUN ["/bin/busybox", "sh", "-c", "/bin/busybox uname -m >/machine"]\n' >>ctx/Dockerfile
    emulated F <<'EOF' >build.log 2>&1 || rig_fail "$(cat build.log)"
"$CBPUSH" doctor
"$CBPUSH" build --progress plain --platform linux/amd64,linux/arm64 -o type=local,dest=out -t app ctx
"$CBPUSH" run --platform arm64 app /bin/busybox uname -m
EOF
    assert_contains "$(cat build.log)" linux/arm64
    assert_equal "$(cat out/linux_arm64/machine out/linux_amd64/machine)" "aarch64
x86_64"
    assert_equal "$(tail -n 1 build.log)" aarch64
    run cbpush run --platform arm64 app /bin/busybox true
    assert_status 6
    assert_contains "$output" 'qemu-user-static'
}

@test "an interpreter without flag F has to be in the root" {
    [ "$host" = amd64 ] || skip 'this machine is no amd64'
    mkdir -p bf
    unshare -U -r -m mount -t binfmt_misc none bf 2>/dev/null || skip 'binfmt_misc cannot be mounted in a user namespace'
    foreign_dockerfile
    cp "$(foreign_deb busybox-static arm64)/bin/busybox" ctx/busybox-arm64
    cp "$(foreign_deb qemu-user-static amd64)/usr/bin/qemu-aarch64-static" ctx/qemu
    interpreter=/usr/bin/qemu-test
    # shellcheck disable=SC2016 # the script's
    build='"$CBPUSH" build --progress plain --platform linux/arm64 -o type=local,dest=out ctx'
    if emulated '' <<<"mkdir -p /proc/x || :; mount --bind bf /proc/sys/fs/binfmt_misc; $build" >build.log 2>&1; then
        rig_fail 'it was built without an interpreter'
    fi
    assert_contains "$(cat build.log)" 'registered without flag F, is not in this root'
    sed -i 's,^COPY .*,&\nCOPY qemu /usr/bin/qemu-test,' ctx/Dockerfile
    emulated '' <<<"mount --bind bf /proc/sys/fs/binfmt_misc; $build" >build.log 2>&1 || rig_fail "$(cat build.log)"
    assert_equal "$(cat out/made)" ran
}
