#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Gives an image another word about the tables of its layers (doc/toc.md), for the system tests.

usage: liar.py REGISTRY-URL REPO TAG NEW-TAG CASE [LAYER]

What REPO:TAG is pushed again as REPO:NEW-TAG, with annotations of layer LAYER (0: the lowest) by the case; layers and
config are the same. Standard library only.
"""
import hashlib
import json
import sys
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


class Liar:
    def __init__(self, base, repo):
        self.base = f"{base}/v2/{repo}"

    def blob(self, data):
        where = ask("POST", f"{self.base}/blobs/uploads/", b"").headers["Location"]
        where += ("&" if "?" in where else "?") + "digest=" + urllib.parse.quote(digest_of(data))
        ask("PUT", where, data, **{"Content-Type": "application/octet-stream"})
        return {DIGEST: digest_of(data), SIZE: str(len(data))}

    def pin(self, case, layers, at):
        have = layers[at].get("annotations", {})
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
    layers[at]["annotations"] = liar.pin(case, layers, at)
    body = json.dumps(manifest).encode()
    ask("PUT", f"{liar.base}/manifests/{new}", body, **{"Content-Type": OCI})


main()
