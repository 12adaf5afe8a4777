# SPDX-License-Identifier: Apache-2.0
"""Makes the files of a case on disk. Every file and directory has the time TIME unless its line says another."""
import bz2
import gzip
import io
import json
import lzma
import os
import re
import struct
import tarfile

TIME = 1000000000
WORD = re.compile(r'\d+\*"(?:[^"\\]|\\.)*"|"(?:[^"\\]|\\.)*"|\S+')
PACKED = ("tar", "gz", "bz2", "xz", "zst")


class Line:
    """PATH [MODE] [UID:GID] [@TIME] [TEXT | -> TARGET | == FIRST | fifo | tar | gz | bz2 | xz | zst]"""

    def __init__(self, text):
        words = WORD.findall(text)
        self.path = json.loads(words[0]) if words[0].startswith('"') else words[0]
        self.kind = "dir" if self.path.endswith("/") else "file"
        self.mode = 0o755 if self.kind == "dir" else 0o644
        self.owner, self.time, self.data, self.members = (0, 0), TIME, (self.path + "\n").encode(), []
        rest = iter(words[1:])
        for word in rest:
            self.take(word, rest)
        self.path = self.path.rstrip("/")

    def take(self, word, rest):
        if re.fullmatch(r"0[0-7]+", word):
            self.mode = int(word, 8)
        elif re.fullmatch(r"\d+:\d+", word):
            self.owner = tuple(int(n) for n in word.split(":"))
        elif word.startswith("@"):
            self.time = int(word[1:])
        elif word in ("->", "=="):
            self.kind, target = "link" if word == "->" else "hard", next(rest)
            self.data = json.loads(target) if target.startswith('"') else target
        elif word == "fifo" or word in PACKED:
            self.kind = word
        else:
            times, _, text = word.rpartition('*"') if not word.startswith('"') else ("1", "", word[1:])
            self.data = json.loads('"' + text).encode("utf-8") * int(times)


def parse(lines):
    out = []
    for text in lines:
        if text.startswith(" "):
            out[-1].members.append(Line(text))
        elif text and not text.startswith("#"):
            out.append(Line(text))
    return out


def member(archive, line):
    info = tarfile.TarInfo(line.path)
    info.mode, info.mtime, (info.uid, info.gid) = line.mode, line.time, line.owner
    types = {"dir": tarfile.DIRTYPE, "link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "fifo": tarfile.FIFOTYPE}
    info.type = types.get(line.kind, tarfile.REGTYPE)
    if line.kind in ("link", "hard"):
        info.linkname = line.data
    data = line.data if line.kind == "file" else b""
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def zstd(data):
    """A frame of raw blocks, which needs no compressor."""
    out = [b"\x28\xb5\x2f\xfd", struct.pack("<BI", 0xA0, len(data))]
    blocks = [data[i:i + 65536] for i in range(0, len(data), 65536)] or [b""]
    for i, block in enumerate(blocks):
        out += [struct.pack("<I", len(block) << 3 | (i == len(blocks) - 1))[:3], block]
    return b"".join(out)


def packed(line):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for m in line.members:
            member(archive, m)
    data = raw.getvalue()
    return {"tar": bytes, "gz": lambda d: gzip.compress(d, mtime=0), "bz2": bz2.compress, "xz": lzma.compress,
            "zst": zstd}[line.kind](data)


def write(path, data, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, mode)


def make(line, root):
    path = os.path.join(root, line.path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if line.kind == "dir":
        os.makedirs(path, exist_ok=True)
        os.chmod(path, line.mode)
    elif line.kind == "link":
        os.symlink(line.data, path)
    elif line.kind == "hard":
        os.link(os.path.join(root, line.data), path)
    elif line.kind == "fifo":
        os.mkfifo(path, line.mode)
    else:
        write(path, packed(line) if line.kind in PACKED else line.data, line.mode)


def settle(root, lines):
    """Times last, from the leaves up: making a file changes its directory."""
    said = {os.path.normpath(os.path.join(root, line.path)): line.time for line in lines if line.kind != "hard"}
    for top, dirs, files in os.walk(root, topdown=False):
        for name in dirs + files:
            path = os.path.join(top, name)
            when = said.get(path, TIME)
            os.utime(path, (when, when), follow_symlinks=False)
        os.utime(top, (said.get(top, TIME),) * 2)


def build(case, directory):
    """directory/NAME is the context of the case; paths that begin with ../ stand beside it. The name is its own because
    BuildKit knows contexts by theirs, and of the one it had before it looks at sizes and times only."""
    root, lines = os.path.join(directory, case.name), []
    os.makedirs(root)
    for section in case.sections:
        if section.name == "context":
            lines += parse(section.lines)
        elif section.name == "file":
            mode = int(section.words[2], 8) if len(section.words) > 2 and section.words[2][0] == "0" else 0o644
            write(os.path.join(root, section.words[1]), section.text(), mode)
        else:
            default = "Dockerfile" if section.name == "Dockerfile" else ".dockerignore"
            write(os.path.join(root, section.path(default)), section.text())
    for line in lines:
        make(line, root)
    settle(root, lines)
