#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Layers that are EROFS images instead of directories: nobody can tell, and a store serves who can mount them and who
# cannot.
#
# On the disk: the kernel mounts no file of a tmpfs. (run.sh puts what the other files make into memory.)

load helpers
load build

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
