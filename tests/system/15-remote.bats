#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What a build reads that is no local directory and no image: ADD of URLs and git repositories, contexts from standard
# input, http and git, and --build-context.

load helpers
load build
load web
load users

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
}

sum()
{
    sha256sum "$1" | cut -d' ' -f1
}

# ---- ADD of a URL

@test "ADD of a URL: name, mode, time, owner; into a directory and under a name" {
    echo hello >"$webroot/x.txt"
    touch -d '2021-03-04T05:06:07Z' "$webroot/x.txt"
    dockerfile <<END
FROM busybox
ARG W=$web
ADD \$W/file/x.txt /d/
ADD $web/file/x.txt /named
ADD --chown=5:6 --chmod=0755 $web/file/x.txt?query=1#part /owned
ADD $web/bare/x.txt /old
END
    built
    assert_equal "$(cat "$rootfs/d/x.txt")" hello
    assert_equal "$(mode_of /d/x.txt)" '600 0:0'
    assert_equal "$(stat -c %Y "$rootfs/d/x.txt")" "$(date -d '2021-03-04T05:06:07Z' +%s)"
    assert_equal "$(cat "$rootfs/named")" hello
    assert_equal "$(mode_of /owned)" '755 5:6'
    assert_equal "$(stat -c %Y "$rootfs/old")" 0
    assert_equal "$(web_requests '/file/x.txt 200' | wc -l)" 1
    refute_contains "$(web_requests)" Authorization
}

@test "ADD of a URL: the same bytes with another time are another file" {
    echo hello >"$webroot/x"
    touch -d '2021-03-04T05:06:07Z' "$webroot/x"
    local kind
    for kind in file bare dated; do
        dockerfile <<<"FROM busybox
ADD $web/$kind/x /x"
        built
        stat -c %Y "$rootfs/x"
    done >times
    assert_equal "$(paste -s -d ' ' times)" '1614834367 0 1614834367'
}

@test "ADD of a URL: an unchanged file costs one conditional request and hits; a changed one is taken" {
    echo one >"$webroot/x"
    web_old x
    dockerfile <<END
FROM busybox
ADD $web/file/x /x
RUN cat /x >/y
END
    built
    web_forget
    built
    assert_contains "$log" CACHED
    assert_equal "$(web_requests | wc -l)" 1
    assert_contains "$(web_requests)" '/file/x 304 If-None-Match='
    echo two >"$webroot/x"
    built
    assert_equal "$(cat "$rootfs/y")" two
    web_forget
    built --no-cache
    assert_equal "$(web_requests)" 'GET /file/x 200'
}

@test "ADD of a URL: a time that is as young as the answer is no validator" {
    local kind
    dockerfile <<END
FROM busybox
ADD $web/file/x /x
ADD $web/dated/x /y
END
    # Written twice in one second, which is not over yet however slow this machine is.
    touch -d '+1 hour' then
    for kind in one two; do
        echo $kind >"$webroot/x"
        touch -r then "$webroot/x"
        web_forget
        built
        assert_equal "$(cat "$rootfs/x" "$rootfs/y" | paste -s -d ' ')" "$kind $kind"
        refute_contains "$(web_requests)" 'If-'
    done
    web_old x
    built
    web_forget
    built
    assert_equal "$(web_requests ' 304 ' | wc -l)" 2
}

@test "ADD of a URL: what is signed in it is shown nowhere" {
    echo one >"$webroot/x"
    dockerfile <<END
FROM busybox
ADD $web/file/x?signature=hush&part=1 /y
END
    built --trace trace.json
    assert_equal "$(cat "$rootfs/y")" one
    refute_contains "$log$(cat trace.json metadata.json)$(config .)" hush
    assert_contains "$(config -r '.history[-1].created_by')" 'x?signature=xxxxx&part=xxxxx /y'
    assert_contains "$log" 'x?signature=xxxxx&part=xxxxx /y'
    sed -i 's,/file/x,/none/x,' ctx/Dockerfile
    run cbpush build ctx
    [ "$status" -ne 0 ]
    refute_contains "$output" hush
}

