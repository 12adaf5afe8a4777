#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The flags of COPY and ADD, archives that ADD extracts, and what becomes of odd sources and destinations.

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

# archive NAME: standard input is the body of a Python function that fills the tar `t`; add(name, data, **fields).
archive()
{
    python3 -c '
import io, sys, tarfile
def add(name, data=b"", **fields):
    i = tarfile.TarInfo(name)
    i.mode = 0o644
    for k, v in fields.items():
        setattr(i, k, v)
    i.size = len(data) if i.type == tarfile.REGTYPE else 0
    t.addfile(i, io.BytesIO(data) if i.size else None)
def directory(name, mode=0o755, **fields):
    add(name, type=tarfile.DIRTYPE, mode=mode, **fields)
def link(name, to):
    add(name, type=tarfile.SYMTYPE, linkname=to)
def hard(name, to):
    add(name, type=tarfile.LNKTYPE, linkname=to)
with tarfile.open(sys.argv[1], "w", format=tarfile.PAX_FORMAT) as t:
    exec(sys.stdin.read())
' "$1"
}

# push_base NAME TEXT: an image whose only layer has /etc/base with that text, and a link /to-dir to /real.
push_base()
{
    mkdir -p "base-$1/etc" "base-$1/real"
    echo "$2" >"base-$1/etc/base"
    head -c 200000 /dev/urandom >"base-$1/real/big"
    ln -sfn real "base-$1/to-dir"
    tar -C "base-$1" --owner=0:0 --group=0:0 -czf "base-$1.tar.gz" .
    printf 'FROM scratch\nADD base-%s.tar.gz /\n' "$1" >base.df
    mkdir -p basectx
    cp "base-$1.tar.gz" basectx/
    cbpush build --progress plain --toc=false --push "$reg/library/base:$1" -f base.df basectx >base.log 2>&1 ||
        rig_fail "$(cat base.log)"
}

# layer_xattrs N: NAME RECORD=VALUE of every extended attribute in layer number N (-1: the last).
layer_xattrs()
{
    judge_blob "$oci" "$(manifest -r ".layers[$1].digest")" | python3 -c 'import sys, tarfile
for m in tarfile.open(fileobj=sys.stdin.buffer, mode="r|*"):
    for key, value in sorted(m.pax_headers.items()):
        if "xattr" in key:
            print(m.name, key + "=" + value)'
}

last_layer()
{
    manifest -r '.layers[-1].digest'
}

# ---- --link ----

@test "COPY --link: the same layer on another base, of which nothing is fetched" {
    push_base one one
    push_base two two
    printf 'FROM base:one\nCOPY --link --chown=5:6 f d /to-dir/\n' >ctx/Dockerfile
    echo f >ctx/f
    echo x | write ctx/d/x 0600
    built
    local first
    first=$(last_layer)
    assert_equal "$(manifest '.layers | length')" 2
    assert_equal "$(layer_names -1)" 'to-dir/ to-dir/f to-dir/x'
    sed -i 's/base:one/base:two/' ctx/Dockerfile
    registry_forget reg
    built
    assert_equal "$(last_layer)" "$first"
    assert_equal "$(metadata '.["cbpush.cached"]')" 1
    assert_equal "$(cat "$rootfs/etc/base")" two
}

@test "COPY --link: no blob of the base but its config is asked for" {
    push_base plain text
    printf 'FROM base:plain\nCOPY --link f /x/\n' >ctx/Dockerfile
    echo f >ctx/f
    local layer
    layer=$(registry_curl reg /v2/library/base/manifests/plain -H 'Accept: application/vnd.oci.image.manifest.v1+json' |
        sed '$d' | jq -r '.layers[0].digest')
    assert_contains "$layer" sha256:
    export CBPUSH_ROOT=$PWD/other-store
    registry_forget reg
    built
    assert_contains "$(registry_requests reg 'GET /v2/library/base/')" manifests
    assert_equal "$(registry_requests reg "GET /v2/library/base/blobs/$layer")" ''
    [ -e "$rootfs/real/big" ]
    printf 'FROM base:plain\nCOPY f /x/\n' >ctx/Dockerfile
    registry_forget reg
    built
    assert_contains "$(registry_requests reg "GET /v2/library/base/blobs/$layer")" GET # a plain one has to, as no table is pinned
}

