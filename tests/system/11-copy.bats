#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# COPY, ADD and .dockerignore.

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

# The paths below a directory of what was built, sorted, in one line.
tree()
{
    (cd "$rootfs$1" && find . -mindepth 1 | LC_ALL=C sort | sed 's,^\./,,' | paste -s -d ' ')
}

@test "COPY: file to a directory, to a name, to the working directory" {
    dockerfile <<'END'
FROM busybox
WORKDIR /app
COPY a.txt .
COPY a.txt b.txt
COPY a.txt sub/dir/
COPY a.txt /abs/c.txt
COPY a.txt /tmp
COPY ["a.txt", "/with space/"]
END
    echo a >ctx/a.txt
    built
    assert_equal "$(tree /app)" 'a.txt b.txt sub sub/dir sub/dir/a.txt'
    assert_equal "$(tree /abs)" c.txt
    cmp "$rootfs/tmp/a.txt" ctx/a.txt
    cmp "$rootfs/with space/a.txt" ctx/a.txt
    assert_equal "$(mode_of /app/sub/dir)" '755 0:0'
    assert_equal "$(mode_of /tmp)" '1777 0:0'
    assert_equal "$(ran cat /app/sub/dir/a.txt)" a
}

@test "COPY: a directory's contents, with and without slashes; . is the whole context" {
    dockerfile <<'END'
FROM busybox
COPY src /one
COPY src/ /two/
COPY src/. /three
COPY src src2 /four/
COPY . /all/
END
    echo 1 | write ctx/src/a
    echo 2 | write ctx/src/deep/b
    echo 3 | write ctx/src2/c
    built
    assert_equal "$(tree /one)" 'a deep deep/b'
    assert_equal "$(tree /two)" 'a deep deep/b'
    assert_equal "$(tree /three)" 'a deep deep/b'
    assert_equal "$(tree /four)" 'a c deep deep/b'
    assert_equal "$(tree /all)" 'Dockerfile src src/a src/deep src/deep/b src2 src2/c'
}

@test "COPY: wildcards" {
    dockerfile <<'END'
FROM busybox
COPY *.txt /star/
COPY ?.md /question/
COPY [ab].c /class/
COPY pack*.json only-one/
COPY dir*/x* /deep/
COPY nothing* a.txt /some/
END
    touch ctx/{a.txt,b.txt,1.md,22.md,a.c,b.c,c.c,package.json,.hidden.txt}
    mkdir ctx/dir1 ctx/dir2
    touch ctx/dir1/x1 ctx/dir2/x2 ctx/dir2/y
    run build
    if [ "$status" -ne 0 ]; then
        assert_contains "$output" 'nothing*' # no match at all is an error; say which
        sed -i 's/nothing\* //' ctx/Dockerfile
    fi
    built
    assert_equal "$(tree /star)" '.hidden.txt a.txt b.txt'
    assert_equal "$(tree /question)" 1.md
    assert_equal "$(tree /class)" 'a.c b.c'
    assert_equal "$(tree /only-one)" package.json
    assert_equal "$(tree /deep)" 'x1 x2'
}

@test "COPY: names are literal where they hold no wildcard, and may be odd" {
    dockerfile <<'END'
FROM busybox
COPY ["with space", "/x/"]
COPY ünï /x/
COPY arr[[]0].txt /x/
COPY $FILE${DOT}txt /x/
END
    sed -i '1a ENV FILE=expanded DOT=.' ctx/Dockerfile
    touch 'ctx/with space' ctx/ünï 'ctx/arr[0].txt' ctx/expanded.txt
    built
    assert_equal "$(tree /x)" 'arr[0].txt expanded.txt with space ünï'
}

