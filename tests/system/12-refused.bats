#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Builds that fail: which exit status, and what the user reads. Nothing is pushed or named then.

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

# Nothing has the name, here and in the registry.
assert_nothing_made()
{
    assert_equal "$(cbpush images --json | jq 'map(select(.name | contains("test/app"))) | length')" 0
    assert_contains "$(registry_curl reg /v2/test/app/manifests/1)" MANIFEST_UNKNOWN ||
        assert_contains "$(registry_curl reg /v2/test/app/manifests/1)" NAME_UNKNOWN
}

# refused_by DOCKERFILE LINE TEXT…: exit 5, and the message has Dockerfile:LINE and each TEXT.
refused_by()
{
    local line=$2 text
    printf '%s' "$1" >ctx/Dockerfile
    shift 2
    refused 5
    assert_contains "$output" "Dockerfile:$line"
    for text; do
        assert_contains "$output" "$text"
    done
}

@test "an unknown instruction: line, word and what was likely meant" {
    refused_by $'FROM busybox\n\n# comment\nRNU make\n' 4 RNU 'did you mean RUN'
    assert_nothing_made
}

@test "an unknown flag: line, flag and what was likely meant" {
    refused_by $'FROM busybox\nCOPY --form=x a b\n' 2 '--form' '--from'
    refused_by $'FROM busybox\nRUN --moutn=type=cache,target=/x true\n' 2 '--moutn'
}

@test "no FROM, an empty file, an instruction before FROM" {
    printf '# nothing\n' >ctx/Dockerfile
    refused 5
    : >ctx/Dockerfile
    refused 5
    refused_by $'RUN true\nFROM busybox\n' 1 FROM
}

@test "arguments that are missing or too many" {
    refused_by $'FROM busybox\nCOPY a\n' 2 COPY
    refused_by $'FROM busybox\nWORKDIR\n' 2 WORKDIR
    refused_by $'FROM busybox\nSHELL /bin/sh\n' 2 SHELL JSON
    refused_by $'FROM busybox\nENV novalue\n' 2 ENV
    refused_by $'FROM busybox\nSTOPSIGNAL SIGNOTHING\n' 2 SIGNOTHING
    refused_by $'FROM busybox\nEXPOSE 99999\n' 2 99999
    refused_by $'FROM busybox\nHEALTHCHECK --interval=soon CMD true\n' 2 interval
}

@test "expansion that must not fail: \${x:?message}, a bad substitution" {
    # shellcheck disable=SC2016 # Dockerfiles
    {
        refused_by $'FROM busybox\nENV A=1\nENV B="${NOPE:?needs a value}"\n' 3 'needs a value'
        refused_by $'FROM busybox\nENV B=${A\n' 2
        refused_by $'ARG EMPTY\nFROM $EMPTY\n' 2 EMPTY
    }
}

@test "a heredoc without its end" {
    refused_by $'FROM busybox\nRUN <<EOF\necho\n' 2 EOF
}

@test "names that clash, --from of what is not there" {
    refused_by $'FROM busybox AS 1x\n' 1 1x
    printf 'FROM busybox\nCOPY --from=nosuchstage /a /b\n' >ctx/Dockerfile
    run build
    [ "$status" -eq 4 ] || [ "$status" -eq 5 ] || rig_fail "exit status $status: $output"
    assert_contains "$output" nosuchstage
    assert_contains "$output" 'Dockerfile:2'
    # shellcheck disable=SC2016 # a Dockerfile
    refused_by $'FROM busybox\nARG X=a\nCOPY --from=$X /a /b\n' 3 'from=' '$X'
}

@test "a source that is not there; several sources need a directory" {
    touch ctx/a ctx/b
    refused_by $'FROM busybox\nRUN true\nCOPY missing.txt /x/\n' 3 missing.txt
    refused_by $'FROM busybox\nCOPY a b /x\n' 2 "'/'"
    refused_by $'FROM busybox\nRUN echo >/file\nCOPY a /file/\n' 3 /file
    refused_by $'FROM busybox AS o\nFROM busybox\nCOPY --from=o /nothing /x\n' 3 /nothing
    assert_nothing_made
}

@test "--chown and USER that the image does not know, --chmod that is no mode" {
    touch ctx/a
    refused_by $'FROM busybox\nCOPY --chown=ghost a /\n' 2 ghost
    refused_by $'FROM busybox\nCOPY --chmod=999 a /\n' 2 999
    refused_by $'FROM busybox\nUSER ghost\nRUN true\n' 3 ghost
}