@test "COPY --link: links of the base are not followed, its directories not looked at" {
    dockerfile <<'END'
FROM busybox
RUN mkdir -m 0700 /real && chown 9:9 /real && ln -s real /link && mkdir -m 0750 /dir && echo keep >/dir/keep
WORKDIR /dir
COPY --link f /link/f
COPY --link f .
COPY --link --chmod=0604 f /real/viachmod
COPY --link <<one <<"two" /inline/
1
one
2
two
RUN cat /link/f /dir/f /inline/one >/seen
END
    echo f >ctx/f
    built
    [ ! -L "$rootfs/link" ]
    assert_equal "$(mode_of /link)" '755 0:0'
    assert_equal "$(tree /link)" f
    assert_equal "$(mode_of /dir)" '755 0:0'
    assert_equal "$(tree /dir)" 'f keep'
    assert_equal "$(mode_of /real)" '700 9:9' # --chmod makes it a plain COPY, as in BuildKit
    assert_equal "$(mode_of /real/viachmod)" '604 0:0'
    assert_equal "$(tree /inline)" 'one two'
    assert_equal "$(cat "$rootfs/seen")" $'f\nf\n1'
    assert_equal "$(config '[.history[] | select(.created_by | startswith("COPY")) | .empty_layer] | unique')" '[null]'
    assert_equal "$(metadata '.["cbpush.steps"]')" 7
}

@test "COPY --link --from, ADD --link of an archive; a cached one does not need the other stage" {
    tar -C / -cf ctx/a.tar --owner=3:4 --transform 's,^,in/,' etc/hostname 2>/dev/null || tar -cf ctx/a.tar -T /dev/null
    dockerfile <<'END'
FROM busybox AS other
RUN cat /proc/sys/kernel/random/uuid >/uuid
FROM busybox
RUN echo 1 >/changes
COPY --link --from=other /uuid /x/
ADD --link a.tar /y/
END
    built
    local uuid
    uuid=$(cat "$rootfs/x/uuid")
    sed -i 's/echo 1/echo 2/' ctx/Dockerfile
    built
    assert_equal "$(cat "$rootfs/x/uuid")" "$uuid"
    assert_equal "$(cat "$rootfs/changes")" 2
    assert_equal "$(metadata '[.["cbpush.cached"], .["cbpush.steps"]]')" '[3,4]'
}

@test "COPY --link: an owner by name is refused" {
    touch ctx/f
    printf 'FROM busybox\nCOPY --link --chown=nobody f /\n' >ctx/Dockerfile
    refused 5
    assert_contains "$output" 'Dockerfile:2'
    assert_contains "$output" nobody
    printf 'FROM busybox\nCOPY --link --chown=root:7 f /\n' >ctx/Dockerfile
    built
    assert_equal "$(mode_of /f)" '644 0:7'
}

# ---- --parents ----

parents_tree()
{
    echo 1 | write ctx/a/b/c/one
    echo 2 | write ctx/a/b/two
    echo 3 | write ctx/a/b2/c/d/e/three
    echo 4 | write ctx/a/b/c/d/e/four
    chmod 0700 ctx/a
    chmod 0711 ctx/a/b
    ln -s b ctx/a/link
}

