#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# build --explain: why a step was run again.

load helpers
load build
load web

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

# because PATTERN…: builds with --explain; the reasons are these, in this order, and no others.
because()
{
    build --explain "${flags[@]}" >build.log 2>&1 || rig_fail "cbpush build: $(cat build.log)" || return
    reasons "$@"
}

reasons()
{
    local line why
    why=$(sed -n 's/^why     //p' build.log)
    [ "$(grep -c . <<<"$why")" -eq $# ] || rig_fail "not $# reasons: $why" || return
    while read -r line; do
        # shellcheck disable=SC2053 # a pattern
        [[ $line == $1 ]] || rig_fail "«$line» is not «$1»" || return
        shift
    done <<<"$why"
}

flags=()

@test "a file of the context: its name, both digests, and what runs because of it" {
    dockerfile <<'END'
FROM busybox
WORKDIR /app
COPY requirements.txt other.txt ./
RUN cat requirements.txt
COPY late.txt /
END
    echo one >ctx/requirements.txt
    echo o >ctx/other.txt
    echo l >ctx/late.txt
    because 'Dockerfile:2 WORKDIR /app: no earlier build of this step is known' \
        'Dockerfile:3 COPY requirements.txt other.txt ./: no earlier*' 'Dockerfile:4 RUN*: no earlier*' \
        'Dockerfile:5 COPY*: no earlier*'
    because 'no step was run'
    local old new
    old=$(sha256sum ctx/requirements.txt | cut -c 1-12)
    echo two >ctx/requirements.txt
    new=$(sha256sum ctx/requirements.txt | cut -c 1-12)
    because "Dockerfile:3 COPY requirements.txt other.txt ./: requirements.txt changed (sha256:$old… → sha256:$new…)" \
        'Dockerfile:4 RUN cat requirements.txt: runs because Dockerfile:3 did'
    assert_equal "$(metadata '.["cbpush.explain"][0] | [.place, .step, .input, .old, .new]')" \
        "[\"Dockerfile:3\",\"COPY requirements.txt other.txt ./\",\"requirements.txt\",\"sha256:$old…\",\"sha256:$new…\"]"
    chmod 755 ctx/other.txt
    because '*: other.txt has mode 755, and had 644' '*: runs because Dockerfile:3 did'
    # Back to what there was: all is known, and the next change is told of against that.
    chmod 644 ctx/other.txt
    because 'no step was run'
    echo three >ctx/requirements.txt
    echo three >ctx/other.txt
    because "*: requirements.txt changed (sha256:$new… → *, and 1 more file differs" '*'
}

@test "files that are new, gone, of another type, and behind very many" {
    dockerfile <<'END'
FROM scratch
COPY . /all
END
    mkdir ctx/d
    (cd ctx/d && seq -f 'f%05g' 5000 | xargs touch)
    because '*'
    touch ctx/d/f00700x
    because '*: d/f00700x is new'
    echo x >ctx/d/f04999
    because '*: d/f04999 changed'
    rm ctx/d/f00002
    because '*: a file was removed'
    find ctx/d -name 'f0[1-4]*' -delete
    because '*: a file was removed, and 3999 more files differ'
    rm ctx/d/f00003
    because '*: d/f00003 was removed'
    rm ctx/d/f00004 && ln -s f00005 ctx/d/f00004
    because '*: d/f00004 is of another type'
    ln -sf f00006 ctx/d/f00004
    because '*: d/f00004 leads elsewhere'
}

@test "arguments, environment, user, directory, network, mounts, and the parent" {
    dockerfile <<'END'
ARG BASE=busybox
FROM $BASE
ARG V=1
ENV E=a
RUN --mount=type=cache,target=/c echo $V
END
    flags=(--build-arg V=1)
    because '*'
    flags=(--build-arg V=2)
    because 'Dockerfile:5 RUN *: ARG V "1" → "2"'
    sed -i 's/E=a/E=b/' ctx/Dockerfile
    because '*: ENV E "a" → "b"'
    sed -i '4s/$/\nENV F=1/' ctx/Dockerfile
    because 'Dockerfile:6 *: ENV F "1" is new'
    sed -i '/ENV F/d; /ENV E/d' ctx/Dockerfile
    because '*: ENV E "b" is gone'
    sed -i '4s/^/USER 5\n/' ctx/Dockerfile
    because '*: USER "5" is new'
    flags+=(--network none)
    because '*: network "some" → "none"'
    flags+=(--add-host h:1.2.3.4)
    because '*: --add-host "h 1.2.3.4" is new'
    sed -i 's/echo \$V/echo other/' ctx/Dockerfile
    because '*: instruction "*echo $V" → "*echo other"'
    SOURCE_DATE_EPOCH=5 because '*: SOURCE_DATE_EPOCH "none" → "5"'
    because 'no step was run'
    make_second_base
    flags+=(--build-arg BASE=second)
    because 'Dockerfile:2 FROM *second:latest: instruction "FROM *busybox:latest" → "FROM *second:latest"' \
        '* RUN *: FROM *second:latest changed (Dockerfile:2)'
}

# second: busybox with one layer more, each time another.
make_second_base()
{
    mkdir -p second
    printf 'FROM busybox\nRUN cat /proc/sys/kernel/random/uuid >/id\n' >second/Dockerfile
    cbpush build --no-cache --push "$reg/library/second:latest" second >second.log 2>&1 || rig_fail "$(cat second.log)"
}

@test "a parent that moved, a stage that is copied from, COPY --link, what is fetched" {
    make_second_base
    web_start
    echo one >"$webroot/x.txt"
    dockerfile <<END
FROM busybox AS made
COPY a.txt /
FROM second
RUN true
COPY --link --chown=1:1 --from=made /a.txt /
RUN echo 2
ADD $web/dated/x.txt?key=s3cret /x
END
    echo a >ctx/a.txt
    flags=(--pull)
    because '*' '*' '*' '*' '*'
    echo b >ctx/a.txt
    because 'Dockerfile:2 *: a.txt changed *' 'Dockerfile:5 *: runs because Dockerfile:2 did' \
        'Dockerfile:6 *: runs because Dockerfile:5 did'
    echo two >"$webroot/x.txt"
    because 'Dockerfile:7 ADD *: content sha256:*… → sha256:*…'
    refute_contains "$(grep '^why' build.log)" s3cret
    make_second_base
    because 'Dockerfile:3 FROM *second:latest: digest sha256:* → sha256:*' 'Dockerfile:4 RUN true: FROM *second:latest changed (Dockerfile:3)' \
        'Dockerfile:6 *: runs because Dockerfile:4 did'
}

@test "an instruction that is inserted or moved is not taken for its neighbour" {
    dockerfile <<'END'
FROM busybox
RUN echo 1 >/1
RUN echo 2 >/2
RUN echo 3 >/3
END
    because '*' '*' '*'
    sed -i '2s/$/\n# a comment\nRUN echo new >\/new/' ctx/Dockerfile
    because 'Dockerfile:4 RUN echo new >/new: no earlier build of this step is known' \
        'Dockerfile:5 RUN echo 2 >/2: runs because Dockerfile:4 did' 'Dockerfile:6 RUN echo 3 >/3: runs because Dockerfile:5 did'
    sed -i '/echo 2/d' ctx/Dockerfile
    because 'Dockerfile:5 RUN echo 3 >/3: Dockerfile:4 is another than before'
}

@test "no cache, a layer that is gone, a record that is gone" {
    dockerfile <<'END'
FROM busybox AS s
RUN cat /proc/sys/kernel/random/uuid >/one
RUN echo 2 >/two
END
    because '*' '*'
    flags=(--no-cache)
    because '*2 RUN *: the cache was off (--no-cache)' '*3 RUN *: the cache was off (--no-cache)'
    flags=(--no-cache-filter s)
    because '*: the cache was off for this stage (--no-cache-filter)' '*'
    flags=()
    rm -r "$CBPUSH_ROOT/cache"
    because '*2 RUN *: nothing changed, but the store has no record of it' '*3 RUN *: runs because Dockerfile:2 did'
    # Of a layer that was pushed a registry is known; so this one is not.
    local blob
    export CBPUSH_ROOT=$PWD/other
    cbpush build -q ctx >/dev/null
    for blob in other/blobs/sha256/*; do
        ! gzip -t "$blob" 2>/dev/null || rm "$blob"
    done
    rm -r other/trees/*
    cbpush build --explain ctx >build.log 2>&1
    reasons '*2 RUN *: its record is there, but the layer sha256:*… is neither in the store*' '*3 RUN *'
}

@test "a step that failed is compared with the last one that did not" {
    dockerfile <<'END'
FROM busybox
COPY a.txt /
RUN test "$(cat /a.txt)" != bad
END
    echo one >ctx/a.txt
    because '*' '*'
    local old
    old=$(sha256sum ctx/a.txt | cut -c 1-12)
    echo bad >ctx/a.txt
    refused 1 --explain
    assert_contains "$output" "a.txt changed (sha256:$old…"
    assert_contains "$output" 'runs because Dockerfile:2 did'
    echo two >ctx/a.txt
    because '*2 COPY *: a.txt changed *' '*3 RUN *: runs because Dockerfile:2 did'
}

@test "what is asked for is told, or refused: quiet, rawjson, no build" {
    printf 'FROM busybox\nRUN true\n' >ctx/Dockerfile
    cbpush build -q --explain ctx 2>err >/dev/null
    assert_contains "$(cat err)" 'no earlier build'
    run cbpush build --progress rawjson --explain ctx
    assert_status 2
    assert_contains "$output" --metadata-file
    cbpush build --progress rawjson --no-cache --explain --metadata-file metadata.json ctx 2>err
    refute_contains "$(cat err)" 'why '
    assert_equal "$(metadata -r '.["cbpush.explain"][0].reason')" 'the cache was off (--no-cache)'
    run cbpush build --check --explain ctx
    assert_status 2
}

@test "what is kept: no secret, not written by an unchanged build, gone with the records" {
    dockerfile <<'END'
FROM busybox
ARG V=1
RUN --mount=type=secret,id=s,env=S true
END
    flags=(--secret id=s,env=SECRET)
    SECRET=s3cret-canary because '*'
    run grep -rl s3cret-canary "$CBPUSH_ROOT"
    assert_equal "$output" ''
    local file
    file=$(echo "$CBPUSH_ROOT"/inputs/*)
    [ "$(stat -c %a "$CBPUSH_ROOT/inputs") $(stat -c %a "$file")" = '700 600' ]
    touch -d '3 hours ago' "$file"
    local before
    before=$(stat -c '%i %y' "$file")
    SECRET=s3cret-canary because 'no step was run'
    assert_equal "$(stat -c '%i %y' "$file")" "$before"
    # Torn or of another version: as if there were none.
    echo x >>"$file"
    flags+=(--build-arg V=2)
    SECRET=x because '*: no earlier build of this step is known'
    cbpush prune --keep 0s >/dev/null
    [ -e "$file" ]
    touch -d '40 days ago' "$file"
    cbpush prune >/dev/null
    [ ! -e "$file" ]
    SECRET=x because 'no step was run'
    cbpush prune --all --keep 0s >/dev/null
    [ ! -e "$file" ]
}

@test "of thousands of files it is told which one changed, though the build before was not asked to explain" {
    printf 'FROM busybox\nCOPY many /many\nRUN true\n' >ctx/Dockerfile
    mkdir ctx/many
    python3 -c '
for i in range(5000):
    with open(f"ctx/many/{i}", "w") as f:
        f.write(f"{i}")'
    build >build.log 2>&1
    echo new >ctx/many/4321
    because 'Dockerfile:2 COPY many /many: many/4321 changed' 'Dockerfile:3 RUN*'
}
