# SPDX-License-Identifier: Apache-2.0
"""All ways that an image of others is read: each shows the tree that the layers make, or each refuses it and says why."""
import json
import re

import checks
import formats
import names
import overlay
import seeds
import tars
import world


class Ways:
    def __init__(self, run, tree, refused):
        self.run, self.world, self.refused = run, run.world, refused
        self.reasons = refused.reasons if refused else []
        self.nodes = tree.nodes if tree else {}
        self.wanted = names.without_links(names.lines(self.nodes))

    def tried(self, what, *words, **how):
        """What it prints; None where it refuses what is to be refused."""
        try:
            out = self.world.cbpush(*words, **how)
        except seeds.Differs as e:
            if any(re.search(overlay.REASONS[r], str(e)) for r in self.reasons):
                self.run.compared += 1
                return None
            raise seeds.Differs(f"{what}, {self.reasons or 'which is nothing to refuse'}: {e}") from e
        # What is hidden by the end tables do not have, and images are made of tables.
        if self.reasons and (self.refused.seen or what == "type=local" or (what == "a RUN" and self.world.trees == "directories")):
            raise seeds.Differs(f"{what} takes what is to be refused: {self.reasons}")
        return None if self.reasons else out

    def build(self, what, steps, *words, **how):
        w = self.world
        with open(w.path("Dockerfile"), "w", encoding="ascii") as f:
            f.write(steps)
        return self.tried(what, "build", "--progress", "plain", "--build-context", "made=oci-layout://" + w.path("made"), *words,
                          "-f", "Dockerfile", "ctx", **how)

    def same(self, what, got):
        # A link to a file of another layer is a file of its own, as overlayfs would make it.
        world.expect(what, self.wanted, names.without_links(got))
        self.run.compared += 1

    def step(self):
        """A RUN, which sees trees."""
        w, out = self.world, self.world.path("out")
        words = json.dumps(["/bin/fsop", "step", "/seen/1", "/dev/null", *names.LEFT_OUT])
        if self.build("a RUN", f"FROM made\nRUN {words}\n", "-o", f"type=oci,tar=false,dest={out}", trees=w.trees, isolation=w.isolation) is None:
            return
        layout = tars.Layout(out)
        self.same("seen by a RUN", layout.tree(len(layout.layers) - 1)[b"seen/1"].data.decode("ascii").split("\n")[:-1])

    def outputs(self):
        """type=local unpacks each layer over the others, type=tar and export go by tables, each in its own way."""
        w = self.world
        self.build("type=local", "FROM made\n", "-o", "type=local,dest=" + w.path("local"), store="bare")
        self.build("type=tar", "FROM made\n", "-o", "type=tar,dest=" + w.path("out.tar"), "-t", "made:latest", store="bare")
        if self.reasons:
            return
        self.same("type=local", self.run.listed(w.path("local")))
        self.same("type=tar", tarred(w.path("out.tar")))
        self.tried("export", "export", "store:made", "-o", w.path("export.tar"), store="bare")
        self.same("export", tarred(w.path("export.tar")))

    def squashed(self):
        out = self.world.path("flat")
        if self.build("--squash-all", "FROM made\n", "-o", f"type=oci,tar=false,dest={out}", "--squash-all", store="flat") is not None:
            self.same("--squash-all", names.lines(tars.Layout(out).tree()))

    def copied(self):
        """COPY --from of layers that have no tree."""
        out = self.world.path("copied")
        if self.build("COPY --from", "FROM scratch\nCOPY --from=made /t /t\n", "-o", f"type=oci,tar=false,dest={out}", store="bare") is None:
            return
        got = names.without_links(names.lines(tars.Layout(out).tree()))
        world.expect("COPY --from", *([line for line in lines if line.startswith("/t/")] for lines in (self.wanted, got)))
        self.run.compared += 1

    def listed(self):
        if self.reasons:
            return
        got = {e["path"]: checks.row_of(e) for e in json.loads(self.world.cbpush("ls", "--json", "store:made", store="bare"))}
        wanted = {p.decode(): checks.row_of_node(p, n) for p, n in self.nodes.items() if formats.can_be_text(p, None, n)}
        for rows in (got, wanted):  # links have the mode of their header there, which no file system keeps
            rows.update({p: r[:2] + r[3:] for p, r in rows.items() if r[1] == "symlink"})
        for path in sorted(wanted.keys() | {p for p in got if "\ufffd" not in p}):
            if not names.is_left_out(path.encode()) and got.get(path) != wanted.get(path):
                raise seeds.Differs(f"ls: {got.get(path)}\nthe layers: {wanted.get(path)}")
        self.run.compared += 1


def tarred(path):
    tree = {}
    with open(path, "rb") as f:
        tars.apply(tree, f.read())
    return names.lines(tree)


def all_of_them(run, tree, refused):
    w = Ways(run, tree, refused)
    for way in (w.copied, w.outputs, w.listed, w.squashed, w.step):
        way()