@test "COPY: modes and links are kept, owners are root, times are the files'" {
    dockerfile <<'END'
FROM busybox
COPY src /dst/
END
    mkdir ctx/src
    echo x >ctx/src/run
    chmod 0751 ctx/src/run
    echo y >ctx/src/secret
    chmod 0600 ctx/src/secret
    mkdir -m 0700 ctx/src/closed
    ln -s run ctx/src/link
    ln -s /etc/passwd ctx/src/absolute
    ln -s ../../../outside ctx/src/dangling
    touch -d '2020-02-02 02:02:02 UTC' ctx/src/run
    if [ "$(id -u)" -eq 0 ]; then chown -h 4321:4321 ctx/src/*; fi
    built
    assert_equal "$(mode_of /dst/run)" '751 0:0'
    assert_equal "$(mode_of /dst/secret)" '600 0:0'
    assert_equal "$(mode_of /dst/closed)" '700 0:0'
    assert_equal "$(readlink "$rootfs/dst/link")" run
    assert_equal "$(readlink "$rootfs/dst/absolute")" /etc/passwd
    assert_equal "$(readlink "$rootfs/dst/dangling")" ../../../outside
    assert_equal "$(stat -c %Y "$rootfs/dst/run")" 1580608922
}

@test "COPY --chown: names, numbers, the group's default; --chmod" {
    dockerfile <<'END'
FROM busybox
COPY --chown=nobody:users f /names
COPY --chown=12:34 f /numbers
COPY --chown=nobody f /user
COPY --chown=77 f /uid
COPY --chown=0:games f /made/dir/mixed
COPY --chmod=0640 f /mode
COPY --chmod=4711 --chown=1:1 d /both/
ARG WHO=nobody
COPY --chown=$WHO:$WHO f /expanded
END
    sed -i 's/--chown=$WHO:$WHO/--chown=$WHO:users/' ctx/Dockerfile
    sed -i 's/0:games/0:users/' ctx/Dockerfile
    echo f >ctx/f
    mkdir -p ctx/d/e
    echo g >ctx/d/e/g
    built
    assert_equal "$(mode_of /names)" '644 65534:100'
    assert_equal "$(mode_of /numbers)" '644 12:34'
    assert_equal "$(mode_of /user)" '644 65534:65534'
    assert_equal "$(mode_of /uid)" '644 77:77'
    assert_equal "$(mode_of /made/dir/mixed)" '644 0:100'
    assert_equal "$(mode_of /mode)" '640 0:0'
    assert_equal "$(mode_of /both/e/g)" '4711 1:1'
    assert_equal "$(mode_of /expanded)" '644 65534:100'
}

@test "COPY: overwrites files, merges directories, follows links of the image" {
    dockerfile <<'END'
FROM busybox
RUN mkdir -p /real/sub && echo old >/real/f && echo keep >/real/keep && ln -s real /link && ln -s /real/f /to-file
COPY d /link/
COPY d/f /link/sub
COPY d/f /link/../upward
END
    echo new | write ctx/d/f
    built
    assert_equal "$(tree /real)" 'f keep sub sub/f'
    assert_equal "$(cat "$rootfs/real/f")" new
    assert_equal "$(readlink "$rootfs/link")" real
    assert_equal "$(cat "$rootfs/upward")" new
}

@test "COPY: .. and absolute sources stay inside the context" {
    echo outside >secret.txt
    dockerfile <<'END'
FROM busybox
COPY /in.txt ../in.txt /x/
END
    echo inside >ctx/in.txt
    built
    assert_equal "$(tree /x)" in.txt
    dockerfile <<'END'
FROM busybox
COPY ../secret.txt /x/
END
    refused 5
    assert_contains "$output" 'Dockerfile:2'
}

@test "COPY: a symbolic link that leads out of the context is named, and where it leads" {
    local row
    mkdir -p ctx/d outside
    echo x >outside/f
    ln -s ../outside/f ctx/up
    ln -s "$PWD/outside" ctx/abs
    ln -s ../../outside/f ctx/d/deep
    ln -s d/deep ctx/over
    ln -s ../d/missing ctx/d/inside
    for row in "up|/up leads out of it, to ../outside/f" "abs/f|/abs leads out of it, to $PWD/outside" \
        'd/deep|/d/deep leads out of it, to ../../outside/f' 'over|/d/deep leads out of it, to ../../outside/f'; do
        printf 'FROM busybox\nCOPY %s /x\n' "${row%%|*}" >ctx/Dockerfile
        refused 5
        assert_contains "$output" "\"/${row%%|*}\": not found in the build context: the symbolic link ${row#*|}"
    done
    printf 'FROM busybox\nCOPY d/inside /x\n' >ctx/Dockerfile
    refused 5
    refute_contains "$output" 'leads out'
}

@test "COPY: a symbolic link of the context that leads outside is not followed" {
    echo outside >secret.txt
    ln -s ../secret.txt ctx/link
    ln -s .. ctx/up
    dockerfile <<'END'
FROM busybox
COPY up/secret.txt /x/
END
    refused 5
    dockerfile <<'END'
FROM busybox
COPY . /x/
END
    built
    assert_equal "$(readlink "$rootfs/x/link")" ../secret.txt
    run ! grep -r outside "$rootfs/x" --include='*' -s --exclude-dir=up
}

@test "COPY --from: links are resolved inside the other stage, owners and modes stay" {
    dockerfile <<'END'
FROM busybox AS other
RUN mkdir -p /data/deep && echo x >/data/deep/x && chmod 640 /data/deep/x && chown 5:6 /data/deep/x && ln -s deep /data/link \
 && ln -s /data/deep/x /absolute && ln /data/deep/x /data/hard && setfattr -n user.note -v 1 /data/hard 2>/dev/null; true
FROM busybox
COPY --from=other /data /copy
COPY --from=other /absolute /resolved
COPY --from=other /data/link/x /through
COPY --from=other --chown=9:9 /data/deep /chowned
COPY --from=other /data/d*/* /wild/
END
    built
    assert_equal "$(tree /copy)" 'deep deep/x hard link'
    assert_equal "$(mode_of /copy/deep/x)" '640 5:6'
    assert_equal "$(readlink "$rootfs/copy/link")" deep
    assert_equal "$(stat -c %i "$rootfs/copy/deep/x")" "$(stat -c %i "$rootfs/copy/hard")"
    assert_equal "$(cat "$rootfs/resolved" "$rootfs/through")" $'x\nx'
    assert_equal "$(mode_of /chowned/x)" '640 9:9'
    assert_equal "$(tree /wild)" x
}

