#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Layers that are EROFS images instead of directories: nobody can tell, and a store serves who can mount them and who
# cannot.
#
# On the disk: the kernel mounts no file of a tmpfs. (run.sh puts what the other files make into memory.)

load helpers
load build
load timeline

setup_file()
{
    rig_setup_file
    build_setup_file
    push_python reg
}

setup()
{
    rig_setup
    build_setup
    image=$reg/library/python:3.9-slim
    cbpush doctor | grep -q '^ok  *layers as images ' || skip 'this kernel, or our rights, do not allow it'
}

# form_of ROOT: of the one tree there, image or fs.
form_of()
{
    find "$1/trees" -mindepth 2 -maxdepth 2 ! -name state -printf '%f\n'
}

# all_of ROOT: everything that a step sees of the image.
all_of()
{
    cbpush run --root "$1" "$image" sh -c "
        find / -xdev ! -type d ! -path '/etc/*' -printf '%p %y %m %U:%G %s %n %T@ %l\n' | sort
        find / -xdev -type d -printf '%p %m %U:%G\n' | sort
        find / -xdev -type f ! -path '/etc/*' -exec sha256sum {} + | sort"
}

@test "a step sees on an image what it sees on directories" {
    all_of "$PWD/images" >of-images
    CBPUSH_TREES=directories all_of "$PWD/directories" >of-directories
    [ "$(wc -l <of-images)" -gt 5000 ] || rig_fail "only $(wc -l <of-images) lines"
    diff of-directories of-images || rig_fail 'they differ'
    assert_equal "$(form_of images)" image 'the one form'
    assert_equal "$(form_of directories)" fs 'the other form'
    refute_contains "$(cat /proc/self/mountinfo)" "$PWD"
}

@test "both forms give the same layers, and the same COPY --from" {
    dockerfile <<END
FROM $image AS one
RUN rm -r /usr/share/doc && mkdir /usr/share/doc && echo x >/usr/share/doc/x && chmod 4711 /bin/su && rm /bin/mount
FROM $image
COPY --from=one /usr/lib /lib-again
COPY --from=one /usr/share/doc /doc-again
RUN python3 -B -c 'import ssl, json' && ls /doc-again /lib-again >/list && rm -r /lib-again/python3
END
    export SOURCE_DATE_EPOCH=1700000000
    cb_quietly 'the build' cbpush build --root "$PWD/images" --iidfile a ctx
    CBPUSH_TREES=directories cb_quietly 'the build' cbpush build --root "$PWD/directories" --iidfile b ctx
    assert_equal "$(cat a)" "$(cat b)" 'the image'
}

@test "an image becomes a directory where it cannot be mounted, and goes with what it is of" {
    run cbpush run "$image" true
    assert_status 0
    assert_equal "$(form_of "$CBPUSH_ROOT")" image 'the form at first'
    export CBPUSH_TREES=directories
    run cbpush run "$image" python3 -c 'print("it works")'
    assert_status 0
    assert_contains "$output" 'it works'
    assert_equal "$(form_of "$CBPUSH_ROOT")" fs 'the form then'
    unset CBPUSH_TREES
    run cbpush run "$image" true
    assert_status 0
    assert_equal "$(form_of "$CBPUSH_ROOT")" fs 'a directory that serves is kept: the form'
    cbpush prune --all --keep 0s
    assert_equal "$(ls "$CBPUSH_ROOT/trees")" '' 'what is left'
}

# Its digests are made beside the step, and were given up with it.
@test "a step that fails at once leaves the parent unpacked, and what stands before it recorded" {
    dockerfile <<END
FROM $image
WORKDIR /before
RUN false
END
    run cbpush build ctx
    assert_status 1
    assert_equal "$(find "$CBPUSH_ROOT/trees" -name image | wc -l)" 1
    run cbpush build --progress plain --trace t.json ctx
    assert_status 1
    assert_contains "$output" '#2 CACHED'
    assert_equal "$(jq '[.traceEvents[] | select(.name == "unpack layer" and .args.bytes > 1000000)] | length' t.json)" 0
}

@test "what is known to be small is a directory at once: it is unpacked once" {
    dockerfile <<'DONE'
FROM busybox
WORKDIR /app
COPY small .
RUN cat small
DONE
    echo small >ctx/small
    cb_quietly 'the build' cbpush build --trace t.json ctx
    assert_equal "$(jq '[.traceEvents[] | select(.name == "unpack layer" and .args.bytes < 20000)] | length' t.json)" 2
    assert_equal "$(find "$CBPUSH_ROOT/trees" -mindepth 2 -maxdepth 2 -name fs | wc -l)" 2
}

