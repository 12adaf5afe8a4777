#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What goes into layers comes out of them: random files and changes, from fixed seeds, and cases that such runs have found.
# CBPUSH_TEST_SEEDS=FIRST-LAST: others, CBPUSH_TEST_SECONDS: no new seed is begun after that time (HACKING.md).

load helpers
load build

setup_file()
{
    rig_setup_file
    build_setup_file
    ${CC:-cc} -std=gnu17 -D_GNU_SOURCE -O2 -Wall -Wextra -Wshadow -Werror -static -o "$BATS_FILE_TMPDIR/fsop" "$RIG_HERE/trees/fsop.c"
}

setup()
{
    rig_setup
    build_setup
    cp "$BATS_FILE_TMPDIR/fsop" ctx/fsop
}

# A context with a list of operations for each RUN.
ops()
{
    printf '%s\n' "${@:2}" >"ctx/$1"
}

# compared STEPS SEEDS: no tree of these seeds differs.
compared()
{
    run python3 -B "$RIG_HERE/trees/trees.py" "$PWD" "$BATS_FILE_TMPDIR/fsop" "${CBPUSH_TEST_SEEDS:-$2}" "$1" "${CBPUSH_TEST_SECONDS:-120}"
    [ -z "${CBPUSH_TEST_SECONDS-}" ] || printf '# %s\n' "${lines[-1]}" >&3
    assert_status 0
    assert_contains "$output" ', 0 with a difference'
}

needs_root()
{
    [ "$(id -u)" -eq 0 ] || skip 'owners and devices are made beside the builds'
}

@test "trees: what RUN, COPY and ADD leave is what RUNs, umoci and every format and output have" {
    needs_root
    compared 5 1-16
}

@test "trees: layers that others wrote, in every form of tar" {
    needs_root
    compared 0 500-512
}

@test "trees: a socket in the place of a file or directory: what was there is gone" {
    ops first 'mkdir /d 755' 'write /d/f 5 1' 'write /f 5 1' 'write /stays 5 1'
    ops second 'remove /d' 'node /d s 755 0 0' 'remove /f' 'node /f s 755 0 0' 'node /new s 755 0 0'
    dockerfile <<'END'
FROM busybox
COPY fsop /fsop
RUN --mount=type=bind,target=/ctx /fsop run /ctx/first
RUN --mount=type=bind,target=/ctx /fsop run /ctx/second
END
    local isolation
    for isolation in native chroot; do
        built --no-cache --isolation "$isolation"
        assert_equal "$(layer_names 3)" '.wh.d .wh.f' "$isolation"
        [ -f "$rootfs/stays" ] && [ ! -e "$rootfs/d" ] && [ ! -e "$rootfs/f" ]
    done
}

@test "trees: chroot: an extended attribute that a step takes away is gone" {
    ops first 'mkdir /d 755' 'setx /d user.a 61' 'setx /d user.b 62' 'write /f 1 1' 'setx /f user.a 61'
    ops second 'delx /d user.a' 'delx /f user.a'
    dockerfile <<'END'
FROM busybox
COPY fsop /fsop
RUN --mount=type=bind,target=/ctx /fsop run /ctx/first
RUN --mount=type=bind,target=/ctx /fsop run /ctx/second
RUN /fsop list proc sys dev | grep '^/[df] ' >/seen && touch /d/new
END
    built --isolation chroot
    assert_equal "$(grep -c user.b=b "$rootfs/seen")" 1
    refute_contains "$(cat "$rootfs/seen")" user.a
    assert_equal "$(python3 -c 'import os, sys; print(os.listxattr(sys.argv[1]))' "$rootfs/d")" "['user.b']"
}

@test "trees: a name with a newline begins no line of its own in an error" {
    PYTHONPATH=$RIG_HERE/trees:$RIG_HERE/seeds python3 -B - made <<'END'
import io, sys, tarfile, world
out = io.BytesIO()
with tarfile.open(fileobj=out, mode="w") as archive:
    info = tarfile.TarInfo("a\n::error::said by a layer")
    info.type, info.linkname = tarfile.LNKTYPE, "nowhere"
    archive.addfile(info)
world.layout(sys.argv[1], [out.getvalue()])
END
    printf 'FROM made\n' >ctx/Dockerfile
    local kind
    for kind in local tar; do
        refused 7 --build-context "made=oci-layout://$PWD/made" -o "type=$kind,dest=$PWD/out.$kind"
        assert_contains "$stderr$output" said
        refute_contains "$stderr$output" $'\n::error'
    done
}

# Layers by Python's tarfile: a file, a link to it, a link to that link beside another file in the first one's place.
@test "trees: hard links into lower layers, one behind the other: the bytes are those of then" {
    PYTHONPATH=$RIG_HERE/trees:$RIG_HERE/seeds python3 -B - made "$BATS_FILE_TMPDIR/fsop" <<'END'
import io, sys, tarfile, world
def layer(*members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, link, data in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = tarfile.LNKTYPE if link else tarfile.REGTYPE, link, len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()
world.layout(sys.argv[1], [world.base_tar(sys.argv[2]), layer(("a", "", b"old")), layer(("b", "a", b""), ("a", "", b"another")),
                           layer(("c", "b", b""))])
END
    printf 'FROM made AS seen\nRUN ["/bin/fsop", "step", "/seen/1", "/dev/null"]\nFROM busybox\nCOPY --from=seen /seen/1 /a /b /c /\n' >ctx/Dockerfile
    built --build-context "made=oci-layout://$PWD/made"
    assert_equal "$(cat "$rootfs/a" "$rootfs/b" "$rootfs/c")" anotheroldold 'by the tables'
    assert_equal "$(grep -c ' 3 3f5dd4e5' "$rootfs/1")" 2 "by the trees: $(grep '^/[abc] ' "$rootfs/1")"
}
