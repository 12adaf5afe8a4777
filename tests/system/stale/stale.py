# SPDX-License-Identifier: Apache-2.0
"""That a build with caches gives what one without gives: random Dockerfiles and contexts ($CBPUSH builds them), changed at
random, one change after the other. After each the image of a store that has seen all of before is compared with that of
an empty one, and a further build must run nothing.
usage: stale.py WORK-DIR REGISTRY SEED[-SEED] STEPS [SECONDS]   prints how many builds were compared; 1 where some differ
       stale.py WORK-DIR REGISTRY SEED STEPS --reduce           leaves out changes that a failure does not need
A seed's numbers do not depend on what changes are left out."""
import os
import random
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../seeds"))
# pylint: disable=wrong-import-position
import bases  # noqa: E402
import judge  # noqa: E402
import runner  # noqa: E402
import seeds  # noqa: E402
import served  # noqa: E402
import world  # noqa: E402


class Given:
    """What all seeds share."""

    def __init__(self, directory, address):
        self.program, self.address, self.bases = os.environ["CBPUSH"], address, os.path.join(directory, "bases")
        if not os.path.isdir(self.bases):
            bases.make(self.bases)
            bases.push(self.bases, address)
        self.manifests = bases.manifests(address)
        self.parents, self.server = runner.load_parents(self.bases), served.Server()


class Run:
    """One seed. left_out: numbers of steps whose changes are not made."""

    def __init__(self, seed, directory, given, left_out=()):
        self.seed, self.given, self.left_out = seed, given, left_out
        self.directory = os.path.join(directory, f"seed-{seed}")
        shutil.rmtree(self.directory, ignore_errors=True)
        os.makedirs(self.directory)
        self.world, self.told, self.compared, self.failed = world.World(seed, self.directory, given), [], 0, 0

    def tell(self, number, text):
        self.told.append(f"{number}: {text}")

    def go(self, steps):
        for number in range(steps):
            rng = random.Random(f"{self.seed}/{number}")
            before = None
            if number and number not in self.left_out:
                for _ in range(rng.choice((1, 1, 1, 2))):
                    what, back = self.world.change(rng)
                    before = before or back
                    self.tell(number, what)
            if number not in self.left_out:
                self.step(number, rng, before)

    def step(self, number, rng, before):
        self.world.settle()
        event = self.world.event(rng)
        if event:
            self.tell(number, event)
        trees, more = [rng.choice(("auto", "directories", "images")) for _ in range(3)], []
        if rng.random() < 0.25:
            name = rng.choice(self.world.inputs.dockerfile.stages).name
            more = rng.choice((["--no-cache-filter", name],) * 5 + (["--no-cache"], ["--cache-ttl", "1ms"], ["--jobs", "1"]))
        twin = self.world.started(trees[0], "twin") if rng.random() < 0.1 else None
        cached = self.world.cached(trees[0], more)
        if twin:
            self.tell(number, "a twin")
            twin.wait(world.TIMEOUT)
        self.tell(number, f"{self.world.store} {' '.join(trees)} {' '.join(more)}")
        clean = self.world.clean(trees[1])
        self.compared += 1
        if cached.status != clean.status:
            raise seeds.Differs(f"exit status {cached.status}, and {clean.status} without caches\n"
                          f"with: {cached.error()}\nwithout: {clean.error()}")
        if clean.status != 0:
            self.failed += 1
            self.tell(number, clean.error())
            self.world.inputs = before or world.Inputs(rng)
            return
        self.compare(cached, clean, trees[2], twin and not self.world.inputs.epoch)

    def compare(self, cached, clean, trees, raced):
        """raced: a build beside it may have recorded the same steps at another time."""
        text = judge.differs(cached.layout, clean.layout, self.given.parents, not self.world.inputs.epoch)
        if text:
            raise seeds.Differs(text)
        if self.world.inputs.epoch and self.world.canonical and cached.digest != clean.digest:
            unlike = judge.unlike(judge.documents(clean.layout), judge.documents(cached.layout))
            raise seeds.Differs(f"SOURCE_DATE_EPOCH is set, and digests differ: {cached.digest}, without caches "
                                f"{clean.digest}\n{unlike}")
        if self.world.pushes:
            self.compare_pushed(cached)
        before = judge.documents(cached.layout)
        again = self.world.cached(trees)
        if again.status != 0:
            raise seeds.Differs(f"built again: {again.error()}")
        if again.digest != cached.digest and not raced:
            raise seeds.Differs(f"built again: {again.digest}\n{judge.unlike(before, judge.documents(again.layout))}")
        steps, hits = again.metadata["cbpush.steps"], again.metadata["cbpush.cached"]
        if hits != steps:
            raise seeds.Differs(f"built again: of {steps} steps {hits} were cached")

    def compare_pushed(self, cached):
        body = bases.request(self.given.address, f"app/{self.seed}/manifests/1")
        if judge.digest(body) != cached.digest:
            raise seeds.Differs(f"pushed was {judge.digest(body)}, built {cached.digest}")

    def outcome(self, steps):
        return seeds.outcome(lambda: self.go(steps), f"seed {self.seed}: {self.directory}", self.directory, self.told)


def reduced(seed, steps, directory, given):
    """Leaves out what can be, from the last step to the first; the complaint that is left."""
    left_out, complaint = set(), Run(seed, directory, given).outcome(steps)
    if not complaint:
        return None
    steps = 1 + max(int(line.split(":")[0]) for line in complaint.split("\n") if line.split(":")[0].isdigit())
    for number in range(steps - 2, -1, -1):
        shorter = Run(seed, directory, given, left_out | {number}).outcome(steps)
        if shorter:
            left_out, complaint = left_out | {number}, shorter
    Run(seed, directory, given, left_out).outcome(steps)
    return complaint


def main():
    directory, address, which, steps = sys.argv[1:5]
    given, rest = Given(directory, address), sys.argv[5:]
    if rest == ["--reduce"]:
        complaint = reduced(int(which), int(steps), directory, given)
        print(complaint or "no difference")
        return 1 if complaint else 0
    runs, bad = seeds.run(lambda seed: Run(seed, directory, given), which, int(steps), "".join(rest[:1]))
    print(f"{sum(r.compared for r in runs)} builds compared, {sum(r.failed for r in runs)} of them failed; "
          f"{len(runs)} seeds, {bad} with a difference")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
