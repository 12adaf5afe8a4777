# SPDX-License-Identifier: Apache-2.0
"""How a tree is told: a line a path, as fsop does it."""
import re
import time
import zlib

# Of a root file system, what no layer is asked for.
LEFT_OUT = ("bin", "dev", "etc", "ops", "proc", "run", "seen", "sys", "tmp")


def raw(text):
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def quoted(text):
    return "".join(chr(b) if 0x20 < b < 0x7f and b != 0x25 else f"%{b:02x}" for b in raw(text))


class Node:
    """One inode; names of one file share it."""

    def __init__(self, kind, mode, uid, gid, mtime):
        self.kind, self.mode, self.uid, self.gid, self.mtime = kind, mode & 0o7777, uid, gid, mtime
        self.data, self.link, self.device, self.xattrs = b"", b"", (0, 0), {}

    def head(self):
        return f"{self.kind} {0o777 if self.kind == 'l' else self.mode:04o} {self.uid}:{self.gid} "

    def what(self):
        if self.kind == "f":
            return f" {len(self.data)} {zlib.crc32(self.data):08x}"
        if self.kind == "l":
            return " > " + quoted(self.link)
        return f" {self.device[0]}:{self.device[1]}" if self.kind in "cb" else ""


def kept(name):
    return (name.startswith(b"user.") and not name.startswith(b"user.overlay.")) or name == b"security.capability"


def is_left_out(path):
    return path.split(b"/", 1)[0].decode("latin-1") in LEFT_OUT


def lines(tree):
    """tree: path (bytes, without a slash in front) → Node."""
    now, first, out = time.time(), {}, []
    for path in sorted(tree, key=lambda p: b"/" + p):
        n = tree[path]
        if is_left_out(path):
            continue
        text = quoted(b"/" + path) + " " + n.head()
        text += "now" if now - 7200 < n.mtime < now + 7200 else str(n.mtime)
        text += n.what()
        if n.kind == "f" and id(n) in first:
            text += " is " + first[id(n)]
        first.setdefault(id(n), quoted(b"/" + path))
        for name in sorted(n.xattrs if n.kind in "df" else ()):
            if kept(name):
                text += f" {quoted(name)}={quoted(n.xattrs[name])}"
        out.append(text)
    return out


def without_links(lines_):
    return [re.sub(r" is /\S*", "", line) for line in lines_]
