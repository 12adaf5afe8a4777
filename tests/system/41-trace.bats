#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# --trace: what was done when, as python3 reads it.

load helpers
load build
load timeline
load web

setup_file()
{
    rig_setup_file
    build_setup_file
    registry_start --auth-token --tls --user writer:wr1te-canary tokens
    registry_skopeo tokens copy -q "oci:$(make_busybox_image):latest" "docker://$(registry_addr tokens)/team/base:1"
}

setup()
{
    rig_setup
    build_setup
}

@test "a build: every fetch, unpacking, process, layer and upload is there, on tracks with names" {
    head -c 3000000 /dev/urandom >ctx/noise
    dockerfile <<'END'
FROM busybox
COPY noise /
RUN head -c 100000 /dev/urandom >/more
END
    build --trace t.json --toc=false
    timeline >/dev/null
    timeline_is 'one("resolve: resolve docker.io/library/busybox:latest").args["digest"][:7]' sha256:
    timeline_is 'len(some("context: find noise")), len(some("context: hash")), len(some("cache: keys"))' '(1, 1, 1)'
    timeline_is 'sorted(s.args["outcome"] for s in some("^step: "))' "['run', 'run']"
    timeline_is 'one("layer: fetch").args["bytes"] > 0, {s.args["where"] for s in some("layer: unpack")}' "(True, {'in a process of its own'})"
    timeline_is 'one("run: process of .*more").args["exit_status"]' 0
    timeline_is 'len(some("write: layer of .*COPY")), len(some("seal: layer of .*RUN"))' '(1, 1)'
    timeline_is 'sum(s.args["bytes"] for s in some("compress: ")) > 3100000' True
    timeline_is 'sorted(s.args["outcome"] for s in some("upload: push blob"))' "['mounted', 'uploaded', 'uploaded', 'uploaded']"
    timeline_is 'len(some("upload: send blob")), len(some("upload: mount from library/busybox")) > 0' '(3, True)'
    timeline_is 'one("manifest: put manifest .*test/app 1$").args["bytes"] > 100' True
    timeline_is 'len(some("store: commit blob")) >= 4, len(some("commit: "))' '(True, 1)'
    timeline_is 'one("http: PUT /v2/test/app/manifests/1$").args["status"]' 201
    timeline_is 'all(0 < s.args["first_byte_us"] <= s.end - s.begin for s in some("^http: "))' True
    timeline_is 'sum(s.args["sent_bytes"] for s in some("^http: P")) > 3100000' True
    timeline_is 'max(s.args["received_bytes"] for s in some("^http: GET")) > 100000' True
    timeline_is '{re.sub(" [0-9]+$", "", t) for t in names.values()} >= {"main", "step", "cpu", "push", "http"}' True
    timeline_is 'max(s.end - s.begin for s in spans) <= max(s.end for s in spans)' True
    assert_equal "$(ls -A)" "$(printf '%s\n' ctx home metadata.json rig run store t.json tmp)" 'files that are left'
}

@test "what overlapped can be seen: a layer goes up while the next step runs; requests have tracks of their own" {
    head -c 8000000 /dev/urandom >ctx/noise
    dockerfile <<'END'
FROM busybox
COPY noise /
RUN sleep 3
END
    build --trace t.json --limit-rate 4M
    timeline_is 'any(overlap(one("run: process"), s) for s in some("upload: send blob"))' True
    timeline_is 'any(overlap(one("run: process"), s) and s.args["sent_bytes"] > 1000000 for s in some("http: P"))' True
    timeline_is 'any(overlap(a, b) and a.track != b.track for a in some("^http: ") for b in some("^http: ") if a is not b)' True
    build --trace t.json
    timeline_is 'sorted(s.args["outcome"] for s in some("^step: ")), some("run: ")' "(['cached', 'cached'], [])"
}

@test "no password, token, secret, query, user information or place where an upload goes on is in it" {
    web_start
    mkdir -p "$HOME/.docker"
    jq -n --arg h "$(registry_addr tokens)" --arg a "$(printf %s writer:wr1te-canary | base64 -w 0)" \
        '{auths: {($h): {auth: $a}}}' >"$HOME/.docker/config.json"
    SSL_CERT_FILE=$(rig_ca)
    export SSL_CERT_FILE
    echo hello >"$webroot/file.txt"
    dockerfile <<END
FROM $(registry_addr tokens)/team/base:1
ADD $web/file/file.txt?signature=qu3ry-canary /file.txt
RUN --mount=type=secret,id=s cat /run/secrets/s >/dev/null
END
    S3CRET=s3cret-canary cbpush build --secret id=s,env=S3CRET --trace t.json --push "$(registry_addr tokens)/team/app:1" ctx
    timeline_is 'len(some("auth: fetch a token")) > 0, len(some("http: GET /token$")) > 0' '(True, True)'
    timeline_is 'len(some("http: GET /file/file.txt$")) > 0, len(some("http: P.* /v2/team/app/blobs/uploads/…$")) > 0' '(True, True)'
    run grep -oiE 'canary|eyJ[a-zA-Z0-9]|bearer|basic|authorization|signature=[^x]|_state|[^x]@127|d3JpdGVy' t.json
    assert_equal "$output" ''
    local session
    session=$(registry_requests tokens '/blobs/uploads/' | grep -oE 'uploads/[0-9a-f-]{36}' | head -n 1)
    [ -n "$session" ]
    run grep -F "${session#uploads/}" t.json
    assert_equal "$output" ''
}

