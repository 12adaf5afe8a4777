# SPDX-License-Identifier: Apache-2.0
"""What is measured of a build cache in a registry: machines whose store is empty, one at a time or many at once."""
import os
import shutil
import time

from cases import Case, Flask, write
from measure import Failed, Sample, ending, last_lines, peak_of, spawn


class SharedHit(Flask):
    """A fresh machine; another one has built the same before and has put it into the cache. The result goes to another
    repository each turn."""

    key = "cache-hit"
    title = "flask example on a fresh machine, all steps in a registry's cache"
    aim = 10

    @classmethod
    def wants(cls, tool):
        return tool.shares

    def measures(self, tool):
        return self.wants(tool)

    def repository(self, tool):
        return f"{self.bench.reg}/{self.key}-cache-{tool.key}"

    def before(self, tool, turn):
        tool.shared = self.repository(tool)
        if turn == 0:
            tool.wipe()
            tool.build(self.context, self.target(tool, "first"))
        tool.wipe()

    def sample(self, tool, turn):
        try:
            return super().sample(tool, turn)
        finally:
            tool.shared = None


class SharedEdit(SharedHit):
    key = "cache-edit"
    title = "flask example on a fresh machine, all steps but the last COPY in a registry's cache"
    aim = 8
    own = ("app/app.py",)

    def before(self, tool, turn):
        super().before(tool, turn)
        with open(os.path.join(self.context, "app.py"), "a", encoding="utf-8") as f:
            f.write(f"# {self.key}, {tool.key}, turn {turn}\n")


class Stampede(Case):
    """Builds that begin at once, each with a store of its own, and share one cache that is empty. A RUN says that it is
    run."""

    key = "stampede"
    peers = False
    steps, duplicates = 2, 0.05

    def setup(self):
        self.builds = self.bench.stampede
        self.title = f"{self.builds} builds at once with one cache"
        lines = [f"RUN sleep 1; echo ran-$(({n})); head -c 100000 /dev/urandom >/{n}" for n in range(self.steps)]
        write(f"{self.context}/Dockerfile",
              "\n".join([f"FROM {self.bench.reg}/library/busybox:latest", "COPY file /", *lines, ""]))
        write(f"{self.context}/file", "file\n")

    def place(self, tool):
        return os.path.join(tool.store, "stampede")

    def command(self, tool, n):
        cache = f"type=registry,ref={self.bench.reg}/{self.key}-cache"
        return [tool.program, "build", "--progress", "plain", "--push", "--cache-from", cache, "--cache-to", cache, "-t",
                f"{self.bench.reg}/{self.key}:{n}", self.context]

    def sample(self, tool, turn):
        os.makedirs(self.place(tool))
        began, pids = time.perf_counter(), {}
        for n in range(self.builds):
            log, env = f"{self.place(tool)}/{n}.log", {**tool.env, "CBPUSH_ROOT": f"{self.place(tool)}/{n}"}
            pids[spawn(self.command(tool, n), log, env)] = log
        cpu, peak = 0.0, 0
        while pids:
            peak = max(peak, *(peak_of(pid, True) for pid in pids))
            for pid in list(pids):
                done, status, usage = os.wait4(pid, os.WNOHANG)
                if not done:
                    continue
                log, code = pids.pop(pid), os.waitstatus_to_exitcode(status)
                cpu += usage.ru_utime + usage.ru_stime
                if code != 0:
                    raise Failed(f"{log}: {ending(code, 0, 1)}{last_lines(log)}")
            time.sleep(0.1)
        return Sample(time.perf_counter() - began, cpu, peak)

    def verify(self, tool, turn):
        """Every step was run once, nearly; all images are there."""
        runs = 0
        for n in range(self.builds):
            with open(f"{self.place(tool)}/{n}.log", encoding="utf-8", errors="replace") as f:
                runs += sum(1 for line in f if any(line.endswith(f" ran-{k}\n") for k in range(self.steps)))
        again = runs - self.steps
        self.title += f": {self.steps} steps were run {runs} times"
        if runs < self.steps or again > self.duplicates * self.builds * self.steps:
            raise Failed(f"{self.builds} builds ran {self.steps} steps {runs} times")
        shutil.rmtree(self.place(tool))
        registry = self.bench.registries["reg"]
        return max(registry.image_size(f"{self.bench.reg}/{self.key}:{n}") for n in range(self.builds))


ALL = (SharedHit, SharedEdit, Stampede)