@test "ADD of a broken archive" {
    head -c 300000 /dev/urandom >ctx/x
    tar -C ctx -czf ctx/good.tgz x
    head -c 100000 ctx/good.tgz >ctx/cut.tgz
    printf 'FROM busybox\nADD cut.tgz /x/\n' >ctx/Dockerfile
    run build
    [ "$status" -eq 5 ] || [ "$status" -eq 7 ] || rig_fail "exit status $status: $output"
    assert_contains "$output" 'Dockerfile:2'
    assert_contains "$output" cut.tgz
}

@test "a file that is no Dockerfile, or none at all" {
    rm -f ctx/Dockerfile
    refused 5
    assert_contains "$output" Dockerfile
    refused 5 -f ctx/missing.df
    assert_contains "$output" missing.df
    mkdir ctx/Dockerfile
    refused 5
    rmdir ctx/Dockerfile
    printf 'FROM busybox\nRUN \000 true\n' >ctx/Dockerfile
    refused 5
    printf 'FROM busybox\nRUN \377\376 true\n' >ctx/Dockerfile
    refused 5
    run cbpush build nosuchdirectory
    [ "$status" -eq 5 ] || [ "$status" -eq 2 ]
    assert_contains "$output" nosuchdirectory
}

@test "usage: unknown options, missing values, wrong words, too many operands: exit 2" {
    echo 'FROM busybox' >ctx/Dockerfile
    refused 2 --no-cahce
    assert_contains "$output" '--no-cache'
    refused 2 --target nosuchstage
    refused 2 -o type=nosuch
    refused 2 -o type=local
    refused 2 --progress=loud
    refused 2 --network=fast
    local mode
    for mode in bridge pasta pasta:-T,5000 slirp4netns slirp4netns:mtu=1500; do
        refused 2 "--network=$mode"
        assert_contains "$output" "network $mode: write private"
    done
    run cbpush run --network pasta busybox true
    assert_status 2
    assert_contains "$output" 'network pasta: write private'
    refused 2 --network=container:x
    assert_contains "$output" 'network container:x: write host'
    refused 2 --no-cache=maybe
    refused 2 extra
    refused 2 --platform linux/amd64,
    run cbpush build --push
    assert_status 2
    # Who wants two names, and means the first of them for --push.
    refused 2 --push localhost:5000/x:1 -t name
    assert_contains "$output" 'another -t'
    run cbpush build -t name --push localhost:5000/x:1
    assert_status 2
    assert_contains "$output" 'another -t'
    run cbpush build -t BusyBox ctx
    [ "$status" -eq 2 ] || [ "$status" -eq 5 ] || rig_fail "exit status $status: $output"
    run cbpush bulid
    assert_status 2
    run cbpush
    assert_status 2
    run cbpush build ctx -t
    assert_status 2
}

@test "a RUN that fails: exit 1, its last lines, the Dockerfile with the line marked, its status" {
    dockerfile <<'END'
FROM busybox
WORKDIR /src
RUN for i in $(seq 1 30); do echo "line $i"; done; echo "to stderr" >&2; \
    exit 42
RUN touch /never
END
    refused 1
    assert_contains "$output" 'line 30'
    assert_contains "$output" 'to stderr'
    assert_contains "$output" '>>> RUN for i in'
    assert_contains "$output" '>>>     exit 42'
    assert_contains "$output" 'WORKDIR /src'
    assert_contains "$output" 'Dockerfile:3'
    assert_contains "$output" 'exit code: 42'
    # The last lines again, after the log: not all thirty.
    refute_contains "${output##*------$'\n' > }" 'line 5'$'\n'
    refute_contains "$output" never:
    assert_nothing_made
}

@test "a RUN that fails: with --quiet and --progress=quiet the error is still there" {
    printf 'FROM busybox\nRUN echo the reason; exit 3\n' >ctx/Dockerfile
    refused 1 --quiet
    assert_contains "$output" 'exit code: 3'
    assert_contains "$output" 'the reason'
}

