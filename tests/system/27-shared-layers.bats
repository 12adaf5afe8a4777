#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Images that share a layer which leaves things to those below it: directories that it only implies, hard links to files of
# theirs. Each image shows it as it is on its own layers, whichever was unpacked first.

load helpers
load users

setup_file()
{
    rig_setup_file
}

setup()
{
    rig_setup
    mkdir ctx
    python3 -B - "$(command -v busybox)" <<'END'
import gzip, hashlib, io, json, os, sys, tarfile

OCI = "application/vnd.oci.image."


class Layer:
    def __init__(self):
        self.out = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.out, mode="w")

    def add(self, name, data=None, **more):
        t = tarfile.TarInfo(name)
        t.mtime, t.mode = 1000000000, 0o755
        for key, value in more.items():
            setattr(t, key, value)
        if data is not None:
            t.size = len(data)
        elif "type" not in more:
            t.type = tarfile.DIRTYPE
        self.tar.addfile(t, io.BytesIO(data) if data is not None else None)
        return self

    def bytes(self):
        self.tar.close()
        return self.out.getvalue()


def blob(root, data, kind):
    digest = hashlib.sha256(data).hexdigest()
    os.makedirs(f"{root}/blobs/sha256", exist_ok=True)
    with open(f"{root}/blobs/sha256/{digest}", "wb") as f:
        f.write(data)
    return {"mediaType": kind, "digest": "sha256:" + digest, "size": len(data)}


def image(root, *layers):
    arch = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    config = {"architecture": arch, "os": "linux", "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"]},
              "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(x).hexdigest() for x in layers]}}
    manifest = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
                "config": blob(root, json.dumps(config).encode(), OCI + "config.v1+json"),
                "layers": [blob(root, gzip.compress(x, mtime=0), OCI + "layer.v1.tar+gzip") for x in layers]}
    index = {"schemaVersion": 2, "manifests": [blob(root, json.dumps(manifest).encode(), OCI + "manifest.v1+json")]}
    index["manifests"][0]["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    for name, value in ("oci-layout", {"imageLayoutVersion": "1.0.0"}), ("index.json", index):
        with open(f"{root}/{name}", "w") as f:
            json.dump(value, f)


with open(sys.argv[1], "rb") as f:
    base = Layer().add("bin").add("bin/busybox", f.read())
for name in ("sh", "stat", "cat", "cp", "true", "ls"):
    base.add("bin/" + name, type=tarfile.SYMTYPE, linkname="busybox")
base = base.bytes()
open_below = Layer().add("t").add("t/d", mode=0o777).add("t/a", b"one").bytes()
shut_below = Layer().add("t").add("t/d", mode=0o700, uid=7).add("t/a", b"two!").bytes()
shared = Layer().add("t/d/x", b"x")
for i in range(70):  # enough for a tree of one file
    shared.add(f"t/d/{i}", b"y")
shared = shared.bytes()
linked = Layer().add("t/d/z", b"z").add("t/b", type=tarfile.LNKTYPE, linkname="t/a").bytes()
implied = Layer().add("u/d/x", b"x").bytes()
listed = Layer().add("u").add("u/d", mode=0o711).bytes()
image("open", base, open_below, shared, linked)
image("shut", base, shut_below, shared, linked)
image("alone", base, shared)
image("first", base, implied, listed)
image("second", base, listed, implied)
END
    as=()
    says='echo $(stat -c %a:%u /t/d) $(cat /t/b)'
}

# What a RUN on that image says; $as is who builds.
of()
{
    printf 'FROM %s\nRUN %s >/said\nFROM scratch\nCOPY --from=0 /said /\n' "$1" "$2" >ctx/Dockerfile
    "${as[@]}" "$CBPUSH" build -q --no-cache --trace ctx/trace.json -o type=local,dest=ctx/out \
        --build-context "$1=oci-layout://$PWD/$1" ctx >/dev/null
    cat ctx/out/said
}

both_ways()
{
    assert_equal "$(of open "$says")" '777:0 one'
    assert_equal "$(of shut "$says")" "700:${1-7} two!"
    assert_equal "$(of open "$says")" '777:0 one'
    assert_equal "$(of alone 'stat -c %a:%u /t/d')" 755:0
}

@test "one after the other" {
    both_ways
    # Nothing is unpacked again for who was there before. (To read a layout is to look into its layers.)
    of shut "$says" >/dev/null
    assert_equal "$(grep '"take layer"' ctx/trace.json)" ''
    rm -r "$CBPUSH_ROOT/trees/"*+*
    of shut "$says" >/dev/null
    grep -q '"take layer"' ctx/trace.json
}

@test "one after the other, in trees of directories" {
    export CBPUSH_TREES=directories
    both_ways
}

@test "one after the other, in trees that are images" {
    export CBPUSH_TREES=images
    both_ways
}

@test "one after the other, by an ordinary user" {
    user_setup
    as=(as_user "$RANGE")
    both_ways
}

@test "one after the other, by an ordinary user with one id" {
    user_setup
    as=(as_user '')
    both_ways 0
}

@test "in one build" {
    cat >ctx/Dockerfile <<END
FROM open
RUN $says >/said
FROM shut
RUN $says >/said
FROM alone
RUN stat -c %a:%u /t/d >/said
FROM scratch
COPY --from=0 /said /open
COPY --from=1 /said /shut
COPY --from=2 /said /alone
END
    for i in 1 2 3; do
        CBPUSH_ROOT=$CBPUSH_ROOT.$i cbpush build -q -o type=local,dest=out --build-context "open=oci-layout://$PWD/open" \
            --build-context "shut=oci-layout://$PWD/shut" --build-context "alone=oci-layout://$PWD/alone" ctx
        assert_equal "$(cat out/open out/shut out/alone)" "$(printf '777:0 one\n700:7 two!\n755:0')"
    done
}

@test "in one build, the same layers in another order" {
    cat >ctx/Dockerfile <<'END'
FROM first
RUN stat -c %a /u/d >/said
FROM second
RUN stat -c %a /u/d >/said
FROM scratch
COPY --from=0 /said /first
COPY --from=1 /said /second
END
    cbpush build -q -o type=local,dest=out --build-context "first=oci-layout://$PWD/first" --build-context "second=oci-layout://$PWD/second" ctx
    assert_equal "$(cat out/first out/second)" "$(printf '711\n711')"
}

@test "run, and what prune leaves" {
    for i in open shut; do
        cbpush copy "oci:$i" "store:test/$i"
    done
    assert_equal "$(cbpush run --network none "test/open" sh -c "$says")" '777:0 one'
    assert_equal "$(cbpush run --network none "test/shut" sh -c "$says")" '700:7 two!'
    cbpush prune -f
    assert_equal "$(cbpush run --network none "test/open" sh -c "$says")" '777:0 one'
    cbpush rmi test/open test/shut
    cbpush prune -af
    assert_equal "$(find "$CBPUSH_ROOT/trees" -mindepth 1 -maxdepth 1)" ''
}
