#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# "Building Custom Container Images" (2.4), row by row: every command of the lesson, with cbpush in place of docker, and
# every Dockerfile and fragment as it is printed there. What a fragment leaves out (a FROM, the files) is put around it.
# On the disk: as users have it; layers of a real parent are mounted there. (run.sh puts what the other files make into memory.)

load helpers
load build
load lesson

setup_file()
{
    rig_setup_file
    registry_start reg
    push_lesson reg
}

setup()
{
    # One store for the file, as one user's machine has.
    RIG_SHARED_STORE=1
    rig_setup
    build_setup
    cd ctx || return
}

# docker build -t NAME . of what stands on standard input.
make()
{
    cat >Dockerfile
    cbpush build --progress plain -t "$@" . >../build.log 2>&1 || { cat ../build.log >&2; return 1; }
}

config_of()
{
    cbpush inspect --config "$1" | jq -cS ".config$2"
}

layers_of()
{
    cbpush inspect --config "$1" | jq '.rootfs.diff_ids | length'
}

# The sum of the layers' sizes.
bytes_of()
{
    cbpush save -o ../size.tar "$1" && wc -c <../size.tar
    rm -f ../size.tar
}

# serve NAME ARG…: cbpush run ARG… in the background; its files are in $(rig_dir)/NAME.
serve()
{
    local name=$1
    shift
    mkdir -p "$(rig_dir)/$name"
    rig_spawn "$(rig_dir)/$name" "$CBPUSH" run "$@"
}

page()
{
    local tries
    for ((tries = 0; tries < 200; tries++)); do
        ! curl -fsS --noproxy '*' --max-time 5 "$1" 2>/dev/null || return 0
        sleep 0.1
    done
    rig_fail "$1 does not answer: $(cat "$(rig_dir)"/*/err 2>/dev/null)"
}

# The lesson's port, or another one where somebody has that.
lesson_port()
{
    [ -z "$(ss -Htln "sport = :$1")" ] && printf '%s\n' "$1" || cb_free_port
}

flask_files()
{
    write app.py <<'END'
from flask import Flask
app = Flask(__name__)

@app.route('/')
def hello():
    return "Hello, World!"

if __name__ == '__main__':
    app.run(host='0.0.0.0', port=5000)
END
    printf 'flask==2.0.1\n' >requirements.txt
}

# The lesson's, to the letter.
flask_dockerfile()
{
    cat <<'END'
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
}

# ---- Image Terminology

@test "lesson, Parent and Child Images: the child has its parent's layers and one for each instruction that changes files" {
    make child <<'END'
FROM alpine:3.14
RUN echo one >/one
LABEL only=metadata
COPY Dockerfile /two
END
    cbpush pull -q alpine:3.14
    assert_equal "$(layers_of alpine:3.14)" 1
    assert_equal "$(layers_of child)" 3
    assert_equal "$(cbpush inspect --config child | jq -r '.rootfs.diff_ids[0]')" \
        "$(cbpush inspect --config alpine:3.14 | jq -r '.rootfs.diff_ids[0]')"
}

@test "lesson, Dockerfile vs Containerfile: the same image from either name" {
    make named <<'END'
FROM alpine:3.14
LABEL name=same
END
    mv Dockerfile Containerfile
    cbpush build -q -t container . >id
    assert_equal "$(cat id)" "$(cbpush inspect named | jq -r .Id)"
}

# ---- Building Blocks of a Custom Image

@test "lesson, 1. Base Image Selection: alpine:3.14, ubuntu:20.04, scratch" {
    make base <<'END'
# Official minimal image
FROM alpine:3.14
END
    assert_contains "$(cbpush run base busybox)" BusyBox
    make base <<'END'
# Official full-featured image
FROM ubuntu:20.04
END
    assert_contains "$(cbpush run base apt --version)" apt
    busybox=$(command -v busybox)
    cp "$busybox" busybox
    make base <<'END'
# Scratch (empty) image
FROM scratch
COPY busybox /
CMD ["/busybox", "ls", "/"]
END
    assert_equal "$(layers_of base)" 1
    assert_equal "$(cbpush run base | sort | paste -s -d ' ')" 'busybox dev etc proc sys'
}

