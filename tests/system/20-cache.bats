#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The build cache, and that the same input gives the same bytes.

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

# all_cached: the last build ran nothing.
assert_all_cached()
{
    assert_equal "$(metadata '.["cbpush.cached"]')" "$(metadata '.["cbpush.steps"]')" 'steps that were cached'
}

# assert_cached N OF: so many steps were cached.
assert_cached()
{
    assert_equal "$(metadata '[.["cbpush.cached"], .["cbpush.steps"]]')" "[$1,$2]" 'steps that were cached, all steps'
}

digest()
{
    metadata -r '.["containerimage.digest"]'
}

# quiet_build ARG…: build, its output only if it fails.
quiet_build()
{
    cb_quietly 'the build' cbpush build "$@"
}

# files_read LOG: "READ UNCHANGED", what the last build said of the context.
files_read()
{
    sed -nE 's/^#[0-9]+ [0-9.]+ ([0-9]+) files, [0-9]+ bytes read(, ([0-9]+) files unchanged)?$/\1 \3/p' "$1"
}

@test "cache: unchanged files of the context are not read again, unless --no-stat-cache" {
    dockerfile <<'END'
FROM scratch
COPY . /
END
    echo one >ctx/one
    echo two >ctx/two
    sleep 2.1 # what is younger is not kept
    build >build.log 2>&1
    assert_equal "$(files_read build.log)" '3 '
    build >build.log 2>&1
    assert_equal "$(files_read build.log)" '0 3'
    build --no-stat-cache >build.log 2>&1
    assert_equal "$(files_read build.log)" '3 '
    local first
    first=$(digest)
    # The same size, and the old mtime: only ctime tells.
    touch -r ctx/one old
    echo ONE >ctx/one
    touch -r old ctx/one
    build >build.log 2>&1
    assert_equal "$(files_read build.log)" '1 2'
    [ "$(digest)" != "$first" ]
    cbpush prune --all --keep 0s >prune.log 2>&1
    build >build.log 2>&1
    assert_equal "$(files_read build.log)" '3 '
}

# compressed_again STAGE: builds it into the layout STAGE, and how many layers had to be compressed for that.
compressed_again()
{
    cbpush build --target "$1" -o "type=oci,dest=$1,tar=false" --progress plain --trace "$1.json" ctx >/dev/null 2>&1
    jq '[.traceEvents[] | select(.name == "compress layer again")] | length' "$1.json"
}

layers_of_layout()
{
    skopeo inspect --raw "oci:$1" | jq -c '[.layers[].digest]'
}

@test "what only other stages need is compressed quickly, and anew where it goes out" {
    dockerfile <<'END'
FROM busybox AS tools
RUN seq 100000 >/numbers && touch -d @0 /numbers
COPY a.txt /
FROM busybox
COPY --from=tools /numbers /elsewhere
END
    echo a >ctx/a.txt
    built
    assert_equal "$(compressed_again tools)" 2
    local made
    made=$(layers_of_layout tools)
    rm -r tools
    cbpush prune --all --keep 0s >prune.log 2>&1
    assert_equal "$(compressed_again tools)" 0
    assert_equal "$(layers_of_layout tools)" "$made"
}

@test "an unchanged rebuild runs nothing, sends nothing and gives the same digest" {
    busy_dockerfile
    built
    local first
    first=$(digest)
    registry_forget reg
    built
    assert_all_cached
    assert_equal "$(digest)" "$first"
    assert_contains "$log" CACHED
    assert_contains "$log" 'nothing to do'
    assert_equal "$(registry_requests reg '"(POST|PUT|PATCH) ')" ''
    assert_equal "$(metadata '.["cbpush.pushed"]')" '[]'
    ran true
}

@test "an unchanged rebuild into another repository of the registry sends no layer" {
    busy_dockerfile
    built
    registry_forget reg
    quiet_build --push "$reg/other/app:2" --metadata-file metadata.json ctx
    judged other/app:2
    assert_equal "$(registry_requests reg '"PATCH ')" ''
    assert_equal "$(metadata '[.["cbpush.pushed"][].outcome] | map(select(. == "mounted")) | length')" \
        "$(manifest '.layers | length')"
    # Nor a table but the parent's, which is not where the parent is; the configuration, and an empty one.
    assert_equal "$(registry_requests reg '"PUT /v2/other/app/blobs/uploads/.* 201 ' | wc -l)" 3
}

