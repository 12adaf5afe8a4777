# SPDX-License-Identifier: Apache-2.0
"""Readers of the tables that chunked layers carry, from their specifications: eStargz (stargz-snapshotter) and zstd:chunked
(containers/storage). Each file is taken from the blob by its table alone."""
import datetime
import hashlib
import gzip
import io
import json
import tarfile
import base64
import zlib

import names
import tars

ZSTD = "io.github.containers.zstd-chunked."


def want(condition, text):
    if not condition:
        raise tars.Bad(text)


def sum_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def seconds(text):
    """Of RFC 3339, which may be before 1970."""
    when = datetime.datetime.fromisoformat(text.replace("Z", "+00:00")[:19] + "+00:00")
    return int((when - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)).total_seconds())


class Table:
    """What both formats share: rows, each a file or a further part of one."""

    def __init__(self, blob, rows):
        self.blob, self.rows = blob, rows

    def parts(self, i):
        """The rows of a file: its own and those of its chunks."""
        out = [self.rows[i]]
        for row in self.rows[i + 1:]:
            if row["type"] != "chunk":
                break
            out.append(row)
        return out

    def data(self, i):
        row, out = self.rows[i], b""
        for part in self.parts(i) if row.get("size") else []:
            want(part.get("chunkOffset", 0) == len(out), f"{row['name']}: chunks are not in order")
            size = part.get("chunkSize") or row["size"] - len(out)
            piece = self.piece(part, size)
            want(len(piece) == size, f"{row['name']}: a chunk of {len(piece)} bytes, not {size}")
            want(part.get("chunkDigest", "") in ("", sum_of(piece)), f"{row['name']}: digest of a chunk")
            out += piece
        want(len(out) == row.get("size", 0), f"{row['name']}: {len(out)} bytes, not {row.get('size')}")
        want(not out or row["digest"] == sum_of(out), f"{row['name']}: digest")
        return out

    def line(self, i):
        """As line_of tells a member of the tar."""
        row = self.rows[i]
        kind = row["type"]
        text = [tars.normal(row["name"]).decode(), kind, f"{row.get('mode', 0) & 0o7777:o}", row.get("uid", 0),
                row.get("gid", 0),
                seconds(row.get("modtime", "1970-01-01T00:00:00Z")), row.get("linkName", "") if kind in ("symlink",
                                                            "hardlink") else "",
                (row.get("devMajor", 0), row.get("devMinor", 0)) if kind in ("char", "block") else "",
                sorted((k, base64.b64decode(v)) for k, v in (row.get("xattrs") or {}).items())]
        return text + [self.data(i) if kind == "reg" else b""]

    def lines(self):
        return [self.line(i) for i, row in enumerate(self.rows) if row["type"] != "chunk"]


class ZstdChunked(Table):
    def __init__(self, blob, annotations):
        where = annotations[ZSTD + "manifest-position"].split(":")
        at, size, whole, kind = (int(n) for n in where)
        packed = blob[at:at + size]
        want(kind == 1 and sum_of(packed) == annotations[ZSTD + "manifest-checksum"],
             "zstd:chunked: the manifest's digest")
        text = tars.unzstd(packed)
        want(len(text) == whole, "zstd:chunked: the manifest's size")
        want(blob[-8:] == b"GNUlInUx", "zstd:chunked: the footer's magic")
        numbers = [int.from_bytes(blob[-n:-n + 8], "little") for n in (64, 56, 48, 40)]
        want(numbers == [at, size, whole, 1], f"zstd:chunked: the footer says {numbers}, the annotation {where}")
        document = json.loads(text)
        want(document["version"] == 1, "zstd:chunked: version")
        super().__init__(blob, document["entries"])

    def data(self, i):
        row = self.rows[i]
        if row.get("size"):
            last = self.parts(i)[-1]
            want(row["offset"] < row["endOffset"] and last["offset"] < row["endOffset"],
                 f"{row['name']}: it ends before its chunks")
        return super().data(i)

    def piece(self, part, size):
        if part.get("chunkType") == "zeros":
            return bytes(size)
        row = self.rows.index(part)
        end = next((r["offset"] for r in self.rows[row + 1:] if r["type"] == "chunk" and r["name"] == part["name"]),
                   None)
        if end is None:
            end = next(r for r in self.rows[row::-1] if r["type"] == "reg")["endOffset"]
        return tars.unzstd(self.blob[part["offset"]:end])


