# SPDX-License-Identifier: Apache-2.0
"""All that a build's result may depend on, random changes of it, and the stores and caches that it must not depend on."""
import copy
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time

import bases
import dockerfile
import files

TIMEOUT = 120
NO_CHROOT = re.compile(r"type=(secret|cache|tmpfs)|,rw ")  # mounts that this isolation does not have


class Result:
    """What a build said, and where its image is."""

    def __init__(self, status, output, layout, metadata):
        self.status, self.output, self.layout, self.metadata = status, output, layout, metadata

    @property
    def digest(self):
        return self.metadata["containerimage.digest"]

    def error(self):
        return next((line for line in reversed(self.output.split("\n")) if line.strip()), "")


class Inputs:
    """What is no file, so that a change that breaks the build can be taken back."""

    def __init__(self, rng):
        self.dockerfile, self.ignore = dockerfile.Dockerfile(rng), files.ignore(rng)
        self.arguments, self.secret, self.tag = {"V_A": "one", "UNUSED": "1"}, "hush", rng.choice(bases.MOVES)
        self.epoch = rng.choice((None, 1100000000, 1100000000))
        self.extra, self.target, self.flags, self.instead = "dir", None, [], None
        self.served = (b"served\n", True, files.TIME)

    def change(self, rng):
        draw = rng.random()
        if draw < 0.5:
            return self.dockerfile.change(rng)
        do = rng.choice((self.change_ignore, self.change_ignore, self.change_argument, self.change_argument, self.change_tag,
                         self.change_tag, self.change_rest, self.change_rest))
        return do(rng)

    def change_ignore(self, rng):
        self.ignore = files.ignore(rng)
        return f".dockerignore {self.ignore!r}"

    def change_argument(self, rng):
        name = rng.choice(("V_A", "V_A", "V_B", "V_G", "UNUSED", "BASE"))
        if name in self.arguments and rng.random() < 0.3:
            del self.arguments[name]
            return f"no --build-arg {name}"
        self.arguments[name] = rng.choice(("base:a", "base:b")) if name == "BASE" else rng.choice(dockerfile.WORDS)
        return f"--build-arg {name}={self.arguments[name]}"

    def change_tag(self, rng):
        self.tag = rng.choice(bases.MOVES)
        return f"base:now is base:{self.tag}"

    def change_rest(self, rng):
        what = rng.choice(("secret", "epoch", "extra", "target", "flags", "instead", "served", "served"))
        if what == "secret":
            self.secret = rng.choice(("hush", "hash", "longer"))
        elif what == "epoch":
            self.epoch = rng.choice((None, 1100000000, 1150000000))
        elif what == "extra":
            self.extra = rng.choice(("dir", "dir", "layout", "image"))
        elif what == "target":
            self.target = rng.choice((None, rng.choice(self.dockerfile.stages).name))
        elif what == "instead":
            self.instead = rng.choice((None, "base:b=docker-image://base:a", "base:b={bases}/c", "s0=docker-image://base:b"))
        elif what == "served":
            self.served = self.another_served(rng)
        else:
            self.flags = rng.choice(([], [], ["--squash"], ["--squash-all"], ["--label", "x=y"], ["--unsetenv", "V_A"],
                                     ["--compression-format", "none"], ["--compression-level", "9"]))
        return f"{what} {getattr(self, what)}"


    def another_served(self, rng):
        """What has only a time has another one with other bytes."""
        text, etag, when = rng.choice(files.TEXTS).encode(), rng.random() < 0.6, rng.choice((0, 1, 2, -300000000))
        if not etag and text != self.served[0]:
            self.turn = getattr(self, "turn", 9) + 1
            when = self.turn
        return text, etag, None if etag and when == 2 else files.TIME + when