@test "a RUN that is killed, or whose program is not there" {
    printf 'FROM busybox\nRUN kill -9 $$\n' >ctx/Dockerfile
    refused 1
    assert_contains "$output" 137
    printf 'FROM busybox\nRUN ["/no/such/program"]\n' >ctx/Dockerfile
    refused 1
    assert_contains "$output" /no/such/program
    printf 'FROM busybox\nRUN ["/etc/passwd"]\n' >ctx/Dockerfile
    refused 1
    printf 'FROM scratch\nCOPY Dockerfile /\nRUN true\n' >ctx/Dockerfile
    refused 1
    assert_contains "$output" /bin/sh
}

@test "a failing stage stops the others, and no cache record is left of it" {
    dockerfile <<'END'
FROM busybox AS slow
RUN sleep 60
FROM busybox AS broken
RUN sleep 1; exit 9
FROM busybox
COPY --from=slow /bin/true /a
COPY --from=broken /bin/true /b
END
    local start=$SECONDS
    refused 1
    [ $((SECONDS - start)) -lt 20 ]
    assert_contains "$output" 'exit code: 9'
    sed -i 's/sleep 60/true/; s/exit 9/true/' ctx/Dockerfile
    built
}

@test "control characters of a step do not reach the terminal" {
    printf 'FROM busybox\nRUN printf "\\033]0;title\\007\\033[31mred\\r\\n"; exit 1\n' >ctx/Dockerfile
    refused 1
    refute_contains "$output" $'\033]0;'
    refute_contains "$output" $'\a'
}

@test "a parent that is not there, a registry that cannot be reached: exit 4, FROM's line" {
    printf '\nFROM %s/no/such:1\n' "$reg" >ctx/Dockerfile
    refused 4
    assert_contains "$output" 'Dockerfile:2'
    assert_contains "$output" no/such
    local port
    port=$(cb_free_port)
    printf 'FROM 127.0.0.1:%s/x\n' "$port" >ctx/Dockerfile
    refused 4
    assert_contains "$output" "127.0.0.1:$port"
    assert_nothing_made
}

@test "a parent whose platform is another does not go unsaid" {
    local arch=s390x
    printf 'FROM --platform=linux/%s busybox\n' "$arch" >ctx/Dockerfile
    run build
    # One manifest without an index: buildx takes it with a warning, or it is refused; it must not go unsaid.
    assert_contains "$output" "$arch"
}

@test "the reference is wrong" {
    refused_by $'FROM BusyBox\n' 1 BusyBox
    refused_by $'FROM busybox:white space\n' 1
    refused_by $'FROM busybox@sha256:1234\n' 1 sha256:1234
}

@test "a reference on the command line is wrong: exit 2, whichever verb, flag or side" {
    local row
    cbpush build -q -t good - <<<'FROM scratch' >id
    ln -s "$CBPUSH" executor
    for row in 'build -t BAD ctx' 'build --push BAD ctx' 'build -o type=image,name=BAD ctx' 'build --cache-from BAD ctx' \
        'build --cache-to type=registry,ref=BAD ctx' 'tag good BAD' 'push BAD' 'push good BAD' 'push --all-tags BAD' 'pull BAD' \
        'copy BAD x:1' 'copy store:good docker://BAD' 'run BAD true' 'ls BAD' 'diff BAD BAD' 'export BAD' 'validate BAD' \
        'digest BAD' 'manifest get BAD' 'blob get BAD' 'tags BAD' 'delete BAD' 'referrers BAD' 'rebase BAD' 'flatten BAD' \
        'config BAD' 'imagetools create -t BAD x' 'imagetools inspect BAD' 'cache ls BAD' 'auth explain BAD'; do
        # shellcheck disable=SC2086 # words
        run cbpush ${row//BAD/a:b:c}
        assert_status 2
        assert_contains "$output" 'image reference "a:b:c": "b:c" is no tag'
    done
    run ./executor -c ctx -d a:b:c
    assert_status 2
}

@test "too large a Dockerfile, too long a line, too many layers" {
    { echo FROM busybox; head -c 70000000 /dev/zero | tr '\0' '#'; } >ctx/Dockerfile
    refused 5
    local i
    { echo FROM scratch; for ((i = 0; i < 600; i++)); do echo "COPY <<x$i /f$i"; echo "$i"; echo "x$i"; done; } >ctx/Dockerfile
    run build --progress quiet
    assert_status 5
    assert_contains "$output" layers
}

@test "a USER that the image does not know is told once" {
    printf 'FROM busybox\nUSER nosuch\nRUN true\n' >ctx/Dockerfile
    refused 5
    assert_contains "$output" 'Dockerfile:3: user "nosuch": no user "nosuch" in'
}
