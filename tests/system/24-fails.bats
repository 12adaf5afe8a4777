#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A build that fails ends at once, whatever its other parts are waiting for: 30-push.bats has what waits for its push.

load helpers
load build
load silent
load web

setup_file()
{
    rig_setup_file
    build_setup_file
    # Its table is too large for the manifest.
    printf 'FROM busybox\nRUN echo other >/other && mkdir /many && for i in $(seq 20); do touch /many/$i; done\n' |
        built_there test/other
}

# built_there REPO [ARG…]: the Dockerfile on standard input, built and pushed to REPO:1 on another machine.
built_there()
{
    local machine repo=$1
    shift
    machine=$(mktemp -d "${BATS_TEST_TMPDIR:-$BATS_FILE_TMPDIR}/XXXXXX")
    (
        rig_home "$machine"
        mirror_conf "$(registry_addr reg)"
        mkdir -p "$machine/context"
        cat >"$machine/context/Dockerfile"
        CBPUSH_ROOT=$machine/store cbpush build --progress plain --push "$(registry_addr reg)/$repo:1" "$@" \
            "$machine/context"
    )
}

setup()
{
    rig_setup
    build_setup
    web_start
}

# The digest of an image's last layer, and of its table.
top_of()
{
    registry_skopeo reg inspect --raw "docker://$reg/$1:1" | jq -r '.layers[-1].digest'
}

table_of()
{
    registry_skopeo reg inspect --raw "docker://$reg/$1:1" | jq -r '.layers[-1].annotations["vnd.cbpush.toc.digest"]'
}

# fails STATUS [ARG…]: the build does, with nothing that is silent left. Nobody but cbpush ends such requests in time, and
# the store is as good as before.
fails()
{
    local wanted=$1 status=0
    shift
    timeout 120 "$CBPUSH" build --progress plain --stall-timeout 1h --connect-timeout 1h "$@" ctx >build.log 2>&1 || status=$?
    assert_equal "$status" "$wanted" || rig_fail "$(cat build.log "$silent/out")" || return
    all_closed
    assert_equal "$(find "$CBPUSH_ROOT/tmp" -mindepth 1)" ''
    refute_contains "$(cat build.log)" 'interrupted'
}

# The error is that of the step.
step_fails()
{
    fails 1 "$@"
    assert_contains "$(cat build.log)" 'exit code: 7'
}

# What was silent is asked again, and the build goes through.
mended()
{
    sed -i -e "s#$proxy/\(library\|test\)#$reg/\1#" -e 's/; exit 7//' -e 's#http://[^ ]*/silent#/dev/null#; s/until wget.*/true/' ctx/Dockerfile
    cbpush build --progress plain "$@" ctx >build.log 2>&1 || rig_fail "$(cat build.log)"
}

# beside INSTRUCTION: its stage is the result, after one whose step fails when something silent was asked for.
beside()
{
    dockerfile <<<"FROM $reg/library/busybox AS fails"
    until_proxy silent
    printf 'FROM %s\n%s\nCOPY --from=fails /etc/passwd /passwd\n' "${from-$reg/library/busybox}" "$1" >>ctx/Dockerfile
}

@test "a build that fails gives up the parent that a step is to run on" {
    silent "GET /v2/test/other/blobs/$(top_of test/other)"
    from=$proxy/test/other:1 beside 'RUN test -f /other'
    step_fails
    mended
}

@test "… and the one that files are copied from" {
    silent "GET /v2/test/other/blobs/$(top_of test/other)"
    beside "COPY --from=$proxy/test/other:1 /other /here"
    step_fails --no-cache
    mended
}

@test "… and its table of contents" {
    silent "GET /v2/test/other/blobs/$(table_of test/other)"
    from=$proxy/test/other:1 beside 'COPY Dockerfile /a'
    step_fails
    mended
}

@test "… and a layer that a cache has" {
    local cache=cache/t$BATS_TEST_NUMBER
    built_there test/cached --cache-to "$reg/$cache" <<<"FROM busybox
RUN echo cached >/cached"
    silent "GET /v2/$cache/blobs/$(top_of test/cached)"
    beside 'RUN echo cached >/cached
RUN test -f /cached'
    step_fails --cache-from "$proxy/$cache"
    mended --cache-from "$reg/$cache"
}

@test "… and a look into a cache" {
    local cache=cache/t$BATS_TEST_NUMBER:run
    twice_made 'echo same >/out' | built_there test/content --cache-to "$reg/$cache"
    silent "HEAD /v2/${cache%:run}/blobs/"
    dockerfile <<<"FROM $reg/library/busybox AS fails"
    until_proxy silent
    { twice_made 'printf "same\n" >/out'; echo 'COPY --from=fails /etc/passwd /passwd'; } >>ctx/Dockerfile
    step_fails --cache-from "$proxy/$cache"
    mended --cache-from "$reg/$cache"
}

twice_made()
{
    printf 'FROM busybox AS first\nRUN %s\nFROM busybox\nCOPY --from=first /out /out\n' "$1"
}

