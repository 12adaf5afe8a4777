# SPDX-License-Identifier: Apache-2.0
"""A step on a parent of half a million files, as what a package manager leaves: what a RUN costs that touches few of
them. The parent is written here, by no tool that takes part."""
import gzip
import hashlib
import io
import os
import shutil
import tarfile

from cases import Case, write
from transfers import LAYER, Pusher

FILES, LAYERS, IN_DIRECTORY = 500_000, 5, 100
CHANGED = 10


class Hashing:
    """A file that knows the digest of what was written."""

    def __init__(self, to):
        self.to, self.sum = to, hashlib.sha256()

    def write(self, data):
        self.sum.update(data)
        return self.to.write(data)


def header(name, kind, mode, size):
    """A ustar header; tarfile takes as long for one as writing a hundred does."""
    head = bytearray(512)
    head[0:len(name)] = name.encode()
    head[100:148] = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode, 0, 0, size, 1_700_000_000)
    head[148:157] = b"        " + kind
    head[257:265] = b"ustar\x0000"
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def directory_of(i):
    """Of the i-th hundred files."""
    return f"usr/lib/modules/package{i // 50:03}/part{i % 50:02}"


def write_files(out, first, n):
    """Directories of a hundred files each; no file is as another one."""
    for d in range(first // IN_DIRECTORY, (first + n) // IN_DIRECTORY):
        where = directory_of(d)
        if d % 50 == 0:
            out.write(header(os.path.dirname(where) + "/", b"5", 0o755, 0))
        out.write(header(where + "/", b"5", 0o755, 0))
        for i in range(IN_DIRECTORY):
            text = f"module.exports = require('./{d}').part({i});\n".encode()
            out.write(header(f"{where}/file{i:03}.js", b"0", 0o644, len(text)))
            out.write(text.ljust(512, b"\0"))


def write_base(out):
    """A shell, its tools and a user."""
    with tarfile.open(fileobj=out, mode="w|") as tar:
        with open(shutil.which("busybox"), "rb") as busybox:
            info = tarfile.TarInfo("bin/busybox")
            info.mode, info.size = 0o755, os.fstat(busybox.fileno()).st_size
            tar.addfile(info, busybox)
        for name in ("sh", "true", "cat"):
            info = tarfile.TarInfo(f"bin/{name}")
            info.type, info.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(info)
        for name, text in (("passwd", b"root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/:/bin/sh\n"),
                           ("group", b"root:x:0:\napp:x:1000:\n")):
            info = tarfile.TarInfo(f"etc/{name}")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))


def make_layers(directory):
    """NUMBER.tar.gz of each layer and its diff id in NUMBER.id."""
    for i in range(LAYERS + 1):
        with open(f"{directory}/{i}.tar.gz", "wb") as f, gzip.GzipFile("", "wb", 1, f, 0) as packed:
            tar = Hashing(packed)
            if i == 0:
                write_base(tar)
            else:
                write_files(tar, (i - 1) * FILES // LAYERS, FILES // LAYERS)
                tar.write(bytes(1024))
        write(f"{directory}/{i}.id", "sha256:" + tar.sum.hexdigest())


def kept_layers():
    """The directory of them, made once."""
    with open(__file__, "rb") as f:
        key = hashlib.sha256(f.read()).hexdigest()[:16]
    directory = os.path.join(os.path.dirname(os.environ["BENCH_SID_ROOT"]), f"large-{key}")
    if not os.path.isdir(directory):
        shutil.rmtree(directory + ".new", ignore_errors=True)
        os.makedirs(directory + ".new")
        make_layers(directory + ".new")
        os.rename(directory + ".new", directory)
    return directory


class RunLarge(Case):
    """Of a tree that is there: what a step costs whose work is small."""

    key = "run-large"
    title = f"RUN that changes {CHANGED} files of {FILES:,}, no cache, parent there, no push"
    pushes = cache = False

    def setup(self):
        registry = self.bench.registries["mem"]
        layers, ids = [], []
        directory, push = kept_layers(), Pusher(registry.address, "large")
        for i in range(LAYERS + 1):
            with open(f"{directory}/{i}.tar.gz", "rb") as f:
                layers.append(push.bytes(LAYER + "+gzip", f.read()))
            with open(f"{directory}/{i}.id", encoding="ascii") as f:
                ids.append(f.read())
        push.image("1", layers, ids)
        parent = f"FROM {registry.address}/large:1\n"
        write(f"{self.context}.parent/Dockerfile", parent + "RUN true\n")
        changed = [directory_of(i * (FILES // IN_DIRECTORY // CHANGED)) + "/file042.js" for i in range(CHANGED)]
        lines = "".join(f"    echo changed >/{path} && \\\n" for path in changed)
        write(f"{self.context}/Dockerfile", f"{parent}RUN \\\n{lines}    true\n")

    def before(self, tool, turn):
        if turn == 0:
            tool.wipe()
            tool.build(self.context + ".parent", self.target(tool, "parent"), push=False)

    def cleanup(self):
        super().cleanup()
        shutil.rmtree(self.context + ".parent", ignore_errors=True)


ALL = (RunLarge,)
