# SPDX-License-Identifier: Apache-2.0
"""A random base image and random steps on it, for cbpush and, replayed in a directory, to compare with."""
import gzip
import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import tarfile

import names
import ops
import replay
import seeds

TIMEOUT = 120
ROOT_DIRS = ("bin", "dev", "etc", "proc", "run", "seen", "sys", "t", "tmp")
EPOCH = 1300000000


def shown(wanted, got, limit=12):
    """The lines that only one of them has."""
    a, b = set(wanted), set(got)
    out = [f"- {line}" for line in wanted if line not in b] + [f"+ {line}" for line in got if line not in a]
    out.sort(key=lambda line: line[2:])
    return "\n".join(out[:limit] + ([f"… {len(out)} lines"] if len(out) > limit else []))


def expect(what, wanted, got):
    if wanted != got:
        raise seeds.Differs(f"{what}:\n{shown(wanted, got) or 'another order, or twice'}")


class World:
    """directory: of this seed; given: programs. rules, isolation, prefix: how it is built."""

    def __init__(self, seed, directory, given):
        self.seed, self.directory, self.given = seed, directory, given
        self.rng = random.Random(f"{seed}/trees")
        self.isolation = self.rng.choice(given.isolations)
        self.trees = self.rng.choice(("auto", "directories", "images"))
        self.rules = given.rules.but(text=self.rng.random() < 0.6)
        self.lines, self.copies = [], []
        self.root = self.path("replay")
        for name in ("replay", "ctx/ops", "home"):
            os.makedirs(self.path(name))
        os.chmod(self.path("replay"), 0o755)

    def path(self, name):
        return os.path.join(self.directory, name)

    # ---- steps, replayed ----

    def make(self, steps):
        for name in ROOT_DIRS:
            os.mkdir(os.path.join(self.root, name))
        shutil.copy(self.given.fsop, os.path.join(self.root, "bin/fsop"))
        maker = ops.Maker(self.rng, self.rules.but(devices=True))
        self.run_ops(maker.ops(self.rng.choice((0, 20, 60))), [])
        for base, dirs, files in os.walk(self.root, topdown=False):
            for name in dirs + files:
                self.settle_time(os.path.join(base, name))
        self.make_base()
        self.lines = ["FROM base AS base", "FROM base"]
        for number in range(1, steps + 1):
            self.rng.choices((self.step_run, self.step_copy, self.step_copy_from, self.step_add), (6, 2, 1,
                                                            1))[0](number)
        # Sockets are in no layer, but the next RUN still sees them: so they come last.
        self.step_run(steps + 1, self.rules.but(sockets=True))
        self.step_run(steps + 2, None)
        with open(self.path("Dockerfile"), "w", encoding="utf-8") as f:
            f.write("\n".join(self.lines) + "\n")

    @staticmethod
    def settle_time(path):
        """Times of the base are those of its tar, and not of today."""
        st = os.lstat(path)
        if st.st_mtime > 1700000000 and st.st_mtime < 2100000000:
            os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)

    def run_ops(self, text, words):
        with open(self.path("ctx/ops/now"), "w", encoding="ascii") as f:
            f.write(text)
        replay.fsop(self.given.fsop, "-b", "-c", self.root, *(words or ["run"]), self.path("ctx/ops/now"),
                    *names.LEFT_OUT)

    def step_run(self, number, *rules):
        """rules: None to do nothing."""
        maker = ops.Maker(self.rng, *(rules or [self.rules]))
        maker.look(self.root)
        text = "" if rules == (None,) else maker.ops(self.rng.choice((1, 3, 10, 40)))
        with open(self.path(f"ctx/ops/{number}"), "w", encoding="ascii") as f:
            f.write(text)
        self.run_ops(text, ["step", f"/seen/{number}"])
        words = ["/bin/fsop", "step", f"/seen/{number}", "/ops", *names.LEFT_OUT]
        self.lines.append(f"RUN --mount=type=bind,source=ops/{number},target=/ops {json.dumps(words)}")

    def context(self, number):
        """A directory of random files."""
        top = self.path(f"ctx/c{number}")
        os.makedirs(top + "/t")
        maker = ops.Maker(self.rng, self.rules.but(devices=True, sockets=True, readable=self.given.ordinary))
        with open(self.path("ctx/ops/now"), "w", encoding="ascii") as f:
            f.write(maker.ops(self.rng.choice((3, 15))))
        replay.fsop(self.given.fsop, "-c", top, "run", self.path("ctx/ops/now"))
        return os.fsencode(top + "/t")

    def target(self, source):
        """A directory that is there, or one that is not yet."""
        maker = ops.Maker(self.rng, self.rules)
        maker.look(self.root)
        plain = [d for d in maker.dirs if d.decode("latin-1").replace("/", "").isalnum() and d.isascii()]
        for _ in range(10):
            at = self.rng.choice(plain)
            if self.rng.random() < 0.5:
                at += b"/" + self.rng.choice((b"new", b"copied", b"a"))
            there = os.fsencode(self.root) + at
            if os.path.lexists(there) and (os.path.islink(there) or not os.path.isdir(there)):
                continue
            if not os.path.isdir(there) or not replay.conflicts(source, there):
                return at, there
        return None, None

    def copied(self, source, keep, not_to=(), sockets=True):
        at, there = self.target(source)
        if at is None or at.decode("ascii") in not_to:
            return None
        st = os.lstat(source)
        if not os.path.isdir(there):
            above = os.lstat(os.path.dirname(there))
            os.mkdir(there, 0o755)
            os.chown(there, 0, 0)
            os.chmod(there, 0o755)
            os.utime(there, ns=(st.st_mtime_ns, st.st_mtime_ns))
            os.utime(os.path.dirname(there), ns=(above.st_mtime_ns, above.st_mtime_ns))
        replay.copy(source, there, keep, sockets=sockets)
        return at.decode("ascii")

    def step_copy(self, number):
        at = self.copied(self.context(number), False)
        if at:
            self.lines.append(f"COPY c{number}/t {at}/")

    def step_copy_from(self, _number):
        """The same step twice may be one layer, with the times that directories had the first time."""
        at = self.copied(os.fsencode(self.path("base-root/t")), True, self.copies)
        if at:
            self.copies.append(at)
            self.lines.append(f"COPY --from=base /t {at}/")

    def step_add(self, number):
        """The same as an archive: owners are kept."""
        source = self.context(number)
        self.tar_of(source, self.path(f"ctx/{number}.tar"))
        at = self.copied(source, True, sockets=False)
        if at:
            self.lines.append(f"ADD {number}.tar {at}/")

    # ---- the base ----

    def tar_of(self, directory, path):
        """By somebody else."""
        draw = self.rng.choice(("gnu", "posix", "python"))
        if draw == "python":
            with tarfile.open(path, "w", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape") as f:
                f.add(os.fsdecode(directory), ".", filter=lambda info: with_xattrs(os.fsdecode(directory), info))
            return
        words = ["--xattrs", "--xattrs-include=*"] if draw == "posix" else []
        if draw == "gnu":
            replay.fsop(self.given.fsop, "-c", directory, "strip")
        subprocess.run(["tar", "--format", draw, "--numeric-owner", "--sort=name", *words, "-C", directory, "-cf",
                        path, "."],
                       check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def make_base(self):
        """One layer, by tar; and what is in it, to be copied from."""
        self.tar_of(self.root, self.path("base.tar"))
        subprocess.run(["cp", "-a", self.root, self.path("base-root")], check=True)
        with open(self.path("base.tar"), "rb") as f:
            data = f.read()
        layout(self.path("base"), [data])

    # ---- builds ----

    def environment(self, trees, isolation):
        out = {"HOME": self.path("home"), "PATH": os.environ["PATH"], "TMPDIR": self.directory,
               "CBPUSH_ISOLATION": isolation}
        if trees != "auto":
            out["CBPUSH_TREES"] = trees
        out.update({k: os.environ[k] for k in os.environ if k.startswith(("ASAN_", "UBSAN_", "LSAN_", "RIG_"))})
        return out

    def cbpush(self, *words, trees="auto", isolation="auto", store="store"):
        done = subprocess.run([*self.given.program, *words], cwd=self.directory, check=False, capture_output=True,
                              env={**self.environment(trees, isolation), "CBPUSH_ROOT": self.path(store)},
                              stdin=subprocess.DEVNULL, timeout=TIMEOUT)
        if done.returncode != 0:
            raise seeds.Differs(f"{' '.join(words)}: exit status {done.returncode}\n{done.stderr.decode(errors='replace').strip().splitlines()[-1]}")
        return done.stdout

    def build(self, out, *more, **how):
        self.cbpush("build", "--progress", "plain", "-f", "Dockerfile", "--build-context",
                    "base=oci-layout://" + self.path("base"),
                    *([] if out is None else ["-o", out]), *more, "ctx", **how)


def with_xattrs(directory, info):
    path = os.path.join(directory, info.name)
    if info.isreg() or info.isdir():
        for name in os.listxattr(path):
            if not name.isprintable():  # tarfile cannot write it
                os.removexattr(path, name)
                continue
            info.pax_headers["SCHILY.xattr." + name] = os.fsdecode(os.getxattr(path, name))
    return info


def base_tar(fsop):
    """A layer with fsop and the directories that it wants."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in (*ROOT_DIRS, "bin/fsop"):
            info = tarfile.TarInfo(name)
            info.mode, info.mtime, info.type = 0o755, EPOCH, tarfile.REGTYPE if "/" in name else tarfile.DIRTYPE
            if info.isreg():
                info.size = os.path.getsize(fsop)
                with open(fsop, "rb") as f:
                    archive.addfile(info, f)
            else:
                archive.addfile(info)
    return out.getvalue()


def layout(path, tars, ids=None):
    """An OCI layout of these layers: tars, or blobs with their types and the digests of their tars."""
    os.makedirs(path + "/blobs/sha256")

    def blob(data, kind):
        hexes = hashlib.sha256(data).hexdigest()
        with open(f"{path}/blobs/sha256/{hexes}", "wb") as f:
            f.write(data)
        return {"mediaType": "application/vnd.oci.image." + kind, "digest": "sha256:" + hexes, "size": len(data)}

    layers = [blob(gzip.compress(t, 1, mtime=0), "layer.v1.tar+gzip") if isinstance(t,
                                                            bytes) else blob(*t) for t in tars]
    ids = ids or [hashlib.sha256(t).hexdigest() for t in tars]
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers",
                                                            "diff_ids": ["sha256:" + i for i in ids]}}
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": blob(json.dumps(config).encode(), "config.v1+json"), "layers": layers}
    index = {"schemaVersion": 2, "manifests": [{**blob(json.dumps(manifest).encode(), "manifest.v1+json"),
                                                "annotations": {"org.opencontainers.image.ref.name": "latest"}}]}
    for name, data in (("index.json", index), ("oci-layout", {"imageLayoutVersion": "1.0.0"})):
        with open(f"{path}/{name}", "w", encoding="ascii") as f:
            json.dump(data, f)