@test "… and the file of an ADD" {
    local sum=e258d248fda94c63753607f7c4494ee0fcbe92f1a76bfdac795c9d84101eb317
    silent 'GET /v2/file'
    beside "ADD --checksum=sha256:$sum http://$proxy/v2/file /file"
    step_fails
}

@test "… and a repository" {
    git_make repo
    silent 'GET /repo.git/'
    beside "ADD http://$proxy/repo.git#$(git_in repo rev-parse HEAD) /repo"
    step_fails
}

@test "a file that is not there ends the questions about all others" {
    local other
    git_make repo
    for other in 'GET /file' 'GET /repo.git/info'; do
        silent "$other" 'GET /missing' 404
        printf 'FROM %s/library/busybox\nADD http://%s/file /file\nADD http://%s/repo.git /repo\nADD http://%s/missing /missing\n' \
            "$reg" "$proxy" "$proxy" "$proxy" >ctx/Dockerfile
        [ "$other" = 'GET /file' ] || sed -i 's#^ADD .*/file$##' ctx/Dockerfile
        [ "$other" != 'GET /file' ] || sed -i 's#^ADD .*/repo$##' ctx/Dockerfile
        fails 4
        assert_contains "$(cat build.log)" ' Dockerfile:'
        assert_contains "$(cat build.log)" 'missing: HTTP status 404'
    done
}

@test "a parent that is not there ends the questions about all others" {
    silent 'GET /v2/library/busybox/manifests' 'GET /v2/test/none/manifests' 404
    printf 'FROM %s/library/busybox\nFROM %s/test/none\nCOPY --from=0 /etc/passwd /\n' "$proxy" "$proxy" >ctx/Dockerfile
    fails 4
    assert_contains "$(cat build.log)" 'test/none'
}

# ---- what is written

# keys REPO: the steps that a cache has.
keys()
{
    registry_curl reg "/v2/$1/tags/list?n=1000" | head -n 1 | jq -r '.tags[]?' | grep -E '^[0-9a-f]{64}$' || :
}

claims()
{
    registry_curl reg "/v2/$1/tags/list?n=1000" | head -n 1 | jq -r '.tags[]?' | grep '^claim-' || :
}

@test "a cache that does not take what was made is given up, and the claim of the step that failed is not left there" {
    local cache method path n=0
    while read -r method path; do
        cache=cache/t$BATS_TEST_NUMBER.$((n++))
        silent "$method /v2/$cache/$path"
        dockerfile <<<"FROM $reg/library/busybox
RUN echo $n >/made"
        until_proxy silent
        step_fails --cache-from "$proxy/$cache" --cache-to "$proxy/$cache"
        assert_equal "$(claims "$cache")" ''
        assert_equal "$(keys "$cache")" ''
    done <<'END'
POST blobs/uploads/
PUT blobs/uploads/
HEAD manifests/[0-9a-f]{64}
PUT manifests/[0-9a-f]{64}
END
}

@test "a cache that takes it gets it, though the build fails" {
    local cache=cache/t$BATS_TEST_NUMBER
    dockerfile <<<"FROM $reg/library/busybox
RUN head -c 3000000 /dev/urandom >/made
RUN exit 7"
    run "$CBPUSH" build --progress plain --cache-to "$reg/$cache" ctx
    assert_status 1
    assert_equal "$(keys "$cache" | wc -l)" 1
}

@test "a cache that says nothing at all is given up" {
    local cache=cache/t$BATS_TEST_NUMBER
    silent "/v2/$cache/manifests/claim" 'GET /missing' 404
    printf 'FROM %s/library/busybox\nRUN echo claimed >/x\nADD --checksum=sha256:%064d http://%s/missing /missing\n' \
        "$reg" 1 "$proxy" >ctx/Dockerfile
    fails 4 --cache-from "$proxy/$cache" --cache-to "$proxy/$cache"
    assert_contains "$(cat build.log)" 'HTTP status 404'
    assert_equal "$(claims "$cache")" ''
}

@test "a push that fails gives up the cache mount that is being saved" {
    local cache=cache/t$BATS_TEST_NUMBER
    silent "(POST|PUT) /v2/$cache/" 'PUT /v2/test/refused/blobs/' 403
    dockerfile <<<"FROM $reg/library/busybox
RUN --mount=type=cache,target=/c head -c 300000 /dev/urandom >/c/x; echo $BATS_TEST_NAME >/made"
    fails 3 --push -t "$proxy/test/refused:1" --cache-mount-to "$proxy/$cache"
    assert_contains "$(cat build.log)" 'status 403'
}

@test "who is interrupted while a large file of the context is read ends at once" {
    truncate -s 64G ctx/large
    printf 'FROM scratch\nCOPY large /\n' >ctx/Dockerfile
    local begun=$SECONDS
    run timeout --preserve-status -s INT 2 "$CBPUSH" build --progress plain --output type=cacheonly ctx
    assert_status 130
    [ $((SECONDS - begun)) -lt 15 ]
    assert_contains "$output" CANCELED
}
