# SPDX-License-Identifier: Apache-2.0
"""Images as the files that they are made of, their layers on one another. Read by nothing of cbpush, so that no time is
saved by a wrong image."""
import collections
import gzip
import hashlib
import http.client
import json
import os
import tarfile

from measure import Failed

ACCEPT = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
CHUNK = 1 << 20
KINDS = {tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "link", tarfile.CHRTYPE: "device", tarfile.BLKTYPE: "device",
         tarfile.FIFOTYPE: "pipe"}

# Times are no part of it: every builder has its own.
Entry = collections.namedtuple("Entry", "kind mode owner data xattrs")


def get(name, path, accept=""):
    """The open reply; name is HOST:PORT/REPOSITORY."""
    address, _, repository = name.partition("/")
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.request("GET", f"/v2/{repository}/{path}", headers={"Accept": accept})
    reply = connection.getresponse()
    if reply.status != 200:
        raise Failed(f"{name}/{path}: {reply.status}")
    return reply


def manifest(name):
    """Of HOST:PORT/REPOSITORY:TAG."""
    repository, _, tag = name.rpartition(":")
    return json.loads(get(repository, f"manifests/{tag}", ", ".join(ACCEPT)).read())


def digest_of(file, path):
    """Python writes the time of the source into what it compiles."""
    if path.endswith(".pyc"):
        return "compiled"
    h = hashlib.sha256()
    while chunk := file.read(CHUNK):
        h.update(chunk)
    return h.hexdigest()


def entry_of(tar, member, path):
    xattrs = tuple(sorted((k, v) for k, v in member.pax_headers.items() if k.startswith("SCHILY.xattr.")))
    data = member.linkname
    if member.isreg():
        data = digest_of(tar.extractfile(member), path)
    elif member.isdev():
        data = f"{member.devmajor}:{member.devminor}"
    return Entry(KINDS.get(member.type, "file"), member.mode & 0o7777, (member.uid, member.gid), data, xattrs)


def drop(files, path, itself):
    below = path + "/" if path else ""
    for other in [p for p in files if p.startswith(below) or (itself and p == path)]:
        del files[other]


def read_layer(file):
    """(entries, hard links, whiteouts, opaque directories)"""
    entries, links, gone, opaque = {}, {}, [], []
    with tarfile.open(fileobj=file, mode="r|", bufsize=CHUNK) as tar:
        for member in tar:
            path = os.path.normpath("/" + member.name).lstrip("/")
            where, base = os.path.split(path)
            if base == ".wh..wh..opq":
                opaque.append(where)
            elif base.startswith(".wh."):
                gone.append(os.path.join(where, base[4:]))
            elif member.islnk():
                links[path] = os.path.normpath("/" + member.linkname).lstrip("/")
            elif path:
                entries[path] = entry_of(tar, member, path)
    return entries, links, gone, opaque


def apply(files, layer):
    entries, links, gone, opaque = layer
    if gone or opaque:
        for path in opaque:
            drop(files, path, False)
        for path in gone:
            drop(files, path, True)
    for path, entry in entries.items():
        if entry.kind != "directory" and path in files and files[path].kind == "directory":
            drop(files, path, True)
        files[path] = entry
    for path, target in links.items():
        files[path] = files[target]


def flatten(name):
    files = {}
    for layer in manifest(name)["layers"]:
        packed = layer["mediaType"].rpartition(".")[2].rpartition("+")[2]
        if packed not in ("gzip", "tar"):
            raise Failed(f"{name}: layers of type {layer['mediaType']} are not read here")
        reply = get(name.rpartition(":")[0], f"blobs/{layer['digest']}")
        apply(files, read_layer(gzip.GzipFile(fileobj=reply) if packed == "gzip" else reply))
    return files


def differences(one, other, own):
    """Paths that are not the same in both. own: those that every tool was given another file for."""
    return [p for p in sorted(one.keys() | other.keys()) if p not in own and one.get(p) != other.get(p)]


def told(path, one, other):
    """What differs, in short."""
    a, b = one.get(path), other.get(path)
    if a is None or b is None:
        return f"/{path} is only in {'the other' if a is None else 'cbpush’s'}"
    fields = [f for f in Entry._fields if getattr(a, f) != getattr(b, f)]
    return f"/{path}: " + ", ".join(f"{f} {getattr(a, f)!s:.20} and {getattr(b, f)!s:.20}" for f in fields)
