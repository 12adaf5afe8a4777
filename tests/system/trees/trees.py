# SPDX-License-Identifier: Apache-2.0
"""That what goes into layers comes out of them: random files, changed at random by RUN, COPY and ADD, built by $CBPUSH,
against the same steps in a plain directory.
usage: trees.py WORK-DIR FSOP SEED[-SEED] STEPS [SECONDS]   prints how many trees were compared; 1 where some differ
       trees.py … with STEPS 0: layers as others write them (foreign.py)
TREES_ISOLATIONS: of which isolations a seed takes one."""
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../seeds"))
# pylint: disable=wrong-import-position
import checks  # noqa: E402
import foreign  # noqa: E402
import names  # noqa: E402
import ops  # noqa: E402
import replay  # noqa: E402
import seeds  # noqa: E402
import tars  # noqa: E402
import world  # noqa: E402


class Given:
    """What all seeds share."""

    def __init__(self, fsop):
        self.fsop, self.program = fsop, os.environ["CBPUSH"].split()
        self.isolations = os.environ.get("TREES_ISOLATIONS", "native native native oci chroot").split()
        self.rules, self.ordinary = ops.Rules(), False


def with_links_of(wanted, got):
    """Names that wanted does not tie may be one file all the same: a copy that nothing has changed is in no layer."""
    tied = {line.split(" ", 1)[0] for line in wanted if " is /" in line}
    return [line if line.split(" ", 1)[0] in tied else re.sub(r" is /\S*", "", line) for line in got]


class Run:
    """One seed."""

    def __init__(self, seed, directory, given):
        self.seed, self.given, self.compared = seed, given, 0
        self.directory = os.path.join(directory, f"seed-{seed}")
        shutil.rmtree(self.directory, ignore_errors=True)
        os.makedirs(self.directory)
        self.world = world.World(seed, self.directory, given)

    def same(self, what, wanted, got):
        world.expect(what, wanted, with_links_of(wanted, got))
        self.compared += 1

    def listed(self, root):
        return replay.fsop(self.given.fsop, "-c", root, "list", *names.LEFT_OUT)

    def seen(self, tree):
        """What each RUN saw."""
        w = self.world
        for name in sorted(os.listdir(w.root + "/seen"), key=int):
            with open(f"{w.root}/seen/{name}", encoding="ascii") as f:
                wanted = f.read().split("\n")[:-1]
            got = tree[b"seen/" + name.encode()].data.decode("ascii").split("\n")[:-1]
            if w.isolation == "chroot":  # each name is a file of its own there
                wanted, got = names.without_links(wanted), names.without_links(got)
            self.same(f"seen by the RUN of step {name}", wanted, got)

    def unpacked(self, layout, wanted):
        to = self.world.path("bundle")
        subprocess.run(["umoci", "unpack", "--image", layout + ":latest", to], check=True, stdin=subprocess.DEVNULL,
                       capture_output=True)
        # What a PAX record has no bytes for is not there, to readers in Go.
        got = self.listed(to + "/rootfs")
        self.same("unpacked by umoci", [re.sub(r" [^ =]+=(?= |$)", "", line) for line in wanted], got)
        shutil.rmtree(to)

    def go(self, steps):
        w = self.world
        w.make(steps)
        wanted = self.listed(w.root)
        w.build("type=oci,tar=false,name=x:latest,dest=" + w.path("out"), trees=w.trees, isolation=w.isolation)
        image = tars.Layout(w.path("out"))
        tree = image.tree()
        self.seen(tree)
        self.same("the layers", wanted, names.lines(tree))
        self.unpacked(w.path("out"), wanted)
        checks.all_of_them(self, wanted, tree)

    def outcome(self, steps):
        heading = f"seed {self.seed}: {self.directory} {self.world.isolation} {self.world.trees}"
        return seeds.outcome(lambda: self.go(steps), heading, self.directory)


def main():
    directory, fsop, which, steps = sys.argv[1:5]
    given, kind = Given(fsop), Run if int(steps) else foreign.Run
    runs, bad = seeds.run(lambda seed: kind(seed, directory, given), which, int(steps), "".join(sys.argv[5:6]))
    print(f"{sum(r.compared for r in runs)} trees compared; {len(runs)} seeds, {bad} with a difference")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