class World:
    """directory: of this seed alone; given: the address of a registry, the directory of bases.make."""

    def __init__(self, seed, directory, given):
        self.seed, self.directory, self.given = seed, directory, given
        rng = random.Random(f"{seed}/first")
        self.home = self.path("home")
        self.configure()
        for name in ("ctx", "extra"):
            files.make(self.path(name), rng)
        self.inputs, self.store, self.moved_to = Inputs(rng), "store-a", None
        self.inside = rng.random() < 0.5  # the Dockerfile is in the context
        self.cache = rng.choice((None, None, "type=local", "type=registry", "type=inline"))
        self.mode, self.pushes = rng.choice(("min", "max")), rng.random() < 0.3 or self.cache == "type=inline"
        self.isolation = rng.choice(("auto",) * 6 + ("chroot", "oci"))

    @property
    def canonical(self):
        """Whether the bytes are those of a clean build. Without an overlay nobody sees whether a directory was made anew,
        and whiteouts say the same in other words; an inline cache stands in the image."""
        return self.isolation != "chroot" and self.cache != "type=inline"

    def path(self, name):
        return os.path.join(self.directory, name)

    def configure(self):
        os.makedirs(os.path.join(self.home, ".config/containers"))
        with open(os.path.join(self.home, ".config/containers/registries.conf"), "w", encoding="ascii") as f:
            f.write('[[registry]]\nprefix = "docker.io"\nlocation = "docker.io"\n[[registry.mirror]]\n'
                    f'location = "{self.given.address}"\ninsecure = true\n')

    def change(self, rng):
        """One change; returns what it was, and how to take it back (None: it cannot be)."""
        if rng.random() < 0.5:
            name = rng.choice(("ctx", "ctx", "ctx", "ctx", "extra"))
            return f"{name}: {files.change(self.path(name), rng)}", None
        before = copy.deepcopy(self.inputs)
        return self.inputs.change(rng), before

    def settle(self):
        """Writes what is written anew for each build, and only what has changed."""
        name = f"now-{self.seed}"
        if self.moved_to != self.inputs.tag:
            bases.move(self.given.address, name, self.given.manifests[self.inputs.tag])
            self.moved_to = self.inputs.tag
        self.given.server.files[f"/{self.seed}/served.txt"] = self.inputs.served
        text = self.inputs.dockerfile.text().replace("base:now", "base:" + name)
        text = text.replace("http://served", self.given.server.url(f"/{self.seed}"))
        if self.isolation == "chroot":
            lines = [line for line in text.splitlines(True) if not NO_CHROOT.search(line)]
            text = "".join(lines).replace("--network=none ", "")
        self.put(self.dockerfile(), text)
        self.put(self.path("secret"), self.inputs.secret)
        if self.inputs.ignore is not None:
            self.put(self.path("ctx/.dockerignore"), self.inputs.ignore)
        else:
            files.drop(self.path("ctx/.dockerignore"))

    @staticmethod
    def put(path, text):
        try:
            with open(path, encoding="utf-8") as f:
                if f.read() == text:
                    return
        except FileNotFoundError:
            pass
        files.write(path, text)

    def dockerfile(self):
        return self.path("ctx/Dockerfile" if self.inside else "Dockerfile")

    def extra(self):
        return {"dir": self.path("extra"), "layout": f"oci-layout://{self.given.bases}/b:latest",
                "image": f"docker-image://base:now-{self.seed}"}[self.inputs.extra]

    def arguments(self):
        out = []
        for name, value in self.inputs.arguments.items():
            out += ["--build-arg", f"{name}={value}"]
        if self.inputs.target in [s.name for s in self.inputs.dockerfile.stages]:
            out += ["--target", self.inputs.target]
        if self.inputs.instead:
            out += ["--build-context", self.inputs.instead.replace("{bases}", f"oci-layout://{self.given.bases}")]
        squashes = self.inputs.flags and self.inputs.flags[0].startswith("--squash")
        return out if squashes and self.cache == "type=inline" else out + self.inputs.flags  # refused together

    def shared(self):
        """The options of a cache that both stores have."""
        if not self.cache:
            return []
        if self.cache == "type=inline":
            return ["--cache-to", self.cache, "--cache-from", f"type=registry,ref={self.given.address}/app/{self.seed}:1"]
        where = {"type=local": self.path("cache"), "type=registry": f"{self.given.address}/cache/{self.seed}"}[self.cache]
        words = {"type=local": ("src", "dest"), "type=registry": ("ref", "ref")}[self.cache]
        out = ["--cache-to", f"{self.cache},{words[1]}={where},mode={self.mode}"]
        if self.cache == "type=local" and not os.path.isdir(where):
            return out
        return out + ["--cache-from", f"{self.cache},{words[0]}={where}"]

    def environment(self, trees, isolation):
        out = {"HOME": self.home, "PATH": os.environ["PATH"], "TMPDIR": self.directory, "CBPUSH_ISOLATION": isolation}
        if trees != "auto":
            out["CBPUSH_TREES"] = trees
        if self.inputs.epoch:
            out["SOURCE_DATE_EPOCH"] = str(self.inputs.epoch)
        out.update({k: os.environ[k] for k in os.environ if k.startswith(("ASAN_", "UBSAN_", "LSAN_", "RIG_"))})
        return out

    def command(self, store, out, more):
        return [self.given.program, "build", "--progress", "plain", "--root", self.path(store), "-f", self.dockerfile(),
                "--metadata-file", self.path(out + ".json"), "-o", f"type=oci,tar=false,dest={self.path(out)}",
                "--secret", f"id=s,src={self.path('secret')}", "--build-context", f"extra={self.extra()}",
                *self.arguments(), *more, self.path("ctx")]

    def clean(self, trees):
        """Without anything of before."""
        shutil.rmtree(self.path("fresh"), ignore_errors=True)
        return self.build("fresh", "clean", ["--no-cache", "--no-stat-cache"], trees, "auto")

    def cached(self, trees, more=()):
        pushed = ["--push", "-t", f"{self.given.address}/app/{self.seed}:1"] if self.pushes else []
        return self.build(self.store, "cached", [*self.shared(), *pushed, *more], trees, self.isolation)

    def build(self, store, out, more, trees, isolation):
        shutil.rmtree(self.path(out), ignore_errors=True)
        files.drop(self.path(out + ".json"))
        done = subprocess.run(self.command(store, out, more), cwd=self.directory, env=self.environment(trees, isolation),
                              check=False, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL,
                              timeout=TIMEOUT)
        metadata = None
        if done.returncode == 0:
            with open(self.path(out + ".json"), encoding="utf-8") as f:
                metadata = json.load(f)
        with open(self.path("last-" + out), "w", encoding="utf-8") as f:
            f.write(" ".join(done.args) + "\n" + done.stderr)
        return Result(done.returncode, done.stderr, self.path(out), metadata)

    def started(self, trees, out):
        """A build that runs beside others."""
        return subprocess.Popen(self.command(self.store, out, self.shared()), cwd=self.directory,
                                env=self.environment(trees, self.isolation), stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def tool(self, *words):
        environment = {**self.environment("auto", "auto"), "CBPUSH_ROOT": self.path(self.store)}
        done = subprocess.run([self.given.program, *words], check=False, text=True, env=environment, capture_output=True,
                              timeout=TIMEOUT)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr}")

    def event(self, rng):
        """What may happen to a store between two builds; returns what it was."""
        draw = rng.random()
        if draw < 0.12:
            return self.killed(rng)
        if draw < 0.17:
            self.tool("prune", "--keep", "0s", *rng.choice(([], ["--all"])))
            return "prune"
        if draw < 0.3:
            self.store = "store-b" if self.store == "store-a" else "store-a"
            return self.store
        if draw < 0.34:
            shutil.rmtree(self.path(self.store), ignore_errors=True)
            return f"no {self.store}"
        if draw < 0.37 and os.path.isdir(self.path("cache")):
            self.tool("cache", "prune", "--older-than", "0s", self.path("cache"))
            return "cache prune"
        return None

    def killed(self, rng):
        process = self.started("auto", "killed")
        time.sleep(rng.random() * 0.4)
        os.killpg(process.pid, rng.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)))
        process.wait(TIMEOUT)
        return "killed"