@test "lesson, 1. Base Image Selection: the three FROM as printed, one below the other" {
    make base <<'END'
# Official minimal image
FROM alpine:3.14

# Official full-featured image
FROM ubuntu:20.04

# Scratch (empty) image
FROM scratch
END
    assert_equal "$(layers_of base)" 0
}

@test "lesson, 2. Metadata and Labels" {
    make labels <<'END'
FROM alpine:3.14
LABEL maintainer="your.email@example.com"
LABEL version="1.0"
LABEL description="Custom Nginx image"
END
    assert_equal "$(config_of labels .Labels)" \
        '{"description":"Custom Nginx image","maintainer":"your.email@example.com","version":"1.0"}'
}

@test "lesson, 3. Environment Variables" {
    make variables <<'END'
FROM alpine:3.14
ENV NGINX_VERSION=1.21.0
ENV APP_HOME=/app
RUN echo "$NGINX_VERSION in $APP_HOME" >/seen
END
    assert_equal "$(cbpush run variables cat /seen)" '1.21.0 in /app'
    # shellcheck disable=SC2016 # the container's
    assert_equal "$(cbpush run variables sh -c 'echo $NGINX_VERSION $APP_HOME')" '1.21.0 /app'
}

@test "lesson, 4. Working Directory" {
    make place <<'END'
FROM alpine:3.14
WORKDIR /app
RUN pwd >here
END
    assert_equal "$(config_of place .WorkingDir)" '"/app"'
    assert_equal "$(cbpush run place sh -c 'pwd; cat /app/here' | paste -s -d ' ')" '/app /app'
}

@test "lesson, 5. Copying Files: a file, a directory, wildcards" {
    echo '{}' >package.json
    echo int | write src/main.c
    echo h | write src/lib/deep.h
    echo 1 >one.txt
    echo 2 >two.txt
    echo 3 >three.md
    make copies <<'END'
FROM alpine:3.14
WORKDIR /app
# Copy single file
COPY package.json .

# Copy directory
COPY src/ /app/src/

# Copy with wildcards
COPY *.txt /data/
END
    assert_equal "$(cbpush run copies find /app /data -type f | sort | paste -s -d ' ')" \
        '/app/package.json /app/src/lib/deep.h /app/src/main.c /data/one.txt /data/two.txt'
}

@test "lesson, 6. Running Commands: a single command" {
    needs_apt
    make nginx <<'END'
FROM ubuntu:20.04
# Single command
RUN apt update && apt install -y nginx
END
    assert_contains "$(cbpush run nginx nginx -v 2>&1)" 'nginx version'
    cbpush run nginx sh -c 'ls /var/lib/apt/lists/*Packages* >/dev/null'
}