@test "a changed file runs again only what is below it" {
    busy_dockerfile
    built
    local before after uuid
    before=$(diff_ids)
    uuid=$(cat "$rootfs/uuid")
    echo changed >ctx/b.txt
    built
    assert_cached 5 6
    after=$(diff_ids)
    assert_equal "$(head -n -1 <<<"$after")" "$(head -n -1 <<<"$before")"
    [ "$(tail -n 1 <<<"$after")" != "$(tail -n 1 <<<"$before")" ]
    assert_equal "$(cat "$rootfs/uuid")" "$uuid"
    echo changed >ctx/a.txt
    built
    # WORKDIR, and COPY b.txt: the same layer fits on whatever is below it.
    assert_cached 2 6
    [ "$(cat "$rootfs/uuid")" != "$uuid" ]
}

@test "contents and modes of the context count, times and other files do not" {
    dockerfile <<'END'
FROM busybox
COPY src /src/
RUN cat /proc/sys/kernel/random/uuid >/uuid
END
    echo x | write ctx/src/file
    quiet_build -t t --metadata-file metadata.json ctx
    touch -d '2001-01-01' ctx/src/file ctx/src
    echo unrelated >ctx/unrelated
    quiet_build -t t --metadata-file metadata.json ctx
    assert_all_cached
    chmod 0755 ctx/src/file
    quiet_build -t t --metadata-file metadata.json ctx
    assert_cached 0 2
    touch ctx/src/second
    quiet_build -t t --metadata-file metadata.json ctx
    assert_cached 0 2
    rm ctx/src/second
    quiet_build -t t --metadata-file metadata.json ctx
    assert_all_cached
    mv ctx/src/file ctx/src/renamed
    quiet_build -t t --metadata-file metadata.json ctx
    assert_cached 0 2
}

# add_archive SECONDS: ctx/x.tar with a file and a link of that time.
add_archive()
{
    mkdir -p x
    echo x >x/file
    ln -sf file x/link
    touch -h -d "@$1" x/file x/link x
    tar -cf ctx/x.tar -C x .
}

@test "the times in an archive count" {
    dockerfile <<'END'
FROM busybox
ADD x.tar /x/
END
    add_archive 1000000000
    built
    add_archive 1200000000
    built
    assert_cached 0 1
    assert_equal "$(stat -c %Y "$rootfs/x/file" "$rootfs/x/link")" $'1200000000\n1200000000'
    built
    assert_all_cached
}