@test "COPY --from: the root of a stage, and of an image" {
    dockerfile <<'END'
FROM busybox AS other
RUN echo new >/etc/new && rm /bin/vi
FROM scratch
COPY --from=other / /
END
    built
    assert_equal "$(manifest '.layers | length')" 1
    [ -x "$rootfs/bin/busybox" ] && [ -e "$rootfs/etc/new" ] && [ ! -L "$rootfs/bin/vi" ]
    ran true
}

@test "COPY --exclude leaves out" {
    dockerfile <<'END'
FROM busybox
COPY --exclude=*.md --exclude=sub/drop src /x/
END
    touch_all ctx/src/{a.md,b.c,sub/drop,sub/keep}
    built
    assert_equal "$(tree /x)" 'b.c sub sub/keep'
}

touch_all()
{
    local file
    for file; do
        mkdir -p "$(dirname "$file")"
        : >"$file"
    done
}

@test "ADD: local tars are extracted, gzip, bzip2, xz and zstd; other files are copied" {
    mkdir -p t/d
    echo x >t/d/x
    ln -s x t/d/l
    chmod 0751 t/d/x
    tar -C t -cf ctx/plain.tar --owner=3:3 --group=4:4 d
    gzip -k -c ctx/plain.tar >ctx/g.tgz
    bzip2 -k -c ctx/plain.tar >ctx/b.tar.bz2
    xz -k -c ctx/plain.tar >ctx/x.tar.xz
    if command -v zstd >/dev/null; then zstd -q -c ctx/plain.tar >ctx/z.tar.zst; else cp ctx/g.tgz ctx/z.tar.zst; fi
    echo text >ctx/file.tar # by content, not by name
    gzip -c ctx/file.tar >ctx/text.gz
    dockerfile <<'END'
FROM busybox
ADD plain.tar /plain/
ADD g.tgz /g/
ADD b.tar.bz2 /b/
ADD x.tar.xz /x
ADD z.tar.zst /z/
ADD file.tar text.gz /files/
COPY plain.tar /copied/
END
    built
    local dir
    for dir in plain g b x z; do
        assert_equal "$(tree "/$dir")" 'd d/l d/x' "$dir"
        assert_equal "$(mode_of "/$dir/d/x")" '751 3:4' "$dir"
    done
    assert_equal "$(tree /files)" 'file.tar text.gz'
    assert_equal "$(tree /copied)" plain.tar
}

@test "ADD: an archive that is another one by the time it is extracted fails the build" {
    local text
    for text in old new; do
        echo "$text" >f
        tar -cf "$text.tar" f
    done
    assert_equal "$(stat -c %s old.tar)" "$(stat -c %s new.tar)"
    cp old.tar ctx/a.tar
    dockerfile <<'END'
FROM busybox
RUN sleep 2
ADD a.tar /
END
    (
        until [ -n "$(find "$CBPUSH_ROOT/steps" -type f 2>/dev/null)" ]; do sleep 0.05; done
        cp new.tar ctx/a.tar
    ) 3>&- &
    refused 6
    wait $!
    assert_contains "$output" 'a.tar changed while it was being read'
    cp old.tar ctx/a.tar
    built
    assert_equal "$(cat "$rootfs/f")" old
}

