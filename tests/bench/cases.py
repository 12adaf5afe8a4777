# SPDX-License-Identifier: Apache-2.0
"""What is measured. A case makes its build context once and then takes one sample of one tool at a time."""
import hashlib
import os
import shutil
import sys

import tools
from measure import median, timed

MIB = 1 << 20


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


class Case:
    """key: its name on the command line. aim: (times faster than the best peer), or None. memory: the aim as a part of
    what the thriftiest of the others takes, or None. turns: at most so many. peers: measured with others too. rebuild:
    makes sense only for a tool that knows unchanged steps again. compares: the images of all tools have the same files,
    but for `own`."""

    key = title = ""
    aim = memory = None
    turns = 100
    peers = True
    rebuild = False
    pushes = True
    cache = True
    compares = True
    own = ()

    def __init__(self, bench):
        self.bench = bench
        self.context = os.path.join(bench.work, "contexts", self.key)

    def setup(self):
        raise NotImplementedError

    @classmethod
    def wants(cls, tool):
        """Whether it can do this at all."""
        return tool.builds

    def measures(self, tool):
        return self.wants(tool) and (self.peers or tool.key == "cbpush") and (tool.caches or not self.rebuild)

    def target(self, tool, turn):
        """A name in the target registry; another repository each turn, so that nothing of it is there yet."""
        return f"{self.bench.reg}/{self.key}-{tool.key}-{turn}:1"

    def before(self, tool, turn):
        """Not measured."""
        tool.wipe()

    def sample(self, tool, turn):
        return tool.build(self.context, self.target(tool, turn), push=self.pushes, cache=self.cache)

    def verify(self, tool, turn):
        """The size of what is in the registry now; Failed if it is not there."""
        return self.bench.registries["reg"].image_size(self.target(tool, turn)) if self.pushes else 0

    def after(self, tool, sample):
        """What else is measured in the same turn, beside that sample of the tool."""

    def remarks(self):
        """Lines below the table."""
        return ()

    def cleanup(self):
        """Gives back the room of what no later case uses."""
        shutil.rmtree(self.context, ignore_errors=True)


class Flask(Case):
    """contrib/examples/flask; its parent is named by its full name, so every tool has the same chance to mount it. delay:
    of a round trip to the registries, in ms."""

    parent_registry = "reg"
    delay = 0

    def __init__(self, bench):
        super().__init__(bench)
        far = f"-at-{self.delay}" if self.delay else ""
        self.context = os.path.join(bench.work, "contexts", f"flask-{self.parent_registry}{far}")

    def target(self, tool, turn):
        return f"{self.bench.far('reg', self.delay)}/{self.key.replace('@', '-at-')}-{tool.key}-{turn}:1"

    def setup(self):
        if os.path.isdir(self.context):
            return
        shutil.copytree(os.path.join(self.bench.top, "contrib/examples/flask"), self.context)
        dockerfile = os.path.join(self.context, "Dockerfile")
        with open(dockerfile, encoding="utf-8") as f:
            text = f.read()
        host = self.bench.far(self.parent_registry, self.delay)
        named = text.replace("FROM python:3.9-slim", f"FROM {host}/library/python:3.9-slim")
        if named == text:
            sys.exit("bench: the example has another parent now than python:3.9-slim")
        write(dockerfile, named)
        with open(os.path.join(self.context, "requirements.txt"), "a", encoding="utf-8") as f:
            f.write(self.bench.pip_lines())

    def cleanup(self):
        pass


class FlaskCold(Flask):
    key = "flask-cold"
    title = "cold build and push of the flask example; parent and result in one registry"
    aim = 3


class FlaskSame(Flask):
    key = "flask-same"
    title = "unchanged rebuild and push of the flask example"
    aim = 20
    rebuild = True

    def target(self, tool, turn):
        return super().target(tool, "all")

    def before(self, tool, turn):
        if turn == 0:
            tool.build(self.context, self.target(tool, turn))


class FlaskEdit(FlaskSame):
    key = "flask-edit"
    title = "rebuild and push after one line of app.py changed"
    aim = 10
    own = ("app/app.py",)

    def before(self, tool, turn):
        super().before(tool, turn)
        with open(os.path.join(self.context, "app.py"), "a", encoding="utf-8") as f:
            f.write(f"# {tool.key}, turn {turn}\n")


class FlaskColdTwo(FlaskCold):
    key = "flask-cold-two"
    title = "cold as above, the parent in another registry than the result"
    aim = None
    parent_registry = "hub"


def far(case, milliseconds):
    """The same with registries that are so far away."""
    name = f"{case.__name__}At{milliseconds}"
    return type(name, (case,), {"key": f"{case.key}@{milliseconds}", "delay": milliseconds})


