#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What a build and push asks of registries, and what it asks for side by side: nothing changed, one file changed.

load helpers
load build

setup_file()
{
    rig_setup_file
    build_setup_file
    registry_start --auth-token --user alice:s3cret:with:colons tokens
}

setup()
{
    rig_setup
    build_setup
    registry_forget reg
    registry_forget tokens
    tokens=$(registry_addr tokens)
}

teardown()
{
    rig_teardown
}

count()
{
    grep -c . || :
}

# asked REGISTRY: what was asked of it, as "METHOD PATH STATUS" lines in order.
asked()
{
    registry_requests "$1" '"[A-Z]+ ' | awk '{ print substr($6, 2), $7, $9 }' | sort
}

# The example of two stages on one parent, RUNs of its own apart.
flask()
{
    cp -r "$RIG_HERE/../../contrib/examples/flask/." ctx
    sed -i -e "s#^FROM [^ ]*#FROM $1#" -e 's/^RUN pip.*/RUN mkdir -p .local \&\& echo flask >.local\/flask/' \
        -e 's|^RUN useradd.*|RUN mkdir -p /etc \&\& echo myuser:x:1000:1000::/:/bin/sh >>/etc/passwd|' -e 's#/root/.local#/app/.local#' ctx/Dockerfile
}

# twice REGISTRY REPO: built and pushed to two tags; the requests are those of the second time.
twice()
{
    cb_quietly 'the first build' cbpush build --progress plain --push -t "$2:1" -t "$2:2" ctx
    registry_forget "$1"
    cbpush build --push -t "$2:1" -t "$2:2" ctx >build.log 2>&1
    assert_contains "$(cat build.log)" 'nothing to do'
}

@test "an unchanged build and push asks for the parent and the tags, and for nothing else" {
    flask "$reg/library/busybox"
    twice reg "$reg/test/app"
    assert_equal "$(asked reg)" 'HEAD /v2/library/busybox/manifests/latest 200
HEAD /v2/test/app/manifests/1 200
HEAD /v2/test/app/manifests/2 200'
}

@test "on a fresh machine the parent's manifest is fetched by its tag at once; later one asks which it is" {
    printf 'FROM %s/library/busybox\nRUN true\n' "$reg" | dockerfile
    cb_quietly 'the first build' cbpush build --progress plain ctx
    assert_equal "$(asked reg | grep /manifests/)" 'GET /v2/library/busybox/manifests/latest 200'
    registry_forget reg
    cb_quietly 'the second build' cbpush build --progress plain --no-cache ctx
    assert_equal "$(asked reg | grep /manifests/)" 'HEAD /v2/library/busybox/manifests/latest 200'
}

# kinds REGISTRY: how often each kind of request was made; ids are left out.
kinds()
{
    asked "$1" | sed -E -e 's/sha256:[0-9a-f]{64}/DIGEST/' -e 's#(uploads/)[^ ]+#\1ID#' | sort | uniq -c | sed 's/^ *//'
}

@test "one file changed: what is new goes without a look, and the tag was looked at with the parents" {
    flask "$reg/library/busybox"
    cb_quietly 'the first build' cbpush build --progress plain --push "$reg/test/edit:1" ctx
    echo '# changed' >>ctx/app.py
    registry_forget reg
    cbpush build --push "$reg/test/edit:1" ctx 2>build.log
    # Looked for: four layers, and what keeps a large table; both that were sent, afterwards.
    # (Where the machine took more than two seconds, the tag is looked at again.)
    assert_equal "$(kinds reg | sed 's#^2 \(HEAD .*/manifests/1 \)#1 \1#')" '1 HEAD /v2/library/busybox/manifests/latest 200
6 HEAD /v2/test/edit/blobs/DIGEST 200
1 HEAD /v2/test/edit/manifests/1 200
1 HEAD /v2/test/edit/manifests/DIGEST 200
2 POST /v2/test/edit/blobs/uploads/ 202
2 PUT /v2/test/edit/blobs/uploads/ID 201
1 PUT /v2/test/edit/manifests/1 201'
}

