# SPDX-License-Identifier: Apache-2.0
"""Layers that others might have written: tars of every form there is, random members, odd encodings; against what overlay.py
and umoci make of them as tarfile writes them, by all ways that cbpush has (ways.py). A Run is one seed of trees.py."""
import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile

import names
import overlay
import replay
import seeds
import ways
import world

PATHS = [b"t/a", b"t/b", b"t/d", b"t/d/a", b"t/d/b", b"t/d/e", b"t/d/e/f", b"t/x/y/z", b"t/x", b"t/x/y", b"t/l",
         b"t/l/in",
         b"t/" + b"n" * 100, b"t/" + b"p" * 60 + b"/" + b"q" * 60, b"t/" + b"d" * 150 + b"/" + b"e" * 200, "t/ümlaut".encode(),
         b"t/\xff\xfe", b"t/with space", b"t/new\nline"]
LINKS = [b"a", b"d", b"../t/d", b"/t/d", b"nowhere", b"d/e", b"x", b"z" * 101, b"/"]
TIMES = [0, 1, 1300000000, 1300000001, 1400000000, -1, -300000, 8589934591, 8589934592]
IDS = [0, 0, 0, 5, 1000, 2097151, 2097152, 4000000000]
MODES = [0o644, 0o755, 0o600, 0o4755, 0o2755, 0o1777, 0o444]


def octal(rng, value, size):
    """A number in one of the forms that are around."""
    text = b"%o" % value
    form = rng.choice(("nul", "nul", "space", "space-nul", "blanks", "full"))
    if len(text) + 2 > size and form in ("space-nul", "blanks"):
        form = "nul"
    if form == "full" or len(text) == size:
        return text.rjust(size, b"0")
    if form == "blanks":
        return text.rjust(size - 2) + b" \0"
    end = {"nul": b"\0", "space": b" ", "space-nul": b" \0"}[form]
    return text.rjust(size - len(end), b"0") + end


def number(rng, value, size, pax, key):
    limit = 8 ** (size - 1)
    if 0 <= value < limit and rng.random() < 0.85:
        return octal(rng, value, size)
    if rng.random() < 0.5 and key != "mode":
        pax[key] = b"%d" % value
        return octal(rng, 0, size)
    if value < 0:
        return (256 ** size + value).to_bytes(size, "big")
    return bytes([0x80]) + value.to_bytes(size - 1, "big")


def sealed(head):
    head = bytearray(head)
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def padded(data):
    return data + bytes(-len(data) % 512)


def extension(kind, data):
    head = bytearray(512)
    head[:9] = b"././@Long"
    head[100:124], head[124:136], head[136:148] = b"0000644\0" + b"0000000\0" * 2, b"%011o\0" % len(data), b"0" * 11 + b"\0"
    head[156:157] = kind
    head[257:265] = b"ustar  \0" if kind in b"LK" else b"ustar\x0000"
    return sealed(head) + padded(data)


def pax_block(records, kind=b"x"):
    out = b""
    for key, value in records.items():
        body = b" " + key.encode() + b"=" + value + b"\n"
        n = len(body) + 1
        while len(b"%d" % n) + len(body) != n:
            n += 1
        out += b"%d" % n + body
    return extension(kind, out)