class ContextSame(Case):
    """Small files of different content, in directories of a hundred."""

    key = "context-same"
    title = "unchanged rebuild and push, a context of 100,000 files"
    aim = 10
    rebuild = True
    directories = 1000

    def setup(self):
        write(f"{self.context}/Dockerfile", "FROM scratch\nCOPY . /src/\n")
        write(f"{self.context}/.dockerignore", "**/*.o\n.git\n**/__pycache__\n")
        for d in range(self.directories):
            where = f"{self.context}/part{d // 50:02}/module{d % 50:02}"
            os.makedirs(where)
            for i in range(100):
                with open(f"{where}/file{i:03}.c", "w", encoding="utf-8") as f:
                    f.write(f"/* {d} {i} */\n" + "int x;\n" * 60)

    def target(self, tool, turn):
        return super().target(tool, "all")

    def before(self, tool, turn):
        if turn == 0:
            tool.build(self.context, self.target(tool, turn))


class FiftyRuns(Case):
    key = "fifty-runs"
    title = "fifty times RUN true on busybox, no cache, parent there, no push"
    aim = 15
    pushes = cache = False

    def setup(self):
        parent = f"FROM {self.bench.reg}/library/busybox:latest\n"
        write(f"{self.context}/Dockerfile", parent + "RUN true\n" * 50)
        write(f"{self.context}.parent/Dockerfile", parent + "RUN true\n")

    def before(self, tool, turn):
        if turn == 0:
            tool.build(self.context + ".parent", self.target(tool, "parent"), push=False)


def mix_of_usr():
    """The files of /usr in an order that has nothing to do with their kind."""
    paths = [os.path.join(where, n) for where, _, names in os.walk("/usr") for n in names]
    for path in sorted(paths, key=lambda p: hashlib.sha256(os.fsencode(p)).digest()):
        if os.path.isfile(path) and not os.path.islink(path):
            yield path


def take_files(paths, megabytes, directory):
    """Copies the next files, until there are so many megabytes."""
    wanted = megabytes * 1000 * 1000
    while wanted > 0:
        path = next(paths)
        wanted -= os.path.getsize(path)
        to = directory + path
        os.makedirs(os.path.dirname(to), exist_ok=True)
        shutil.copy2(path, to)


class BigLayer(Case):
    """A mix of real files."""

    key = "big-layer"
    title = "COPY of real files into one layer and push, empty store"

    def setup(self):
        self.title = f"COPY of {self.bench.megabytes} MB of real files (of /usr) into one layer and push, empty store"
        take_files(mix_of_usr(), self.bench.megabytes, f"{self.context}/files")
        write(f"{self.context}/Dockerfile", "FROM scratch\nCOPY files /\n")


class CopyOnto(Case):
    """An app copied onto a large parent of ten layers, which cbpush has pushed: nothing is run. toc: with tables of its
    layers, by which no byte of them is needed. delay: of a round trip, in ms; megabits: of the line, a second."""

    key = "copy-onto"
    title = "COPY of 150 MB onto a parent of 1 GB in ten layers, no RUN, same registry, empty store"
    aim = 8
    turns = 3
    toc, delay, megabits = True, 0, 0
    layers = 10
    made = set()

    def setup(self):
        paths = mix_of_usr()
        take_files(paths, 150, f"{self.context}/app")
        self.make(paths, "WORKDIR /srv\nCOPY app .\nUSER nobody\n")

    def make(self, paths, steps):
        registry = self.bench.registries["mem"]
        name = "parent" if self.toc else "parent-plain"
        parent = f"FROM {self.address()}/{name}:1\n"
        write(f"{self.context}/Dockerfile", parent + steps)
        if name not in self.made:
            self.push_parent(paths, f"{registry.address}/{name}:1")
            self.made.add(name)

    def push_parent(self, paths, name):
        context, tool = f"{self.context}.parent", tools.Cbpush(self.bench.place, self.bench.root)
        lines = ["FROM scratch"]
        for i in range(self.layers):
            take_files(paths, 100, f"{context}/{i}")
            lines.append(f"COPY {i} /")
        os.makedirs(f"{context}/0/bin", exist_ok=True)
        shutil.copy(shutil.which("busybox"), f"{context}/0/bin/sh")
        write(f"{context}/Dockerfile", "\n".join(lines) + "\n")
        os.makedirs(tool.store, exist_ok=True)
        tool.wipe()
        timed([tool.program, "build", "--progress", "plain", f"--toc={str(self.toc).lower()}", "--push", "-t", name,
               context], tool.log, tool.env)
        shutil.rmtree(context)

    def target(self, tool, turn):
        return f"{self.address()}/{self.key.replace('@', '-at-')}-{tool.key}-{turn}:1"

    def address(self):
        return self.bench.far("mem", self.delay, self.megabits)

    def verify(self, tool, turn):
        return self.bench.registries["mem"].image_size(self.target(tool, turn))


