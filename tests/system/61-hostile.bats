#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Images that are made to do harm (hostile.py): pulled, run and built upon. They fail with a clear error, or they work
# and nothing gets out of them.
#
# On the disk: the kernel mounts no file of a tmpfs.

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
    # What a layer might hit: a file next to the store, one in TMPDIR, and those of the machine.
    echo untouched >victim
    echo untouched >"$TMPDIR/victim"
    before=$(outside)
}

# What of the machine a layer might change.
outside()
{
    cat "$BATS_TEST_TMPDIR/victim" "$TMPDIR/victim"
    sha256sum /etc/passwd /etc/hostname
    stat -c '%n %a %u %g' /tmp /etc /etc/hostname
    stat -c '%n %h' /etc/passwd /etc/hostname
    ls -d /escaped* /tmp/escaped* 2>/dev/null
    find "$BATS_TEST_TMPDIR" -name 'escaped*' -not -path "$BATS_TEST_TMPDIR/store/*/trees/*/fs/*" -not -path '*/rootfs/*' \
        -not -path "$BATS_TEST_TMPDIR/tree/*"
}

# What was refused left no tree, no temporary file and no name.
assert_refused_clean()
{
    assert_equal "$(find "$CBPUSH_ROOT/tmp" -mindepth 1 -maxdepth 1 2>/dev/null)" '' "$1" &&
        assert_equal "$(cbpush images -q)" '' "$1"
}

# No shell, since a link took /bin away, is as good as a shell.
run_in()
{
    local status=0
    timeout 60 "$CBPUSH" run "$1" sh -c true || status=$?
    [ "$status" -ne 127 ] || status=0
    return "$status"
}

# attempt CASE VERDICT: all that one can do with the image.
attempt()
{
    local name=$1 verdict=$2 failed='' what image=$reg/hostile:$1
    python3 -B "$RIG_HERE/hostile.py" "http://$reg" hostile "$name" "$BUSYBOX" >/dev/null || return
    printf 'FROM %s\nRUN true\nCOPY Dockerfile /tmp/x/\n' "$image" >ctx/Dockerfile
    for what in run build copy pull; do
        export CBPUSH_ROOT=$BATS_TEST_TMPDIR/store/$name/$what
        case $what in
            run) run run_in "$image" ;;
            build) run timeout 60 "$CBPUSH" build --progress quiet -t out ctx ;;
            copy) printf 'FROM scratch\nCOPY --from=%s / /x/\n' "$image" >ctx/copy.df
                run timeout 60 "$CBPUSH" build --progress quiet -f ctx/copy.df -o type=local,dest=tree ctx ;;
            pull) run timeout 60 "$CBPUSH" pull -q "$image" ;;
        esac
        assert_equal "$(outside)" "$before" "$name: $what" || return
        case $status in
            0) ;;
            1 | 4 | 5 | 7) failed+=" $what"; assert_refused_clean "$name: $what: $output" || return ;;
            *) rig_fail "$name: $what: exit status $status: $output" || return ;;
        esac
        rm -rf tree
    done
    if [ "$verdict" = refused ] && [ "$failed" != ' run build copy pull' ]; then
        rig_fail "$name: refused only by:$failed"
    fi
}

# attempt_all PATTERN: all cases whose name matches.
attempt_all()
{
    local name verdict n=0
    while read -r name verdict; do
        [[ $name =~ $1 ]] || continue
        attempt "$name" "$verdict" || return
        n=$((n + 1))
    done < <(python3 -B "$RIG_HERE/hostile.py" --list)
    [ "$n" -gt 0 ]
}

@test "names with .. and absolute names" { attempt_all '^(dots|absolute)'; }
@test "writing through symbolic links" { attempt_all '^(link|root-is|bin-is)'; }
@test "hard links that lead out" { attempt_all '^hardlink'; }
@test "whiteouts of . and .., through links, and late opaque ones" { attempt_all '^(whiteout|opaque)'; }
@test "extended attributes of overlayfs" { attempt_all '^overlay'; }
@test "devices, pipes, and files where directories should be" { attempt_all '^(devices|passwd|tmp-is|same-name)'; }
@test "very deep directories" { attempt_all '^deep'; }
@test "sizes that lie, broken checksums, no tar at all" { attempt_all '^(size|bad|no-tar)'; }
@test "pax headers that lie" { attempt_all '^(pax|name-with)'; }
@test "configurations and manifests that lie" { attempt_all '^(wrong|diff-id|too-few|huge|trailing)'; }
@test "users, working directories and labels that lead out" { attempt_all '^(user|workdir|labels)'; }