@test "COPY --parents: from the context" {
    parents_tree
    dockerfile <<'END'
FROM busybox
RUN mkdir -p /there/a/b && chown 9:9 /there/a /there/a/b
COPY --parents a/b/c/one ./a/b/two /plain/
COPY --parents a/./b/c/one a/b*/./c/**/e /pivot/
COPY --parents **/one **/two /stars
COPY --parents --exclude=**/e --exclude=**/two a/b /exclude/
COPY --parents --chown=7:8 --chmod=0750 a/b/c/one /owned/
COPY --parents a/b/two /there/
COPY --parents a/link a/b/none* /rest/
END
    built
    assert_equal "$(tree /plain)" 'a a/b a/b/c a/b/c/one a/b/two'
    assert_equal "$(mode_of /plain)" '755 0:0'
    assert_equal "$(mode_of /plain/a)" '700 0:0'
    assert_equal "$(mode_of /plain/a/b)" '711 0:0'
    assert_equal "$(tree /pivot)" 'b b/c b/c/one c c/d c/d/e c/d/e/four c/d/e/three'
    assert_equal "$(tree /stars)" 'a a/b a/b/c a/b/c/one a/b/two'
    assert_equal "$(tree /exclude)" 'a a/b a/b/c a/b/c/d a/b/c/one'
    assert_equal "$(mode_of /owned) $(mode_of /owned/a/b) $(mode_of /owned/a/b/c/one)" '750 7:8 750 7:8 750 7:8'
    assert_equal "$(mode_of /there/a) $(mode_of /there/a/b)" '700 9:9 711 9:9'
    assert_equal "$(tree /rest)" 'a a/link'
    assert_equal "$(readlink "$rootfs/rest/a/link")" b
}

@test "COPY makes a directory at the time of the build where what goes into it says none" {
    parents_tree
    dockerfile <<'END'
FROM busybox
COPY --parents a/b/two /context/
COPY --from=busybox --parents /bin/busybox /image/
COPY --from=busybox / /root/all/
END
    touch -d @1000000000 ctx
    built --source-date-epoch 1500000000
    assert_equal "$(cd "$rootfs" && stat -c %Y context image root/all | uniq)" 1500000000
}

@test "COPY --parents --from: owners of the other stage; what is not there" {
    dockerfile <<'END'
FROM busybox AS base
RUN mkdir -p /test/a/b/c/d/e /test/a/b2/c && touch /test/a/b/c/d/foo /test/a/b/c/d/e/bay && chown -R 3:4 /test/a/b
FROM busybox
COPY --from=base --parents /test/a/b/./c/d /out/
COPY --from=base --parents /test/a/b/c/d/. /whole/
COPY --from=base --parents /test/a/./*/c /wild/
COPY --from=base --parents /test/a/b/./c2* /nothing/
END
    built
    assert_equal "$(tree /out)" 'c c/d c/d/e c/d/e/bay c/d/foo'
    assert_equal "$(mode_of /out/c)" '755 3:4'
    assert_equal "$(tree /whole)" 'test test/a test/a/b test/a/b/c test/a/b/c/d test/a/b/c/d/e test/a/b/c/d/e/bay test/a/b/c/d/foo'
    assert_equal "$(tree /wild)" 'b b/c b/c/d b/c/d/e b/c/d/e/bay b/c/d/foo b2 b2/c'
    [ -d "$rootfs/nothing" ]
    assert_equal "$(tree /nothing)" ''
    local text
    for text in 'COPY --from=base --parents /test/gone /out/' 'COPY --parents gone/x /out/' 'COPY --parents . /out/'; do
        printf 'FROM busybox AS base\nRUN mkdir /test\nFROM busybox\n%s\n' "$text" >ctx/Dockerfile
        refused 5
        assert_contains "$output" 'Dockerfile:4'
    done
    printf 'FROM busybox\nADD --parents a /\n' >ctx/Dockerfile
    refused 5
    assert_contains "$output" --parents
}

# ---- --exclude ----

@test "COPY and ADD --exclude: below each match, never the match itself; exceptions" {
    local file
    for file in dir1/1.png dir1/2.txt dir2/3.pdf dir2/sub/4.txt keep.txt; do write "ctx/$file" </dev/null; done
    chmod 0711 ctx/dir2/sub
    dockerfile <<'END'
FROM busybox
COPY --exclude=*/*.png --exclude=*/*.pdf . /one
ADD --exclude=*.txt dir* /two/
COPY --exclude=*.txt *.txt /three/
COPY --exclude=* --exclude=!sub/*.txt dir2 /four/
ADD --exclude=* dir* /five
COPY --exclude=**/4.txt --exclude=dir1/ --exclude=Dockerfile . /six/
END
    built
    assert_equal "$(tree /one)" 'Dockerfile dir1 dir1/2.txt dir2 dir2/sub dir2/sub/4.txt keep.txt'
    assert_equal "$(tree /two)" '1.png 3.pdf sub sub/4.txt'
    assert_equal "$(tree /three)" keep.txt
    assert_equal "$(tree /four)" 'sub sub/4.txt'
    assert_equal "$(mode_of /four/sub)" '711 0:0'
    assert_equal "$(tree /five)" ''
    assert_equal "$(tree /six)" 'dir2 dir2/3.pdf dir2/sub keep.txt'
}

