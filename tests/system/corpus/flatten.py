# SPDX-License-Identifier: Apache-2.0
"""Reads an OCI layout (a directory or a tar archive) and lays its layers over each other. Shares no code with cbpush."""
import gzip
import hashlib
import io
import json
import os
import tarfile

KINDS = {tarfile.REGTYPE: "f", tarfile.AREGTYPE: "f", tarfile.CONTTYPE: "f", tarfile.DIRTYPE: "d", tarfile.SYMTYPE: "l",
         tarfile.FIFOTYPE: "p", tarfile.CHRTYPE: "c", tarfile.BLKTYPE: "b"}


class BadImage(Exception):
    """What was read is no image as the OCI's specification wants it."""


class Layout:
    """The blobs of an OCI layout."""

    def __init__(self, path):
        self.path, self.archive = path, None
        if not os.path.isdir(path):
            self.archive = tarfile.open(path)

    def read(self, name):
        if self.archive:
            return self.archive.extractfile(name).read()
        with open(os.path.join(self.path, name), "rb") as f:
            return f.read()

    def blob(self, descriptor):
        algorithm, _, hexes = descriptor["digest"].partition(":")
        data = self.read(f"blobs/{algorithm}/{hexes}")
        if hashlib.sha256(data).hexdigest() != hexes or len(data) != descriptor["size"]:
            raise BadImage(f"{descriptor['digest']} is not what its name says")
        return data

    def manifest(self):
        """The one image of the layout."""
        found = json.loads(self.read("index.json"))["manifests"]
        while len(found) == 1:
            document = json.loads(self.blob(found[0]))
            if "config" in document:
                return document
            found = document["manifests"]
        raise BadImage(f"{len(found)} manifests, wanted one")


class Entry:
    """A file; two names of one file are the same object."""

    def __init__(self, info, data):
        self.kind, self.mode, self.uid, self.gid = KINDS[info.type], info.mode, info.uid, info.gid
        self.mtime, self.link, self.data = info.mtime, info.linkname, data
        self.device = (info.devmajor, info.devminor) if self.kind in "cb" else None
        self.xattrs = {k[14:]: v for k, v in info.pax_headers.items() if k.startswith("SCHILY.xattr.")}

    def same(self, other):
        return all(getattr(self, k) == getattr(other, k) for k in
                   ("kind", "mode", "uid", "gid", "link", "data", "device", "xattrs"))


def tar_of(layout, descriptor):
    data = layout.blob(descriptor)
    return gzip.decompress(data) if descriptor["mediaType"].endswith("gzip") else data


def remove(tree, path, itself):
    for name in [n for n in tree if n.startswith(path + "/") or (itself and n == path)]:
        del tree[name]


def whiteout(tree, path):
    """Applies a whiteout; False if the name is none."""
    head, _, name = path.rpartition("/")
    if name == ".wh..wh..opq":
        for old in [n for n in tree if n.startswith(head + "/")]:
            del tree[old]
        return True
    if not name.startswith(".wh."):
        return False
    remove(tree, os.path.join(head, name[4:]), True)
    return True


def apply(tree, data):
    """One layer over a tree. Whiteouts hide what is below only, so they come first."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = [(os.path.normpath(m.name.lstrip("/")), m) for m in archive]
        members = [(path, m) for path, m in members if path != "." and not whiteout(tree, path)]
        for path, m in members:
            if m.type == tarfile.LNKTYPE:
                tree[path] = tree[os.path.normpath(m.linkname.lstrip("/"))]
                continue
            if m.type != tarfile.DIRTYPE:
                remove(tree, path, False)
            tree[path] = Entry(m, archive.extractfile(m).read() if m.isreg() else None)


class Image:
    """base: the tree after the layers of the longest known parent; tree: after all of them."""

    def __init__(self, path, parents=()):
        layout = Layout(path)
        manifest = layout.manifest()
        self.config = json.loads(layout.blob(manifest["config"]))
        self.diff_ids = self.config["rootfs"].get("diff_ids") or []
        self.base, self.tree = {}, {}
        known = max((p for p in parents if self.diff_ids[:len(p.diff_ids)] == p.diff_ids),
                    key=lambda p: len(p.diff_ids), default=None)
        skip = len(known.diff_ids) if known else 0
        if known:
            self.base, self.tree = known.tree, dict(known.tree)
        layers = manifest["layers"] or []
        if len(layers) != len(self.diff_ids):
            raise BadImage(f"{len(layers)} layers, {len(self.diff_ids)} diffIDs")
        for layer, diff_id in zip(layers[skip:], self.diff_ids[skip:]):
            data = tar_of(layout, layer)
            if "sha256:" + hashlib.sha256(data).hexdigest() != diff_id:
                raise BadImage(f"{diff_id} is not the digest of its layer")
            apply(self.tree, data)