@test "every case was tried" {
    local tried
    tried=$(sed -n "s/^@test .*attempt_all '\(.*\)'.*/\1/p" "$RIG_HERE/61-hostile.bats" | paste -s -d '|')
    assert_equal "$(python3 -B "$RIG_HERE/hostile.py" --list | cut -d ' ' -f 1 | grep -Ev "$tried" || :)" ''
}

# Trees that are mounted, and that a step may run on before the digests of their layers are known.
@test "the same where every layer is an image" {
    CBPUSH_TREES=images attempt_all .
}

# deceived RUN-LINE: what such a parent comes to, whatever the step makes of it.
deceived()
{
    printf 'FROM %s/hostile:wrong-diff-id-of-another\nWORKDIR /made\nRUN %s\n' "$reg" "$1" >ctx/Dockerfile
    run timeout 60 "$CBPUSH" build --progress plain --push "$reg/hostile/result:1" ctx
    assert_status 7 &&
        assert_contains "$output" 'unpacked layer is sha256:' &&
        assert_contains "$output" ' as promised' &&
        assert_contains "$output" 'Dockerfile:2' &&
        refute_contains "${lines[-1]}" 'exit code' &&
        refute_contains "$output" CACHED &&
        assert_equal "$(curl -s -o /dev/null -w '%{http_code}' "http://$reg/v2/hostile/result/manifests/1")" 404 &&
        assert_refused_clean "$1"
}

# The image whose diff id it has borrowed is what would be built upon else.
@test "a parent that is not what its configuration says: a step may have run on it, and nobody learns of what it made" {
    local name
    for name in wrong-diff-id-of-another diff-id-lent; do
        python3 -B "$RIG_HERE/hostile.py" "http://$reg" hostile "$name" "$BUSYBOX" >/dev/null
    done
    export CBPUSH_TREES=images
    cbpush doctor | grep -q '^ok  *layers as images ' || skip 'this kernel, or our rights, do not allow it'
    deceived 'ls /tmp >/seen'
    deceived true
    deceived false
    printf 'FROM %s/hostile:diff-id-lent\nRUN true\n' "$reg" >ctx/Dockerfile
    cbpush build --progress quiet ctx
    printf 'FROM %s/hostile:diff-id-lent\nWORKDIR /made\nRUN ls /tmp >/seen\n' "$reg" >ctx/Dockerfile
    run timeout 60 "$CBPUSH" build --progress plain --push "$reg/hostile/result:1" ctx
    assert_status 0
    refute_contains "$output" CACHED
    assert_equal "$(cbpush run --rm "$reg/hostile/result:1" cat /seen)" lent
}

@test "overlay attributes of a layer neither act nor are passed on" {
    python3 -B "$RIG_HERE/hostile.py" "http://$reg" hostile overlay-xattrs "$BUSYBOX"
    printf 'FROM %s/hostile:overlay-xattrs\nRUN echo new >/etc/redirected/file\n' "$reg" >ctx/Dockerfile
    built
    assert_equal "$(cat "$rootfs/etc/redirected/file")" new
    refute_contains "$(judge_blob "$oci" "$(manifest -r '.layers[-1].digest')" | gzip -dc | tr -d '\0')" overlay
}

@test "a gigabyte of zeros in a megabyte of gzip is never in memory" {
    python3 - "$PWD" <<'END'
import gzip, sys, tarfile
with gzip.open(sys.argv[1] + "/ctx/bomb.tgz", "wb", 9) as z:
    i = tarfile.TarInfo("zeros")
    i.size = 1 << 30
    z.write(i.tobuf())
    for _ in range(1024):
        z.write(b"\0" * (1 << 20))
    z.write(b"\0" * 1024)
END
    local kib limit=65536
    ! grep -q __asan_init "$CBPUSH" || limit=1048576
    printf 'FROM scratch\nADD bomb.tgz /\n' >ctx/Dockerfile
    kib=$(peak "$CBPUSH" build --progress quiet --push "$reg/test/bomb:1" ctx)
    [ "$kib" -lt "$limit" ] || rig_fail "building: $kib KiB"
    export CBPUSH_ROOT=$PWD/other
    kib=$(peak "$CBPUSH" pull -q "$reg/test/bomb:1")
    [ "$kib" -lt "$limit" ] || rig_fail "pulling: $kib KiB"
    printf 'FROM %s/test/bomb:1\nCOPY Dockerfile /zeros\n' "$reg" >ctx/Dockerfile
    kib=$(peak "$CBPUSH" build --progress quiet -o type=tar,dest=/dev/null ctx)
    [ "$kib" -lt "$limit" ] || rig_fail "building upon: $kib KiB"
}
