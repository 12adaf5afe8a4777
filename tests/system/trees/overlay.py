# SPDX-License-Identifier: Apache-2.0
"""What layers over each other should show, whoever wrote them: the image-spec, and where it is silent what HACKING.md says
("A layer is laid over those below as overlayfs does it"). Shares no code with cbpush."""
import io
import tarfile

import names
import tars

# What all ways to read such a layer have to say. "nowhere" takes the layers below to know, and whether anybody sees it is known
# where all layers are.
REASONS = {
    "in a file": r"lies in .*, which is no directory",
    "root": r"hides the root directory itself",
    "links": r"too many symbolic links",
    "itself": r"hard link to itself",
    "replaced": r"hard link to .*, which it replaces",
    "removed": r"hard link to .*, which this layer has removed before",
    "directory": r"hard link to the directory",
    "nowhere": r"which (neither this layer nor one below holds|is a directory|is no file of its layer or one below)|no layer holds the bytes of",
}


class Refused(Exception):
    """Of a key of REASONS, or several where it depends on the way which is met first. others: there are tools that read it."""

    def __init__(self, reason, others=False):
        super().__init__(reason)
        self.reasons, self.others, self.seen = [reason], others, True  # seen: not only where a layer is unpacked


def above(path):
    """The directories on the way, topmost first."""
    parts = path.split(b"/")
    return [b"/".join(parts[:i]) for i in range(1, len(parts))]


class Layer:
    """One that is being laid over lower."""

    def __init__(self, lower):
        self.lower, self.own, self.late, self.odd = lower, {}, [], False  # path → Node
        self.white, self.opaque, self.implied = set(), set(), set()

    def place(self, path, mark=False):
        """Symbolic links of this very layer are followed on the way."""
        todo, at, links = path.split(b"/"), [], 0
        while todo:
            name = todo.pop(0)
            if name in (b"", b"."):
                continue
            if name == b"..":
                at = at[:-1]
                continue
            at.append(name)
            there = self.own.get(b"/".join(at)) if todo else None
            if there is None or there.kind == "d":
                continue
            if there.kind != "l":
                raise Refused("in a file", mark)
            links += 1
            if links > 40:
                raise Refused("links", True)
            at = [] if there.link.startswith(b"/") else at[:-1]
            todo = there.link.split(b"/") + todo
        return b"/".join(at)

    def imply(self, path):
        up = [p for p in above(path) if p not in self.own]
        self.odd |= any(p in self.lower and self.lower[p].kind != "d" for p in up)
        self.implied.update(up)

    def put(self, path, node):
        if node.kind != "d":
            for paths in (self.own, self.implied):
                for p in [p for p in paths if (p + b"/").startswith(path + b"/")]:
                    paths.pop(p) if paths is self.own else paths.discard(p)
        elif path in self.own and self.own[path].kind != "d":
            self.opaque.add(path)
        self.own[path] = node
        self.imply(path)

    def hides(self, path):
        up = above(path)
        return path in self.white or any(p in self.white or p in self.opaque for p in up)

    def target(self, path, link):
        """The inode of a hard link."""
        there = self.own.get(link)
        if link == path:
            raise Refused("itself")
        if link.startswith(path + b"/"):
            raise Refused("replaced")
        if there is None and self.hides(link):
            raise Refused("removed")
        if link in self.implied or (there and there.kind == "d"):
            raise Refused("directory", self.odd)  # umoci makes none where only a mark says so
        there = there or self.lower.get(link)
        if there is None:
            return self.dead(any(p in self.lower and self.lower[p].kind == "l" for p in above(link)))
        return self.dead(False) if there.kind == "d" else there

    def dead(self, others):
        self.late.append(Refused("nowhere", others))
        return names.Node("?", 0, 0, 0, 0)

    def mark(self, head, name):
        if name == b".wh..wh..opq":
            path = self.place(head + b"/-", True)
            if b"/" not in path:
                raise Refused("root", True)
            self.opaque.add(path[:-2])
            self.imply(path)
        else:
            path = self.place(head + b"/" + name[4:], True)
            self.white.add(path)
            self.imply(path)

    def member(self, archive, m):
        path = tars.normal(m.name)
        head, _, name = path.rpartition(b"/")
        if name.startswith(b".wh."):
            self.mark(head, name)
        elif path and m.type == tarfile.LNKTYPE:
            path = self.place(path)
            self.put(path, self.target(path, self.place(tars.normal(m.linkname))))
        elif path:
            self.put(self.place(path), tars.node_of(archive, m))


class Tree:
    """All layers so far. fresh: directories that no layer lists; odd: some tools fail on a layer, or follow a link."""

    def __init__(self):
        self.nodes, self.fresh, self.odd, self.late = {}, set(), False, []

    def apply(self, data):
        layer = Layer(self.nodes)
        with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape", encoding="utf-8") as archive:
            try:
                for m in archive:
                    layer.member(archive, m)
            finally:
                self.late += layer.late
        self.odd |= layer.odd
        out = {p: n for p, n in self.nodes.items() if not self.covered(layer, p)}
        for p in sorted(layer.implied - layer.own.keys()):
            if p not in out or out[p].kind != "d":
                out[p] = names.Node("d", 0o755, 0, 0, 0)
                self.fresh.add(p)
        out.update(layer.own)
        self.nodes, self.fresh = out, (self.fresh & out.keys()) - layer.own.keys()

    @staticmethod
    def covered(layer, path):
        """Whether what was there is seen no more."""
        return layer.hides(path) or any(p in layer.own and layer.own[p].kind != "d" for p in above(path))


def show(data):
    """The tree of these tars, or Refused."""
    tree, refused = Tree(), []
    for tar in data:
        try:
            tree.apply(tar)
        except Refused as e:
            refused.append(e)
    if refused or tree.late:
        out = Refused("")
        out.reasons = [r for e in refused + tree.late for r in e.reasons]
        out.others = all(e.others for e in refused + tree.late)
        out.seen = bool(refused) or any(n.kind == "?" for n in tree.nodes.values())
        raise out
    return tree