@test "ADD of a URL: Last-Modified serves where there is no ETag; a server deaf to conditions is seen through" {
    echo one >"$webroot/x"
    web_old x
    dockerfile <<END
FROM busybox
ADD $web/dated/x /x
ADD $web/deaf/x /y
END
    built
    web_forget
    built
    assert_contains "$(web_requests)" '/dated/x 304 If-Modified-Since='
    assert_equal "$(web_requests | wc -l)" 2
    assert_equal "$(metadata -r '.["containerimage.digest"]' | wc -l)" 1
    refute_contains "$log" 'sha256:0000'
    assert_equal "$(printf '%s\n' "$log" | grep -c CACHED)" 4
}

@test "ADD --checksum: nobody is asked when it hits; a mismatch fails with 7 and leaves nothing" {
    echo one >"$webroot/x"
    printf 'FROM busybox\nARG SUM\nADD --checksum=sha256:$SUM %s/file/x /x\n' "$web" >ctx/Dockerfile
    built --build-arg "SUM=$(sum "$webroot/x")"
    assert_equal "$(cat "$rootfs/x")" one
    web_forget
    built --build-arg "SUM=$(sum "$webroot/x")"
    assert_equal "$(web_requests)" ''
    echo two >"$webroot/x"
    refused 7 --no-cache --build-arg "SUM=$(echo one | sha256sum | cut -d' ' -f1)"
    assert_contains "$output" 'Dockerfile:3'
    assert_contains "$output" 'as --checksum says'
    dockerfile <<END
FROM busybox
ADD --checksum=sha512:$(sha512sum "$webroot/x" | cut -d' ' -f1) $web/file/x /x
END
    built
}

@test "ADD of a URL: archives stay as they are, --unpack opens them; wildcard characters are a name" {
    mkdir -p in/dir
    echo inside >in/dir/f
    tar -C in -czf "$webroot/a.tgz" dir
    echo odd >"$webroot/a[1]*.txt"
    dockerfile <<END
FROM busybox
ADD $web/file/a.tgz /packed/
ADD --unpack=true --chown=7:8 $web/file/a.tgz /open/
ADD --unpack=true $web/file/a%5B1%5D%2A.txt /plain/
END
    built
    [ -f "$rootfs/packed/a.tgz" ]
    assert_equal "$(cat "$rootfs/open/dir/f")" inside
    assert_equal "$(mode_of /open/dir/f | cut -d' ' -f2)" 7:8
    assert_equal "$(cat "$rootfs/plain/a[1]*.txt")" odd
}

@test "ADD of several sources: URLs, files, heredocs and repositories in one go" {
    echo one >"$webroot/x"
    echo local >ctx/l
    git_make repo
    dockerfile <<END
FROM busybox
ADD l $web/file/x <<EOT $web/git/repo.git /d/
text
EOT
RUN ls /d >/list
END
    built
    assert_equal "$(tr '\n' ' ' <"$rootfs/list")" 'Dockerfile EOT a.txt l link run.sh sub x '
    assert_contains "$log" '[3/3] RUN'
    assert_equal "$(config '.history | length')" "$(($(config -r '.rootfs.diff_ids | length') + $(config -r '[.history[] | select(.empty_layer)] | length')))"
}

@test "ADD of a URL that cannot be had: 404, 401, nobody there, cut short, too many redirects" {
    echo 'some longer text' >"$webroot/x"
    printf 'FROM busybox\nADD %s/file/none /x\n' "$web" >ctx/Dockerfile
    refused 4
    assert_contains "$output" 'Dockerfile:2'
    assert_contains "$output" '/file/none: HTTP status 404'
    printf 'FROM busybox\nADD %s/secret?token=hush /x\n' "$web" >ctx/Dockerfile
    refused 3
    refute_contains "$(printf '%s\n' "$output" | grep '^cbpush:')" hush
    printf 'FROM busybox\nADD http://127.0.0.1:1/x /x\n' >ctx/Dockerfile
    refused 4 --retry-delay 100ms
    printf 'FROM busybox\nADD %s/cut/x /x\n' "$web" >ctx/Dockerfile
    built
    assert_equal "$(cat "$rootfs/x")" 'some longer text'
    printf 'FROM busybox\nADD %s/to?%s/file/x /x\n' "$web" "$web" >ctx/Dockerfile
    built
    printf 'FROM busybox\nADD %s/to?file:///etc/passwd /x\n' "$web" >ctx/Dockerfile
    refused 7
    printf 'FROM busybox\nADD %s/to?http://169.254.169.254/latest /x\n' "$web" >ctx/Dockerfile
    run timeout 60 "$CBPUSH" build --progress plain ctx
    assert_status 7
}