@test "it is whole when a step fails, and when the build is interrupted" {
    dockerfile <<'END'
FROM busybox
RUN echo "quo\"te" && exit 3
END
    run build --trace t.json
    assert_status 1
    timeline_is 'one("run: process").args["exit_status"], one("^step: ").args["outcome"]' "(3, 'failed')"
    rm t.json
    dockerfile <<'END'
FROM busybox
RUN echo begun && sleep 60
END
    env --default-signal=INT "$CBPUSH" build --progress plain --trace t.json ctx >log 2>&1 3>&- &
    local pid=$! status=0
    until grep -q ' begun' log; do
        kill -0 "$pid" || rig_fail "it ended: $(cat log)" || return
        sleep 0.05
    done
    kill -INT "$pid"
    rig_await "$pid"
    wait "$pid" || status=$?
    assert_equal "$status" 130
    timeline_is 'len(some("run: process")), one("^step: ").args["outcome"]' "(1, 'failed')"
}

@test "--trace -: standard output, where nothing else is written there" {
    dockerfile <<'END'
FROM busybox
COPY Dockerfile /
END
    cbpush build --trace - ctx >t.json 2>log
    timeline_is 'len(some("write: "))' 1
    refused 2 --trace - -q
    assert_contains "$output" 'standard output'
    refused 2 --trace - -o -
    refused 2 --trace - -o type=oci,dest=-
    run cbpush build --call outline --trace - ctx
    assert_status 2
    run cbpush pull --trace - "$reg/library/busybox"
    assert_status 2
    assert_contains "$output" 'name a file'
}

@test "a place that cannot be written is told before anything runs, a full disk at the end" {
    dockerfile <<'END'
FROM busybox
RUN echo ran
END
    refused 6 --trace missing/t.json
    refute_contains "$output" ran
    refused 2 --trace ctx
    refused 6 --trace /dev/full
    assert_contains "$output" '--trace /dev/full'
    assert_contains "$output" 'No space left'
    cbpush build --call outline --trace t.json ctx >/dev/null
    timeline_is '[s.name for s in spans]' "['start']"
}

@test "pull, push, copy and mirror have it too" {
    cbpush pull --trace t.json "$reg/library/busybox" >/dev/null
    timeline_is 'one("layer: fetch").args["bytes"] > 0' True
    cbpush push --trace t.json "$reg/library/busybox" "$reg/test/pushed:1" >/dev/null
    timeline_is 'len(some("manifest: put"))' 1
    cbpush copy --trace t.json "$reg/library/busybox" "oci:out:1" >/dev/null
    timeline_is 'len(some("copy: copy .*oci:out")), len(some("http: GET .*/blobs/")) > 0' '(1, True)'
    printf 'mirrors:\n  - source: %s/library/busybox\n    target: %s/mirrored\n    tags: {exact: [latest]}\n' "$reg" "$reg" >spec.yaml
    cbpush mirror run -q --trace t.json spec.yaml >/dev/null
    timeline_is 'len(some("copy: "))' 1
}

# The sync of a parent would hold up whatever the first step writes before it runs.
@test "a parent gets its name on the disk while the first RUN is under way, not before" {
    dockerfile <<'END'
FROM busybox
WORKDIR /new
RUN sleep 3
RUN true
END
    build --trace t.json
    timeline_is 'len(some("layer: fetch layer")) >= 1 and len(some("store: publish blob")) >= 4' True
    timeline_is 'one("run: process of .*sleep").begin <= min(s.begin for s in some("store: publish blob"))' True
    timeline_is 'any(s.args["digest"] == one("layer: fetch").args["digest"] and s.end < one("run: process of .*sleep").end for s in some("store: publish blob"))' True
    rm -rf store
    sed -i '/^RUN/d' ctx/Dockerfile
    printf 'COPY --from=busybox /bin/busybox /new/\n' >>ctx/Dockerfile
    build --trace t.json
    timeline_is 'some("run: ") == [] and len(some("store: publish blob")) >= 4' True
}