class Member:
    """What a header says, before it is one."""

    def __init__(self, name, kind, rng):
        self.name, self.kind, self.link, self.data = name, kind, b"", b""
        self.mode, self.uid, self.gid, self.mtime = rng.choice(MODES), rng.choice(IDS), rng.choice(IDS), rng.choice(TIMES)
        self.device, self.xattrs = (0, 0), {}

    def written(self, rng):
        """The bytes, in a form of its time."""
        form = rng.choice(("ustar", "gnu", "pax", "pax", "v7"))
        if form == "v7" and (self.kind not in b"0125" or len(self.name) > 98 or len(self.link) > 99):
            form = "pax"
        out, pax = b"", {}
        head = bytearray(512)
        name = self.name + (b"/" if self.kind == b"5" and (form == "v7" or rng.random() < 0.7) else b"")
        out += self.put_name(rng, head, name, form, pax)
        out += self.put_link(head, form, pax)
        for at, size, value, key in ((100, 8, self.mode, "mode"), (108, 8, self.uid, "uid"), (116, 8, self.gid,
                                                            "gid"),
                                     (124, 12, len(self.data), "size"), (136, 12, self.mtime, "mtime")):
            head[at:at + size] = number(rng, value, size, pax, key)
        if "mtime" in pax and rng.random() < 0.5:
            pax["mtime"] += b".5" if self.mtime >= 0 else b".0"
        head[156:157] = self.typeflag(rng, form)
        if form != "v7":
            head[257:265] = b"ustar  \0" if form == "gnu" else b"ustar\x0000"
            head[265:265 + 4] = b"root"
            if self.kind in b"34":
                head[329:337], head[337:345] = octal(rng, self.device[0], 8), octal(rng, self.device[1], 8)
        for key, value in self.xattrs.items():
            pax["SCHILY.xattr." + key] = value
        if pax and rng.random() < 0.3:
            pax["comment"] = b"x" * rng.choice((1, 600))
        return (pax_block(pax) if pax else b"") + out + sealed(head) + padded(self.data)

    def plain(self, archive):
        """The same by tarfile."""
        info = tarfile.TarInfo(os.fsdecode(self.name))
        info.type, info.mode, info.uid, info.gid, info.mtime = self.kind, self.mode, self.uid, self.gid, self.mtime
        info.linkname, info.size, (info.devmajor,
                                   info.devminor) = os.fsdecode(self.link), len(self.data), self.device
        info.pax_headers = {"SCHILY.xattr." + k: os.fsdecode(v) for k, v in self.xattrs.items()}
        archive.addfile(info, io.BytesIO(self.data))

    def typeflag(self, rng, form):
        if self.kind == b"0":
            return rng.choice((b"0", b"\0", b"7")) if form != "v7" else b"\0"
        if self.kind == b"5" and form == "v7":
            return b"\0"  # its slash tells
        return self.kind

    @staticmethod
    def put_name(rng, head, name, form, pax):
        cut = name.rfind(b"/", 0, min(155, len(name) - 1))
        if len(name) <= 100 and (form != "gnu" or rng.random() < 0.8):
            head[:len(name)] = name
            return b""
        if form == "ustar" and 0 < cut and len(name) - cut - 1 <= 100:
            head[:len(name) - cut - 1], head[345:345 + cut] = name[cut + 1:], name[:cut]
            return b""
        head[:min(100, len(name))] = name[:100]
        if form == "gnu":
            return extension(b"L", name + b"\0")
        pax.update({"hdrcharset": b"BINARY"} if b"\xff" in name else {})
        pax["path"] = name
        return b""

    def put_link(self, head, form, pax):
        head[157:157 + min(100, len(self.link))] = self.link[:100]
        if len(self.link) <= 100:
            return b""
        if form == "gnu":
            return extension(b"K", self.link + b"\0")
        pax["linkpath"] = self.link
        return b""


def spelled(rng, path):
    return rng.choice((b"", b"", b"", b"./", b"/", b".//")) + (path.replace(b"/", b"//",
                                                            1) if rng.random() < 0.05 else path)


def member(rng, seen, marks, links, calm):
    path = rng.choice(PATHS if rng.random() < 0.5 else PATHS[:8])
    kind = rng.choices((b"0", b"5", b"2", b"1", b"6", b"3", b"w", b"o"), (10, 6, 3, 4, 1, 0.5, 2 * marks, marks))[0]
    if kind == b"2":
        path = rng.choice((b"t/l", b"t/l", b"t/a",
                           "t/ümlaut".encode()))  # none that names of other layers go through
    if calm and kind not in b"wo" and any(p.startswith(path + b"/") for p in PATHS):
        kind = b"5"
    if path == b"t/l/in" and b"t/l" not in links:
        path = b"t/b"
    if kind in b"wo":
        head, _, base = path.rpartition(b"/")
        m = Member(path + b"/.wh..wh..opq" if kind == b"o" else head + b"/.wh." + base, b"0", rng)
        m.name = m.name if len(base) < 240 else b"t/.wh.a"
        m.mode = 0o644
        return m
    m = Member(path, kind, rng)
    if kind == b"0":
        m.data = rng.randbytes(rng.choice((0, 1, 511, 512, 513, 10000, 70000)))
    elif kind == b"1":
        m.link = spelled(rng, rng.choice([p for p in seen if p != path] or PATHS))
    elif kind == b"2":
        m.link = rng.choice(LINKS)
    elif kind == b"3":
        m.device = (1, rng.choice((3, 5, 300)))
    if kind == b"5":
        m.mode &= 0o1777  # a set-group-ID bit is handed down by some
    if kind == b"0" and rng.random() < 0.15:
        m.xattrs = {"user.a": b"b=\n\xff",
                    "user.b": b"1"} if rng.random() < 0.5 else {"security.capability": bytes.fromhex("0100000200200000000000000000000000000000")}
    return m


def tar(rng, marks, calm, seen):
    """(the tar, the same members by tarfile). calm: each path once, and what is a directory for one is one for all; seen: files that layers have had so far."""
    members, used, links, plain = [], set(), [], io.BytesIO()
    if rng.random() < 0.5:
        members.append(Member(b".", b"5", rng))
        members[0].mode = 0o755
    for _ in range(rng.choice((1, 3, 8, 20))):
        m = member(rng, seen, marks, links, calm)
        if not calm or not (m.name in used or any(u.startswith(m.name + b"/") or m.name.startswith(u + b"/") for u in used)):
            used.add(m.name)
            members.append(m)
            links += [m.name] if m.kind == b"2" else []
            seen += [m.name] if m.kind == b"0" and b"/.wh." not in m.name else []
            m.name = spelled(rng, m.name)
    out = pax_block({"comment": b"of git"}, b"g") if rng.random() < 0.2 else b""
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8",
                      errors="surrogateescape") as archive:
        for m in members:
            m.plain(archive)
            out += m.written(rng)
    end = rng.choice((bytes(1024), bytes(1024), bytes(10240), bytes(512), b"", bytes(1024) + b"garbage" * 100))
    return out + end, plain.getvalue()


