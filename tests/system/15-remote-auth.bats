#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Credentials of remote inputs: the secrets GIT_AUTH_* and HTTP_AUTH_*, who is sent them, and who is not.

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
    web_start
    web_start site --tls
    web_start other --tls
    unset GIT_SSL_CAINFO
    export SSL_CERT_FILE
    SSL_CERT_FILE=$(rig_ca)
    token=canary-token-4711
    basic="Basic $(printf 'x-access-token:%s' "$token" | base64 -w0)"
    web_lock "$basic"
    printf '%s\n' "$token" >token
    printf 'Bearer %s\n' "$token" >header
    at=${site#*://}
    other_at=${other#*://}
}

# The servers other than the one that it is for have seen nothing of it.
kept_from()
{
    local name
    for name; do
        refute_contains "$(web_log "$name")" Authorization
        refute_contains "$(web_log "$name")" "$token"
    done
}

# Nor is it in what the build printed and wrote, nor in the store.
shown_nowhere()
{
    local secret
    for secret in "$token" "${basic#Basic }"; do
        refute_contains "${log-}${output-}" "$secret"
        run grep -srlaF -- "$secret" "$CBPUSH_ROOT" trace.json metadata.json
        assert_equal "$output" ''
    done
}

# git, and what it starts, with their arguments in ./arguments.
watch_git()
{
    mkdir -p bin
    cat >bin/git <<END
#!/bin/sh
printf '%s\n' "\$@" >>$PWD/arguments
exec $(command -v git) "\$@"
END
    chmod 0755 bin/git
    export PATH=$PWD/bin:$PATH
}

@test "a git context, ADD and a named context of a private repository: by token, of the host and the general one" {
    local id
    git_make repo
    printf 'FROM busybox\nADD %s/locked/git/repo.git#dev /r\nCOPY --from=named a.txt /n\n' "$site" >ctx/Dockerfile
    watch_git
    for id in "GIT_AUTH_TOKEN.$at" GIT_AUTH_TOKEN; do
        rm -rf "$CBPUSH_ROOT"
        built -D --trace trace.json --explain --secret "id=$id,src=token" \
            --build-context "named=$site/locked/git/repo.git"
        assert_equal "$(cat "$rootfs/r/a.txt" "$rootfs/n" | paste -s -d ' ')" 'dev two'
        shown_nowhere
        refute_contains "$(cat arguments; config .)" "$token"
        refute_contains "$(cat arguments)" "${basic#Basic }"
        TOKEN=$token cbpush build -D -t x --secret "id=$id,env=TOKEN" "$site/locked/git/repo.git#main:sub" >build.log 2>&1
        refute_contains "$(cat build.log)" "$token"
    done
    kept_from web other
}

@test "a header is the whole value of Authorization; that of the host wins over the general, and header over token" {
    git_make repo
    printf 'FROM busybox\nADD %s/locked/git/repo.git /r\n' "$site" >ctx/Dockerfile
    web_lock "Bearer $token"
    built --secret id=GIT_AUTH_HEADER,src=header
    built --no-cache --secret "id=GIT_AUTH_HEADER.$at,src=header" --secret "id=GIT_AUTH_TOKEN.$at,src=token"
    printf 'Bearer wrong-for-all\n' >general
    built --no-cache --secret id=GIT_AUTH_HEADER,src=general --secret "id=GIT_AUTH_HEADER.$at,src=header"
    web_lock "$basic"
    built --no-cache --secret id=GIT_AUTH_HEADER,src=general --secret "id=GIT_AUTH_TOKEN.$at,src=token"
    refute_contains "$(web_log site)" wrong-for-all
}

@test "executor: GIT_TOKEN, or GIT_USERNAME and GIT_PASSWORD, for the server of the context; a --secret counts more" {
    git_make repo
    ln -s "$CBPUSH" executor
    web_lock "Basic $(printf '%s:' "$token" | base64 -w0)"
    GIT_TOKEN=$token GIT_USERNAME=u ./executor -c "git://$at/locked/git/repo.git" --no-push >build.log 2>&1
    web_lock "Basic $(printf 'me:%s' "$token" | base64 -w0)"
    GIT_USERNAME=me GIT_PASSWORD=$token ./executor -c "git://$at/locked/git/repo.git" --no-push >>build.log 2>&1
    web_lock "$basic"
    GIT_TOKEN=wrong ./executor -c "git://$at/locked/git/repo.git" --secret id=GIT_AUTH_TOKEN,src=token --no-push >>build.log 2>&1
    log=$(cat build.log)
    shown_nowhere
    run ./executor -c "git://$at/locked/git/repo.git" --no-push
    assert_status 3
    assert_contains "$output" "--secret id=GIT_AUTH_TOKEN.$at"
    kept_from web other
}

@test "a repository that wants credentials: none, wrong ones, an empty one; exit 3, the remedy, and nobody is asked" {
    git_make repo
    printf 'FROM busybox\nADD %s/locked/git/repo.git /r\n' "$site" >ctx/Dockerfile
    # A terminal that could be asked at.
    run timeout 60 script -qec "$CBPUSH build --progress plain -t x ctx" /dev/null </dev/null
    assert_status 3
    assert_contains "$output" "--secret id=GIT_AUTH_TOKEN.$at,env=VARIABLE"
    refute_contains "$output" 'Username for'\''https'
    assert_contains "$output" Dockerfile:2
    web_lock other
    refused 3 -D --trace trace.json --secret "id=GIT_AUTH_TOKEN.$at,src=token"
    assert_contains "$output" "it does not take what the secret GIT_AUTH_TOKEN.$at holds"
    shown_nowhere
    refused 3 --secret id=GIT_AUTH_TOKEN,env=NOT_SET
    assert_contains "$output" 'the variable NOT_SET is not set'
    run cbpush build --secret "id=GIT_AUTH_TOKEN.$at,src=token" "$site/locked/git/repo.git"
    assert_status 3
    assert_contains "$output" "does not take"
    # Some servers hide a private one from who may not see it.
    run cbpush build "$site/git/none.git"
    assert_status 4
    assert_contains "$output" "of a private one: it wants credentials: give them by --secret id=GIT_AUTH_TOKEN.$at"
}

@test "credentials are for one host and port, and for https" {
    git_make repo
    echo hi >"$webroot/x"
    # 127.0.0.1 without a port is 127.0.0.1:443.
    printf 'FROM busybox\nADD %s/git/repo.git /r\nADD %s/file/x /x\nADD %s/git/repo.git /q\n' "$other" "$other" "$web" >ctx/Dockerfile
    built --secret "id=GIT_AUTH_TOKEN.$at,src=token" --secret id=GIT_AUTH_TOKEN.127.0.0.1,src=token \
        --secret "id=HTTP_AUTH_TOKEN_$at,src=token" --secret id=HTTP_AUTH_TOKEN_127.0.0.1,src=token
    kept_from web site other
    printf 'FROM busybox\nADD http://plain.invalid/x.git /r\n' >ctx/Dockerfile
    refused 2 --secret id=GIT_AUTH_TOKEN.plain.invalid,src=token
    assert_contains "$output" 'write http://plain.invalid as https://plain.invalid'
    refused 4 --secret id=GIT_AUTH_TOKEN,src=token
    printf 'FROM busybox\nADD http://plain.invalid/x /r\n' >ctx/Dockerfile
    refused 2 --secret id=HTTP_AUTH_HEADER_plain.invalid,src=header
    assert_contains "$output" 'is not sent in the clear'
    # http on the loopback is as good as https, but not by way of a proxy.
    printf 'FROM busybox\nADD %s/locked/git/repo.git /r\n' "$web" >ctx/Dockerfile
    http_proxy=$other built --secret "id=GIT_AUTH_TOKEN.${web#*://},src=token"
    kept_from other
}

@test "what can be no header or no host is refused, and not shown" {
    git_make repo
    printf 'FROM busybox\nADD %s/locked/git/repo.git?submodules=true /r\n' "$site" >ctx/Dockerfile
    printf '%s\nX-Evil: 1\n' "$token" >two
    printf '%s\0x' "$token" >nul
    local file
    for file in two nul; do
        refused 2 --secret "id=GIT_AUTH_TOKEN,src=$file"
        assert_contains "$output" 'a line break or control character'
        shown_nowhere
    done
    head -c 20000 /dev/zero | tr '\0' a >long
    refused 2 --secret id=GIT_AUTH_HEADER,src=long
    for file in '*.example.com' 'h/x' 'h?x' '' 'u@h' 'h:x'; do
        refused 2 --secret "id=GIT_AUTH_TOKEN.$file,src=token"
        assert_contains "$output" 'behind the dot stands HOST'
    done
}

@test "a redirect: git does not follow one with credentials, and without them sends none" {
    git_make repo
    printf 'FROM busybox\nADD %s/locked/moved/https/%s/git/repo.git /r\n' "$site" "$other_at" >ctx/Dockerfile
    refused 7 --secret "id=GIT_AUTH_TOKEN,src=token"
    assert_contains "$output" "the server redirects, and a secret (GIT_AUTH_TOKEN) is not taken along"
    assert_equal "$(web_log other)" ''
    refused 7 --secret "id=GIT_AUTH_TOKEN.$at,src=token"
    assert_equal "$(web_log other)" ''
    printf 'FROM busybox\nADD %s/moved/https/%s/git/repo.git /r\n' "$site" "$other_at" >ctx/Dockerfile
    built --secret "id=GIT_AUTH_TOKEN.$other_at,src=token"
    assert_equal "$(cat "$rootfs/r/a.txt")" two
    assert_equal "$(web_log site | grep -v '/locked/' | grep -c Authorization)" 0
    kept_from other web
}

@test "submodules: of the same host with its credentials, of another only with its own" {
    git_make repo
    git_make inner
    git_in repo submodule -q add "$web/git/inner.git" mod
    git_in repo config -f .gitmodules submodule.mod.url ../inner.git
    git_in repo commit -q -a -m relative
    git_publish repo
    printf 'FROM busybox\nADD %s/locked/git/repo.git?submodules=true /r\n' "$site" >ctx/Dockerfile
    built --secret id=GIT_AUTH_TOKEN,src=token
    assert_equal "$(cat "$rootfs/r/mod/a.txt")" two
    git_in repo config -f .gitmodules submodule.mod.url "$site/locked/moved/https/$other_at/git/inner.git"
    git_in repo commit -q -a -m moved
    git_publish repo
    refused 7 --secret id=GIT_AUTH_TOKEN,src=token
    assert_contains "$output" 'the server redirects'
    assert_equal "$(web_log other)" ''
    git_in repo config -f .gitmodules submodule.mod.url "$other/locked/git/inner.git"
    git_in repo commit -q -a -m absolute
    git_publish repo
    : >"$(rig_find other)/log"
    refused 3 --secret id=GIT_AUTH_TOKEN,src=token
    assert_contains "$output" 'a submodule wants credentials'
    refused 3 --secret "id=GIT_AUTH_TOKEN.$at,src=token"
    kept_from other
    [ -n "$(web_log other)" ]
    watch_git
    printf 'FROM busybox\nADD %s/locked/git/repo.git?submodules=true&keep-git-dir=true /r\n' "$site" >ctx/Dockerfile
    built --secret "id=GIT_AUTH_TOKEN.$at,src=token" --secret "id=GIT_AUTH_TOKEN.$other_at,src=token"
    assert_equal "$(cat "$rootfs/r/mod/a.txt")" two
    refute_contains "$(cat arguments)" "$token"
    run grep -raF -e "$token" -e "${basic#Basic }" -e extraHeader "$rootfs/r"
    assert_equal "$output" ''
    shown_nowhere
}

@test "ADD of a URL: by HTTP_AUTH_TOKEN_HOST and HTTP_AUTH_HEADER_HOST; wrong, missing, two; context and -f" {
    echo private >"$webroot/x"
    web_lock "Bearer $token"
    printf 'FROM busybox\nADD %s/locked/file/x /x\n' "$site" >ctx/Dockerfile
    built -D --trace trace.json --secret "id=HTTP_AUTH_TOKEN_$at,src=token"
    assert_equal "$(cat "$rootfs/x")" private
    shown_nowhere
    built -D --no-cache --secret "id=HTTP_AUTH_HEADER_$at,src=header"
    shown_nowhere
    refused 2 --secret "id=HTTP_AUTH_TOKEN_$at,src=token" --secret "id=HTTP_AUTH_HEADER_$at,src=header"
    assert_contains "$output" 'keep one of them'
    refused 3 --secret id=GIT_AUTH_TOKEN,src=token
    assert_contains "$output" "--secret id=HTTP_AUTH_TOKEN_$at,env=VARIABLE"
    web_lock another
    refused 3 -D --secret "id=HTTP_AUTH_TOKEN_$at,src=token"
    assert_contains "$output" "does not take what the secret HTTP_AUTH_TOKEN_$at holds"
    shown_nowhere
    web_lock "Bearer $token"
    tar -C ctx -cf "$webroot/c.tar" .
    cp ctx/Dockerfile "$webroot/Dockerfile"
    cbpush build -t x --secret "id=HTTP_AUTH_TOKEN_$at,src=token" "$site/locked/file/c.tar"
    cbpush build -t x --secret "id=HTTP_AUTH_TOKEN_$at,src=token" -f "$site/locked/file/Dockerfile" ctx
    kept_from web other
}

@test "ADD of a URL that redirects: another host gets no credentials, and may have the file or not" {
    echo private >"$webroot/x"
    web_lock "Bearer $token"
    printf 'FROM busybox\nADD %s/locked/to?%s/file/x /x\n' "$site" "$other" >ctx/Dockerfile
    built --secret "id=HTTP_AUTH_TOKEN_$at,src=token" --secret "id=HTTP_AUTH_TOKEN_$other_at,src=token"
    assert_equal "$(cat "$rootfs/x")" private
    printf 'FROM busybox\nADD %s/locked/to?%s/locked/file/x /x\n' "$site" "$other" >ctx/Dockerfile
    refused 3 --secret "id=HTTP_AUTH_TOKEN_$at,src=token"
    assert_contains "$output" 'redirects to another host, where no credentials go'
    kept_from other web
}

@test "the cache: what was given for credentials is not given without them, nor for wrong ones" {
    local commit sum secret line
    git_make repo
    echo private >"$webroot/x"
    commit=$(git_in repo rev-parse HEAD)
    sum=$(sha256sum "$webroot/x" | cut -d' ' -f1)
    for line in "ADD $site/locked/git/repo.git#$commit /r" "ADD $site/locked/git/repo.git?commit=$commit&fetch-by-commit=true /r" \
        "ADD $site/locked/git/repo.git /r" "ADD --checksum=sha256:$sum $site/locked/file/x /x" "ADD $site/locked/file/x /x"; do
        printf 'FROM busybox\n%s\n' "$line" >ctx/Dockerfile
        case $line in
            *repo.git*) secret=GIT_AUTH_HEADER ;;
            *) secret=HTTP_AUTH_HEADER_$at ;;
        esac
        web_lock "Bearer $token"
        built --secret "id=$secret,src=header"
        built --secret "id=$secret,src=header"
        assert_contains "$log" CACHED
        # Neither by this URL nor by another one of the same content.
        refused 3
        web_lock changed
        refused 3 --secret "id=$secret,src=header"
        web_lock "Bearer $token"
    done
    # A commit is a commit wherever it is from, but not for who was never given it.
    printf 'FROM busybox\nADD %s/git/none.git#%s /r\n' "$other" "$commit" >ctx/Dockerfile
    refused 4
}
