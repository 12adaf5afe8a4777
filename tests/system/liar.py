#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Gives an image another word about the tables of its layers (doc/toc.md), for the system tests.

usage: liar.py REGISTRY-URL REPO TAG NEW-TAG CASE [LAYER]

Cases carried-*: of tables that eStargz and zstd:chunked layers carry with them; carried-lie is a layer with a table that
says that /short is a link to /elsewhere. layer=BLOB,ANNOTATIONS,gzip|zstd: that layer in place of the one that is there.

What REPO:TAG is pushed again as REPO:NEW-TAG, with annotations of layer LAYER (0: the lowest) by the case; layers and
config are the same where the case is none of a layer. Standard library only.
"""
import gzip
import hashlib
import io
import json
import struct
import subprocess
import sys
import tarfile
import urllib.parse
import urllib.request

OCI = "application/vnd.oci.image.manifest.v1+json"
DIGEST, SIZE = "vnd.cbpush.toc.digest", "vnd.cbpush.toc.size"


def ask(method, url, data=None, **headers):
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    return urllib.request.urlopen(request)


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def varint(v):
    out = b""
    while v >= 0x80:
        out += bytes([v & 0x7F | 0x80])
        v >>= 7
    return out + bytes([v])


def table(*entries):
    """A table by doc/toc.md; entries in order: (type, path, link or None), without sharing parts of paths unless they
    have to."""
    body, before = b"cbtoc\0\0\1" + varint(len(entries)), b""
    for kind, path, link in entries:
        path = path.encode()
        shared = 0
        while shared < min(len(before), len(path)) and before[shared] == path[shared]:
            shared += 1
        body += bytes([kind]) + varint(shared) + varint(len(path) - shared) + path[shared:]
        body += varint(0o755) + varint(0) + varint(0) + varint(0)
        if link is not None:
            body += varint(len(link)) + link.encode()
        before = path
    return body + hashlib.sha256(body).digest()


DIR, SYMLINK = 3, 5


ESTARGZ = "containerd.io/snapshot/stargz/toc.digest"
CHUNKED, AT = ("io.github.containers.zstd-chunked.manifest-" + x for x in ("checksum", "position"))


def plain_of(blob):
    if blob[:2] == b"\x1f\x8b":
        return gzip.decompress(blob)
    return subprocess.run(["zstd", "-dcq"], input=blob, stdout=subprocess.PIPE, check=True).stdout


def lie(text):
    """/short leads elsewhere."""
    toc = json.loads(text)
    for e in toc["entries"]:
        if e["name"].rstrip("/") == "short":
            e["linkName"] = "/elsewhere"
    return json.dumps(toc).encode()


def lying_estargz(blob):
    offset = int(blob[-51 + 16:-51 + 32], 16)
    text = lie(tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob[offset:]))).extractfile("stargz.index.json").read())
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as t:
        entry = tarfile.TarInfo("stargz.index.json")
        entry.size, entry.mode = len(text), 0
        t.addfile(entry, io.BytesIO(text))
    table = gzip.compress(tar.getvalue())
    footer = blob[-51:-51 + 16] + b"%016x" % offset + blob[-51 + 32:]
    return blob[:offset] + table + footer, {ESTARGZ: digest_of(text)}


def lying_chunked(blob, notes):
    offset, length = (int(x) for x in notes[AT].split(":")[:2])
    text = lie(plain_of(blob[offset:offset + length]))
    table = subprocess.run(["zstd", "-cq"], input=text, stdout=subprocess.PIPE, check=True).stdout
    where = f"{len(blob) + 8}:{len(table)}:{len(text)}:1"
    return blob + struct.pack("<II", 0x184D2A50, len(table)) + table, {CHUNKED: digest_of(table), AT: where}


def other_word(case, have):
    """The annotations of a layer with a table, and one thing wrong."""
    key = ESTARGZ if ESTARGZ in have else CHUNKED
    if case == "carried-digest":
        return {**have, key: "sha256:" + "1" * 64}
    if case == "carried-words":
        return {**have, key: "sha256:../../x"}
    if case == "carried-both":
        return {**have, ESTARGZ: "sha256:" + "1" * 64, CHUNKED: "sha256:" + "1" * 64, AT: "1:2:3:1"}
    if case == "carried-place":
        return {**have, AT: "18446744073709551600:99:99:1"}
    sys.exit(f"liar.py: no case {case}")


class Liar:
    def __init__(self, base, repo):
        self.base = f"{base}/v2/{repo}"

    def blob(self, data):
        where = ask("POST", f"{self.base}/blobs/uploads/", b"").headers["Location"]
        where += ("&" if "?" in where else "?") + "digest=" + urllib.parse.quote(digest_of(data))
        ask("PUT", where, data, **{"Content-Type": "application/octet-stream"})
        return {DIGEST: digest_of(data), SIZE: str(len(data))}

    def read(self, digest):
        return ask("GET", f"{self.base}/blobs/{digest}").read()

    def replace(self, manifest, at, blob, notes):
        """Another layer, and a config that knows it."""
        config = json.loads(self.read(manifest["config"]["digest"]))
        config["rootfs"]["diff_ids"][at] = digest_of(plain_of(blob))
        text = json.dumps(config).encode()
        for data in (blob, text):
            self.blob(data)
        manifest["config"].update(digest=digest_of(text), size=len(text))
        manifest["layers"][at].update(digest=digest_of(blob), size=len(blob), annotations=notes)

    def replace_by(self, manifest, at, case):
        layer = manifest["layers"][at]
        if case == "carried-lie":
            blob, notes = self.read(layer["digest"]), layer["annotations"]
            self.replace(manifest, at, *(lying_estargz(blob) if ESTARGZ in notes else lying_chunked(blob, notes)))
            return
        blob, notes, kind = case.split("=")[1].split(",")
        layer["mediaType"] = "application/vnd.oci.image.layer.v1.tar+" + kind
        with open(blob, "rb") as b, open(notes, encoding="utf-8") as n:
            self.replace(manifest, at, b.read(), json.load(n))

    def pin(self, case, layers, at):
        have = layers[at].get("annotations", {})
        if case.startswith("carried-"):
            return other_word(case, have)
        if case == "none":
            return {}
        if case == "gone":
            return {DIGEST: "sha256:" + "1" * 64, SIZE: "500"}
        if case == "size":
            return {**have, SIZE: str(int(have[SIZE]) + 1)}
        if case == "huge":
            return {**have, SIZE: str(1 << 40)}
        if case == "words":
            return {DIGEST: "sha256:../../x", SIZE: "many"}
        if case == "garbage":
            return self.blob(b"not a table at all " * 20)
        if case == "escape":
            return self.blob(table((DIR, "../etc", None)))
        if case == "absolute":
            return self.blob(table((DIR, "/etc", None)))
        if case == "count":
            body = b"cbtoc\0\0\1" + varint(19000000)
            return self.blob(body + hashlib.sha256(body).digest())
        if case == "future":
            body = b"cbtoc\0\0\x63" + varint(0)
            return self.blob(body + hashlib.sha256(body).digest())
        if case == "link":
            return self.blob(table((SYMLINK, "app", "elsewhere"), (DIR, "elsewhere", None)))
        if case == "other":
            return layers[at - 1]["annotations"]
        sys.exit(f"liar.py: no case {case}")


def main():
    base, repo, tag, new, case = sys.argv[1:6]
    at = int(sys.argv[6]) if len(sys.argv) > 6 else 0
    liar = Liar(base, repo)
    manifest = json.load(ask("GET", f"{liar.base}/manifests/{tag}", Accept=OCI))
    layers = manifest["layers"]
    if case == "carried-lie" or case.startswith("layer="):
        liar.replace_by(manifest, at, case)
    else:
        layers[at]["annotations"] = liar.pin(case, layers, at)
    body = json.dumps(manifest).encode()
    ask("PUT", f"{liar.base}/manifests/{new}", body, **{"Content-Type": OCI})


main()