@test "ADD: --chown reaches what is extracted, directories that are there keep their place" {
    mkdir -p t/etc
    echo new >t/etc/added
    tar -C t -cf ctx/a.tar --owner=3:3 --group=4:4 .
    dockerfile <<'END'
FROM busybox
ADD --chown=7:8 a.tar /own/
ADD a.tar /
END
    built
    assert_equal "$(mode_of /own/etc/added)" '644 7:8'
    [ -e "$rootfs/etc/passwd" ] && [ -e "$rootfs/etc/added" ]
}

@test "ADD: a tar cannot write outside of its destination" {
    python3 - <<'END'
import io, tarfile
def add(t, name, data=b"evil", **kw):
    i = tarfile.TarInfo(name)
    for k, v in kw.items():
        setattr(i, k, v)
    i.size = len(data) if i.type == tarfile.REGTYPE else 0
    t.addfile(i, io.BytesIO(data) if i.size else None)
with tarfile.open("ctx/dots.tar", "w") as t:
    add(t, "../../escaped")
with tarfile.open("ctx/link.tar", "w") as t:
    add(t, "up", type=tarfile.SYMTYPE, linkname="../../..")
    add(t, "up/escaped")
END
    local name
    for name in dots link; do
        printf 'FROM busybox\nRUN mkdir -p /a/b\nADD %s.tar /a/b/\n' "$name" >ctx/Dockerfile
        run build
        if [ "$status" -eq 0 ]; then
            judged test/app:1
            [ ! -e "$rootfs/escaped" ]
        else
            assert_contains "$output" 'Dockerfile:3'
        fi
        [ ! -e "$BATS_TEST_TMPDIR/escaped" ] && [ ! -e /escaped ]
    done
}

@test ".dockerignore: patterns, exceptions, comments, the Dockerfile itself" {
    touch_all ctx/{keep.txt,drop.log,sub/drop.log,sub/keep.txt,node_modules/x/y,docs/a.md,docs/README.md,.git/config,tmp-a,deep/er/secret}
    write ctx/.dockerignore <<'END'
# comment

*.log
**/*.log
node_modules
docs/*
!docs/README.md
.git
tmp-?
**/secret
Dockerfile
.dockerignore
END
    dockerfile <<'END'
FROM busybox
COPY . /x/
END
    built
    assert_equal "$(tree /x)" 'deep deep/er docs docs/README.md keep.txt sub sub/keep.txt'
    assert_contains "$log" 'load build context'
}

@test ".dockerignore: what it leaves out cannot be named" {
    echo drop.txt >ctx/.dockerignore
    touch ctx/drop.txt
    dockerfile <<'END'
FROM busybox
COPY drop.txt /
END
    refused 5
    assert_contains "$output" 'Dockerfile:2'
    assert_contains "$output" '.dockerignore'
}

@test "<Dockerfile>.dockerignore wins over .dockerignore" {
    touch ctx/a ctx/b
    echo a >ctx/.dockerignore
    echo b >ctx/other.df.dockerignore
    printf 'FROM busybox\nCOPY a* b* /x/\n' >ctx/other.df
    printf 'FROM busybox\nCOPY . /x/\n' >ctx/other.df
    built -f ctx/other.df
    assert_contains "$(tree /x)" ' a '
    run ! ls "$rootfs/x/b"
}

@test ".dockerignore: a directory that cannot be read does not matter if it is left out" {
    mkdir ctx/closed
    mkfifo ctx/pipe
    printf 'closed\npipe\n' >ctx/.dockerignore
    dockerfile <<'END'
FROM busybox
COPY . /x/
END
    built
    assert_equal "$(tree /x)" '.dockerignore Dockerfile'
}

@test "COPY: a context of 3000 files, and one of 64 MiB, arrive whole" {
    local i
    mkdir -p ctx/many
    for ((i = 0; i < 3000; i++)); do echo "$i" >"ctx/many/$i"; done
    head -c 67108864 /dev/urandom >ctx/big
    dockerfile <<'END'
FROM busybox
COPY many /many/
COPY big /
END
    built
    assert_equal "$(find "$rootfs/many" -type f | wc -l)" 3000
    cmp ctx/big "$rootfs/big"
    diff -r ctx/many "$rootfs/many"
}

@test "COPY: a path through a long chain of directories and a name of 255 bytes" {
    local deep name
    deep=$(printf 'd%.0s/' {1..60})
    name=$(printf 'n%.0s' {1..255})
    mkdir -p "ctx/$deep"
    echo x >"ctx/$deep$name"
    dockerfile <<'END'
FROM busybox
COPY . /x/
END
    built
    cmp "ctx/$deep$name" "$rootfs/x/$deep$name"
}
