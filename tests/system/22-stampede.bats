#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Builds at the same time that would all run the same RUN: one does. Another machine is another store.

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
    cache_repo=cache/t$BATS_TEST_NUMBER
    cache=$reg/$cache_repo
    both=(--cache-from "type=registry,ref=$cache" --cache-to "type=registry,ref=$cache")
    pids=()
}

# begin NAME [ARG…]: a build on a machine of its own, or in $store; its output is in NAME.log.
begin()
{
    local name=$1
    shift
    CBPUSH_ROOT=${store-$BATS_TEST_TMPDIR/store.$name} "$CBPUSH" build --progress plain --push "$reg/many/app:$name" \
        --metadata-file "$name.json" "$@" "${context-ctx}" >"$name.log" 2>&1 &
    pids+=($!)
}

# All that were begun are done.
finish()
{
    local pid
    for pid in "${pids[@]}"; do
        wait "$pid" || rig_fail "$(tail -n 30 ./*.log)"
    done
    pids=()
}

# How often the step that prints ran-N was run in all builds: a RUN echoes ran-$((N)).
runs()
{
    cat ./*.log | grep -cE "^#[0-9]+ [0-9.]+ ran-$1\$" || [ $? -eq 1 ]
}

# until_logged FILE ERE
until_logged()
{
    local tries
    for ((tries = 0; tries < 400; tries++)); do
        ! grep -qE -- "$2" "$1" || return 0
        sleep 0.05
    done
    rig_fail "$1 does not say $2: $(cat "$1")"
}

# Somebody runs a step.
until_claimed()
{
    local tries
    for ((tries = 0; tries < 400; tries++)); do
        [ -z "$(claims)" ] || return 0
        sleep 0.05
    done
    rig_fail "nobody claims: $(cat ./*.log)"
}

claims()
{
    registry_curl "${1-reg}" "/v2/$cache_repo/tags/list?n=1000" | head -n 1 | jq -r '.tags[]?' | grep '^claim-' ||
        [ $? -eq 1 ]
}

claim_requests()
{
    registry_requests reg "/v2/$cache_repo/manifests/claim-"
}

two_runs()
{
    dockerfile <<'END'
FROM busybox
RUN sleep 2; echo ran-$((1)); cat /proc/sys/kernel/random/uuid >/one
RUN echo ran-$((2)); cat /proc/sys/kernel/random/uuid >/two
END
}

@test "of twelve builds at once one runs each step, and all make the same image" {
    two_runs
    local n
    for n in 1 2 3 4 5 6 7 8 9 10 11 12; do begin "$n" "${both[@]}"; done
    finish
    assert_equal "$(runs 1) $(runs 2)" '1 1'
    assert_equal "$(jq -r '.["containerimage.digest"]' ./*.json | sort -u | wc -l)" 1
    assert_contains "$(cat ./*.log)" 'waiting for another build that runs this step'
    assert_equal "$(claims)" ''
    judged many/app:1
}

@test "the files below a step may have other times on every machine" {
    dockerfile <<'END'
FROM busybox
COPY a.txt /a.txt
WORKDIR /src
RUN sleep 2; echo ran-$((1)); cat /proc/sys/kernel/random/uuid >/one
END
    local n
    for n in 1 2 3 4; do
        mkdir "c$n"
        cp ctx/Dockerfile "c$n"
        echo a >"c$n/a.txt"
        touch -d "2020-01-0$n" "c$n/a.txt"
        context=c$n begin "$n" "${both[@]}"
    done
    finish
    assert_equal "$(runs 1)" 1
    for n in 1 2 3 4; do
        judged "many/app:$n"
        cat "$rootfs/one" >>ones
        stat -c %Y "$rootfs/a.txt" >>times
    done
    # Who comes late may take the file of another, too, which is the same but for its time.
    assert_equal "$(sort -u ones | wc -l)" 1
    [ "$(sort -u times | wc -l)" -gt 1 ] || rig_fail 'all files are one build'"'"'s: there was nothing to see'
}

@test "builds of one store run a step once, without any cache" {
    two_runs
    local n store=$BATS_TEST_TMPDIR/store
    for n in 1 2 3 4; do begin "$n"; done
    finish
    assert_equal "$(runs 1) $(runs 2)" '1 1'
    assert_equal "$(jq -r '.["containerimage.digest"]' ./*.json | sort -u | wc -l)" 1
    assert_equal "$(find "$store/steps" -type f)" ''
}

@test "also where the disk of the one that runs it is slow" {
    two_runs
    local real=$CBPUSH store=$BATS_TEST_TMPDIR/store
    printf '%s\n' '#!/bin/sh' "exec strace -f -o /dev/null -e trace=fdatasync -e inject=fdatasync:delay_enter=400000 \
        '$real' \"\$@\"" >slow
    chmod +x slow
    CBPUSH=$PWD/slow begin 1
    until [ -n "$(find "$store/steps" -type f 2>/dev/null)" ]; do sleep 0.05; done
    begin 2
    finish
    assert_equal "$(runs 1) $(runs 2)" '1 1'
    assert_contains "$(cat 2.log)" 'waiting for another build that runs this step'
}

@test "so do builds that share a directory" {
    two_runs
    local n
    for n in 1 2 3 4; do begin "$n" --cache-from type=local,src=shared --cache-to type=local,dest=shared; done
    finish
    assert_equal "$(runs 1) $(runs 2)" '1 1'
    assert_equal "$(jq -r '.["containerimage.digest"]' ./*.json | sort -u | wc -l)" 1
    assert_equal "$(find shared -name '.claim*')" ''
}

@test "where the one that runs it is killed another one does" {
    dockerfile <<'END'
FROM busybox
RUN --mount=type=secret,id=how-long sleep $(cat /run/secrets/how-long); echo ran-$((1)); \
    cat /proc/sys/kernel/random/uuid >/one
END
    echo 600 >long
    echo 0 >short
    begin first "${both[@]}" --secret id=how-long,src=long
    until_claimed
    begin second "${both[@]}" --secret id=how-long,src=short
    begin third "${both[@]}" --secret id=how-long,src=short
    until_logged second.log 'waiting for another build'
    until_logged third.log 'waiting for another build'
    kill -KILL "${pids[0]}"
    wait "${pids[0]}" || true
    pids=("${pids[@]:1}")
    finish
    assert_equal "$(runs 1)" 1
    assert_equal "$(jq -r '.["containerimage.digest"]' second.json third.json | sort -u | wc -l)" 1
}

@test "where the one that runs it fails the others do not wait for ever" {
    dockerfile <<'END'
FROM busybox
RUN echo ran-$((1)); sleep 1; exit 3
END
    local n pid status
    for n in 1 2 3 4; do begin "$n" "${both[@]}"; done
    for pid in "${pids[@]}"; do
        status=0
        rig_await "$pid"
        wait "$pid" || status=$?
        assert_equal "$status" 1
    done
    assert_equal "$(runs 1)" 4
    assert_equal "$(claims)" ''
}

@test "who waits is interrupted at once" {
    dockerfile <<'END'
FROM busybox
RUN echo ran-$((1)); sleep 600
END
    local status=0
    begin first "${both[@]}"
    until_logged first.log 'ran-1$'
    begin second "${both[@]}"
    until_logged second.log 'waiting for another build'
    # bash starts what it puts into the background without SIGINT.
    kill -TERM "${pids[1]}"
    wait "${pids[1]}" || status=$?
    assert_equal "$status" 143
    assert_equal "$(runs 1)" 1
    kill -TERM "${pids[0]}"
    wait "${pids[0]}" || true
}

# interrupted ARG…: a build that runs a step is interrupted, and gives its claim up.
interrupted()
{
    local status=0
    dockerfile <<'END'
FROM busybox
RUN echo ran-$((1)); sleep 600
END
    begin first "$@"
    until_logged first.log 'ran-1$'
    kill -TERM "${pids[0]}"
    wait "${pids[0]}" || status=$?
    pids=()
    assert_equal "$status" 143
}

@test "who is interrupted gives its claims up" {
    interrupted "${both[@]}"
    assert_equal "$(claims)" ''
}

@test "so does who is interrupted where the registry deletes nothing" {
    registry_start --no-delete keeps
    local keeps
    keeps=$(registry_addr keeps)
    interrupted --cache-from "$keeps/$cache_repo" --cache-to "$keeps/$cache_repo"
    cbpush cache ls --insecure-registry "$keeps" "$keeps/$cache_repo" >ls
    assert_equal "$(grep -c 'a claim that has ended' ls)" 1
    registry_stop keeps
}

@test "a registry that does not answer any more does not keep who is interrupted" {
    registry_start mute
    local mute pid status=0
    mute=$(registry_addr mute)
    pid=$(cat "$(rig_find mute)/pid")
    dockerfile <<'END'
FROM busybox
RUN echo ran-$((1)); sleep 600
END
    begin first --cache-from "$mute/$cache_repo" --cache-to "$mute/$cache_repo"
    until_logged first.log 'ran-1$'
    kill -STOP "$pid"
    kill -TERM "${pids[0]}"
    # The limit of a request that stalls is longer than that.
    timeout 20 tail --pid="${pids[0]}" -f /dev/null || status=$?
    kill -CONT "$pid"
    assert_equal "$status" 0
    wait "${pids[0]}" || status=$?
    pids=()
    assert_equal "$status" 143
    registry_stop mute
}

@test "a registry that deletes nothing is told that the claim has ended" {
    registry_start --no-delete keeps
    local keeps n
    keeps=$(registry_addr keeps)
    two_runs
    for n in 1 2 3; do begin "$n" --cache-from "$keeps/$cache_repo" --cache-to "$keeps/$cache_repo"; done
    finish
    assert_equal "$(runs 1) $(runs 2)" '1 1'
    assert_equal "$(claims keeps | wc -l)" 2
    cbpush cache ls --insecure-registry "$keeps" "$keeps/$cache_repo" >ls
    assert_equal "$(grep -c 'a claim that has ended' ls)" 2
    assert_equal "$(cbpush cache ls --json --insecure-registry "$keeps" "$keeps/$cache_repo" |
        jq -c '[.[].kind] | group_by(.) | map([.[0], length])')" '[["claim",2],["run",1],["step",2]]'
    assert_equal "$(cbpush cache prune --dry-run --older-than 1h --insecure-registry "$keeps" "$keeps/$cache_repo" |
        grep -c 'would remove claim-')" 2
    # Nobody waits for it.
    begin again --no-cache --cache-to "$keeps/$cache_repo"
    begin new --cache-to "$keeps/$cache_repo:other" --cache-from "$keeps/$cache_repo:other"
    finish
    registry_stop keeps
}

@test "who only reads claims nothing, nor who asked not to, nor who hits" {
    two_runs
    begin reader --cache-from "$cache"
    begin writer --cache-to "$cache"
    begin unclaimed --cache-from "$cache" --cache-to "type=registry,ref=$cache,claim=false"
    finish
    assert_equal "$(claim_requests)" ''
    assert_equal "$(runs 1)" 3
    begin hit "${both[@]}"
    finish
    assert_equal "$(runs 1)" 3
    assert_equal "$(claim_requests)" ''
    # With --no-cache it is run whatever others do.
    begin none "${both[@]}" --no-cache
    finish
    assert_equal "$(claim_requests)" ''
}

@test "nobody waits for longer than was said" {
    dockerfile <<'END'
FROM busybox
RUN echo ran-$((1)); sleep 8
END
    begin first "${both[@]}"
    until_claimed
    begin second --cache-from "$cache" --cache-to "type=registry,ref=$cache,claim-wait=1s"
    until_logged second.log 'ran-1$'
    assert_contains "$(cat second.log)" 'waiting for another build'
    finish
}

@test "cache prune removes the claim of a build that was killed" {
    dockerfile <<'END'
FROM busybox
RUN echo ran-$((1)); sleep 600
END
    begin first "${both[@]}"
    until_logged first.log 'ran-1$'
    assert_equal "$(claims | wc -l)" 1
    kill -KILL "${pids[0]}"
    wait "${pids[0]}" || true
    cbpush cache prune --older-than 1h --insecure-registry "$reg" "$cache"
    assert_equal "$(claims | wc -l)" 1
    sleep 1.1
    cbpush cache prune --older-than 1s --insecure-registry "$reg" "$cache"
    assert_equal "$(claims)" ''
}