# ---- --chmod and --chown ----

@test "COPY and ADD --chmod: symbolic, with variables; made parents get an octal one only" {
    dockerfile <<'END'
FROM busybox
ARG GROUP=go=rX
COPY --chmod=u=rwX,$GROUP d /one/
COPY --chmod=a+x f /two/deep/
COPY --chmod=go-w,u+s f /three
ADD --chmod=+X d/ /four/
COPY --chmod=6750 f /made/deep/f
COPY --chmod=0700 <<inline /in/line
x
inline
COPY --chmod= f /none
END
    echo f | write ctx/f 0662
    echo g | write ctx/d/g 0611
    echo h | write ctx/d/e/h 0600
    chmod 0700 ctx/d/e
    built
    assert_equal "$(mode_of /one) $(mode_of /one/e) $(mode_of /one/e/h) $(mode_of /one/g)" '755 0:0 755 0:0 644 0:0 755 0:0'
    assert_equal "$(mode_of /two/deep) $(mode_of /two/deep/f)" '755 0:0 773 0:0'
    assert_equal "$(mode_of /three)" '4640 0:0'
    assert_equal "$(mode_of /four/e) $(mode_of /four/e/h) $(mode_of /four/g)" '711 0:0 600 0:0 711 0:0'
    assert_equal "$(mode_of /made) $(mode_of /made/deep/f)" '750 0:0 6750 0:0'
    assert_equal "$(mode_of /in) $(mode_of /in/line)" '700 0:0 700 0:0'
    assert_equal "$(mode_of /none)" '662 0:0'
    local mode
    for mode in 999 10000 u+q 64a ,u+x; do
        printf 'FROM busybox\nCOPY --chmod=%s f /\n' "$mode" >ctx/Dockerfile
        refused 5
        assert_contains "$output" 'Dockerfile:2'
        assert_contains "$output" "$mode"
    done
}

@test "COPY --chown: halves, numbers that are none, databases that are no files" {
    dockerfile <<'END'
FROM busybox
COPY --chown=:users f /group
COPY --chown=nobody: f /user
COPY --chown=root f /root-name
COPY --chown=10 f /ten
END
    echo f >ctx/f
    built
    assert_equal "$(mode_of /group)" '644 0:100'
    assert_equal "$(mode_of /user)" '644 65534:65534'
    assert_equal "$(mode_of /root-name)" '644 0:0'
    assert_equal "$(mode_of /ten)" '644 10:10'
    local owner
    for owner in 4294967295 4294967296 1:4294967296 -1 0x10 1:2:3 nobody:ghosts ghost; do
        printf 'FROM busybox\nCOPY --chown=%s f /\n' "$owner" >ctx/Dockerfile
        refused 5
        assert_contains "$output" 'Dockerfile:2'
    done
    assert_contains "$output" 'no user "ghost" in the image'
    assert_contains "$output" /etc/passwd
    local text
    for text in 'mkfifo /etc/passwd' 'ln -s /dev/zero /etc/passwd' 'mkdir /etc/passwd' \
        'yes x:x:1:1::/:/bin/sh | head -c 12000000 >/etc/passwd'; do
        printf 'FROM busybox\nRUN rm -f /etc/passwd && %s\nCOPY --chown=nobody f /\n' "$text" >ctx/Dockerfile
        refused 5
        assert_contains "$output" 'Dockerfile:3'
    done
    printf 'FROM busybox\nRUN mkdir /usr/etc && mv /etc/passwd /usr/etc/ && ln -s ../../usr/etc/passwd /etc/passwd\nCOPY --chown=nobody f /\n' \
        >ctx/Dockerfile
    built
    assert_equal "$(mode_of /f)" '644 65534:65534'
}