@test "ADD refuses what is never fetched, and flags in the wrong place" {
    local line
    for line in 'ADD file:///etc/passwd /x' 'ADD ftp://example.com/x /x' 'ADD http://u:p@example.com/x /x' \
        'ADD --checksum=sha256:00 http://example.com/x /x' 'ADD --checksum=sha256:00 l /x' \
        'ADD --checksum=abcdef0 l http://example.com/x /x/' 'ADD --keep-git-dir=true http://example.com/x /x' \
        'ADD http://example.com /d/' 'ADD http://example.com/.. /d/' 'ADD http://example.com/a http://example.com/b /d' \
        'ADD https://example.com/x.git#--upload-pack=touch /x' 'ADD git@-oProxyCommand=x:y /x' \
        'ADD ssh://-oProxyCommand=touch/x /x' 'ADD https://example.com/x.git#main:../up /x' \
        'ADD https://u:p@example.com/x.git /x' 'COPY http://example.com/x /x'; do
        printf 'FROM busybox\n%s\n' "$line" >ctx/Dockerfile
        : >ctx/l
        refused 5
        assert_contains "$output" 'Dockerfile:2'
        refute_contains "$(printf '%s\n' "$output" | grep '^cbpush:')" 'u:p@'
    done
}

@test "F4: the name comes from the URL, and never leads out" {
    echo x >"$webroot/x"
    printf 'FROM busybox\nADD %s/named/x /d/\nRUN ls -A /d / >/list\n' "$web" >ctx/Dockerfile
    built
    [ -f "$rootfs/d/x" ]
    refute_contains "$(cat "$rootfs/list")" evil
    mkdir "$webroot/.."/up 2>/dev/null || :
    printf 'FROM busybox\nADD %s/file/a%%2f..%%2f..%%2fx /d/\n' "$web" >ctx/Dockerfile
    refused 4
}

# ---- ADD of a repository

@test "ADD of a repository: refs, subdirectories, modes, links, times, without .git" {
    git_make repo
    commit=$(git_in repo rev-parse dev)
    dockerfile <<END
FROM busybox
ADD $web/git/repo.git /main
ADD $web/git/repo.git#v1 /tag
ADD $web/git/repo.git#$commit /commit
ADD $web/git/repo.git?branch=dev&subdir=sub /query
ADD $web/git/repo.git#dev:sub /sub
ADD --keep-git-dir=true --checksum=${commit:0:10} $web/git/repo.git#dev /kept
END
    built
    assert_equal "$(cat "$rootfs/main/a.txt" "$rootfs/tag/a.txt" "$rootfs/commit/a.txt" | tr '\n' ' ')" 'two one dev '
    assert_equal "$(mode_of /main/a.txt)" '644 0:0'
    assert_equal "$(mode_of /main/run.sh)" '755 0:0'
    assert_equal "$(readlink "$rootfs/main/link")" a.txt
    assert_equal "$(stat -c %Y "$rootfs/main/a.txt")" "$(date -d 2020-02-02T02:02:02Z +%s)"
    [ ! -e "$rootfs/main/.git" ]
    assert_equal "$(ls "$rootfs/sub")" 'Dockerfile
b.txt'
    assert_equal "$(ls "$rootfs/query")" "$(ls "$rootfs/sub")"
    assert_equal "$(GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*' git -C "$rootfs/kept" rev-parse HEAD)" "$commit"
    assert_equal "$(GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*' git -C "$rootfs/kept" status --porcelain)" ''
}