# times_dockerfile NAME SECONDS: of the first stage that has that time, and what the others make of it says so.
times_dockerfile()
{
    dockerfile <<END
FROM busybox AS first
RUN mkdir -p /p/dir && echo x >/p/file && ln -s file /p/link && touch -h -d @1000000000 /p/* && touch -h -d @$2 /p/$1
RUN stat -c %Y /p/* >/on
FROM busybox
COPY --from=first /p /p
COPY --from=first /on /
RUN --mount=from=first,source=/p,target=/m stat -c %Y /m/* >/shown
END
}

@test "with SOURCE_DATE_EPOCH, the times of what is below count" {
    export SOURCE_DATE_EPOCH=1500000000
    local name first
    for name in file dir link; do
        times_dockerfile "$name" 1100000000
        built
        times_dockerfile "$name" 1200000000
        built
        assert_cached 0 5
        assert_equal "$(stat -c %Y "$rootfs/p/$name")" 1200000000
        (cd "$rootfs/p" && stat -c %Y dir file link) >wanted
        assert_equal "$(cat "$rootfs/on")" "$(cat wanted)"
        assert_equal "$(cat "$rootfs/shown")" "$(cat wanted)"
    done
    # That of the directory whose files become those of a new one.
    times_dockerfile . 1100000000
    built
    times_dockerfile . 1200000000
    built
    assert_equal "$(stat -c %Y "$rootfs/p")" 1200000000
    # The clock's become the same, so that what is made again and comes out the same still hits.
    times_dockerfile file 1600000000
    built
    first=$(diff_ids)
    times_dockerfile file 1700000000
    built
    assert_equal "$(diff_ids)" "$first"
    assert_cached 4 5
}

@test "what .dockerignore leaves out does not count" {
    dockerfile <<'END'
FROM busybox
COPY . /src/
END
    printf '*.log\n' >ctx/.dockerignore
    echo 1 >ctx/x.log
    quiet_build -t t --metadata-file metadata.json ctx
    echo 2 >ctx/x.log
    quiet_build -t t --metadata-file metadata.json ctx
    assert_all_cached
}

@test "a stage that is built again and comes out the same does not run what is above" {
    dockerfile <<'END'
FROM busybox AS builder
COPY input /input
RUN mkdir /out && wc -l </input >/out/lines
FROM busybox
COPY --from=builder /out /out
RUN cat /proc/sys/kernel/random/uuid >/uuid
END
    printf 'a\nb\n' >ctx/input
    built
    local ids
    ids=$(diff_ids)
    printf 'c\nd\n' >ctx/input
    built
    assert_equal "$(diff_ids)" "$ids"
    assert_contains "$log" '[builder 3/3] RUN mkdir'
    assert_cached 2 4
    # And once more, now by the definition alone.
    built
    assert_all_cached
}

@test "a RUN above a step that came out the same does not run" {
    dockerfile <<'END'
FROM busybox
ARG WAY=1
COPY one two /in/
RUN cat /proc/sys/kernel/random/uuid >/uuid
END
    echo 1 >ctx/one
    echo 2 >ctx/two
    built
    local ids
    ids=$(diff_ids)
    # The same files by another definition.
    sed -i 's,COPY one two /in/,COPY two one /in/,' ctx/Dockerfile
    built
    assert_equal "$(diff_ids)" "$ids"
}

@test "--no-cache runs every step, and its results are used by the next build" {
    busy_dockerfile
    built
    local uuid
    uuid=$(cat "$rootfs/uuid")
    built --no-cache
    assert_equal "$(metadata '.["cbpush.cached"]')" 0
    [ "$(cat "$rootfs/uuid")" != "$uuid" ]
    uuid=$(cat "$rootfs/uuid")
    built
    assert_all_cached
    assert_equal "$(cat "$rootfs/uuid")" "$uuid"
}

@test "ARG and ENV: a new value runs again what is below, and only that" {
    dockerfile <<'END'
FROM busybox
RUN cat /proc/sys/kernel/random/uuid >/first
ARG A=1
RUN cat /proc/sys/kernel/random/uuid >/second
END
    quiet_build -t t --metadata-file metadata.json ctx
    quiet_build -t t --metadata-file metadata.json --build-arg A=2 ctx
    assert_cached 1 2
    quiet_build -t t --metadata-file metadata.json --build-arg A=1 ctx
    assert_all_cached
    quiet_build -t t --metadata-file metadata.json --build-arg UNKNOWN=1 ctx
    assert_all_cached
    sed -i 's/ARG A=1/ENV A=3/' ctx/Dockerfile
    quiet_build -t t --metadata-file metadata.json ctx
    assert_cached 1 2
}

@test "the proxies do not count" {
    dockerfile <<'END'
FROM busybox
RUN cat /proc/sys/kernel/random/uuid >/first
END
    quiet_build -t t --metadata-file metadata.json --build-arg http_proxy=http://one:1 ctx
    quiet_build -t t --metadata-file metadata.json --build-arg http_proxy=http://two:2 ctx
    assert_all_cached
}

@test "USER, WORKDIR, SHELL and the network of a RUN count; comments and case do not" {
    local prefix
    for prefix in '' 'USER nobody' 'WORKDIR /tmp' 'SHELL ["/bin/sh", "-ec"]'; do
        printf 'FROM busybox\n%s\nRUN cat /proc/sys/kernel/random/uuid >/tmp/u\n' "$prefix" >ctx/Dockerfile
        quiet_build -t t --metadata-file metadata.json ctx
        [ "$(metadata '.["cbpush.cached"]')" -lt "$(metadata '.["cbpush.steps"]')" ] || rig_fail "cached: $prefix"
    done
    printf 'FROM busybox\nRUN --network=none cat /proc/sys/kernel/random/uuid >/tmp/u\n' >ctx/Dockerfile
    quiet_build -t t --metadata-file metadata.json ctx
    assert_cached 0 1
    printf '# new\nfrom busybox as name\n\n# comment\nrun --network=none cat /proc/sys/kernel/random/uuid >/tmp/u\n' >ctx/Dockerfile
    quiet_build -t t --metadata-file metadata.json ctx
    assert_all_cached
}

@test "another Dockerfile with the same steps uses them" {
    printf 'FROM busybox\nRUN cat /proc/sys/kernel/random/uuid >/u\nLABEL a=1\n' >ctx/one.df
    printf 'FROM busybox AS x\nRUN cat /proc/sys/kernel/random/uuid >/u\nFROM x\nRUN touch /more\n' >ctx/two.df
    quiet_build -t one -f ctx/one.df --metadata-file metadata.json ctx
    quiet_build -t two -f ctx/two.df --metadata-file metadata.json ctx
    assert_cached 1 2
}

@test "a parent that moved is seen; --pull, --pull=never and a name in the store" {
    dockerfile <<END
FROM $reg/test/base:1
RUN cat /proc/sys/kernel/random/uuid >/u
END
    printf 'FROM busybox\nLABEL v=1\n' >base.df
    quiet_build --push "$reg/test/base:1" -f base.df ctx
    CBPUSH_ROOT=$PWD/other built
    assert_equal "$(config -r .config.Labels.v)" 1
    printf 'FROM busybox\nLABEL v=2\n' >base.df
    quiet_build --push "$reg/test/base:1" -f base.df ctx
    export CBPUSH_ROOT=$PWD/other
    built
    assert_equal "$(config -r .config.Labels.v)" 2
    # Once pulled by name it stays what it is, until --pull.
    cb_quietly 'the pull' cbpush pull "$reg/test/base:1"
    printf 'FROM busybox\nLABEL v=3\n' >base.df
    CBPUSH_ROOT=$BATS_TEST_TMPDIR/store quiet_build --push "$reg/test/base:1" -f base.df ctx
    built
    assert_equal "$(config -r .config.Labels.v)" 2
    built --pull=never
    assert_equal "$(config -r .config.Labels.v)" 2
    built --pull
    assert_equal "$(config -r .config.Labels.v)" 3
    printf 'FROM %s/library/busybox\n' "$reg" >ctx/Dockerfile
    refused 5 --pull=never
    assert_contains "$output" never
}

@test "prune: an image and its layers survive, the rest goes, and a rebuild works" {
    busy_dockerfile
    built
    local first
    first=$(digest)
    quiet_build -t kept ctx
    cbpush prune --keep 0s
    cbpush run kept >uuid
    assert_equal "$(cat uuid)" "$(cat "$rootfs/uuid")"
    cbpush rmi kept "$reg/test/app:1"
    cbpush prune --all
    assert_equal "$(cbpush images -q | wc -l)" 0
    local left
    left=$(find "$CBPUSH_ROOT/blobs" -type f | wc -l)
    [ "$left" -eq 0 ] || rig_fail "$left blobs are left"
    built
    assert_equal "$(metadata '.["cbpush.cached"]')" 0
    [ "$(digest)" != "$first" ]
    ran true
}

@test "two builds at the same time share a store" {
    local i pids=()
    for i in 1 2 3; do
        mkdir "c$i"
        printf 'FROM busybox\nRUN sleep 0.3; echo shared >/s\nRUN echo %s >/own\n' "$i" >"c$i/Dockerfile"
        cbpush build -t "app:$i" "c$i" 2>"log$i" 3>&- &
        pids+=("$!")
    done
    for i in "${pids[@]}"; do
        wait "$i" || { cat log?; false; }
    done
    for i in 1 2 3; do
        assert_equal "$(cbpush run "app:$i" cat /own)" "$i"
    done
}

@test "a store whose index is gone is rebuilt from its files" {
    busy_dockerfile
    built
    rm -f "$CBPUSH_ROOT"/index.sqlite*
    built
    ran true
    cbpush run "$reg/test/app:1" true
}

# ---- the same bytes

# reproducible_build ROOT THREADS: builds with an own store; prints the manifest's digest.
reproducible_build()
{
    CBPUSH_ROOT=$1 CBPUSH_THREADS=$2 quiet_build -o "type=oci,dest=$1.oci,tar=false" --metadata-file metadata.json ctx
    digest
}

# Files of many sizes, some of which compress and some of which do not.
big_context()
{
    local i
    mkdir -p ctx/data/deep
    for i in 0 1 511 512 513 65536 1048575 1048576 1048577 5000000; do
        head -c "$i" /dev/urandom >"ctx/data/r$i"
        yes "line of text $i" | head -c "$i" >"ctx/data/deep/t$i"
    done
}

@test "the same layers with 1, 2 and 4 threads" {
    export SOURCE_DATE_EPOCH=1700000000
    big_context
    dockerfile <<'END'
FROM busybox
WORKDIR /w
COPY data /data/
RUN cp -r /data /copy && rm /copy/r1 && dd if=/dev/zero of=/zeros bs=1M count=9 2>/dev/null
COPY --chown=1:1 data /again
END
    local one
    one=$(reproducible_build "$PWD/s1" 1)
    assert_equal "$(reproducible_build "$PWD/s2" 2)" "$one"
    assert_equal "$(reproducible_build "$PWD/s4" 4)" "$one"
}

@test "SOURCE_DATE_EPOCH: two clean stores make the same digest, at different times, from different files' times" {
    busy_dockerfile
    sed -i 's,cat /proc/sys/kernel/random/uuid,echo constant,' ctx/Dockerfile
    export SOURCE_DATE_EPOCH=1600000000
    local one
    one=$(reproducible_build "$PWD/s1" 2)
    sleep 1.1
    touch ctx/a.txt ctx/b.txt
    cp -r ctx ctx2 && rm -r ctx && mv ctx2 ctx
    assert_equal "$(reproducible_build "$PWD/s2" 2)" "$one"
    oci=$PWD/s1.oci
    assert_equal "$(skopeo inspect --config --raw "oci:$oci" | jq -r .created)" 2020-09-13T12:26:40Z
    local layer
    for layer in $(skopeo inspect --raw "oci:$oci" | jq -r '.layers[1:][].digest'); do
        # Nothing is younger; skip what has no time.
        run bash -c "judge=\$(cat '$oci/blobs/${layer/://}' | tar -tz --full-time -v | awk '\$4 \" \" \$5 > \"2020-09-13 12:26:40\"'); echo \"\$judge\""
        assert_equal "$output" ''
    done
}

@test "SOURCE_DATE_EPOCH as --build-arg, and its absence" {
    printf 'FROM busybox\nRUN touch /x\n' >ctx/Dockerfile
    quiet_build -o type=oci,dest=one,tar=false --build-arg SOURCE_DATE_EPOCH=1500000000 ctx
    assert_equal "$(skopeo inspect --config --raw oci:one | jq -r .created)" 2017-07-14T02:40:00Z
    quiet_build -o type=oci,dest=two,tar=false ctx
    local created
    created=$(skopeo inspect --config --raw oci:two | jq -r .created)
    [ "$(date -d "$created" +%s)" -gt $(($(date +%s) - 60)) ]
}

@test "an unchanged rebuild reads nothing, whatever the context's size" {
    big_context
    dockerfile <<'END'
FROM busybox
COPY data /data/
RUN touch /x
END
    sleep 2.1 # what is younger is not kept
    built
    build >build.log 2>&1
    assert_all_cached
    assert_equal "$(files_read build.log | cut -d ' ' -f 1)" 0
}

# The third step's layer is the first one's: still it is the third step's own. Another machine is another store.
@test "a step that makes a layer that is below it already is found with it by what it gets" {
    dockerfile <<'END'
FROM busybox
RUN echo again >/file
RUN rm /file
RUN echo again >/file
END
    local first
    built --source-date-epoch 1000000000
    assert_equal "$(diff_ids | sed -n 2p)" "$(diff_ids | sed -n 4p)"
    first=$(diff_ids)
    sed -i '2i RUN true' ctx/Dockerfile
    built --source-date-epoch 1000000000 --cache-to "type=local,dest=$PWD/cache"
    assert_cached 3 4
    sed -i '2i RUN true && true' ctx/Dockerfile
    export CBPUSH_ROOT=$BATS_TEST_TMPDIR/store.two
    built --source-date-epoch 1000000000 --cache-from "type=local,src=$PWD/cache"
    assert_cached 4 5
    assert_equal "$(cat "$rootfs/file")" again
    assert_equal "$(diff_ids)" "$first"
}

# Two stages that begin alike are one thing: had a its old outcome and b a new one, the next build would find one of them.
@test "--no-cache-filter: a step that other stages have, too, is run again for all of them" {
    dockerfile <<'END'
FROM busybox AS a
RUN cat /proc/sys/kernel/random/uuid >/uuid
FROM busybox AS b
RUN cat /proc/sys/kernel/random/uuid >/uuid
FROM a AS on_a
RUN cp /uuid /copy
FROM b AS on_b
RUN cp /uuid /copy
FROM busybox
COPY --from=on_a /copy /a
COPY --from=on_b /copy /b
END
    built
    local one
    one=$(cat "$rootfs/a")
    assert_equal "$(cat "$rootfs/b")" "$one"
    local stage two same
    for stage in b a; do
        built --no-cache-filter "$stage"
        two=$(cat "$rootfs/a")
        [ "$two" != "$one" ]
        assert_equal "$(cat "$rootfs/b")" "$two"
        same=$(digest)
        built
        assert_all_cached
        assert_equal "$(digest)" "$same"
        one=$two
    done
}

# Of a RUN and its base, each in two stages: which of two outcomes was recorded last decided what the next build took.
@test "--no-cache-filter: the build behind it gives the same image, also where stages begin alike" {
    dockerfile <<'END'
FROM busybox AS other
RUN cat /proc/sys/kernel/random/uuid >/uuid
RUN echo more >/more
FROM busybox
RUN cat /proc/sys/kernel/random/uuid >/uuid
RUN --mount=from=other,target=/m cp /m/more /copy
RUN echo end >/end
END
    local where first
    for where in '' "type=local,dest=$PWD/cache,mode=max"; do
        cached=()
        [ -z "$where" ] || cached=(--cache-to "$where")
        built "${cached[@]}"
        [ -z "$where" ] || cached+=(--cache-from "type=local,src=$PWD/cache")
        built "${cached[@]}" --no-cache-filter other
        first=$(digest)
        built "${cached[@]}"
        assert_all_cached
        assert_equal "$(digest)" "$first"
    done
}

@test "an inline cache keeps the record of what is linked, where only another image had it" {
    dockerfile <<'END'
FROM busybox
COPY --link a /
END
    echo a >ctx/a
    build --cache-to type=inline >build.log 2>&1
    dockerfile <<'END'
FROM busybox
WORKDIR /new
COPY --link a /
RUN cat /a >/b
END
    # The RUN reads the layer: so the store has a record of the linking, but none of what is linked.
    export CBPUSH_ROOT=$PWD/elsewhere
    local options=(--cache-from "type=registry,ref=$reg/test/app:1" --cache-to type=inline) first
    build "${options[@]}" >build.log 2>&1
    assert_cached 1 3
    first=$(digest)
    build "${options[@]}" >build.log 2>&1
    assert_all_cached
    assert_equal "$(digest)" "$first"
}

@test "SOURCE_DATE_EPOCH: a step that changes nothing adds none, whether the one below was run or cached" {
    export SOURCE_DATE_EPOCH=1100000000
    printf 'FROM busybox\nRUN touch /made\nRUN chmod 0644 /made\n' >ctx/Dockerfile
    cbpush build --progress quiet -o type=oci,tar=false,dest=run ctx
    printf 'FROM busybox\nRUN touch /made\nRUN chmod 0644 /made && true\n' >ctx/Dockerfile
    CBPUSH_ROOT=$PWD/other cbpush build --progress quiet -o type=oci,tar=false,dest=fresh ctx
    cbpush build --progress quiet -o type=oci,tar=false,dest=cached ctx
    assert_equal "$(jq -r '.manifests[].digest' cached/index.json)" "$(jq -r '.manifests[].digest' fresh/index.json)"
    assert_equal "$(jq '.layers | length' "run/blobs/$(jq -r '.manifests[0].digest' run/index.json | tr : /)")" 2
}
