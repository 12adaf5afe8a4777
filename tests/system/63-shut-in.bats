#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Layers and archives that are only looked into are read in processes of their own, too (rule R3): by every way there is,
# with hostile ones, and when the process dies.

load helpers
load build

setup_file()
{
    rig_setup_file
    build_setup_file
    export BUSYBOX
    BUSYBOX=$(command -v busybox)
}

setup()
{
    rig_setup
    build_setup
}

# Of everything that --trace t.json saw being read, where it was.
assert_read_apart()
{
    assert_equal "$(python3 -B "$RIG_HERE/trace_judge.py" t.json '{s.args["where"] for s in some("^read: read layer")}')" \
        "{'in a process of its own'}" "$1"
}

# apart WHAT ARG…: cbpush ARG… works, and has not so much as loaded what reads archives: ld.so tells. (It cannot for the
# processes that do: they have no descriptor for that.)
apart()
{
    local what=$1
    shift
    rm -f loaded.*
    LD_DEBUG=files LD_DEBUG_OUTPUT=loaded timeout 120 "$CBPUSH" "$@" >out.log 2>&1 || rig_fail "$what: $(cat out.log)" || return
    grep -qs 'libc.so' loaded.* || skip 'no ld.so that tells'
    ! grep -s 'file=libarchive' loaded.* || rig_fail "$what: cbpush itself has loaded libarchive"
}

archive()
{
    mkdir -p tree/d
    echo text >tree/d/file
    ln -s file tree/d/link
    ln tree/d/file tree/d/hard
    tar -cf "$1" -C tree d
}

@test "ADD: archives of all compressions" {
    archive ctx/a.tar
    gzip -k ctx/a.tar
    bzip2 -k ctx/a.tar
    xz -k ctx/a.tar
    zstd -q ctx/a.tar
    dockerfile <<'END'
FROM scratch
ADD a.tar /tar/
ADD a.tar.gz /gz/
ADD a.tar.bz2 /bz2/
ADD a.tar.xz /xz/
ADD a.tar.zst /zst/
END
    apart ADD build --progress quiet --trace t.json -o type=local,dest=out ctx
    assert_read_apart ADD
    local kind
    for kind in tar gz bz2 xz zst; do
        assert_equal "$(cat out/$kind/d/hard out/$kind/d/link)" "$(printf 'text\ntext')" "$kind"
    done
}

@test "COPY --from of a layer without a tree" {
    archive ctx/a.tar
    printf 'FROM scratch\nADD a.tar /\n' | write ctx/base.df
    build -f ctx/base.df --push "$reg/test/base:1"
    printf 'FROM scratch\nCOPY --from=%s/test/base:1 /d/file /x/\n' "$reg" | dockerfile
    CBPUSH_ROOT=$PWD/fresh apart COPY build --progress quiet --trace t.json -o type=tar,dest=out.tar ctx
    assert_read_apart COPY
    assert_equal "$(tar -xOf out.tar x/file)" text
}

@test "outputs: type=local and type=tar" {
    archive ctx/a.tar
    printf 'FROM busybox\nADD a.tar /\n' | dockerfile
    apart local build --progress quiet --trace t.json -o type=local,dest=out ctx
    assert_read_apart local
    assert_equal "$(cat out/d/hard)" text
    apart tar build --progress quiet -o type=tar,dest=out.tar ctx
    assert_equal "$(tar -xOf out.tar d/file)" text
}

@test "the verbs that look into layers" {
    archive a.tar
    gzip -k a.tar
    printf 'FROM busybox\nCOPY Dockerfile /\n' | dockerfile
    build
    export CBPUSH_ROOT=$PWD/fresh
    apart ls ls "$reg/test/app:1"
    grep -q Dockerfile out.log
    rm -rf fresh
    apart diff diff "$reg/test/app:1" "$reg/library/busybox:latest"
    rm -rf fresh
    apart export export -o out.tar "$reg/test/app:1"
    tar -tf out.tar | grep -q Dockerfile
    apart validate validate "$reg/test/app:1"
    apart append append -t "$reg/test/more:1" "$reg/test/app:1" a.tar.gz
    apart flatten flatten -t "$reg/test/flat:1" "$reg/test/app:1"
}

@test "load and copy of archives" {
    printf 'FROM busybox\nCOPY Dockerfile /\n' | dockerfile
    cbpush build --progress quiet -t here/app:1 -o type=docker,dest=docker.tar ctx
    gzip -k docker.tar
    CBPUSH_ROOT=$PWD/fresh apart load load -q -i docker.tar.gz
    apart copy copy docker-archive:docker.tar "$reg/test/loaded:1"
}