@test "ADD of a repository: unchanged it is not fetched again; a commit needs no request at all; a new one is taken" {
    git_make repo
    printf 'FROM busybox\nADD %s/git/repo.git /r\n' "$web" >ctx/Dockerfile
    built
    assert_contains "$(web_requests)" 'POST /git/repo.git/git-upload-pack'
    local first
    first=$(metadata -r '.["containerimage.digest"]')
    web_forget
    SOURCE_DATE_EPOCH='' built
    assert_contains "$log" CACHED
    assert_equal "$(web_requests 'POST' | wc -l)" "$(web_requests 'POST' | head -n 1 | wc -l)"
    assert_equal "$(metadata -r '.["containerimage.digest"]')" "$first"
    echo three >repo/a.txt
    git_in repo commit -q -a -m three
    git_publish repo
    built
    assert_equal "$(cat "$rootfs/r/a.txt")" three
    printf 'FROM busybox\nADD %s/git/repo.git#%s /r\n' "$web" "$(git_in repo rev-parse HEAD)" >ctx/Dockerfile
    built
    web_forget
    built
    assert_equal "$(web_requests)" ''
}

@test "ADD of a repository: the wrong commit fails with 7, an unknown ref with 5, no repository with 4; dumb servers work" {
    git_make repo
    printf 'FROM busybox\nADD --checksum=%s %s/git/repo.git#dev /r\n' "$(git_in repo rev-parse main)" "$web" >ctx/Dockerfile
    refused 7
    assert_contains "$output" 'Dockerfile:2'
    printf 'FROM busybox\nADD %s/git/repo.git#nosuch /r\n' "$web" >ctx/Dockerfile
    refused 5
    assert_contains "$output" 'no branch or tag "nosuch"'
    printf 'FROM busybox\nADD %s/git/none.git /r\n' "$web" >ctx/Dockerfile
    refused 4
    printf 'FROM busybox\nADD %s/dumb/repo.git#dev /r\n' "$web" >ctx/Dockerfile
    built
    assert_equal "$(cat "$rootfs/r/a.txt")" dev
}

@test "F5: links, hooks, filters and settings of a repository or of the user lead nowhere" {
    git_make repo
    mkdir -p "$HOME/.config/git" outside
    echo secret >outside/s
    printf '[url "http://127.0.0.1:1/"]\n insteadOf = %s/\n[core]\n hooksPath = %s/hooks\n' "$web" "$PWD" >"$HOME/.gitconfig"
    mkdir hooks
    printf '#!/bin/sh\ntouch %s/hooked\n' "$PWD" >hooks/post-checkout
    chmod 0755 hooks/post-checkout
    ln -s "$PWD/outside" repo/out
    ln -s / repo/rootlink
    ln -s sub repo/inlink
    echo '*.txt filter=evil' >repo/.gitattributes
    git_in repo add -A
    git_in repo commit -q -m links
    git_publish repo
    printf 'FROM busybox\nADD %s/git/repo.git#main:inlink /in\n' "$web" >ctx/Dockerfile
    built
    assert_equal "$(cat "$rootfs/in/b.txt")" below
    [ ! -e hooked ]
    printf 'FROM busybox\nADD %s/git/repo.git#main:out /o\n' "$web" >ctx/Dockerfile
    refused 7
    printf 'FROM busybox\nADD %s/git/repo.git#main:rootlink/etc /o\n' "$web" >ctx/Dockerfile
    refused 7
}

@test "submodules: said to be left out, fetched when asked for, never by file" {
    git_make inner
    git_make repo
    git_in repo submodule -q add "$web/git/inner.git" mod
    git_in repo commit -q -m mod
    git_publish repo
    printf 'FROM busybox\nADD %s/git/repo.git /r\n' "$web" >ctx/Dockerfile
    built
    assert_contains "$log" 'has submodules, which are not fetched'
    printf 'FROM busybox\nADD %s/git/repo.git?submodules=true /r\n' "$web" >ctx/Dockerfile
    built
    assert_equal "$(cat "$rootfs/r/mod/a.txt")" two
    [ ! -e "$rootfs/r/mod/.git" ]
    git_in repo config -f .gitmodules submodule.mod.url "file://$webroot/inner.git"
    git_in repo commit -q -a -m file
    git_publish repo
    refused 4
}

