#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A step on a parent of many files reads of its tables what it asks for, and no more; what is damaged is found.

load helpers
load build

setup_file()
{
    rig_setup_file
    build_setup_file
    mkdir -p "$BATS_FILE_TMPDIR/parent/tree" "$BATS_FILE_TMPDIR/maker"
    python3 - "$BATS_FILE_TMPDIR/parent/tree" <<'END'
import os, sys
for i in range(4000):
    where = f"{sys.argv[1]}/part{i // 100:02}"
    os.makedirs(where, exist_ok=True)
    with open(f"{where}/file{i:04}", "w") as f:
        f.write(f"this is file {i}\n")
END
    printf 'FROM busybox\nCOPY tree /tree\nCOPY tree/part00 /again\n' >"$BATS_FILE_TMPDIR/parent/Dockerfile"
    (
        rig_home "$BATS_FILE_TMPDIR/maker"
        mirror_conf "$(registry_addr reg)"
        CBPUSH_ROOT=$BATS_FILE_TMPDIR/maker/store cbpush build --progress plain \
            --push "$(registry_addr reg)/test/parent:1" "$BATS_FILE_TMPDIR/parent"
    )
}

setup()
{
    rig_setup
    build_setup
    export SOURCE_DATE_EPOCH=1700000000
    step true
}

# step COMMANDS: a RUN of them, as on: below.
step()
{
    on "RUN $1"
}

# on INSTRUCTIONS: built on the parent without cache. The digests of the layers are in the file named layers, the names
# in the last one in that named names.
on()
{
    printf 'FROM %s/test/parent:1\n%s\n' "$reg" "$1" >ctx/Dockerfile
    rm -rf oci
    cbpush build --no-cache --progress plain --trace t.json -o type=oci,tar=false,dest=oci ctx
    jq -r '.layers[].digest' "oci/blobs/sha256/$(jq -r '.manifests[0].digest[7:]' oci/index.json)" >layers
    tar tzf "oci/blobs/sha256/$(tail -n 1 layers | cut -c 8-)" | sort | paste -s -d ' ' >names
}

# large: the file of the large layer's table.
large()
{
    find "$CBPUSH_ROOT/toc/sha256" -type f -size +100k
}

# spoil N: turns a bit of what the table says of file number N.
spoil()
{
    python3 - "$(large)" "$1" <<'END'
import hashlib, sys
with open(sys.argv[1], "r+b") as f:
    table = f.read()
    at = table.index(hashlib.sha256(f"this is file {sys.argv[2]}\n".encode()).digest())
    f.seek(at)
    f.write(bytes([table[at] ^ 1]))
END
}

# layers_read: how many layers of the parent the last step read.
layers_read()
{
    python3 -B "$RIG_HERE/trace_judge.py" t.json 'len(some("layer: (take|fetch) layer"))'
}

@test "what a step does not ask for is not read: damage there is nothing to it" {
    step 'echo new >/tree/part20/file2000; rm /tree/part20/file2001'
    cp layers want
    assert_equal "$(layers_read)" 0 'layers that were read'
    spoil 3333
    step 'echo new >/tree/part20/file2000; rm /tree/part20/file2001'
    assert_equal "$(cat layers)" "$(cat want)"
    assert_equal "$(layers_read)" 0 'layers that were read'
}

@test "damage where a step asks is found: the layer is read again, and the table made" {
    local commands='chmod 600 /tree/part20/file2000; touch -d @1 /tree/part20/file2003; cat /tree/part20/file2004 >/tree/x'
    cp "$(large)" whole
    step "$commands"
    cp layers want
    spoil 2000
    step "$commands"
    assert_equal "$(cat layers)" "$(cat want)"
    assert_equal "$(layers_read)" 1 'layers that were read'
    cmp whole "$(large)"
    head -c 200000 whole >"$(large)"
    step "$commands"
    assert_equal "$(cat layers)" "$(cat want)"
    cmp whole "$(large)"
}

@test "what is only copied up is no change; what was below a directory that was replaced is gone" {
    step 'touch -r /tree/part10/file1000 /t && echo x >/tree/part10/file1000 && \
        echo "this is file 1000" >/tree/part10/file1000 && touch -r /t /tree/part10/file1000 && rm /t && echo x >/tree/x'
    refute_contains "$(cat names)" file1000
    assert_contains "$(cat names)" tree/x
    step 'rm -r /again && mkdir /again && echo x >/again/file0001 && rm -r /tree/part11 && ln -s part12 /tree/part11'
    assert_equal "$(cat names)" 'again/ again/.wh..wh..opq again/file0001 tree/ tree/part11'
}

