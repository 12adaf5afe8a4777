#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Large blobs: in chunks, through faults, and from one process to the next.
# On the disk: it takes 5 GiB of it. (run.sh puts what the other files make into memory.)

load helpers
load build
load uploads

CHUNK=4194304

setup_file()
{
    rig_setup_file
    build_setup_file
    registry_start distribution
    if olareg_builds; then olareg_start olareg; fi
    export rate=60000000
    # One store for all: what is in it is only read.
    export RIG_SHARED_STORE=1
    CBPUSH_ROOT=$BATS_FILE_TMPDIR/store make_image big $((64 << 20))
}

# make_image NAME SIZE: of so many random bytes.
make_image()
{
    mkdir "$BATS_FILE_TMPDIR/$1"
    head -c "$2" /dev/urandom >"$BATS_FILE_TMPDIR/$1/big"
    printf 'FROM scratch\nCOPY big /big\n' >"$BATS_FILE_TMPDIR/$1/Dockerfile"
    cbpush build -q -t "$1" "$BATS_FILE_TMPDIR/$1" >/dev/null
}

# take_image NAME: it is what is pushed from here on.
take_image()
{
    image=$1
    size=$(stat -c %s "$BATS_FILE_TMPDIR/$1/big")
    # Random bytes: compression adds a little.
    blob=$((size + size / 1000 + 100000))
}

setup()
{
    rig_setup
    take_image big
}

needs_olareg()
{
    olareg_builds || skip 'no Go 1.21 to build olareg with'
}

# push_big NAME: the command line, with small chunks.
push_big()
{
    exec "$CBPUSH" push --progress plain --chunk-size 4m "$image" "$1" 3>&-
}

# killed_at NAME PROXY BYTES: pushes until the proxy has passed on so many bytes, and kills it. False where it was over
# before.
killed_at()
{
    local pid
    (push_big "$1") 2>killed.log &
    pid=$!
    while rig_alive "$pid" && [ "$(proxy_sent "$2")" -lt "$3" ]; do
        sleep 0.01
    done
    kill -KILL "$pid" 2>/dev/null || :
    ! wait "$pid" 2>/dev/null
}

judged_big()
{
    local layer
    oci=$(judge_skopeo "$1" "$2")
    layer=$(judge_manifest "$oci" judged | jq -r '.layers[0].digest')
    zcat "$oci/blobs/${layer/://}" | tar -xO big | cmp - "$BATS_FILE_TMPDIR/$image/big"
    rm -rf "$oci"
}

journal()
{
    find "$CBPUSH_ROOT/uploads" -type f 2>/dev/null
}

@test "in chunks to Distribution: right, and each byte once" {
    proxy_start counted distribution
    (push_big "$(registry_addr counted)/chunks/app:1") 2>push.log
    judged_big distribution chunks/app:1
    [ "$(registry_requests distribution '"PATCH /v2/chunks/app/.* 202 ' | grep -c .)" -ge $((size / CHUNK)) ]
    [ "$(proxy_sent counted)" -lt "$blob" ]
    assert_equal "$(journal)" ''
}

@test "in chunks to another registry" {
    needs_olareg
    (push_big "$(registry_addr olareg)/chunks/app:1") 2>push.log
    judged_big olareg chunks/app:1
}

@test "1 GiB, killed at 20 random points, each time continued: at most a chunk is sent twice for each" {
    needs_olareg
    local name total i at kills=20
    make_image large $((1 << 30))
    take_image large
    proxy_start counted olareg --rate "$rate"
    name=$(registry_addr counted)/killed/app:1
    for ((i = 0; i < kills; i++)); do
        # Somewhere in its own part of the blob, so that the last one is before the end.
        at=$((size / (kills + 1) * (10 * i + 3 + RANDOM % 7) / 10))
        killed_at "$name" counted "$at" || rig_fail "it was over before byte $at"
        assert_equal "$(journal | grep -c .)" 1
        assert_equal "$(find "$CBPUSH_ROOT/uploads" -type f ! -perm 600)" ''
    done
    (push_big "$name") 2>last.log
    judged_big olareg killed/app:1
    total=$(proxy_sent counted)
    echo "# $total bytes sent for $size, $kills kills" >&3
    [ "$total" -le $((blob + kills * CHUNK)) ] || rig_fail "$total bytes were sent"
    assert_contains "$(cat last.log)" 'goes on at'
    assert_equal "$(journal)" ''
    # Where it goes on is nobody's business.
    refute_contains "$(cat last.log killed.log)" state=
}

@test "kill -9 where the registry forgets a broken upload (Distribution): begun anew, and right" {
    local name
    proxy_start counted distribution --rate "$rate"
    name=$(registry_addr counted)/killed/app:1
    killed_at "$name" counted $((size / 2))
    (push_big "$name") 2>last.log
    judged_big distribution killed/app:1
    [ "$(proxy_sent counted)" -le $((blob + size / 2 + 2 * CHUNK)) ]
}

@test "two at once: each has an upload of its own, and both end well" {
    needs_olareg
    local name first
    proxy_start counted olareg --rate "$rate"
    name=$(registry_addr counted)/both/app
    (push_big "$name:1") 2>first.log &
    first=$!
    while [ "$(proxy_sent counted)" -lt $((2 * CHUNK)) ]; do sleep 0.01; done
    (push_big "$name:2") 2>second.log
    wait "$first"
    refute_contains "$(cat first.log second.log)" 'goes on at'
    judged_big olareg both/app:1
    judged_big olareg both/app:2
    assert_equal "$(journal)" ''
}

@test "prune forgets an upload that was left, and not one that goes on" {
    needs_olareg
    local name pid
    proxy_start counted olareg --rate "$rate"
    name=$(registry_addr counted)/pruned/app:1
    (push_big "$name") 2>first.log &
    pid=$!
    while [ "$(proxy_sent counted)" -lt $((2 * CHUNK)) ]; do sleep 0.01; done
    cbpush prune --keep 24h
    assert_equal "$(journal | grep -c .)" 1
    kill -KILL "$pid"
    while rig_alive "$pid"; do sleep 0.01; done
    cbpush prune --dry-run --keep 24h
    assert_equal "$(journal | grep -c .)" 1
    run cbpush prune --keep 24h
    assert_contains "$output" '1 unfinished upload'
    assert_equal "$(journal)" ''
}