# ---- sources and destinations ----

@test "COPY: several sources to a name: directories are merged, files may not replace each other" {
    echo 1 | write ctx/one/a
    echo 2 | write ctx/two/b
    dockerfile <<'END'
FROM busybox
COPY one two /merged
COPY one/a two/b /tmp
COPY t*/b o*/a /etc
END
    built
    assert_equal "$(tree /merged)" 'a b'
    assert_equal "$(tree /tmp)" 'a b'
    [ -e "$rootfs/etc/a" ] && [ -e "$rootfs/etc/b" ]
    printf 'FROM busybox\nCOPY one/a two/b /name\n' >ctx/Dockerfile
    refused 5
    assert_contains "$output" "must end with '/'"
}

@test "COPY: a directory that is made has the time of its source" {
    echo 1 | write ctx/d/a
    touch -d '2020-02-02 02:02:02 UTC' ctx/d
    printf 'FROM busybox\nCOPY d /new\n' >ctx/Dockerfile
    built
    assert_equal "$(stat -c %Y "$rootfs/new")" 1580608922
}

@test "COPY: sockets become empty files, pipes stay what they are" {
    mkfifo -m 0622 ctx/pipe
    python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("ctx/sock")'
    chmod 0700 ctx/sock
    dockerfile <<'END'
FROM busybox
COPY . /x/
COPY sock /named
END
    built
    assert_equal "$(stat -c '%F %a' "$rootfs/x/pipe")" 'fifo 622'
    assert_equal "$(stat -c '%F %a' "$rootfs/x/sock")" 'regular empty file 700'
    assert_equal "$(stat -c '%F %a' "$rootfs/named")" 'regular empty file 700'
}