@test "the table of an older store is read whole, once, and gives the same layer" {
    step 'echo new >/tree/part20/file2000'
    cp layers want
    cp "$(large)" whole
    python3 - "$(large)" <<'END'
import hashlib, struct, sys
with open(sys.argv[1], "rb") as f:
    file = f.read()
assert file[-96:-88] == b"cbtocix\1"
table = file[:struct.unpack_from("<Q", file, len(file) - 88)[0]]
with open(sys.argv[1], "wb") as f:
    f.write(table + hashlib.sha256(table).digest())
END
    [ "$(stat -c %s "$(large)")" -lt "$(stat -c %s whole)" ]
    step 'echo new >/tree/part20/file2000'
    assert_equal "$(cat layers)" "$(cat want)"
    assert_equal "$(layers_read)" 0 'layers that were read'
    cmp whole "$(large)"
}

@test "a COPY, an ADD, a WORKDIR ask for what is on their way, and no more" {
    printf 'x\n' >ctx/x
    tar -C ctx -cf ctx/x.tar x
    on $'COPY --chown=nobody x /tree/part20/file2000\nADD x.tar /tree/part21\nWORKDIR /tree/part22/new'
    cp layers want
    assert_equal "$(cat names)" 'tree/ tree/part22/ tree/part22/new/'
    spoil 3333
    on $'COPY --chown=nobody x /tree/part20/file2000\nADD x.tar /tree/part21\nWORKDIR /tree/part22/new'
    assert_equal "$(cat layers)" "$(cat want)"
    assert_equal "$(layers_read)" 0 'layers that were read'
}

@test "damage where a COPY or a WORKDIR asks is found: the layer is read again, and the table made" {
    local what
    printf 'x\n' >ctx/x
    cp "$(large)" whole
    for what in 'COPY x /tree/part20/file2000' 'WORKDIR /tree/part20/file2000x'; do
        on "$what"
        cp layers want
        spoil 2000
        on "$what"
        assert_equal "$(cat layers)" "$(cat want)" "$what"
        assert_equal "$(layers_read)" 1 "layers that were read: $what"
        cmp whole "$(large)"
    done
}

@test "a COPY onto what is in the way is refused by what the tables say" {
    mkdir -p ctx/d
    printf 'x\n' >ctx/x
    for what in 'COPY d /tree/part20/file2000' 'COPY x /tree/part20/file2000/' 'WORKDIR /tree/part20/file2000'; do
        printf 'FROM %s/test/parent:1\n%s\n' "$reg" "$what" >ctx/Dockerfile
        run cbpush build --no-cache --progress plain ctx
        [ "$status" -ne 0 ] || rig_fail "$what"
        assert_contains "$output" 'not a directory'
    done
}

@test "memory: a stage of 100,000 files is copied from, and files onto a parent of as many" {
    local kib
    ! grep -q __asan_init "$CBPUSH" || skip 'ASan has memory of its own'
    python3 - <<'END'
import os
for d in range(1000):
    os.makedirs(f"ctx/tree/part{d // 50:02}/module{d % 50:02}")
    for i in range(100):
        with open(f"ctx/tree/part{d // 50:02}/module{d % 50:02}/file{i:03}.c", "w") as f:
            f.write(f"{d} {i}\n")
END
    printf 'FROM scratch AS from\nCOPY tree /src/\nFROM scratch\nCOPY --from=from /src /dst\n' >ctx/Dockerfile
    kib=$(peak "$CBPUSH" build --progress quiet --push "$reg/test/many:1" ctx)
    [ "$kib" -lt 81920 ] || rig_fail "copying from a stage: $kib KiB"
    rm -r ctx/tree
    printf 'x\n' >ctx/x
    printf 'FROM %s/test/many:1\nCOPY x /dst/part03/module07/\nWORKDIR /dst/part09/new\n' "$reg" >ctx/Dockerfile
    kib=$(peak "$CBPUSH" build --progress quiet --push "$reg/test/many:2" ctx)
    [ "$kib" -lt 40960 ] || rig_fail "copying onto it: $kib KiB"
}
