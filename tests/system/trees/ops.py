# SPDX-License-Identifier: Apache-2.0
"""Random lists of operations for fsop, over a small set of names so that they meet."""
import os

import names

NAMES = [b"a", b"b", b"c", b"d", b"dir", b"with space", b"new\nline", b"\xff\xfe", "ümlaut".encode(), b"wh.x",
         b".wx",
         b"e=f", b"%41", b"-n", b"x" * 99, b"y" * 101, b"L" * 255]
SIZES = [0, 1, 13, 511, 512, 513, 4095, 4096, 4097, 8192, 65535, 65536, 65537, 200000]
BIG = [1 << 20, (1 << 20) + 1, (4 << 20) - 1, (4 << 20) + 511]
MODES = ["644", "600", "755", "0", "444", "4755", "2755", "6711", "1777", "777", "1644", "2644"]
IDS = [0, 0, 1, 5, 1000, 65534]
HIGH_IDS = [(1 << 21) - 1, 1 << 21, 3000000, (1 << 31) + 7, (1 << 32) - 2]
TIMES = ["-1 500000000", "-1 0", "-100000000 1000000", "0 0", "0 999000000", "1000000000 123000000",
         "2147483647 0", "2147483648 999000000", "4294967296 0", "8589934591 0", "8589934592 5000000", "8999999999 0"]
TARGETS = [b"a", b"../b", b"/t/a", b"/t/dir", b"nowhere", b"/nowhere/at/all", b".", b"..", b"/", b"with space",
           b"dir/../a",
           b"self", b"\xff\xfe", b"z" * 100, b"z" * 101, b"/t/" + b"q/" * 140 + b"q", b"x/./y//z/"]
XATTRS = ["user.%ff", "user.a", "user.b", "user.long" + "n" * 60, "user.with%20space", "user.%c3%bc", "user.x.y"]
VALUES = ["", "00", "61", "610a62", "ff00fe", "3d3d", "41" * 300, "00" * 1000]
CAPABILITY = ["0100000200200000000000000000000000000000", "0000000200040000000000000000000000000000"]
DEVICES = ["c %s 1 3", "c %s 10 229", "b %s 7 0", "b %s 259 70000", "c %s 300 5"]


class Rules:
    """What can be where it runs."""

    def __init__(self, high_ids=True, devices=False, sockets=False, readable=False, capabilities=True, text=False):
        self.high_ids, self.devices, self.sockets, self.capabilities = high_ids, devices, sockets, capabilities
        self.readable, self.text = readable, text  # readable: by everybody; text: names are UTF-8

    def but(self, **others):
        return Rules(**{**vars(self), **others})