@test "lesson, 6. Running Commands: one command of many lines, which cleans up behind itself" {
    needs_apt
    make nginx-curl <<'END'
FROM ubuntu:20.04
# Multi-line command
RUN apt update && \
    apt install -y \
    nginx \
    curl \
    && rm -rf /var/lib/apt/lists/*
END
    assert_contains "$(cbpush run nginx-curl nginx -v 2>&1)" 'nginx version'
    assert_contains "$(cbpush run nginx-curl curl --version)" 'curl 7'
    assert_equal "$(cbpush run nginx-curl ls /var/lib/apt/lists)" ''
    local port
    port=$(cb_free_port)
    serve nginx -p "$port:80" nginx-curl nginx -g 'daemon off;'
    assert_contains "$(page "http://127.0.0.1:$port/")" 'Welcome to nginx!'
}

# ---- Building the Image

@test "lesson, Basic Build Command, Build with No Cache, Specifying Dockerfile Location" {
    cat >Dockerfile <<'END'
FROM alpine:3.14
RUN cat /proc/sys/kernel/random/uuid >/stamp
END
    cbpush build -t myapp:1.0 .
    cbpush images | grep -E '^(docker.io/library/)?myapp +1\.0|myapp:1\.0'
    local first
    first=$(cbpush run myapp:1.0 cat /stamp)
    cbpush build --progress plain -t myapp:1.0 . 2>../again
    assert_contains "$(cat ../again)" CACHED
    assert_equal "$(cbpush run myapp:1.0 cat /stamp)" "$first"
    cbpush build --no-cache -t myapp:1.0 .
    refute_contains "$(cbpush run myapp:1.0 cat /stamp)" "$first"
    printf 'FROM alpine:3.14\nENV STAGE=production\n' >Dockerfile.prod
    cbpush build -f Dockerfile.prod -t myapp:prod .
    # shellcheck disable=SC2016 # the container's
    assert_equal "$(cbpush run myapp:prod sh -c 'echo $STAGE')" production
    cbpush run myapp:1.0 test -e /stamp
}

# ---- Best Practices

# A project whose build does what its one dependency says.
node_project()
{
    write package.json <<'END'
{
  "name": "lesson", "version": "1.0.0", "private": true,
  "scripts": { "build": "node build.js" },
  "dependencies": { "left-pad": "1.3.0" }
}
END
    write build.js <<'END'
const fs = require('fs');
fs.mkdirSync('build', { recursive: true });
fs.writeFileSync('build/index.html', require('left-pad')('built', 8, '.') + ' by ' + process.version + '\n');
END
    echo 'node_modules' >.dockerignore
    echo stale | write node_modules/left-pad/index.js
}

@test "lesson, 1. Use Multi-Stage Builds: npm install and npm run build, then only what they made" {
    needs_node
    node_project
    make site <<'END'
# Build stage
FROM node:14 as builder
WORKDIR /app
COPY package*.json ./
RUN npm install
COPY . .
RUN npm run build

# Production stage
FROM nginx:alpine
COPY --from=builder /app/build /usr/share/nginx/html
END
    assert_equal "$(cbpush run site cat /usr/share/nginx/html/index.html)" '...built by v14.19.3'
    run cbpush run site ls /app
    [ "$status" -ne 0 ]
    [ "$(bytes_of site)" -lt 10000000 ]
    local port
    port=$(cb_free_port)
    serve site -p "$port:80" site
    assert_equal "$(page "http://127.0.0.1:$port/")" '...built by v14.19.3'
    # Sources change, package.json does not: npm install is not run again.
    echo '// changed' >>build.js
    cbpush build --progress plain -t site . 2>../again
    grep -A1 'RUN npm install' ../again | grep CACHED
}

@test "lesson, 2. Minimize Layers: commands in one RUN are one layer, and what they remove takes no room" {
    make split <<'END'
FROM alpine:3.14
RUN head -c 5000000 /dev/urandom >/big
RUN rm /big
RUN echo done >/done
END
    make combined <<'END'
FROM alpine:3.14
RUN head -c 5000000 /dev/urandom >/big && \
    rm /big && \
    echo done >/done
END
    assert_equal "$(layers_of split) $(layers_of combined)" '4 2'
    [ $(($(bytes_of split) - $(bytes_of combined))) -gt 5000000 ]
    # history names the step that made it big.
    assert_contains "$(cbpush history split | grep urandom)" MB
    refute_contains "$(cbpush history combined | grep urandom)" MB
}

@test "lesson, 3. Security Considerations: a user who is not root, .dockerignore" {
    printf '.env\n*.key\n' >.dockerignore
    echo secret >.env
    echo secret >tls.key
    echo code >app
    make safe <<'END'
FROM alpine:3.14
RUN mkdir /app && chown nobody /app
WORKDIR /app
COPY . .
USER nobody
CMD ["sh", "-c", "id -un; ls -A /app"]
END
    assert_equal "$(cbpush run safe | sort | paste -s -d ' ')" '.dockerignore Dockerfile app nobody'
    run cbpush run safe sh -c 'echo x >/etc/passwd'
    [ "$status" -ne 0 ]
    run ! grep -c secret <(cbpush save safe | tar -xO)
}

# ---- Practical Example: Building a Python Application; Building and Running

@test "lesson, Building a Python Application: as printed it builds, and does not run" {
    local port
    flask_files
    flask_dockerfile >Dockerfile
    # Build the image
    cbpush build -t myapp:1.0 . 2>../build.log || { cat ../build.log >&2; false; }
    assert_equal "$(config_of myapp:1.0 .User)" '"myuser"'
    assert_equal "$(config_of myapp:1.0 .ExposedPorts)" '{"5000/tcp":{}}'
    assert_equal "$(config_of myapp:1.0 .Cmd)" '["python","app.py"]'
    assert_equal "$(cbpush run myapp:1.0 stat -c %U app.py)" myuser
    # Run the container. Its user may not read /root, where the packages are; pip is not asked for there either.
    port=$(lesson_port 5000)
    run cbpush run -p "$port:5000" myapp:1.0
    assert_status 1
    assert_contains "$output" "ModuleNotFoundError: No module named 'flask'"
    run cbpush run myapp:1.0 ls /root/.local
    assert_contains "$output" 'Permission denied'
    # Nor would it as root: flask 2.0.1 takes whatever Werkzeug is new, and does not work with it.
    run cbpush run -u root myapp:1.0
    assert_status 1
    assert_contains "$output" "cannot import name 'url_quote' from 'werkzeug.urls'"
}

@test "lesson, Building and Running: mended (contrib/examples/flask) it serves Hello, World!" {
    local port
    cp "$CB_TOP"/contrib/examples/flask/* .
    flask_files
    cp "$CB_TOP/contrib/examples/flask/requirements.txt" .
    cbpush build -t myapp:1.0 . 2>../build.log || { cat ../build.log >&2; false; }
    port=$(lesson_port 5000)
    serve flask -p "$port:5000" myapp:1.0
    assert_equal "$(page "http://127.0.0.1:$port/")" 'Hello, World!'
    assert_equal "$(cbpush run myapp:1.0 id -un)" myuser
}

# ---- Common Issues and Solutions

@test "lesson, 1. Build Context Too Large: what .dockerignore names is neither read nor copied" {
    mkdir big
    head -c 20000000 /dev/urandom >big/data
    chmod 0 big
    printf 'big\n' >.dockerignore
    echo small >small
    make slim <<'END'
FROM scratch
COPY . /
END
    chmod 0755 big
    assert_equal "$(cbpush save slim | wc -c | awk '{ print ($1 < 1000000) }')" 1
}

@test "lesson, 2. Permission Issues: modes of files, the user, a volume" {
    echo 'echo it runs' >start.sh
    chmod 0600 start.sh
    make modes <<'END'
FROM alpine:3.14
COPY --chmod=755 start.sh /start.sh
COPY --chown=nobody:users start.sh /home/start.sh
USER nobody
CMD ["/start.sh"]
END
    assert_equal "$(cbpush run --entrypoint /bin/sh modes /start.sh)" 'it runs'
    assert_equal "$(cbpush run modes stat -c '%a %U:%G' /start.sh /home/start.sh | paste -s -d ' ')" \
        '755 root:root 600 nobody:users'
    mkdir -m 0755 data
    run cbpush run -v "$PWD/data:/data" modes touch /data/file
    assert_status 1
    assert_contains "$output" 'Permission denied'
    cbpush run -v "$PWD/data:/data" -u root modes touch /data/file
    [ -e data/file ]
}

@test "lesson, 3. Large Image Size: a smaller base is a smaller image" {
    printf 'FROM alpine:3.14\nLABEL small=1\n' | make small
    printf 'FROM ubuntu:20.04\nLABEL small=0\n' | make large
    [ "$(bytes_of small)" -lt "$(bytes_of large)" ]
}

# ---- Next Steps

@test "lesson, Next Steps: build arguments, several architectures" {
    make args --build-arg VERSION=2 <<'END'
FROM alpine:3.14
ARG VERSION=1
ENV VERSION=$VERSION
END
    # shellcheck disable=SC2016 # the container's
    assert_equal "$(cbpush run args sh -c 'echo $VERSION')" 2
    printf 'FROM scratch\nARG TARGETARCH\nCOPY file-$TARGETARCH /file\n' >Dockerfile
    echo a >file-amd64
    echo b >file-arm64
    cbpush build --platform linux/amd64,linux/arm64 --push "$reg/test/multi:1" . 2>../build.log
    assert_equal "$(registry_skopeo reg inspect --raw "docker://$reg/test/multi:1" |
        jq -r '.manifests[].platform.architecture' | sort | paste -s -d ' ')" 'amd64 arm64'
}