def zstd(data):
    return subprocess.run(["zstd", "-q", "-1", "-c"], input=data, check=True, capture_output=True).stdout


def packed(rng, data):
    """(blob, media type)"""
    kind = rng.choice(("gzip", "gzip", "members", "zstd", "frames", "none"))
    cut = rng.randrange(len(data)) if data else 0
    suffix = {"gzip": "+gzip", "members": "+gzip", "zstd": "+zstd", "frames": "+zstd", "none": ""}[kind]
    blob = {"gzip": lambda: gzip.compress(data, 6),
            "members": lambda: gzip.compress(data[:cut]) + gzip.compress(data[cut:]) + gzip.compress(b""),
            "zstd": lambda: zstd(data), "none": lambda: data,
            "frames": lambda: zstd(data[:cut]) + b"\x50\x2a\x4d\x18\x05\0\0\0hello" + zstd(data[cut:])}[kind]()
    return blob, "layer.v1.tar" + suffix


def untimed(wanted, got, fresh):
    """Times of directories that umoci has changed are left open, and what those are like that no layer lists: it does not
    make one of what is only marked, or whited out in."""
    any_time = {line.split(" ", 1)[0] for line in wanted if re.match(r"\S+ d \S+ \S+ now", line)}
    left_out = {names.quoted(b"/" + p) for p in fresh}

    def open_(lines):
        lines = [line for line in names.without_links(lines) if line.split(" ", 1)[0] not in left_out]
        return [re.sub(r"^(\S+ d \S+ \S+) \S+", r"\1 *", line) if line.split(" ", 1)[0] in any_time else line for line in lines]

    return open_(wanted), open_(got)


class Run:
    def __init__(self, seed, directory, given):
        self.seed, self.given, self.compared, self.refused = seed, given, 0, 0
        self.directory = os.path.join(directory, f"foreign-{seed}")
        shutil.rmtree(self.directory, ignore_errors=True)
        self.world = world.World(seed, self.directory, given)
        self.rng = self.world.rng

    def listed(self, root):
        return replay.fsop(self.given.fsop, "-c", root, "list", *names.LEFT_OUT)

    def layers(self):
        rng, first, seen = self.rng, world.base_tar(self.given.fsop), []
        out, marks, calm = [(first, first)], rng.choice((0, 1)), rng.random() < 0.75
        for _ in range(rng.choice((1, 2, 3))):
            out.append(tar(rng, marks if len(out) > 1 else 0, calm, seen))
        return out

    def umoci(self):
        """(listing, None) or (None, why there is none)."""
        to = self.world.path("bundle")
        done = subprocess.run(["umoci", "unpack", "--image", self.world.path("plain") + ":latest", to], check=False,
                              stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, errors="replace")
        if done.returncode == 0:
            return self.listed(to + "/rootfs"), None
        return None, done.stderr.strip()[-300:]

    def judged(self, plain):
        """The tree that overlay.py makes of the layers, or the Refused that it raises; umoci agrees."""
        got, why = self.umoci()
        try:
            tree = overlay.show(plain)
        except overlay.Refused as e:
            if got and not e.others:
                raise seeds.Differs(f"umoci reads it: {e.reasons}") from e
            return None, e
        if not tree.odd and not got:
            raise seeds.Differs(f"umoci does not read it: {why}")
        if not tree.odd:
            world.expect("unpacked by umoci", *untimed(got, names.lines(tree.nodes), tree.fresh))
            self.compared += 1
        return tree, None

    def go(self, _steps):
        w = self.world
        layers = self.layers()
        for i, (data, plain) in enumerate(layers):
            for name, what in ((f"{i}.tar", data), (f"{i}.plain.tar", plain)):
                with open(w.path(name), "wb") as f:
                    f.write(what)
        blobs = [packed(self.rng, data) for data, _ in layers]
        world.layout(w.path("made"), blobs, [hashlib.sha256(data).hexdigest() for data, _ in layers])
        world.layout(w.path("plain"), [plain for _, plain in layers])
        tree, refused = self.judged([plain for _, plain in layers])
        ways.all_of_them(self, tree, refused)
        self.refused += refused is not None

    def outcome(self, steps):
        heading = f"seed {self.seed}: {self.world.directory} {self.world.isolation} {self.world.trees}"
        return seeds.outcome(lambda: self.go(steps), heading, self.directory)