@test "what is new is sent while another writes to the index, which it does not wait for" {
    local holder build status=0
    flask "$reg/library/busybox"
    cb_quietly 'the first build' cbpush build --push "$reg/test/index:1" ctx
    echo '# changed' >>ctx/app.py
    registry_forget reg
    python3 -c 'import os, sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
open("held", "w").close()
end = time.monotonic() + 15
while not os.path.exists("sent") and time.monotonic() < end:
    time.sleep(0.02)' "$CBPUSH_ROOT/index.sqlite" 3>&- &
    holder=$!
    until [ -e held ]; do sleep 0.02; done
    "$CBPUSH" build --push "$reg/test/index:1" ctx >build.log 2>&1 3>&- &
    build=$!
    until [ "$(registry_requests reg '"PUT .*/uploads/.* 201 ' | count)" = 2 ] || ! kill -0 "$holder" 2>kill.log; do sleep 0.02; done
    assert_equal "$(registry_requests reg '"PUT .*/uploads/.* 201 ' | count)" 2
    kill -0 "$holder"
    : >sent
    wait "$holder"
    wait "$build" || status=$?
    assert_equal "$status" 0 "$(cat build.log)"
    cbpush build --push "$reg/test/index:1" ctx >again.log 2>&1
    assert_contains "$(cat again.log)" 'nothing to do'
}

# at_once NAME REGEX…: from `: >"$dir/armed"` on what $proxy is asked for has to come side by side (both_proxy.py).
at_once()
{
    dir=$(rig_dir)/$1
    mkdir -p "$dir"
    rig_spawn "$dir" python3 -B "$RIG_HERE/both_proxy.py" "$reg" "$dir/port" "$dir/armed" "${@:2}"
    until [ -s "$dir/port" ]; do sleep 0.05; done
    proxy=localhost:$(cat "$dir/port")
}

@test "an unchanged build asks for parents and tags in one round" {
    local dir proxy
    at_once both 'HEAD /v2/library/busybox/manifests/' 'HEAD /v2/test/both/manifests/'
    flask "$proxy/library/busybox"
    cb_quietly 'the first build' cbpush build --push -t "$reg/test/both:1" -t "$reg/test/both:2" ctx
    : >"$dir/armed"
    cbpush build --push -t "$proxy/test/both:1" -t "$proxy/test/both:2" --retry 0 ctx >build.log 2>&1 || { cat build.log; false; }
    # Where a registry is out of reach, what is in the store will do: so the proxy is asked.
    assert_equal "$(cat "$dir/out")" ''
    assert_contains "$(cat build.log)" 'nothing to do'
}

@test "one file changed: uploads are begun while the parents are asked for" {
    local dir proxy
    at_once ahead 'HEAD /v2/library/busybox/manifests/' 'POST /v2/test/ahead/blobs/uploads/$'
    flask "$proxy/library/busybox"
    cb_quietly 'the first build' cbpush build --push "$proxy/test/ahead:1" ctx
    echo '# changed' >>ctx/app.py
    registry_forget reg
    : >"$dir/armed"
    cbpush build --push "$proxy/test/ahead:1" --retry 0 ctx >build.log 2>&1 || { cat build.log; false; }
    assert_equal "$(cat "$dir/out")" ''
    assert_equal "$(registry_requests reg '"POST ' | count)" 2
    assert_equal "$(registry_requests reg '"(DELETE|GET) ')" ''
    judged test/ahead:1
}

@test "a layer that another build has made takes an upload that was begun ahead, too" {
    local all
    flask "$reg/library/busybox"
    cb_quietly 'the first build' cbpush build --push "$reg/test/taken:1" ctx
    cp -a ctx other
    echo '# changed' | tee -a other/app.py >>ctx/app.py
    cb_quietly 'the other build' cbpush build other
    registry_forget reg
    cbpush build --push "$reg/test/taken:1" ctx 2>build.log
    all=$(kinds reg)
    assert_contains "$all" '2 POST /v2/test/taken/blobs/uploads/ 202'
    assert_contains "$all" '2 PUT /v2/test/taken/blobs/uploads/ID 201'
    refute_contains "$all" DELETE
    judged test/taken:1
}

@test "what was begun for a changed file, and nobody needs, is given up: no push, and the same image after all" {
    flask "$reg/library/busybox"
    cp ctx/app.py app.py
    cb_quietly 'the first build' cbpush build --push "$reg/test/begun:1" ctx
    echo '# changed' >>ctx/app.py
    cb_quietly 'a build that is not pushed' cbpush build -t "$reg/test/begun:1" ctx
    cp app.py ctx/app.py
    registry_forget reg
    cbpush build --push "$reg/test/begun:1" ctx >build.log 2>&1
    assert_contains "$(cat build.log)" 'nothing to do'
    assert_equal "$(registry_requests reg '"POST .* 202 ' | count)" "$(registry_requests reg '"DELETE .* 204 ' | count)"
    assert_equal "$(registry_requests reg '"PUT ')" ''
    # A step that fails leaves none either that the registry has told us of; the layer below it has taken one.
    echo 'RUN sleep 1; exit 7' >>ctx/Dockerfile
    echo '# changed' >>ctx/app.py
    registry_forget reg
    run cbpush build --push "$reg/test/begun:1" ctx
    assert_status 1
    assert_equal "$(registry_requests reg '"PUT .*/uploads/.* 201 ' | count)" 1
    assert_equal "$(registry_requests reg '"POST .* 202 ' | count)" "$(($(registry_requests reg '"DELETE .* 204 ' | count) + 1))"
}

@test "the table of a parent that pins none is sent while a step of its own still works" {
    local table
    printf 'FROM %s\nRUN sleep 1; echo made >/made\n' "$reg/library/busybox" >ctx/Dockerfile
    cbpush build --trace trace.json --push "$reg/test/table:1" ctx >build.log 2>&1
    table=$(curl -sSf -H 'Accept: application/vnd.oci.image.manifest.v1+json' "$(registry_url reg)/v2/test/table/manifests/1" |
        jq -er '.layers[0].annotations["vnd.cbpush.toc.digest"]')
    assert_equal "$(jq -r --arg digest "$table" '(.traceEvents? // .) as $all
        | ($all[] | select(.name | startswith("process of ")) | .ts + .dur) as $over
        | $all[] | select((.name | startswith("push blob ")) and .args.digest == $digest) | .ts < $over' trace.json)" true
}

@test "an unchanged build and push with tokens is ten requests at most, tokens included" {
    local all
    docker_config "$tokens" alice:s3cret:with:colons
    rig_push "$(make_busybox_image)" tokens team/base:1
    flask "$tokens/team/base:1"
    twice tokens "$tokens/team/app"
    all=$(asked tokens && token_requests tokens | jq -r '.path // .')
    echo "$all" >&2
    [ "$(count <<<"$all")" -le 10 ]
    # They go side by side, so none waits for another to hear that it takes a token.
    [ "$(asked tokens | grep -c ' 401$')" -le 3 ]
    assert_equal "$(asked tokens | grep -v ' 401$')" 'HEAD /v2/team/app/manifests/1 200
HEAD /v2/team/app/manifests/2 200
HEAD /v2/team/base/manifests/1 200'
}
