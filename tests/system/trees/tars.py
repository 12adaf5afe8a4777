# SPDX-License-Identifier: Apache-2.0
"""Reads layers and lays them over each other, from the image-spec. Shares no code with cbpush."""
import ctypes
import gzip
import hashlib
import io
import json
import os
import tarfile

import names

KINDS = {tarfile.REGTYPE: "f", tarfile.AREGTYPE: "f", tarfile.CONTTYPE: "f", tarfile.DIRTYPE: "d",
         tarfile.SYMTYPE: "l",
         tarfile.FIFOTYPE: "p", tarfile.CHRTYPE: "c", tarfile.BLKTYPE: "b", tarfile.GNUTYPE_SPARSE: "f"}


class Bad(Exception):
    """What was read is not what a specification wants."""


def unzstd(data):
    """All frames of it."""
    lib = ctypes.CDLL("libzstd.so.1")
    for name in ("ZSTD_decompress", "ZSTD_getFrameContentSize", "ZSTD_findFrameCompressedSize"):
        getattr(lib, name).restype = ctypes.c_ulonglong
    out, at = [], 0
    while at < len(data):
        rest = data[at:]
        n = lib.ZSTD_findFrameCompressedSize(rest, ctypes.c_size_t(len(rest)))
        if n > len(rest):
            raise Bad("no zstd frame")
        if rest[1:4] != b"\x2a\x4d\x18":  # none that is skipped
            size = lib.ZSTD_getFrameContentSize(rest, ctypes.c_size_t(len(rest)))
            size = size if size < 1 << 40 else 64 << 20
            room = ctypes.create_string_buffer(max(size, 1))
            got = lib.ZSTD_decompress(room, ctypes.c_size_t(size), rest, ctypes.c_size_t(n))
            if got > size:
                raise Bad("a damaged zstd frame")
            out.append(room.raw[:got])
        at += n
    return b"".join(out)


class Layout:
    """The one image of an OCI layout."""

    def __init__(self, path):
        self.path = path
        with open(os.path.join(path, "index.json"), "rb") as f:
            self.manifest = json.loads(self.blob(json.load(f)["manifests"][0]))
        self.config = json.loads(self.blob(self.manifest["config"]))
        self.layers = self.manifest["layers"]
        if len(self.layers) != len(self.config["rootfs"]["diff_ids"]):
            raise Bad("layers and diffIDs are not as many")

    def blob(self, descriptor):
        with open(os.path.join(self.path, "blobs", *descriptor["digest"].split(":")), "rb") as f:
            data = f.read()
        if "sha256:" + hashlib.sha256(data).hexdigest() != descriptor["digest"] or len(data) != descriptor["size"]:
            raise Bad(f"{descriptor['digest']} is not what its name says")
        return data

    def tar(self, i):
        data, kind = self.blob(self.layers[i]), self.layers[i]["mediaType"]
        data = gzip.decompress(data) if kind.endswith("gzip") else unzstd(data) if kind.endswith("zstd") else data
        if "sha256:" + hashlib.sha256(data).hexdigest() != self.config["rootfs"]["diff_ids"][i]:
            raise Bad(f"layer {i} has not the diffID that the configuration names")
        return data

    def tree(self, first=0):
        """Of the layers from the first on."""
        out = {}
        for i in range(first, len(self.layers)):
            apply(out, self.tar(i))
        return out


def node_of(archive, m):
    n = names.Node(KINDS[m.type], m.mode, m.uid, m.gid, int(m.mtime // 1))
    n.link, n.device = names.raw(m.linkname), (m.devmajor, m.devminor)
    n.xattrs = {names.raw(k[13:]): names.raw(v) for k, v in m.pax_headers.items() if k.startswith("SCHILY.xattr.")}
    if n.kind == "f":
        n.data = archive.extractfile(m).read()
    return n


def remove(tree, path, itself):
    for name in [n for n in tree if n.startswith(path + b"/") or (itself and n == path)]:
        del tree[name]


def whiteout(tree, path):
    """Applies it; False where the name is none."""
    head, _, name = path.rpartition(b"/")
    if name == b".wh..wh..opq":
        remove(tree, head, False)
    elif name.startswith(b".wh."):
        remove(tree, os.path.join(head, name[4:]), True)
    else:
        return False
    return True


def normal(name):
    return os.path.normpath(b"/" + names.raw(name)).lstrip(b"/")


def members(data, whiteouts=True):
    """(path, TarInfo, Node or path of a link's target), in order; whiteouts first."""
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape", encoding="utf-8",
                      ignore_zeros=False) as archive:
        all_of_it = [(normal(m.name), m) for m in archive]
        marks = [p for p, _ in all_of_it if whiteouts and p.rpartition(b"/")[2].startswith(b".wh.")]
        yield from ((p, None, None) for p in marks)
        for path, m in all_of_it:
            if path and path not in marks:
                yield path, m, normal(m.linkname) if m.type == tarfile.LNKTYPE else node_of(archive, m)


def apply(tree, data):
    """One layer over a tree. Whiteouts hide what is below only, so they come first."""
    for path, m, what in members(data):
        if m is None:
            whiteout(tree, path)
        elif isinstance(what, bytes):
            file = tree[what]
            remove(tree, path, False)
            tree[path] = file
        else:
            if what.kind != "d":
                remove(tree, path, False)
            tree[path] = what