class CopyOntoPlain(CopyOnto):
    key = "copy-onto-plain"
    title = "the same onto a parent without tables"
    aim, toc = None, False


class CopyOntoFar(CopyOnto):
    key = "copy-onto@20"
    title = "the same, the registry 20 ms away"
    delay = 20


class RunOnto(CopyOnto):
    """All of the parent is fetched and made ready. Beside cbpush the same blobs are only fetched: `times` has how many
    times as long as that it took, turn by turn."""

    key = "run-onto"
    title = "RUN true on a parent of 1 GB in ten layers, empty store, no push"
    aim = 5
    pushes = False

    def __init__(self, bench):
        super().__init__(bench)
        self.times = {}

    def setup(self):
        self.make(mix_of_usr(), "RUN true\n")

    def verify(self, tool, turn):
        return 0

    def fetches(self, tool):
        """(what, command): by the least that can be done, and by a tool that keeps and checks what it fetches."""
        address, name = self.address(), "parent" if self.toc else "parent-plain"
        if shutil.which("curl"):
            argv = ["curl", "-sS", "--fail", "--parallel", "--parallel-immediate", "--parallel-max", str(self.layers)]
            for layer in self.bench.registries["mem"].layers(f"{address}/{name}:1"):
                argv += ["-o", "/dev/null", f"http://{address}/v2/{name}/blobs/{layer['digest']}"]
            yield "as fetching its blobs side by side and keeping nothing (curl)", argv
        if shutil.which("skopeo"):
            yield "as fetching it into a directory (skopeo)", [
                "skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", f"docker://{address}/{name}:1",
                f"dir:{tool.store}/fetched"]

    def after(self, tool, sample):
        if tool.key != "cbpush":
            return
        for what, argv in self.fetches(tool):
            tool.wipe()
            self.times.setdefault(what, []).append(sample.wall / timed(argv, tool.log, tool.env).wall)

    def remarks(self):
        return [f"cbpush took {median(v):.1f} times ({min(v):.1f}–{max(v):.1f}) as long {what}"
                for what, v in self.times.items()]


class RunOntoLine(RunOnto):
    key = "run-onto-line"
    title = "the same, the registry 5 ms away behind a line of 1 Gbit/s"
    delay, megabits = 5, 1000


class Memory(Case):
    """Peak memory; the time is not the point. Half of the data is random, half is text."""

    peers = False
    blocks = 2048

    @staticmethod
    def block():
        line = b"%d: half of what a layer holds is text that packs well, the other half is not\n"
        text = b"".join(line % i for i in range(8192))
        return os.urandom(MIB // 2) + text[: MIB // 2]


class MemoryCopy(Memory):
    key = "memory-copy"
    title = "peak memory: COPY of one file of 2 GiB, and push"

    def setup(self):
        write(f"{self.context}/Dockerfile", "FROM scratch\nCOPY big /\n")
        with open(f"{self.context}/big", "wb") as f:
            for _ in range(self.blocks):
                f.write(self.block())


class MemoryRun(Memory):
    key = "memory-run"
    title = "peak memory: RUN makes a file of 2 GiB, and push"

    def setup(self):
        write(f"{self.context}/Dockerfile", f"""FROM {self.bench.reg}/library/busybox:latest
COPY block /
RUN i=0; while [ $i -lt {self.blocks} ]; do cat /block; echo $i; i=$((i+1)); done >/big
""")
        with open(f"{self.context}/block", "wb") as f:
            f.write(self.block())


class MemoryFiles(ContextSame):
    key = "memory-files"
    title = "peak memory: COPY of 100,000 files, and push"
    aim = None
    peers = rebuild = False

    def target(self, tool, turn):
        return Case.target(self, tool, turn)

    def before(self, tool, turn):
        tool.wipe()


class MemoryFilesRun(Memory):
    key = "memory-files-run"
    title = "peak memory: RUN makes 100,000 files, and push"

    def setup(self):
        write(f"{self.context}/Dockerfile", f"""FROM {self.bench.reg}/library/busybox:latest
RUN for d in $(seq 1000); do mkdir -p /src/$d; for f in $(seq 100); do echo $d $f >/src/$d/file$f.c; done; done
""")


FAR_FLASKS = tuple(far(case, ms) for case in (FlaskCold, FlaskSame, FlaskEdit) for ms in (20, 80))
ALL = (FlaskCold, FlaskSame, FlaskEdit, *FAR_FLASKS, FlaskColdTwo, ContextSame, FiftyRuns, BigLayer, CopyOnto,
       CopyOntoPlain, CopyOntoFar, RunOnto, RunOntoLine, MemoryCopy, MemoryRun, MemoryFiles, MemoryFilesRun)