@test "an index that is gone, by verbs that read no layers otherwise" {
    printf 'FROM busybox\nRUN echo x >/x\n' | dockerfile
    build
    rm "$CBPUSH_ROOT"/index.sqlite*
    apart save save -o image.tar "$reg/test/app:1"
    rm "$CBPUSH_ROOT"/index.sqlite*
    apart prune prune
}

# pid_of_reader PARENT: of the process that reads for cbpush PARENT, as soon as there is one.
pid_of_reader()
{
    local server reader
    for _ in $(seq 2000); do
        for server in $(cat "/proc/$1/task/"*/children 2>/dev/null); do
            reader=$(cat "/proc/$server/task/$server/children" 2>/dev/null)
            [ -z "$reader" ] || { echo "${reader%% *}"; return; }
        done
        sleep 0.01
    done
    rig_fail "no process reads"
}

# killed SIGNAL STATUS TEXT ARG…: the process that reads is killed within cbpush ARG….
killed()
{
    local signal=$1 wanted=$2 text=$3 pid reader status=0
    shift 3
    timeout 120 "$CBPUSH" "$@" >out.log 2>&1 &
    pid=$(wait_for_child $!)
    # One that only looks whether it is an archive may have ended meanwhile.
    until reader=$(pid_of_reader "$pid") || return; kill -"$signal" "$reader" 2>kill.log; do :; done
    wait $! || status=$?
    assert_equal "$status" "$wanted" "$(cat out.log)" || return
    grep -q "$text" out.log || rig_fail "no \"$text\": $(cat out.log)"
}

# Of `timeout`, which runs it.
wait_for_child()
{
    local child=''
    while [ -z "$child" ]; do
        read -r child _ <"/proc/$1/task/$1/children" || sleep 0.01
    done
    echo "$child"
}

@test "a reader that is killed or crashes: a clear error, and nothing is left" {
    # So much to read that it is met at work.
    python3 - ctx/big.tar.gz <<'END'
import gzip, io, sys, tarfile
class Zeros(io.RawIOBase):
    def read(self, n=-1):
        return bytes(n)
with gzip.open(sys.argv[1], "wb", 1) as z, tarfile.open(fileobj=z, mode="w|") as t:
    for name in "abcd":
        info = tarfile.TarInfo(name)
        info.size = 128 << 20
        t.addfile(info, Zeros())
END
    printf 'FROM scratch\nADD big.tar.gz /\n' | dockerfile
    export CBPUSH_ROOT=$PWD/store
    killed KILL 6 'was killed, perhaps for lack of memory' build --progress plain -t out ctx
    killed SEGV 7 'crashed (Segmentation fault)' build --progress plain -t out ctx
    assert_equal "$(find store/tmp -mindepth 1)" ''
    assert_equal "$(cbpush images -q)" ''
    killed KILL 6 'was killed' append -t "$reg/test/more:1" "$reg/library/busybox:latest" ctx/big.tar.gz
    assert_equal "$(find store/tmp -mindepth 1)" ''
}

@test "hostile archives: ADD, load and append refuse them or keep them in" {
    local name verdict before
    export CBPUSH_ROOT=$PWD/store
    echo untouched >victim
    before=$(sha256sum victim /etc/passwd; stat -c '%n %a %u %g' /tmp /etc)
    python3 -B "$RIG_HERE/hostile.py" --list-archives >cases
    printf 'FROM scratch\nADD h.tar.gz /x/\n' | dockerfile
    while read -r name verdict; do
        python3 -B "$RIG_HERE/hostile.py" --archive "$name" ctx/h.tar
        gzip -kf ctx/h.tar
        rm -rf out
        run timeout 60 "$CBPUSH" build --progress quiet -o type=local,dest=out ctx
        case $status in
            0 | 5 | 7) ;;
            *) rig_fail "ADD of $name: exit status $status: $output" ;;
        esac
        assert_equal "$(find "$BATS_TEST_TMPDIR" /tmp/escaped* /escaped* -name 'escaped*' -not -path "$PWD/out/*" \
            -not -path "$PWD/store/*" 2>/dev/null)" '' "ADD of $name"
        run timeout 60 "$CBPUSH" load -q -i ctx/h.tar.gz
        [ "$status" -eq 7 ] || rig_fail "load of $name: exit status $status: $output"
        run timeout 60 "$CBPUSH" append -t "$reg/test/more:1" "$reg/library/busybox:latest" ctx/h.tar
        case $status in
            0 | 5 | 7) ;;
            *) rig_fail "append of $name: exit status $status: $output" ;;
        esac
        [ "$verdict" != refused ] || [ "$status" -ne 0 ] || rig_fail "append took $name"
    done <cases
    assert_equal "$(sha256sum victim /etc/passwd; stat -c '%n %a %u %g' /tmp /etc)" "$before"
    [ "$(wc -l <cases)" -gt 20 ]
}
