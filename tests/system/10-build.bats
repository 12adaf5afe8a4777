#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What comes out of a Dockerfile: every instruction that is executed, judged by skopeo, umoci and runc. COPY, ADD and
# .dockerignore have 11-copy.bats, wrong input has 12-refused.bats.
#
# On the disk: what every build does. (run.sh puts what the other files make into memory.)

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
}

# The Dockerfile of the lesson, as printed there.
lesson()
{
    dockerfile <<'END'
# Build stage
FROM python:3.9-slim as builder

WORKDIR /app
COPY requirements.txt .
RUN pip install --user -r requirements.txt

# Runtime stage
FROM python:3.9-slim
WORKDIR /app

# Copy only what's needed
COPY --from=builder /root/.local /root/.local
COPY app.py .

# Make sure scripts in .local are usable
ENV PATH=/root/.local/bin:$PATH

# Run as non-root user
RUN useradd -m myuser && chown -R myuser /app
USER myuser

EXPOSE 5000
CMD ["python", "app.py"]
END
    echo 'flask==2.0.1' >ctx/requirements.txt
    cp "$CB_TOP/contrib/examples/flask/app.py" ctx/app.py
}

@test "the lesson's Dockerfile, as printed, builds" {
    lesson
    built
    assert_contains "$log" '[builder 4/4] RUN pip install --user -r requirements.txt'
    [ -f "$rootfs/root/.local/bin/flask" ]
    [ -d "$rootfs/root/.local/lib/python3.9/site-packages/flask" ]
    cmp "$rootfs/app/app.py" ctx/app.py
    assert_equal "$(config .config.User)" '"myuser"'
    assert_equal "$(config .config.Cmd)" '["python","app.py"]'
    assert_equal "$(config .config.ExposedPorts)" '{"5000/tcp":{}}'
    assert_equal "$(config .config.WorkingDir)" '"/app"'
    assert_contains "$(config .config.Env)" 'PATH=/root/.local/bin:/usr/local/bin:'
    run ran sh -c 'id -un && pwd && stat -c %U app.py'
    assert_status 0
    assert_equal "$output" $'myuser\n/app\nmyuser'
}

@test "the flask example builds, and flask runs as the user of the image" {
    cp -r "$CB_TOP/contrib/examples/flask/." ctx
    built
    assert_equal "$(config .config.User)" '"myuser"'
    run ran python -c 'import flask, werkzeug, os; print(flask.__version__, werkzeug.__version__ < "2.1", os.getuid() > 0)'
    assert_status 0
    assert_equal "$output" '2.0.1 True True'
    run ! ls "$rootfs/app/Dockerfile"
    # The packages are the user's, and what was only needed to build is not there.
    assert_equal "$(stat -c %u "$rootfs/home/myuser/.local/bin/flask")" "$(stat -c %u "$rootfs/home/myuser")"
    [ ! -e "$rootfs/root/.local" ]
}

@test "FROM scratch: a file is all there is" {
    dockerfile <<'END'
FROM scratch
COPY hello /
CMD ["/hello"]
END
    cp "$(command -v busybox)" ctx/hello
    built
    assert_equal "$(find "$rootfs" -mindepth 1 -printf '%P\n')" hello
    assert_equal "$(config .config.Cmd)" '["/hello"]'
    assert_equal "$(config '[.os, .architecture]')" "[\"linux\",\"$(dpkg --print-architecture)\"]"
    assert_equal "$(manifest '.layers | length')" 1
}

@test "FROM alone: the parent's layers and configuration, untouched" {
    dockerfile <<<'FROM busybox'
    built
    assert_equal "$(manifest '.layers | length')" 1
    assert_equal "$(config .config.Cmd)" '["sh"]'
    ran true
}