class Maker:
    """known: paths from the root on that may be there (bytes), of directories and of others."""

    def __init__(self, rng, rules, top=b"/t"):
        self.rng, self.rules, self.top, self.dirs, self.others, self.out = rng, rules, top, [top], [], []

    def look(self, root):
        """What is there by now."""
        self.dirs, self.others = [self.top], []
        for base, dirs, files in os.walk(os.fsencode(root) + self.top):
            inside = base[len(os.fsencode(root)):]
            for name in sorted(dirs):
                kind = self.others if os.path.islink(base + b"/" + name) else self.dirs
                kind.append(inside + b"/" + name)
            self.others += [inside + b"/" + name for name in sorted(files)]
        self.dirs.sort()
        self.others.sort()

    def say(self, *words):
        self.out.append(" ".join(names.quoted(w) if isinstance(w, bytes) else str(w) for w in words))

    def new(self):
        """A path that is likely to be free."""
        at, rng = rng_choice_deep(self.rng, self.dirs), self.rng
        if rng.random() < 0.1 and self.others:
            at = rng.choice(self.others)  # through a link, or not at all
        path = at + b"/" + rng.choice(self.texts(NAMES) if rng.random() < 0.4 else NAMES[:5])
        return path if len(path) < 3000 else self.top + b"/" + rng.choice(NAMES[:5])

    def texts(self, names_):
        return [n for n in names_ if b"\xff" not in n] if self.rules.text else names_

    def one(self):
        return self.rng.choice(self.others) if self.others and self.rng.random() < 0.9 else self.new()

    def any(self):
        return self.rng.choice(self.dirs[1:] + self.others) if self.rng.random() < 0.95 and len(self.dirs) > 1 else self.one()

    def size(self):
        return self.rng.choice(BIG) if self.rng.random() < 0.03 else self.rng.choice(SIZES)

    def seed(self):
        return self.rng.randrange(1, 1000)

    def id(self):
        return self.rng.choice(HIGH_IDS if self.rules.high_ids and self.rng.random() < 0.2 else IDS)

    def mode(self):
        mode = int(self.rng.choice(MODES), 8)
        return f"{mode | 0o444 if self.rules.readable else mode:o}"

    def remember(self, path, kind):
        (self.dirs if kind == "d" else self.others).append(path)
        return path

    def write(self):
        self.say("write", self.remember(self.new(), "f") if self.rng.random() < 0.6 else self.one(), self.size(),
                 self.seed())

    def append(self):
        self.say("append", self.one(), self.rng.choice(SIZES), self.seed())

    def truncate(self):
        self.say("truncate", self.one(), self.size())

    def sparse(self):
        size = self.rng.choice((1, 4096, 65536, 1 << 20, (3 << 20) + 5))
        at = self.rng.choice((0, size // 2, max(size - 5, 0)))
        self.say("sparse", self.remember(self.new(), "f"), size, at, min(self.rng.choice((0, 1, 4096)), size - at),
                 self.seed())

    def chmod(self):
        path = self.any()
        mode = self.mode()
        if self.rules.readable and path in self.dirs:
            mode = f"{int(mode, 8) | 0o555:o}"
        self.say("chmod", path, mode)

    def chown(self):
        self.say("chown", self.any(), self.id(), self.id())

    def link(self):
        self.say("link", self.one(), self.remember(self.new(), "f"))

    def symlink(self):
        self.say("symlink", self.rng.choice(self.texts(TARGETS)), self.remember(self.new(), "l"))

    def rename(self):
        if self.rng.random() < 0.5 and len(self.dirs) > 1:
            old = self.rng.choice(self.dirs[1:])
        else:
            old = self.one()
        new = self.new() if self.rng.random() < 0.7 else self.any()
        if not (new + b"/").startswith(old + b"/") and not (old + b"/").startswith(new + b"/"):
            self.say("rename", old, self.remember(new, "d" if old in self.dirs else "f"))

    def mkdir(self):
        mode = self.mode()
        self.say("mkdir", self.remember(self.new(), "d"),
                 f"{int(mode, 8) | 0o555:o}" if self.rules.readable else mode)

    def deep(self):
        at = self.rng.choice(self.dirs)
        for _ in range(self.rng.choice((3, 8, 30))):
            at += b"/" + self.rng.choice((b"p", b"deeper", b"component-of-some-length"))
            if len(at) < 3000:
                self.say("mkdir", self.remember(at, "d"), "755")
        self.say("write", at + b"/leaf", 5, self.seed())

    def remove(self):
        self.say("remove", self.any() if self.rng.random() < 0.7 else self.one())

    def again(self):
        """Something goes, and is there again as this or that."""
        full = [d for d in self.dirs[1:] if any(o.startswith(d + b"/") for o in self.others)]
        path = self.rng.choice(full) if full and self.rng.random() < 0.6 else self.any()
        if self.rng.random() < 0.8:
            self.say("remove", path)
        draw = self.rng.random()
        if draw < 0.4:
            self.say("mkdir", self.remember(path, "d"), "755")
            if self.rng.random() < 0.7:
                self.say("write", self.remember(path + b"/" + self.rng.choice(NAMES[:4]), "f"),
                         self.rng.choice(SIZES), self.seed())
        elif draw < 0.7:
            self.say("write", path, self.rng.choice(SIZES), self.seed())
        elif draw < 0.9:
            self.say("symlink", self.rng.choice(self.texts(TARGETS)), path)
        elif self.rules.sockets:
            self.say("node", path, "s", "755", 0, 0)

    def node(self):
        draw = self.rng.random()
        if draw < 0.4:
            self.say("node", self.remember(self.new(), "p"), "p", self.mode(), 0, 0)
        elif draw < 0.6 and self.rules.sockets:
            self.say("node", self.new() if self.rng.random() < 0.5 else self.one(), "s", "755", 0, 0)
        elif self.rules.devices:
            self.say("node", self.remember(self.new(), "c"), self.rng.choice(DEVICES) % self.mode())

    def setx(self):
        name, value = self.rng.choice(XATTRS[self.rules.text:]), self.rng.choice(VALUES)
        if self.rules.capabilities and self.rng.random() < 0.3:
            name, value = "security.capability", self.rng.choice(CAPABILITY)
        self.say("setx", self.any(), name, value or "-")

    def delx(self):
        self.say("delx", self.any(), self.rng.choice(XATTRS))

    def time(self):
        self.say("time", self.any(), self.rng.choice(TIMES))

    def bulk(self):
        """Many files in a directory."""
        at = self.remember(self.new(), "d")
        self.say("mkdir", at, "755")
        for i in range(self.rng.choice((5, 60, 200))):
            self.say("write", at + b"/f%d" % i, i % 7, i + 1)

    def ops(self, n):
        self.out = []
        kinds = ((self.write, 10), (self.append, 4), (self.truncate, 3), (self.sparse, 2), (self.chmod, 5),
                 (self.chown, 4),
                 (self.link, 5), (self.symlink, 4), (self.rename, 7), (self.mkdir, 5), (self.deep, 1), (self.remove,
                                                            5),
                 (self.again, 6), (self.node, 3), (self.setx, 5), (self.delx, 2), (self.time, 5), (self.bulk, 0.5))
        for do in self.rng.choices([k[0] for k in kinds], [k[1] for k in kinds], k=n):
            do()
        return "\n".join(self.out) + "\n"


def rng_choice_deep(rng, dirs):
    """The top rather often, so that it does not get ever deeper."""
    return dirs[0] if rng.random() < 0.3 else rng.choice(dirs)