@test "COPY: extended attributes come along, but not those of overlayfs and of a desktop" {
    echo x >ctx/x
    set_xattrs() { python3 -c 'import os, sys
for n in sys.argv[2:]: os.setxattr(sys.argv[1], n, b"hello")' "$@" 2>/dev/null; }
    set_xattrs ctx/x user.note user.overlay.redirect user.xdg.origin.url || skip 'no extended attributes here'
    printf 'FROM busybox\nCOPY x /\nCOPY . /y/\n' >ctx/Dockerfile
    built
    assert_equal "$(layer_xattrs 1)" 'x SCHILY.xattr.user.note=hello'
    assert_equal "$(layer_xattrs 2)" 'y/x SCHILY.xattr.user.note=hello'
}

@test "COPY: a wildcard that matches nothing is nothing, but its directory has to be there" {
    touch ctx/f
    mkdir ctx/d
    printf 'FROM busybox\nCOPY f none* d/*.zip /x/\n' >ctx/Dockerfile
    built
    assert_equal "$(tree /x)" f
    printf 'FROM busybox\nCOPY gone/*.zip /x/\n' >ctx/Dockerfile
    refused 5
    assert_contains "$output" '"/gone": not found'
}

@test "COPY: what .dockerignore leaves out is not found, and the rule is named" {
    printf '# logs\n\n**/*.log\n!keep.log\n' >ctx/.dockerignore
    touch ctx/a.log ctx/keep.log
    printf 'FROM busybox\nCOPY a.log /\n' >ctx/Dockerfile
    refused 5
    assert_contains "$output" '"/a.log": not found'
    assert_contains "$output" '.dockerignore:3 ("**/*.log")'
    printf 'FROM busybox\nCOPY keep.log /\n' >ctx/Dockerfile
    built
}

@test "COPY: conflicts of files and directories" {
    local text
    echo f >ctx/f
    echo g | write ctx/d/f/g
    while read -r text; do
        printf 'FROM busybox\nRUN mkdir -p /dir/f /to && touch /file && ln -s /to /link\n%s\n' "$text" >ctx/Dockerfile
        refused 5
        assert_contains "$output" 'Dockerfile:3'
    done <<'END'
COPY f /file/
COPY f /file/x
COPY d /file
COPY f /dir
END
    printf 'FROM busybox\nRUN mkdir -p /y /to && ln -s /to /y/f\nCOPY d /y\n' >ctx/Dockerfile
    refused 5
    assert_contains "$output" '/y/f'
}

# ---- ADD of archives ----

@test "ADD: archives under misleading names, several at once, with other files; --unpack" {
    mkdir -p t/d
    echo x >t/d/x
    chmod 0604 t/d/x
    tar -C t -c --owner=3:3 --group=4:4 d >ctx/photo.png
    xz -c ctx/photo.png >ctx/text.txt
    echo plain >ctx/not.tar
    gzip -c ctx/not.tar >ctx/not.tar.gz
    : >ctx/empty.tar
    dockerfile <<'END'
FROM busybox
ADD photo.png not.tar not.tar.gz empty.tar /one
ADD *.t[xa][tr] /two/
ADD --unpack=false photo.png /three/
ADD --unpack=true text.txt /four
ADD --chmod=0700 --chown=7:8 text.txt not.tar /five/deep/
ADD --exclude=d photo.png /six/
END
    built
    assert_equal "$(tree /one)" 'd d/x empty.tar not.tar not.tar.gz'
    assert_equal "$(tree /two)" 'd d/x empty.tar not.tar'
    assert_equal "$(tree /three)" photo.png
    assert_equal "$(mode_of /four/d/x)" '604 3:4'
    # An archive keeps its modes; --chmod is for what is copied as it is.
    assert_equal "$(mode_of /five) $(mode_of /five/deep)" '755 7:8 755 7:8'
    assert_equal "$(mode_of /five/deep/d/x) $(mode_of /five/deep/not.tar)" '604 7:8 700 7:8'
    assert_equal "$(tree /six)" 'd d/x'
}

@test "ADD: archives merge with what is there and win; links of the image are followed inside of it" {
    archive ctx/a.tar <<'END'
directory("is-dir", 0o711)
add("is-dir/new", b"new")
add("was-dir", b"file")
directory("was-link")
add("was-link/in", b"in")
add("through/link", b"through")
add("implied/deep/f", b"f", uid=5, gid=6)
add("first", b"same bytes")
hard("second", "first")
add("pipe", type=tarfile.FIFOTYPE)
add("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)
link("odd", "../../../../etc/passwd")
END
    dockerfile <<'END'
FROM busybox
RUN mkdir -p /d/is-dir /d/was-dir/full /target /tmp/x && touch /d/is-dir/old /d/was-dir/full/f && \
    ln -s /target /d/was-link && ln -s /target /d/through && ln -s /tmp/x /away
ADD a.tar /d/
ADD a.tar /away/
END
    if [ "$(id -u)" -ne 0 ]; then
        archive ctx/a.tar <<<'add("first", b"x")'
        skip 'devices are for root'
    fi
    built
    assert_equal "$(tree /d/is-dir)" 'new old'
    assert_equal "$(mode_of /d/is-dir)" '711 0:0'
    assert_equal "$(cat "$rootfs/d/was-dir")" file
    [ ! -L "$rootfs/d/was-link" ] && [ -d "$rootfs/d/was-link" ]
    assert_equal "$(cat "$rootfs/target/link")" through
    assert_equal "$(mode_of /d/implied) $(mode_of /d/implied/deep/f)" '755 0:0 644 5:6'
    assert_equal "$(stat -c %i "$rootfs/d/first")" "$(stat -c %i "$rootfs/d/second")"
    assert_equal "$(stat -c %F "$rootfs/d/pipe")" fifo
    assert_equal "$(readlink "$rootfs/d/odd")" ../../../../etc/passwd
    assert_equal "$(cat "$rootfs/tmp/x/through/link")" through
    [ -L "$rootfs/away" ]
    judge_blob "$oci" "$(manifest -r '.layers[2].digest')" | tar -tvz | grep -q '^c.* 1,3 .* d/null$'
}

@test "ADD: hostile archives are refused or stay inside" {
    local case status n=0
    mkdir cases
    archive cases/dots.tar <<<'add("../../escaped", b"escaped")'
    archive cases/middle.tar <<<'add("a/../../../escaped", b"escaped")'
    archive cases/absolute.tar <<<'add("/escaped-inside", b"x")'
    archive cases/through-link.tar <<<'link("up", "../../../.."); add("up/escaped", b"escaped")'
    archive cases/absolute-link.tar <<<"link('l', '$PWD'); add('l/escaped', b'escaped')"
    archive cases/dot-link.tar <<<'link(".", ".."); add("escaped", b"escaped")'
    archive cases/hard-out.tar <<<'hard("h", "../../../../../etc/shadow"); add("h", b"escaped")'
    archive cases/hard-missing.tar <<<'hard("h", "gone")'
    archive cases/hard-self.tar <<<'hard("h", "h")'
    archive cases/whiteout.tar <<<'add(".wh.etc")'
    archive cases/opaque.tar <<<'add(".wh..wh..opq")'
    archive cases/whiteout-deep.tar <<<'add("d/.wh..", b"")'
    archive cases/flip.tar <<<'add("etc", b"x"); directory("etc"); add("etc/y", b"y")'
    archive cases/below-file.tar <<<'add("f", b"x"); add("f/x", b"y")'
    archive cases/long.tar <<<'add("x" * 300, b"x")'
    archive cases/deep.tar <<<'add("d/" * 3000 + "x", b"x")'
    archive cases/overlay-xattr.tar <<<'i = tarfile.TarInfo("o"); i.type = tarfile.DIRTYPE; i.mode = 0o755
i.pax_headers = {"SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.user.overlay.redirect": "/etc"}; t.addfile(i)'
    for case in cases/*.tar; do
        cp "$case" ctx/x.tar
        for dest in / /a/b/; do
            printf 'FROM busybox\nRUN mkdir -p /a/b\nADD x.tar %s\n' "$dest" >ctx/Dockerfile
            run build
            if [ "$status" -eq 0 ]; then
                judged test/app:1
                [ -x "$rootfs/bin/busybox" ] && [ -s "$rootfs/etc/passwd" ] || rig_fail "$case at $dest hides what is below"
                refute_contains "$(layer_xattrs -1)" overlay
            else
                [ "$status" -eq 5 ] || [ "$status" -eq 7 ] || rig_fail "$case: exit status $status: $output"
                assert_contains "$output" 'Dockerfile:3'
            fi
            [ ! -e "$PWD/escaped" ] && [ ! -e /escaped ] && [ ! -e ../escaped ] || rig_fail "$case at $dest got out"
            n=$((n + 1))
        done
    done
    assert_equal "$n" 34
    for case in whiteout opaque dots hard-missing below-file flip; do
        cp "cases/$case.tar" ctx/x.tar
        printf 'FROM busybox\nADD x.tar /\n' >ctx/Dockerfile
        run build
        [ "$status" -ne 0 ] || rig_fail "$case was taken"
    done
}

@test "ADD --checksum: not for files of the context" {
    touch ctx/f
    printf 'FROM busybox\nADD --checksum=sha256:%064d f /\n' 1 >ctx/Dockerfile
    refused 5
    assert_contains "$output" 'Dockerfile:2'
    assert_contains "$output" --checksum
}

# ---- changes while it is read ----

@test "COPY: links and files that are flipped while they are copied never lead out" {
    echo secret >outside
    mkdir ctx/d
    head -c 3000000 /dev/urandom >ctx/d/f
    cp ctx/d/f inside
    dockerfile <<'END'
FROM busybox
COPY d /x/
COPY d/f /y
END
    (
        while [ ! -e stop ]; do
            ln -sfn ../../outside ctx/d/f 2>/dev/null
            cp --remove-destination inside ctx/d/f 2>/dev/null
        done
    ) &
    local flipper=$! i
    for i in 1 2 3 4 5 6; do
        if build >build.log 2>&1; then
            judged test/app:1
            run ! grep -q secret "$rootfs/x/f" "$rootfs/y"
        fi
    done
    touch stop
    wait "$flipper"
}
