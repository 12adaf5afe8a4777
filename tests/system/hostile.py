#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Pushes images that are made to do harm, for the system tests.

usage: hostile.py --list | hostile.py REGISTRY-URL REPO CASE BUSYBOX
       hostile.py --list-archives | hostile.py --archive CASE FILE: what does harm as an archive, alone

Each case is an image REPO:CASE of two layers: a small root file system with busybox, and the one that does harm. A file
that gets out of the image would be named escaped, or the text of it would hold `escaped`.

Standard library only; speaks the registry's API itself, since tools for images would refuse some of these.
"""
import gzip
import hashlib
import io
import json
import sys
import tarfile
import urllib.request

BLOCK = 512
CASES = {}


def case(verdict):
    """verdict: `refused` (must fail) or `contained` (may fail; nothing may get out)."""
    def note(f):
        CASES[f.__name__.replace("_", "-")] = (verdict, f)
        return f
    return note


def entry(tar, name, data=b"escaped\n", **fields):
    info = tarfile.TarInfo(name)
    info.mode = 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    if info.type != tarfile.REGTYPE:
        data = b""
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def directory(tar, name, mode=0o755):
    entry(tar, name, type=tarfile.DIRTYPE, mode=mode)


def link(tar, name, target):
    entry(tar, name, type=tarfile.SYMTYPE, linkname=target)


def make(fill, **options):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, **options) as tar:
        fill(tar)
    return out.getvalue()


def header(name, size_field, kind=b"0"):
    """A ustar header with a size field of one's own, its checksum right."""
    block = bytearray(BLOCK)
    block[0:len(name)] = name
    block[100:108] = b"0000644\0"
    block[108:116] = block[116:124] = b"0000000\0"
    block[124:124 + len(size_field)] = size_field
    block[136:148] = b"00000000000\0"
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def root_layer(busybox):
    def fill(tar):
        for name in ("bin", "etc", "tmp", "proc", "sys", "dev"):
            directory(tar, name)
        with open(busybox, "rb") as f:
            entry(tar, "bin/busybox", f.read(), mode=0o755)
        for name in ("sh", "true", "ls", "cat", "echo", "find"):
            link(tar, f"bin/{name}", "busybox")
        entry(tar, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
        entry(tar, "etc/group", b"root:x:0:\n")
    return make(fill)


# ---- names that lead out

@case("refused")
def dots(tar):
    entry(tar, "../escaped")


@case("refused")
def dots_inside(tar):
    entry(tar, "tmp/../../../escaped")


@case("refused")
def dots_only(tar):
    directory(tar, "..", 0o777)


@case("contained")
def absolute(tar):
    entry(tar, "/tmp/escaped")
    entry(tar, "//tmp//escaped2")


@case("contained")
def link_up(tar):
    link(tar, "up", "../../../../../../../..")
    entry(tar, "up/tmp/escaped")


@case("contained")
def link_absolute(tar):
    link(tar, "out", "/tmp")
    entry(tar, "out/escaped")


@case("contained")
def link_chain(tar):
    link(tar, "b", "..")
    link(tar, "a", "b/../../..")
    entry(tar, "a/tmp/escaped")


@case("contained")
def link_then_chmod(tar):
    directory(tar, "d", 0o777)
    link(tar, "d", "/tmp")
    directory(tar, "d", 0o000)


@case("contained")
def root_is_link(tar):
    link(tar, ".", "/tmp")
    entry(tar, "./escaped")


@case("contained")
def bin_is_link(tar):
    link(tar, "bin", "/usr/bin")
    entry(tar, "bin/escaped")


@case("refused")
def hardlink_up(tar):
    entry(tar, "tmp/hard", type=tarfile.LNKTYPE, linkname="../../../../../../../../etc/passwd")


@case("contained")
def hardlink_absolute(tar):
    entry(tar, "tmp/hard", type=tarfile.LNKTYPE, linkname="/etc/hostname")


@case("contained")
def hardlink_through_link(tar):
    link(tar, "out", "/")
    entry(tar, "tmp/hard", type=tarfile.LNKTYPE, linkname="out/etc/hostname")


@case("contained")
def hardlink_nowhere(tar):
    entry(tar, "tmp/hard", type=tarfile.LNKTYPE, linkname="no/such/file")


# ---- whiteouts

@case("refused")
def whiteout_dots(tar):
    entry(tar, "tmp/.wh...", b"")


@case("refused")
def whiteout_dot(tar):
    entry(tar, "tmp/.wh..", b"")


@case("refused")
def whiteout_nothing(tar):
    entry(tar, "tmp/.wh.", b"")


@case("contained")
def whiteout_through_link(tar):
    link(tar, "out", "/tmp")
    entry(tar, "out/.wh.victim", b"")
    entry(tar, "out/.wh..wh..opq", b"")


@case("contained")
def opaque_late(tar):
    entry(tar, "tmp/own")
    entry(tar, "tmp/.wh..wh..opq", b"")


# ---- what overlayfs and others would read

@case("contained")
def overlay_xattrs(tar):
    pax = {"SCHILY.xattr.trusted.overlay.redirect": "/tmp", "SCHILY.xattr.user.overlay.redirect": "/tmp",
           "SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.user.overlay.whiteout": "y",
           "SCHILY.xattr.trusted.overlay.metacopy": "", "SCHILY.xattr.user.containers.override_stat": "0:0:0777"}
    entry(tar, "etc/redirected", type=tarfile.DIRTYPE, mode=0o755, pax_headers=pax)
    entry(tar, "etc/metacopy", b"x", pax_headers=pax)


@case("contained")
def devices(tar):
    for name, kind, major, minor in (("mem", tarfile.CHRTYPE, 1, 1), ("disk", tarfile.BLKTYPE, 8, 0), ("wh", tarfile.CHRTYPE, 0, 0)):
        entry(tar, f"tmp/{name}", type=kind, devmajor=major, devminor=minor, mode=0o666)
    entry(tar, "tmp/fifo", type=tarfile.FIFOTYPE)


@case("contained")
def passwd_fifo(tar):
    entry(tar, "etc/passwd", type=tarfile.FIFOTYPE)


@case("contained")
def passwd_link(tar):
    link(tar, "etc/passwd", "/dev/zero")


@case("contained")
def tmp_is_file(tar):
    entry(tar, "tmp", b"a file\n")
    entry(tar, "proc", b"a file\n")


@case("contained")
def same_name_many_times(tar):
    for kind in (tarfile.DIRTYPE, tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE, tarfile.REGTYPE):
        entry(tar, "tmp/x", b"last\n", type=kind, linkname="/tmp", mode=0o755)


@case("contained")
def deep(tar):
    entry(tar, "d/" * 1500 + "f")


# ---- broken tars: (bytes)

@case("refused")
def size_negative(_):
    return header(b"tmp/x", b"\xff" * 12) + b"\0" * 4 * BLOCK


@case("refused")
def size_huge(_):
    return header(b"tmp/x", b"\x80\x00\x00\x00\x7f" + b"\xff" * 7) + b"x" * BLOCK


@case("refused")
def size_beyond_end(_):
    return header(b"tmp/x", b"77777777777\0") + b"x" * BLOCK


@case("refused")
def bad_checksum(_):
    block = bytearray(header(b"tmp/x", b"00000000000\0"))
    block[148:156] = b"000000\0 "
    return bytes(block) + b"\0" * 2 * BLOCK


@case("refused")
def no_tar(_):
    return b"this is no tar at all. " * 200


@case("refused")
def pax_length_lies(_):
    record = b"999 path=../escaped\n"
    return (header(b"pax", b"%011o\0" % len(record), b"x") + record.ljust(BLOCK, b"\0")
            + header(b"tmp/x", b"00000000000\0") + b"\0" * 2 * BLOCK)


@case("refused")
def pax_dots(tar):
    entry(tar, "tmp/x", pax_headers={"path": "../../escaped"})


@case("refused")
def name_with_nul(tar):
    entry(tar, "tmp/x", pax_headers={"path": "tmp/a\0b/../../escaped"})


# ---- what the manifest says

@case("refused")
def wrong_diff_id(tar):
    entry(tar, "tmp/x")


@case("contained")
def diff_id_lent(tar):
    entry(tar, "tmp/lent", b"as it is\n")


@case("refused")
def wrong_diff_id_of_another(tar):
    entry(tar, "tmp/x")


@case("refused")
def too_few_diff_ids(tar):
    entry(tar, "tmp/x")


@case("refused")
def huge_declared_size(tar):
    entry(tar, "tmp/x")


@case("refused")
def trailing_garbage(tar):
    entry(tar, "tmp/x")


@case("contained")
def user_overflow(tar):
    entry(tar, "tmp/x")


@case("contained")
def workdir_out(tar):
    link(tar, "work", "/../../../../tmp")


@case("contained")
def workdir_proc(tar):
    entry(tar, "tmp/x")


@case("contained")
def labels_for_runtimes(tar):
    entry(tar, "tmp/x")


class Registry:
    def __init__(self, url, repo):
        self.base = f"{url}/v2/{repo}"
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def send(self, method, url, data=b"", kind="application/octet-stream"):
        request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": kind})
        return self.opener.open(request, timeout=30)

    def blob(self, data):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        where = self.send("POST", f"{self.base}/blobs/uploads/").headers["Location"]
        self.send("PUT", f"{where}&digest={digest}", data)
        return digest

    def manifest(self, tag, manifest):
        self.send("PUT", f"{self.base}/manifests/{tag}", json.dumps(manifest).encode(), manifest["mediaType"])


def config_for(name, diff_ids):
    config = {"Env": ["PATH=/bin"], "Cmd": ["true"]}
    if name == "wrong-diff-id":
        diff_ids = [diff_ids[0], "sha256:" + "0" * 64]
    elif name == "wrong-diff-id-of-another":
        diff_ids = [diff_ids[0], "sha256:" + hashlib.sha256(raw_archive("diff-id-lent")).hexdigest()]
    elif name == "too-few-diff-ids":
        diff_ids = diff_ids[:1]
    elif name == "user-overflow":
        config["User"] = "4294967296"
    elif name == "workdir-out":
        config["WorkingDir"] = "/work/../../escaped"
    elif name == "workdir-proc":
        config["WorkingDir"] = "/proc/self/fd/3"
    elif name == "labels-for-runtimes":
        config["Labels"] = {"run.oci.hooks.stdout": "/escaped", "run.oci.handler": "krun"}
    return {"architecture": ARCH, "os": "linux", "config": config, "rootfs": {"type": "layers", "diff_ids": diff_ids}}


def raw_archive(name):
    fill = CASES[name][1]
    return fill(None) if fill.__code__.co_varnames[:1] == ("_",) else make(fill)


def push(registry, name, busybox):
    verdict = CASES[name][0]
    tars = [root_layer(busybox), raw_archive(name)]
    blobs = [gzip.compress(t, 1, mtime=0) for t in tars]
    if name == "trailing-garbage":
        blobs[1] += b"garbage after the end"
    layers = [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": registry.blob(b), "size": len(b)} for b in blobs]
    if name == "huge-declared-size":
        layers[1]["size"] = 1 << 62
    config = json.dumps(config_for(name, ["sha256:" + hashlib.sha256(t).hexdigest() for t in tars])).encode()
    registry.manifest(name, {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": registry.blob(config), "size": len(config)},
        "layers": layers})
    return verdict


ARCH = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}.get(__import__("os").uname().machine, "amd64")


# Whose archive is as any other.
OF_IMAGES = ("wrong-", "diff-id-", "too-few-", "huge-declared-", "trailing-", "user-", "workdir-", "labels-")


def main():
    if sys.argv[1:] == ["--list-archives"]:
        for name, (verdict, _) in CASES.items():
            if not name.startswith(OF_IMAGES):
                print(name, verdict)
        return
    if sys.argv[1:2] == ["--archive"]:
        with open(sys.argv[3], "wb") as out:
            out.write(raw_archive(sys.argv[2]))
        return
    if sys.argv[1:] == ["--list"]:
        for name, (verdict, _) in CASES.items():
            print(name, verdict)
        return
    url, repo, name, busybox = sys.argv[1:]
    print(push(Registry(url, repo), name, busybox))


if __name__ == "__main__":
    main()