@test "ENV: both forms, quotes, and one environment an instruction" {
    dockerfile <<'END'
FROM busybox
ENV A=1 B="two words" C=with\ backslash
ENV LEGACY the rest of   the line
ENV A=2 OLD=$A
ENV D=${B:-no} E=${NONE:-default} F=${NONE:+alt} G=${A:+alt} H='$A'
RUN echo "$A|$B|$C|$LEGACY|$OLD|$H" >/seen
END
    built
    assert_equal "$(config .config.Env)" \
        '["PATH=/usr/sbin:/usr/bin:/sbin:/bin","A=2","B=two words","C=with backslash","LEGACY=the rest of   the line","OLD=1","D=two words","E=default","F=","G=alt","H=$A"]'
    # shellcheck disable=SC2016 # it is to stay as it is
    assert_equal "$(cat "$rootfs/seen")" '2|two words|with backslash|the rest of   the line|1|$A'
    assert_equal "$(ran sh -c 'echo $E')" default
}

@test "expansion: all modifiers" {
    dockerfile <<'END'
FROM busybox
ENV F=archive.tar.gz P=/usr/local/bin
ENV R1=${F#*.} R2=${F##*.} R3=${F%.*} R4=${F%%.*} R5=${P/local/share} R6=${P//\//-} R7=${UNSET-u} R8=${F+set}
END
    built
    assert_equal "$(config '.config.Env | map(select(startswith("R")))')" \
        '["R1=tar.gz","R2=gz","R3=archive.tar","R4=archive","R5=/usr/share/bin","R6=-usr-local-bin","R7=u","R8=set"]'
}

@test "ARG: default, --build-arg, the global scope, and never in the configuration" {
    dockerfile <<'END'
ARG BASE=busybox
ARG SHARED=global
FROM $BASE AS one
ARG A=default
ARG B
ARG SHARED
ARG UNSET
RUN echo "$A|$B|$SHARED|${UNSET-unset}" >/seen
LABEL a=$A shared=$SHARED
END
    B=environment built --build-arg A=given --build-arg B
    assert_equal "$(cat "$rootfs/seen")" 'given|environment|global|unset'
    assert_equal "$(config .config.Labels)" '{"a":"given","shared":"global"}'
    assert_equal "$(config '.config.Env | length')" 1
    built
    assert_equal "$(cat "$rootfs/seen")" 'default||global|unset'
}

@test "ARG: ENV of the same name wins" {
    dockerfile <<'END'
FROM busybox
ARG V=arg
ENV V=env
RUN echo "$V" >/seen
END
    built --build-arg V=given
    assert_equal "$(cat "$rootfs/seen")" env
}

@test "ARG: an unused --build-arg is no error, the proxies need no ARG and stay out" {
    dockerfile <<'END'
FROM busybox
RUN echo "$http_proxy|$OTHER" >/seen
END
    built --build-arg http_proxy=http://proxy.example:3128 --build-arg OTHER=x
    assert_equal "$(cat "$rootfs/seen")" 'http://proxy.example:3128|'
    refute_contains "$(config .)" proxy.example
}

@test "ARG: TARGETPLATFORM and its siblings" {
    dockerfile <<'END'
FROM --platform=$BUILDPLATFORM busybox
ARG TARGETPLATFORM TARGETOS TARGETARCH BUILDPLATFORM
RUN echo "$TARGETPLATFORM $TARGETOS $TARGETARCH $BUILDPLATFORM" >/seen
END
    built
    local arch
    arch=$(dpkg --print-architecture)
    assert_equal "$(cat "$rootfs/seen")" "linux/$arch linux $arch linux/$arch"
}

@test "LABEL: many, quoted, expanded; --label adds and wins" {
    dockerfile <<'END'
FROM busybox
ARG WHO=me
LABEL maintainer="your.email@example.com" version=1.0
LABEL description="Custom \
image" "with space"="yes" who=$WHO
END
    built --label version=2.0 --label extra=1
    assert_equal "$(config .config.Labels)" \
        '{"description":"Custom image","extra":"1","maintainer":"your.email@example.com","version":"2.0","who":"me","with space":"yes"}'
}

@test "MAINTAINER becomes the author" {
    dockerfile <<'END'
FROM busybox
MAINTAINER Somebody <somebody@example.com>
END
    built
    assert_equal "$(config .author)" '"Somebody <somebody@example.com>"'
}

@test "WORKDIR: absolute, relative, expanded; it is made, and owned by USER" {
    dockerfile <<'END'
FROM busybox
ENV SUB=two
WORKDIR /one
WORKDIR $SUB/three
RUN pwd >/seen
USER nobody
WORKDIR /own
RUN touch here
END
    built
    assert_equal "$(cat "$rootfs/seen")" /one/two/three
    assert_equal "$(mode_of /one/two/three)" '755 0:0'
    assert_equal "$(mode_of /own)" '755 65534:65534'
    assert_equal "$(mode_of /own/here)" '644 65534:65534'
    assert_equal "$(config .config.WorkingDir)" '"/own"'
    assert_equal "$(ran pwd)" /own
}

@test "USER: names, numbers and groups reach RUN and the image" {
    dockerfile <<'END'
FROM busybox
USER nobody
RUN id -u >/tmp/1; id -g >>/tmp/1
USER nobody:users
RUN id -u >/tmp/2; id -g >>/tmp/2
USER 1234:5678
RUN id -u >/tmp/3; id -g >>/tmp/3
USER 77
RUN id -u >/tmp/4; id -g >>/tmp/4
USER games:root
USER nobody:users
END
    built
    assert_equal "$(paste -s -d ' ' "$rootfs/tmp/1" "$rootfs/tmp/2" "$rootfs/tmp/3" "$rootfs/tmp/4" | tr '\n' ';')" \
        '65534 65534;65534 100;1234 5678;77 0;'
    assert_equal "$(config .config.User)" '"nobody:users"'
    assert_equal "$(ran id -g)" 100
}

@test "USER: what the step before made is known, wherever it made it" {
    dockerfile <<'END'
FROM busybox
RUN mkdir -p /usr/lib && mv /etc/passwd /usr/lib/passwd && ln -s ../usr/lib/passwd /etc/passwd
RUN echo app:x:1001:1002::/srv:/bin/sh >>/etc/passwd && echo more:x:1003:app >>/etc/group && \
    head -c 20000000 /dev/urandom >/noise
USER app
RUN id -u >/tmp/1; id -G >>/tmp/1; echo $HOME >>/tmp/1
USER root
RUN sed -i s/1001/1004/ /usr/lib/passwd && head -c 20000000 /dev/urandom >/noise
USER app:more
RUN id -u >/tmp/2; id -G >>/tmp/2
END
    built
    assert_equal "$(paste -s -d ' ' "$rootfs/tmp/1" "$rootfs/tmp/2" | tr '\n' ';')" '1001 1002 1003 /srv;1004 1003;'
    local change db=/usr/lib
    for change in "rm /etc/passwd" "rm $db/passwd" "rm -r $db; mkdir $db" "mv $db /d; ln -s /x $db" "rm -r $db; echo >$db"; do
        dockerfile <<END
FROM busybox
RUN mkdir -p $db; mv /etc/passwd $db/passwd; ln -s $db/passwd /etc/passwd
WORKDIR /made
RUN head -c 20000000 /dev/urandom >/noise; $change
USER nobody
RUN true
END
        refused 5
        assert_contains "$output" 'user "nobody": '
    done
}

@test "USER: a step does not wait for the layer of one that changed no users" {
    dockerfile <<'END'
FROM busybox
RUN head -c 60000000 /dev/urandom >/noise; mkdir /etc/app
USER nobody:users
RUN id -u >/tmp/1; id -g >>/tmp/1
END
    built --trace t.json
    assert_equal "$(paste -s -d ' ' "$rootfs/tmp/1")" '65534 100'
    assert_equal "$(python3 -B "$RIG_HERE/trace_judge.py" t.json \
        'overlap(one("seal: layer of .*noise"), one("run: process of .*id -u"))')" True
}

@test "RUN: shell form, exec form, several lines, comments between" {
    dockerfile <<'END'
FROM busybox
RUN echo one >/a && \
    # a comment line
    echo two >>/a \
 && echo three >>/a
RUN ["sh", "-c", "echo \"$0 $1\" >/b", "zero", "one two"]
RUN ["/bin/touch", "/with space"]
END
    built
    assert_equal "$(cat "$rootfs/a")" $'one\ntwo\nthree'
    assert_equal "$(cat "$rootfs/b")" 'zero one two'
    [ -e "$rootfs/with space" ]
}

@test "RUN: heredocs, as a script, for another shell, and as redirections" {
    dockerfile <<'END'
FROM busybox
ARG who=world
RUN <<EOF
set -e
echo "hello $who" >/a
echo second >>/a
EOF
RUN <<'EOF' cat >/b
$who stays
EOF
RUN <<EOF
#!/bin/awk -f
BEGIN { print 6 * 7 >"/c" }
EOF
COPY <<one <<"two" /files/
for $who
one
for $who
two
END
    built
    assert_equal "$(cat "$rootfs/a")" $'hello world\nsecond'
    # shellcheck disable=SC2016 # it is to stay as it is
    assert_equal "$(cat "$rootfs/b")" '$who stays'
    assert_equal "$(cat "$rootfs/c")" 42
    assert_equal "$(cat "$rootfs/files/one")" 'for world'
    # shellcheck disable=SC2016 # it is to stay as it is
    assert_equal "$(cat "$rootfs/files/two")" 'for $who'
    assert_equal "$(mode_of /files/one)" '644 0:0'
}

@test "RUN: what is deleted, replaced and changed in mode" {
    dockerfile <<'END'
FROM busybox
RUN mkdir /d /e && echo 1 >/d/gone && echo 1 >/d/stays && echo 1 >/e/x && echo 1 >/f && mkdir /turned
RUN rm /d/gone && rm -r /e && mkdir /e && echo 2 >/e/y && chmod 600 /f && rm -r /turned && ln -s d /turned
END
    built
    assert_equal "$(cd "$rootfs" && find d e -mindepth 1 | sort | paste -s -d ' ')" 'd/stays e/y'
    assert_equal "$(mode_of /f)" '600 0:0'
    assert_equal "$(readlink "$rootfs/turned")" d
    assert_equal "$(find "$rootfs" -name '.wh*' | wc -l)" 0
}

@test "RUN: hard links, devices' absence, set-id bits, sparse files and odd names" {
    dockerfile <<'END'
FROM busybox
RUN mkdir /t && cd /t && echo x >a && ln a b && ln -s /nowhere dangling && mkfifo fifo && cp /bin/busybox suid \
 && chmod 4755 suid && mkdir -m 2775 sgid && mkdir -m 1777 sticky && touch "$(printf 'new\nline')" ' lead' 'ünï' ./-dash && dd if=/dev/zero of=sparse bs=1 count=1 seek=3000000 2>/dev/null
END
    built
    assert_equal "$(stat -c %i "$rootfs/t/a")" "$(stat -c %i "$rootfs/t/b")"
    assert_equal "$(readlink "$rootfs/t/dangling")" /nowhere
    [ -p "$rootfs/t/fifo" ]
    assert_equal "$(mode_of /t/suid)" '4755 0:0'
    assert_equal "$(mode_of /t/sgid)" '2775 0:0'
    assert_equal "$(mode_of /t/sticky)" '1777 0:0'
    [ -e "$rootfs/t/new"$'\n'line ] && [ -e "$rootfs/t/ lead" ] && [ -e "$rootfs/t/ünï" ] && [ -e "$rootfs/t/-dash" ]
    assert_equal "$(stat -c %s "$rootfs/t/sparse")" 3000001
    refute_contains "$(ls "$rootfs/dev")" null
}

@test "RUN: what it says on both of its streams stands in the order in which it was said" {
    dockerfile <<'END'
FROM busybox
RUN echo "configure: error: the reason" >&2; for i in 1 2 3 4 5; do echo "out $i"; echo "err $i" >&2; done; exit 3
END
    refused 1
    assert_contains "$(sed -n 's/^[0-9.]* //p' <<<"${output#*------}" | head -n 11 | paste -s -d ,)" \
        'out 1,err 1,out 2,err 2,out 3,err 3,out 4,err 4,out 5,err 5'
    assert_contains "$(grep -A 1 '^#[0-9]* [0-9.]* configure: error' <<<"$output")" 'out 1'
    run cbpush build --progress rawjson ctx
    assert_equal "$(jq -r '.logs[]? | select(.stream == 2).data' <<<"$output" 2>/dev/null | head -n 1 | base64 -d | head -n 1)" \
        'configure: error: the reason'
}

@test "RUN: /proc, /sys, /dev and /etc/resolv.conf leave no trace in the layer" {
    dockerfile <<'END'
FROM busybox
RUN test -e /proc/self && test -c /dev/null && test -d /sys/class && test -s /etc/resolv.conf && test -e /etc/hosts && echo 1 >/x
END
    built
    # busybox has no /etc/hosts and no /etc/resolv.conf: even then they must not appear
    assert_equal "$(layer_names -1)" x
}

@test "RUN: it is root with Docker's capabilities, without privileges beyond" {
    dockerfile <<'END'
FROM busybox
RUN grep Cap /proc/self/status >/caps; grep -E 'Seccomp:|NoNewPrivs' /proc/self/status >>/caps; \
    mount -t tmpfs none /tmp 2>/dev/null && echo mounted >>/caps; chown 5:6 /tmp; \
    echo x 2>/dev/null >/proc/sys/kernel/hostname && echo writable >>/caps; true
END
    built
    assert_contains "$(cat "$rootfs/caps")" $'CapEff:\t00000000a80425fb'
    assert_contains "$(cat "$rootfs/caps")" $'Seccomp:\t2'
    refute_contains "$(cat "$rootfs/caps")" mounted
    refute_contains "$(cat "$rootfs/caps")" writable
    assert_equal "$(mode_of /tmp)" '1777 5:6'
}

@test "RUN: standard input is empty and background processes do not hold the build" {
    dockerfile <<'END'
FROM busybox
RUN cat >/in; (sleep 300 &) ; echo done >/out
END
    built
    [ ! -s "$rootfs/in" ]
    assert_equal "$(cat "$rootfs/out")" 'done'
}

@test "RUN --network=none has no network; --network=host sees the host's" {
    dockerfile <<'END'
FROM busybox
RUN --network=none ls /sys/class/net >/none
RUN --network=default ls /sys/class/net >/default
END
    built
    assert_equal "$(cat "$rootfs/none")" lo
    # shellcheck disable=SC2012 # interface names
    assert_equal "$(sort "$rootfs/default")" "$(ls /sys/class/net | sort)"
}

@test "SHELL: it runs what follows, and CMD and ENTRYPOINT keep it" {
    dockerfile <<'END'
FROM busybox
SHELL ["/bin/sh", "-exc"]
RUN echo $- >/flags
ENTRYPOINT echo entry
CMD echo cmd
END
    built
    assert_contains "$(cat "$rootfs/flags")" x
    assert_equal "$(config '[.config.Shell, .config.Entrypoint, .config.Cmd]')" \
        '[["/bin/sh","-exc"],["/bin/sh","-exc","echo entry"],["/bin/sh","-exc","echo cmd"]]'
}

@test "CMD and ENTRYPOINT: forms, and ENTRYPOINT clears an inherited CMD" {
    dockerfile <<'END'
FROM busybox AS cleared
ENTRYPOINT ["/bin/echo", "entry"]
FROM busybox AS both
CMD ["words"]
ENTRYPOINT ["/bin/echo", "entry"]
FROM busybox AS shell
CMD echo "$HOME"
FROM both
CMD []
END
    built --target cleared
    assert_equal "$(config '[.config.Entrypoint, .config.Cmd]')" '[["/bin/echo","entry"],null]'
    assert_equal "$(ran)" entry
    built --target both
    assert_equal "$(config '[.config.Entrypoint, .config.Cmd]')" '[["/bin/echo","entry"],["words"]]'
    assert_equal "$(ran)" 'entry words'
    built --target shell
    assert_equal "$(config .config.Cmd)" '["/bin/sh","-c","echo \"$HOME\""]'
}

@test "EXPOSE, VOLUME, STOPSIGNAL" {
    dockerfile <<'END'
FROM busybox
ARG PORT=8080
EXPOSE 80 443/tcp 53/UDP $PORT 9000-9002
VOLUME /data /logs
VOLUME ["/with space"]
STOPSIGNAL SIGQUIT
END
    built
    assert_equal "$(config '.config.ExposedPorts | keys')" \
        '["443/tcp","53/udp","80/tcp","8080/tcp","9000/tcp","9001/tcp","9002/tcp"]'
    assert_equal "$(config '.config.Volumes | keys')" '["/data","/logs","/with space"]'
    assert_equal "$(config .config.StopSignal)" '"SIGQUIT"'
}

@test "HEALTHCHECK: options, both forms, NONE" {
    dockerfile <<'END'
FROM busybox AS shell
HEALTHCHECK --interval=5s --timeout=3s --start-period=1m --start-interval=500ms --retries=2 CMD wget -q localhost
FROM busybox AS exec
HEALTHCHECK CMD ["/bin/true", "x"]
FROM shell AS none
HEALTHCHECK NONE
END
    built --target shell
    assert_equal "$(config .config.Healthcheck)" \
        '{"Interval":5000000000,"Retries":2,"StartInterval":500000000,"StartPeriod":60000000000,"Test":["CMD-SHELL","wget -q localhost"],"Timeout":3000000000}'
    built --target exec
    assert_equal "$(config .config.Healthcheck)" '{"Test":["CMD","/bin/true","x"]}'
    built --target none
    assert_equal "$(config .config.Healthcheck)" '{"Test":["NONE"]}'
}

@test "ONBUILD: kept in the image, run by the child, not inherited further" {
    dockerfile <<'END'
FROM busybox
ONBUILD COPY app /app
ONBUILD RUN echo "built $(cat /app)" >/result
ONBUILD ENV FROM_PARENT=1
END
    cbpush build --push "$reg/test/parent:1" ctx 2>build.log
    judged test/parent:1
    assert_equal "$(config '.config.OnBuild | length')" 3
    dockerfile <<END
FROM $reg/test/parent:1
RUN cat /result >/seen
END
    echo child >ctx/app
    built
    assert_equal "$(cat "$rootfs/seen")" 'built child'
    assert_equal "$(config .config.OnBuild)" null
    assert_contains "$(config .config.Env)" FROM_PARENT=1
}

@test "ONBUILD: a trigger that fails is named, with the FROM that has it" {
    printf 'FROM busybox\nONBUILD RUN cat /nothing\n' >ctx/Dockerfile
    build --push "$reg/test/onbuild:fails"
    printf 'ARG NONE\nFROM %s/test/onbuild:fails\nRUN true\n' "$reg" >ctx/Dockerfile
    run build
    assert_status 1
    assert_contains "$output" 'Dockerfile:2: ONBUILD RUN cat /nothing of the parent: process'
    assert_contains "$output" "   2 | >>> FROM $reg/test/onbuild:fails
     | >>> ONBUILD of $reg/test/onbuild:fails: RUN cat /nothing
   3 |     RUN true"
    printf 'FROM busybox\nONBUILD COPY none /\n' >ctx/Dockerfile
    build --push "$reg/test/onbuild:fails"
    printf 'FROM %s/test/onbuild:fails\nRUN false\n' "$reg" >ctx/Dockerfile
    run build
    assert_status 5
    assert_contains "$output" 'Dockerfile:1: ONBUILD COPY none / of the parent: "/none": not found'
    # One that fails before anything runs, in a stage of the same file.
    printf 'ARG OF=base\nFROM busybox AS base\nONBUILD COPY <<E ${NONE:?is needed}\ntext\nE\nFROM $OF\n' >ctx/Dockerfile
    run build
    assert_status 5
    assert_contains "$output" '   6 | >>> FROM $OF
     | >>> ONBUILD of base: COPY <<E ${NONE:?is needed}
     | >>> text
     | >>> E
-----'
}

@test "ONBUILD: triggers of a stage of the same file run too" {
    dockerfile <<'END'
FROM busybox AS base
ONBUILD RUN echo triggered >/t
FROM base
RUN cat /t
END
    built
    assert_equal "$(cat "$rootfs/t")" triggered
}

@test "stages: by name, by number, from an image; unreachable ones do not run" {
    dockerfile <<'END'
FROM busybox AS first
RUN echo one >/one
FROM busybox
RUN echo two >/two
FROM busybox AS never
RUN echo UNREACHABLE && exit 1
FROM scratch
COPY --from=first /one /
COPY --from=1 /two /
COPY --from=busybox /bin/busybox /bin/
END
    built
    assert_equal "$(cd "$rootfs" && find . -type f | sort | paste -s -d ' ')" './bin/busybox ./one ./two'
    refute_contains "$log" UNREACHABLE
    assert_equal "$(ran /bin/busybox cat /one /two)" $'one\ntwo'
}

@test "stages: --target builds what it names, by number too" {
    dockerfile <<'END'
FROM busybox AS a
RUN echo a >/which
FROM a AS b
RUN echo b >/which
FROM b
RUN exit 1
END
    built --target b
    assert_equal "$(cat "$rootfs/which")" b
    built --target 0
    assert_equal "$(cat "$rootfs/which")" a
    built --target B
    assert_equal "$(cat "$rootfs/which")" b
}

@test "stages: those that do not depend on each other run at the same time" {
    dockerfile <<'END'
FROM busybox AS a
RUN sleep 2; date +%s >/at
FROM busybox AS b
RUN sleep 2; date +%s >/at
FROM busybox
COPY --from=a /at /a
COPY --from=b /at /b
END
    built --no-cache
    local apart=$(($(cat "$rootfs/a") - $(cat "$rootfs/b")))
    [ "${apart#-}" -le 1 ]
}

@test "the parent may be named by digest, by tag and digest, and by a full name" {
    local digest
    digest=$(registry_skopeo reg inspect --format '{{.Digest}}' "docker://$reg/library/busybox:latest")
    local name
    for name in "busybox@$digest" "busybox:latest@$digest" "$reg/library/busybox" "docker.io/library/busybox:latest"; do
        dockerfile <<<"FROM $name"
        built
        assert_equal "$(manifest '.layers | length')" 1
    done
}

@test "-f: a Dockerfile elsewhere, from standard input, and Dockerfile.prod of the lesson" {
    printf 'FROM busybox\nLABEL which=elsewhere\n' >elsewhere.df
    built -f elsewhere.df
    assert_equal "$(config .config.Labels)" '{"which":"elsewhere"}'
    printf 'FROM busybox\nLABEL which=stdin\n' >stdin.df
    built -f - <stdin.df
    assert_equal "$(config .config.Labels)" '{"which":"stdin"}'
    printf 'FROM busybox\nLABEL which=prod\n' >ctx/Dockerfile.prod
    (cd ctx && cbpush build -f Dockerfile.prod -t myapp:prod . 2>../build.log)
    assert_equal "$(cbpush inspect --config myapp:prod | jq -r .config.Labels.which)" prod
}

@test "the grammar of --push: name behind it, alone with -t, =false, after the operand" {
    dockerfile <<<'FROM busybox'
    (cd ctx && cbpush build --push "$reg/short/app:1.0" .) 2>build.log
    (cd ctx && cbpush build --push "$reg/short/app:2.0") 2>build.log
    cbpush build -t "$reg/short/app:3.0" --push ctx 2>build.log
    cbpush build ctx --push -t "$reg/short/app:4.0" -t "$reg/short/other:1" 2>build.log
    cbpush build --push=false -t "$reg/short/app:5.0" ctx 2>build.log
    cbpush build -t"$reg/short/app:6.0" ctx --push=true 2>build.log
    assert_equal "$(registry_curl reg /v2/short/app/tags/list | head -n 1 | jq -c '.tags | sort')" '["1.0","2.0","3.0","4.0","6.0"]'
    assert_equal "$(registry_curl reg /v2/short/other/tags/list | head -n 1 | jq -c .tags)" '["1"]'
    cbpush images --json | jq -e --arg n "$reg/short/app:5.0" 'map(.name) | index($n) != null'
}

@test "the history tells what was done, and skopeo's count of layers agrees" {
    dockerfile <<'END'
FROM busybox
ENV A=1
RUN touch /x
COPY Dockerfile /
RUN true
CMD ["sh"]
END
    built
    assert_equal "$(config '[.history[] | select(.empty_layer | not)] | length')" "$(manifest '.layers | length')"
    assert_equal "$(config '[.history[] | select(.empty_layer | not)] | length')" "$(config '.rootfs.diff_ids | length')"
    assert_contains "$(config '.history | map(.created_by)')" 'touch /x'
    assert_contains "$(config '.history | map(.created_by)')" 'ENV A=1'
}

@test "--iidfile, --metadata-file and --quiet say what was made" {
    dockerfile <<'END'
FROM busybox
RUN touch /x
END
    run --separate-stderr build --iidfile iid --quiet
    assert_status 0
    assert_equal "$output" "$(cat iid)"
    judged test/app:1
    assert_equal "$(manifest -r .config.digest)" "$(cat iid)"
    assert_equal "$(metadata '.["containerimage.config.digest"]')" "\"$(cat iid)\""
    assert_equal "$(metadata '.["containerimage.digest"]')" \
        "$(registry_skopeo reg inspect "docker://$reg/test/app:1" | jq .Digest)"
    # shellcheck disable=SC2154 # set by run
    assert_equal "$stderr" ''
}

@test "plain progress names the steps as buildx does" {
    dockerfile <<'END'
FROM busybox AS builder
WORKDIR /src
RUN echo from the step
FROM busybox
COPY --from=builder /src /src
END
    built
    assert_contains "$log" '[builder 2/3] WORKDIR /src'
    assert_contains "$log" '[builder 3/3] RUN echo from the step'
    assert_contains "$log" '[stage-1 2/2] COPY --from=builder /src /src'
    [[ $log =~ \#[0-9]+\ [0-9.]+\ from\ the\ step ]]
    assert_contains "$log" 'digest  sha256:'
}

@test "on a terminal: live lines, and the terminal is as it was afterwards" {
    printf 'FROM busybox\nRUN echo one line of output; sleep 0.5\nRUN sleep 0.3; exit 7\n' >ctx/Dockerfile
    run script -qec "stty cols 100 rows 30; stty -g >before; $CBPUSH build -t x ctx; echo status \$?; stty -g >after" /dev/null
    assert_contains "$output" 'RUN echo one line of output'
    assert_contains "$output" 'exit code: 7'
    assert_contains "$output" 'status 1'
    cmp before after
    # A cursor that was hidden is shown again.
    if [[ $output == *$'\033[?25l'* ]]; then
        assert_contains "${output##*$'\033[?25l'}" $'\033[?25h'
    fi
}

@test "--progress=rawjson: every line is JSON; --progress=quiet: the ID alone; so by BUILDKIT_PROGRESS" {
    printf 'FROM busybox\nRUN echo said\n' >ctx/Dockerfile
    cbpush build --progress rawjson -t x ctx 2>raw
    jq -es 'length > 3' raw
    cbpush build --progress quiet --no-cache --iidfile id -t x ctx >out 2>&1
    assert_equal "$(cat out)" "$(cat id)"
    BUILDKIT_PROGRESS=quiet cbpush build -t x ctx >out 2>&1
    assert_equal "$(cat out)" "$(cat id)"
    BUILDKIT_PROGRESS=rawjson cbpush build -t x ctx 2>&1 | jq -es 'length > 0'
    BUILDKIT_PROGRESS=quiet cbpush build --progress plain -t x ctx 2>&1 | grep -q '^#1 '
}

@test "a RUN in a Debian parent: dpkg's tree survives, and useradd works" {
    dockerfile <<'END'
FROM python:3.9-slim
RUN useradd -m -u 1500 someone && su someone -c 'touch ~/mine'
END
    built
    assert_equal "$(mode_of /home/someone/mine)" '644 1500:1500'
    run ran sh -c 'dpkg -l python3 | tail -n 1 | cut -c 1-2; id someone'
    assert_equal "${lines[0]}" ii
    assert_contains "${lines[1]}" 'uid=1500(someone)'
}