class EStargz(Table):
    def __init__(self, blob, annotations):
        footer = blob[-51:]
        want(footer[:4] == b"\x1f\x8b\x08\x04" and footer[12:16] == b"SG\x16\x00", "eStargz: no footer")
        want(footer[32:38] == b"STARGZ", "eStargz: the footer's magic")
        at = int(footer[16:32], 16)
        packed = gzip.decompress(blob[at:-51])
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            text = archive.extractfile("stargz.index.json").read()
        want(sum_of(text) == annotations["containerd.io/snapshot/stargz/toc.digest"], "eStargz: the table's digest")
        super().__init__(blob, json.loads(text)["entries"])

    def piece(self, part, size):
        """One gzip member begins there."""
        inflate, at, out, skip = zlib.decompressobj(31), part["offset"], b"", part.get("innerOffset", 0)
        while len(out) < size + skip and at < len(self.blob):
            out += inflate.decompress(self.blob[at:at + 65536])
            at += 65536
            if inflate.eof and len(out) < size + skip:
                break
        return out[skip:skip + size]


TYPES = {"f": "reg", "d": "dir", "l": "symlink", "p": "fifo", "c": "char", "b": "block"}


def line_of(path, member, what):
    """what: a Node, or bytes: the target of a link."""
    link = isinstance(what, bytes)
    kind = "hardlink" if link else TYPES[what.kind]
    target = what if link else what.link if what.kind == "l" else b""
    xattrs = [] if link else sorted((k.decode(), v) for k, v in what.xattrs.items())
    return [path.decode(), kind, f"{member.mode & 0o7777:o}", member.uid, member.gid, int(member.mtime // 1),
            target.decode(),
            what.device if kind in ("char", "block") else "", xattrs, b"" if link else what.data]


def text_only(line):
    """What is no UTF-8 JSON cannot hold."""
    return "\ufffd" not in line[0] + line[6] + "".join(k for k, _ in line[8])


def check(layout, i, kind):
    """The table of a layer against its tar; how many entries there are."""
    layer = layout.layers[i]
    table = (ZstdChunked if kind == "zstd:chunked" else EStargz)(layout.blob(layer), layer.get("annotations", {}))
    members = list(tars.members(layout.tar(i), False))
    is_text = [n for n, (p, m, w) in enumerate(members) if can_be_text(p, m, w)]
    got = table.lines()
    if kind != "zstd:chunked":
        want(members[-1][0] == b"stargz.index.json", "eStargz: the table is not the last file")
        is_text.remove(len(members) - 1)
        want(len(got) == len(members) - 1, f"{kind}: {len(got)} entries, {len(members)} in the tar")
    else:
        want(len(got) == len(members), f"{kind}: {len(got)} entries, {len(members)} in the tar")
    for n in is_text:
        a, b = line_of(*members[n]), got[n]
        want(a == b, f"{kind} of layer {i}: the table has {shortened(b)}, the tar {shortened(a)}")
    return len(got)


def can_be_text(path, member, what):
    parts = [path, what if isinstance(what, bytes) else what.link] + ([] if isinstance(what,
                                                            bytes) else list(what.xattrs))
    try:
        for p in parts:
            p.decode()
    except UnicodeDecodeError:
        return False
    return True


def shortened(line):
    return str(line[:9])[:700] + f" {len(line[9])} bytes"