# layer FILE PYTHON: what it adds to a tar, by add(NAME, [PART…]) with bytes or zeros(N) as parts, is the top layer of
# the image test/FILE:1.
layer()
{
    python3 - "$1" "$2" <<'END'
import gzip, sys
def zeros(n):
    return n
def add(name, parts=(), kind=b"0"):
    size = sum(p if isinstance(p, int) else len(p) for p in parts)
    head = bytearray(512)
    for at, text in ((0, name.encode()), (100, b"0000644\0" if kind == b"0" else b"0000755\0"), (108, b"0000000\0"),
                     (116, b"0000000\0"), (124, b"%011o\0" % size), (136, b"00000000000\0"), (148, b" " * 8), (156, kind),
                     (257, b"ustar\x0000")):
        head[at:at + len(text)] = text
    head[148:156] = b"%06o\0 " % sum(head)
    out.write(head)
    for part in (*parts, -size % 512):
        while isinstance(part, int) and part > 0:
            out.write(bytes(min(part, 1 << 20)))
            part -= min(part, 1 << 20)
        if isinstance(part, bytes):
            out.write(part)
with gzip.GzipFile(sys.argv[1], "wb", 1, mtime=0) as out:
    exec(sys.argv[2])
    out.write(bytes(1024))
END
    cbpush append -t "$reg/test/$1:1" "$reg/library/busybox" "$1"
}

# large_images MEBIBYTES: how many trees are images of more than that.
large_images()
{
    find "$CBPUSH_ROOT/trees" -name image -size "+$1M" | wc -l
}

@test "a directory of a hundred thousand names" {
    local name
    cb_quietly 'the layer' layer many.tgz 'add("many/", kind=b"5")
for i in range(100000):
    add(f"many/{i * 7919 % 100000:05}", [b"x"] if i == 0 else [])'
    # Of names that are next to one another in the image's blocks, which the kernel finds by halves.
    dockerfile <<END
FROM $reg/test/many.tgz:1
RUN seq -w 0 99999 >/want && ls /many | cmp - /want && [ "\$(cat /many/00000)" = x ] && rm /want
RUN for i in 00001 31999 32000 65535 65536 99998; do stat -c %s /many/\$i; done && ! stat /many/100000 && ! stat /many/0000
RUN rm /many/50000 && echo new >/many/new && [ "\$(ls /many | wc -l)" = 100000 ]
END
    cb_quietly 'the build' cbpush build -o type=oci,tar=false,dest=oci ctx
    assert_equal "$(large_images 40)" 1
    name=$(jq -r '.layers[-1].digest[7:]' "oci/blobs/sha256/$(jq -r '.manifests[0].digest[7:]' oci/index.json)")
    assert_equal "$(tar tzf "oci/blobs/sha256/$name" | paste -s -d ' ')" 'many/ many/.wh.50000 many/new'
}

@test "a file that is larger than four gibibytes" {
    [ "$(df --output=avail -BG . | tail -n 1 | tr -dc 0-9)" -ge 8 ] || skip 'its image takes four GiB of the disk, and there are not eight'
    cb_quietly 'the layer' layer big.tgz 'add("big", [b"first", zeros((1 << 32) - 9), b"border", zeros(4096), b"last"])
add("behind", [b"behind"])'
    dockerfile <<END
FROM $reg/test/big.tgz:1
RUN [ "\$(stat -c %s /big)" = $(((1 << 32) - 9 + 5 + 6 + 4096 + 4)) ] && [ "\$(head -c 5 /big)" = first ] && \
    [ "\$(tail -c 4106 /big | head -c 6)" = border ] && [ "\$(tail -c 4 /big)" = last ] && [ "\$(cat /behind)" = behind ]
END
    cb_quietly 'the build' cbpush build ctx
    assert_equal "$(large_images 4096)" 1
}

# Whoever changes the order makes every cold build slower, and nothing else would tell.
@test "a cold build: isolation is tried beside the fetching, and digests wait until every first RUN is under way" {
    dockerfile <<'END'
FROM python:3.9-slim AS other
RUN sleep 0.5 && touch /a
FROM python:3.9-slim
COPY x /
RUN sleep 0.5
COPY --from=other /a /
END
    echo x >ctx/x
    build --limit-rate 40M --trace t.json
    timeline_is 'len(some("run: process of"))' 2
    timeline_is 'one("isolation: choose").begin < one("layer: fetch layer").end' True
    timeline_is 'len(some("layer: hash")) > 0, min(s.begin for s in some("layer: hash")) >= max(s.begin for s in some("run: process of"))' \
        '(True, True)'
    timeline_is 'max(s.end for s in some("layer: hash")) < max(s.end for s in some("manifest: put manifest"))' True
}