@test "a repository by ssh: no configuration of the user's, never a prompt, nothing secret in any argument" {
    git_make repo
    mkdir bin
    cat >bin/ssh <<'END'
#!/bin/sh
printf '%s\n' "$@" >"$(dirname "$0")/args"
env >"$(dirname "$0")/env"
for last; do :; done
exec sh -c "$last"
END
    chmod 0755 bin/ssh
    printf 'FROM busybox\nADD git@host.invalid:%s/repo.git#dev /r\n' "$webroot" >ctx/Dockerfile
    CANARY=canary PATH=$PWD/bin:$PATH built
    assert_equal "$(cat "$rootfs/r/a.txt")" dev
    assert_contains "$(cat bin/args)" BatchMode=yes
    assert_contains "$(cat bin/args)" /dev/null
    refute_contains "$(cat bin/env)" canary
    assert_contains "$(cat bin/env)" GIT_TERMINAL_PROMPT=0
}

@test "a repository by ssh that cannot be read: what ssh said is told, and what helps" {
    local row code
    mkdir bin
    printf 'FROM busybox\nADD git@host.invalid:x.git /r\n' >ctx/Dockerfile
    for row in '3|Host key verification failed.|known_hosts' '3|git@h: Permission denied (publickey).|SSH_AUTH_SOCK' \
        '4|ssh: connect to host h port 22: Connection refused|Connection refused'; do
        code=${row%%|*} row=${row#*|}
        printf '#!/bin/sh\necho "Warning: whatever" >&2\necho "%s" >&2\nexit 255\n' "${row%|*}" >bin/ssh
        chmod 0755 bin/ssh
        PATH=$PWD/bin:$PATH run build
        assert_status "$code"
        assert_contains "$output" "git ls-remote: ${row%|*}"
        assert_contains "$output" "${row##*|}"
        refute_contains "$output" 'Please make sure'
    done
}

@test "a step that fails, or the end of all, leaves no download behind" {
    git_make repo
    echo x >"$webroot/x"
    printf 'FROM busybox\nADD %s/file/x /x\nRUN false\nADD %s/git/repo.git#nosuch /r\n' "$web" "$web" >ctx/Dockerfile
    refused 5
    printf 'FROM busybox\nADD %s/file/x /x\nRUN false\n' "$web" >ctx/Dockerfile
    refused 1
    assert_equal "$(find "$CBPUSH_ROOT/tmp" -mindepth 1 | wc -l)" 0
}

@test "a layer that is gone is downloaded again, though the server says that nothing changed" {
    echo one >"$webroot/x"
    web_old x
    printf 'FROM busybox\nADD %s/file/x /x\n' "$web" >ctx/Dockerfile
    built
    find "$CBPUSH_ROOT/cache" "$CBPUSH_ROOT/toc" -type f -delete
    web_forget
    built
    assert_equal "$(cat "$rootfs/x")" one
    assert_equal "$(web_requests | cut -d' ' -f1-3 | sort | paste -s -d ,)" 'GET /file/x 200,GET /file/x 304'
}

# ---- contexts

@test "context -: a tar, plain and compressed, or a Dockerfile" {
    mkdir t
    printf 'FROM busybox\nCOPY a /a\n' >t/Dockerfile
    echo '*' >t/.dockerignore
    echo hi >t/a
    for how in '' -z -j -J --zstd; do
        # shellcheck disable=SC2086 # no word at all where it is empty
        tar -C t $how -cf t.tar .
        rm -f metadata.json
        cbpush build --progress plain --push "$reg/test/app:1" - <t.tar
        judged test/app:1
        assert_equal "$(cat "$rootfs/a")" hi
    done
    printf 'FROM busybox\nRUN echo x >/x\n' | cbpush build --push "$reg/test/app:1" -
    judged test/app:1
    assert_equal "$(cat "$rootfs/x")" x
    run cbpush build - <<<'FROM busybox
COPY a /a'
    assert_status 5
    run cbpush build - </dev/null
    assert_status 5
    run cbpush build -f - - <t.tar
    assert_status 2
    run cbpush build -f other - <<<'FROM busybox'
    assert_status 2
}

@test "context by http: a tar or a Dockerfile; -f by URL, and inside" {
    mkdir t
    printf 'FROM busybox\nCOPY a /a\n' >t/Dockerfile
    printf 'FROM busybox\nCOPY a /other\n' >t/Other
    echo hi >t/a
    tar -C t -czf "$webroot/c.tar.gz" .
    cp t/Other "$webroot/df"
    echo 'FROM busybox' >Other
    cbpush build --push "$reg/test/app:1" "$web/file/c.tar.gz"
    judged test/app:1
    assert_equal "$(cat "$rootfs/a")" hi
    cbpush build -f Other --push "$reg/test/app:1" "$web/file/c.tar.gz"
    judged test/app:1
    assert_equal "$(cat "$rootfs/other")" hi
    cbpush build -f "$web/file/df" --push "$reg/test/app:1" t
    judged test/app:1
    assert_equal "$(cat "$rootfs/other")" hi
    echo 'FROM busybox' >"$webroot/only"
    cbpush build --push "$reg/test/app:1" "$web/file/only"
    run cbpush build "$web/file/none"
    assert_status 4
    run cbpush build ftp://example.com/x
    assert_status 2
}

@test "context by git: a branch and a directory of it; .dockerignore is none there" {
    git_make repo
    echo a.txt >repo/.dockerignore
    git_in repo add -A
    git_in repo commit -q -m ignore
    git_publish repo
    cbpush build --push "$reg/test/app:1" "$web/git/repo.git"
    judged test/app:1
    assert_equal "$(cat "$rootfs/got/a.txt")" two
    [ ! -e "$rootfs/got/.git" ]
    cbpush build --push "$reg/test/app:1" --build-arg BUILDKIT_CONTEXT_KEEP_GIT_DIR=1 "$web/git/repo.git"
    judged test/app:1
    [ -e "$rootfs/got/.git/HEAD" ]
    cbpush build --push "$reg/test/app:1" "$web/git/repo.git#dev:sub"
    judged test/app:1
    assert_equal "$(cat "$rootfs/sub-got")" below
    run cbpush build "$web/git/repo.git#nosuch"
    assert_status 5
    run cbpush build "$web/git/repo.git#--upload-pack=x"
    assert_status 2
}

@test "executor: git:// is https or what GIT_PULL_METHOD says, with branch, commit and --context-sub-path" {
    git_make repo
    local at=${web#*://} commit
    commit=$(git_in repo rev-parse main~)
    ln -s "$CBPUSH" executor
    export GIT_PULL_METHOD=http
    ./executor -c "git://$at/git/repo.git#refs/heads/main" -d "$reg/test/app:1"
    judged test/app:1
    assert_equal "$(cat "$rootfs/got/a.txt")" two
    ./executor -c "git://$at/git/repo#refs/heads/main#$commit" -d "$reg/test/app:1"
    judged test/app:1
    assert_equal "$(cat "$rootfs/got/a.txt")" one
    ./executor -c "git://$at/git/repo.git#refs/heads/dev" --context-sub-path sub -d "$reg/test/app:1"
    judged test/app:1
    assert_equal "$(cat "$rootfs/sub-got")" below
    ./executor -c "git://$at/git/repo.git?branch=dev&subdir=sub" --no-push
    run ./executor -c "git://$at/git/repo.git#nosuch" --no-push
    assert_status 5
    GIT_PULL_METHOD=ssh run ./executor -c "git://$at/git/repo.git" --no-push
    assert_status 2
    assert_contains "$output" 'GIT_PULL_METHOD=ssh: https or http'
    unset GIT_PULL_METHOD
    run ./executor -c "git://$at/git/repo.git" --no-push
    assert_status 4
    assert_contains "$output" "https://$at/git/repo.git"
}

@test "F1, F2: an archive or repository whose Dockerfile or directories are links reads and writes nothing outside" {
    echo 'FROM scratch' >secret-dockerfile
    mkdir canary
    python3 - "$PWD" <<'END'
import io, sys, tarfile
here = sys.argv[1]
def add(t, name, **kw):
    i = tarfile.TarInfo(name)
    data = kw.pop("data", b"")
    for k, v in kw.items():
        setattr(i, k, v)
    i.size = len(data)
    t.addfile(i, io.BytesIO(data))
with tarfile.open("link.tar", "w") as t:
    add(t, "Dockerfile", type=tarfile.SYMTYPE, linkname=here + "/secret-dockerfile")
with tarfile.open("sub.tar", "w") as t:
    add(t, "sub", type=tarfile.SYMTYPE, linkname=here + "/canary")
    add(t, "sub/evil", data=b"x")
    add(t, "Dockerfile", data=b"FROM busybox\nCOPY sub /sub\n")
with tarfile.open("up.tar", "w") as t:
    add(t, "../canary/evil", data=b"x")
    add(t, "Dockerfile", data=b"FROM busybox\n")
with tarfile.open("fifo.tar", "w") as t:
    add(t, "Dockerfile", type=tarfile.FIFOTYPE)
END
    run cbpush build - <link.tar
    assert_status 5
    cbpush build --push "$reg/test/app:1" - <sub.tar
    judged test/app:1
    assert_equal "$(cat "$rootfs/sub/evil")" x
    run cbpush build - <up.tar
    assert_status 7
    run timeout 30 "$CBPUSH" build - <fifo.tar
    assert_status 5
    assert_equal "$(ls -A canary)" ''
    git_make repo
    rm repo/Dockerfile
    ln -s "$PWD/secret-dockerfile" repo/Dockerfile
    git_in repo commit -q -a -m link
    git_publish repo
    run cbpush build "$web/git/repo.git"
    assert_status 5
}

# ---- named contexts

@test "--build-context: a directory for COPY --from, with its own .dockerignore" {
    mkdir -p lib/d
    echo lib >lib/f
    echo no >lib/ignored
    echo ignored >lib/.dockerignore
    dockerfile <<'END'
FROM busybox
COPY --from=lib / /lib-all/
COPY --from=lib f /f
END
    built --build-context lib=lib
    assert_equal "$(ls -A "$rootfs/lib-all")" '.dockerignore
d
f'
    built --build-context lib=lib
    assert_equal "$(printf '%s\n' "$log" | grep -c CACHED)" 2
    echo changed >lib/f
    built --build-context lib=lib
    assert_equal "$(cat "$rootfs/f")" changed
}

@test "--build-context: a directory is a base, and stands for a stage" {
    make_busybox_layer base
    dockerfile <<'END'
FROM base AS one
RUN echo ran >/ran
FROM busybox AS two
RUN false
FROM one
COPY --from=two /etc/passwd /copied
END
    built --build-context base=base --build-context two=base
    assert_equal "$(cat "$rootfs/ran")" ran
    [ -s "$rootfs/copied" ]
    [ -x "$rootfs/bin/busybox" ]
}

@test "--build-context: images by reference and from a layout, platform first, :latest is nothing" {
    local layout
    layout=$(make_busybox_image)
    dockerfile <<'END'
FROM nosuch.invalid/x:latest
RUN echo x >/x
COPY --from=other /bin/busybox /copied
END
    built --build-context nosuch.invalid/x=docker-image://busybox --build-context "other=oci-layout://$layout:latest"
    [ -x "$rootfs/copied" ]
    built --build-context "nosuch.invalid/x=oci-layout://$layout" --build-context other=docker-image://busybox:latest \
        --build-context "other::linux/$(dpkg --print-architecture)=oci-layout://$layout@$(jq -r '.manifests[0].digest' "$layout/index.json")"
    [ -x "$rootfs/x" ] || [ -e "$rootfs/x" ]
    refused 5 --build-context nosuch.invalid/x=docker-image://scratch --build-context "other=oci-layout://$layout:nosuch"
    assert_contains "$output" 'no tag "nosuch"'
}

@test "--build-context: http and git" {
    git_make repo
    mkdir t
    echo hi >t/a
    tar -C t -cf "$webroot/c.tar" a
    echo plain >"$webroot/f"
    dockerfile <<'END'
FROM busybox
COPY --from=r sub/b.txt /b
COPY --from=tar a /a
COPY --from=file context /f
END
    built --build-context "r=$web/git/repo.git#dev" --build-context "tar=$web/file/c.tar" --build-context "file=$web/file/f"
    assert_equal "$(cat "$rootfs/a" "$rootfs/b" "$rootfs/f" | tr '\n' ' ')" 'hi below plain '
}

@test "--build-context and a fetched context: RUN --mount sees them" {
    git_make repo
    mkdir lib t
    echo lib >lib/f
    printf 'FROM busybox\nRUN --mount=from=lib,target=/l --mount=from=r,target=/r --mount=target=/c cat /l/f /r/a.txt /c/f >/x\n' >t/Dockerfile
    echo context >t/f
    tar -C t -cf t.tar .
    cbpush build --push "$reg/test/app:1" --build-context lib=lib --build-context "r=$web/git/repo.git#dev" - <t.tar
    judged test/app:1
    assert_equal "$(paste -s -d ' ' <"$rootfs/x")" 'lib dev context'
}

@test "--build-context: what is wrong is said" {
    local value
    dockerfile <<'END'
FROM busybox
COPY --from=lib / /x/
END
    for value in lib lib= =x scratch=. context=. lib=ftp://x/y lib=ext::sh 'lib=https://h/x.git#-x'; do
        refused 2 --build-context "$value"
    done
    # Whether or not it is used.
    for value in lib other; do
        refused 2 --build-context "$value=/nonexistent"
        assert_contains "$output" "--build-context $value: /nonexistent: No such file or directory"
    done
    refused 2 --build-context lib=/dev/null
    assert_contains "$output" 'lib: /dev/null is no directory'
    refused 2 --build-context lib=oci-layout:/nonexistent
    assert_contains "$output" '(or is oci-layout:///nonexistent meant?)'
}

# ---- without root

@test "range, and one id: files by http, repositories and contexts" {
    local range
    [ "$(id -u)" -eq 0 ] || skip 'without root the whole file is rootless'
    user_setup
    git_make repo
    echo fetched >"$webroot/x"
    mkdir ctx/lib
    echo lib >ctx/lib/f
    printf 'FROM busybox\nADD --chown=3:4 %s/file/x /x\nADD %s/git/repo.git /r\nCOPY --from=lib f /f\nRUN cat /x >/y\n' \
        "$web" "$web" >ctx/Dockerfile
    chown -R "$USER_ID" ctx
    for range in "$RANGE" ''; do
        export CBPUSH_ROOT=$HOME/store$range
        as_user "$range" "$CBPUSH" build --progress plain --push "$reg/test/app:1" --build-context lib=ctx/lib ctx >build.log 2>&1 ||
            { cat build.log >&2; false; }
        judged test/app:1
        assert_equal "$(mode_of /x)" '600 3:4'
        assert_equal "$(mode_of /r/run.sh)" '755 0:0'
        assert_equal "$(cat "$rootfs/f" "$rootfs/y" | paste -s -d ' ')" 'lib fetched'
        tar -C ctx -c . | as_user "$range" "$CBPUSH" build --progress plain --build-context "lib=$web/git/repo.git#dev:sub" \
            --build-arg X=1 -f Other - >build.log 2>&1 && rig_fail 'there is no Other'
        assert_contains "$(cat build.log)" 'Other: no such Dockerfile'
        as_user "$range" "$CBPUSH" build --progress plain --push "$reg/test/git:1" "$web/git/repo.git#:sub" >build.log 2>&1 ||
            { cat build.log >&2; false; }
    done
}

@test "a host where nobody listens is tried as often as --retry says, and no more" {
    run cbpush build -D --retry 1 --retry-delay 1ms -t x "http://127.0.0.1:1/context.tar"
    assert_status 4
    assert_equal "$(grep -c 'next try' <<<"$output")" 1
}
