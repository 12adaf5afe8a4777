#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cbpush against a registry that misbehaves: every line of the tables is a cell. TAP on standard output.

usage: matrix.py [-j JOBS] [-k REGEX] [-v] [-t N] [-s N | TABLE…]     CBPUSH is the program

A line is `ROW | RUN | WHAT | EXPECT | AGAIN | REQUESTS | SAYS`.
ROW       of safety.md 3a, 1D, 1E or of builders-and-registries.md §2.5 (Q…)
RUN       push, pull, build (COPY on a parent of the same registry, with --push), login, ask (any verb: `verb WORDS`)
WHAT      separated by `; `: faults (faults.py), `quirk NAME=VALUE…`, `auth KIND`, `tls FLAW`, `via proxy`, `args …`,
          `lacks all` (no blob is there before a push), `host NAME` (as which the registry is named), `env K=V…`,
          `hosts NAME=IP` (in /etc/hosts), `dns MODE` (nameserver.py; the bound `queries` counts what it was asked),
          `image NAME` (new), `by digest` (pull), `store used` (pull: it has a blob, so that HEAD comes first),
          `conf NAME`: a registries.conf of confs.json, `lax WORD…`: what need not hold here, `plant WHAT`: the rig's
          own test, SAYS is the problem that must be found
EXPECT    ok, or the exit status
AGAIN     how many times more than once the blob may be sent
REQUESTS  bounds such as `post<=2 get-blob=1`, also on how often a fault struck: `fired<=3`, and how many uploads are
          left open: `left=0`
SAYS      what standard error must hold; `!text`: must not

After every cell: every fault struck; the tag leads to the new image exactly if the exit status is 0; no tag leads to
what is not there, and no blob under it went unasked; no secret is in any output, in the store or with the attacker;
what is printed is harmless; no upload is left open where the exit status is 0; nothing is left in the store's tmp and
leases, every blob in it has its name's bytes; no process is left.
"""
import argparse
import base64
import concurrent.futures
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request

import faults
import images

HERE = os.path.dirname(os.path.abspath(__file__))
USER = "fault-user"
LIMIT = 60
SETTINGS = ("quirk", "auth", "tls", "via", "args", "lacks", "host", "env", "lax", "plant", "conf", "image", "by", "hosts",
            "dns", "verb", "store")
HARMFUL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Cell:
    """One line of a table."""

    def __init__(self, number, line):
        fields = [field.strip() for field in line.strip().split("|")]
        fields += [""] * (7 - len(fields))
        self.row, self.run, self.what, self.expect, self.again, self.requests, self.says = fields[:7]
        self.name, self.rules, self.set = f"c{number}", [], {}
        for item in filter(None, (part.strip() for part in self.what.split("; "))):
            word, _, rest = item.partition(" ")
            if word in SETTINGS:
                self.set[word] = (self.set.get(word, "") + " " + rest).strip()
            else:
                faults.Rule(item)
                self.rules.append(item)
        if self.expect != "ok":
            int(self.expect)
        self.lax = self.set.get("lax", "").split()
        self.quirks = dict(word.partition("=")[::2] for word in self.set.get("quirk", "").split())

    @property
    def title(self):
        found = f": found «{self.says}»" if "plant" in self.set else ""
        return f"{self.row} {self.run}: {self.what or 'nothing is wrong'}{found}".replace("#", "\\#")

    @property
    def image(self):
        return self.set.get("image", "new")

    def config(self, names):
        """As the server wants it."""
        lacks = [] if self.set.get("lacks") == "all" else [names["small"], names[self.image + ".config"]]
        seed = {"cell/app": {"v1": "old"}, "base/image": {"v1": "base"}}
        if self.run == "ask":
            seed, lacks = {"cell/app": {"v1": "new", "v2": "old", "v3": "base"}}, []
        if self.run == "pull":
            seed, lacks = {"cell/app": {"v1": self.image}, "mirror/cell/app": {"v1": self.image}}, []
        return {"name": self.name, "rules": self.rules, "quirks": self.quirks, "auth": self.set.get("auth", "token"),
                "tls": self.set.get("tls"), "via": self.set.get("via"), "seed": seed, "blobs": {"cell/app": lacks}}


class Rig:
    """The server, the images and the store that each cell begins with."""

    def __init__(self, program, work):
        self.program, self.work = program, work
        self.mark = f"{os.getpid()}.{time.time()}"
        self.layout = images.make(os.path.join(work, "layout"))
        self.server = subprocess.Popen(
            [sys.executable, "-B", os.path.join(HERE, "faultreg.py"), "--dir", work, "--layout", self.layout.directory],
            stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": HERE})
        for name in ("new", "large"):
            self.load(name)
        for _ in range(400):
            if os.path.exists(os.path.join(work, "port")):
                break
            time.sleep(0.05)
        with open(os.path.join(work, "port"), encoding="ascii") as file:
            self.control = f"http://127.0.0.1:{file.read()}"
        self.attacker = self.ask("/attacker")

    def store(self, image):
        return os.path.join(self.work, "store." + image)

    def load(self, image):
        archive = os.path.join(self.work, image + ".tar")
        with tarfile.open(archive, "w") as tar:
            for name in ("oci-layout", "blobs"):
                tar.add(os.path.join(self.layout.directory, name), name)
            tar.add(os.path.join(self.layout.directory, image + ".json"), "index.json")
        home = os.path.join(self.work, "home." + image)
        os.makedirs(home)
        subprocess.run([self.program, "load", "-i", archive], check=True, stdout=subprocess.DEVNULL,
                       env={"PATH": os.environ["PATH"], "HOME": home, "CBPUSH_ROOT": self.store(image)})

    def ask(self, path, value=None):
        data = None if value is None else json.dumps(value).encode()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.control + path, data, timeout=60) as reply:
            return json.load(reply)

    def close(self):
        self.server.terminate()
        self.server.wait()


class Run:
    """One cell, run and judged."""

    def __init__(self, rig, cell, port):
        self.rig, self.cell, self.port = rig, cell, port
        self.dir = os.path.join(rig.work, cell.name)
        self.root = os.path.join(self.dir, "store")
        host = cell.set.get("host", "127.0.0.1")
        self.address = host if cell.set.get("via") == "proxy" else f"{host}:{port}"
        self.problems = []
        self.status, self.out, self.err, self.state, self.seconds = None, "", "", {}, 0

    def secret(self, what):
        return f"CANARY-{what}-{self.cell.name}-"

    # ---- running

    def expand(self, text):
        return (text.replace("{A}", self.address).replace("{P}", str(self.port)).replace("{pki}", self.rig.work + "/pki")
                .replace("{DIR}", self.dir).replace("{new}", self.rig.layout.images["new"])
                .replace("{big}", self.rig.layout.names["big"]))

    def environment(self):
        home = os.path.join(self.dir, "home")
        env = {"PATH": os.environ["PATH"], "HOME": home, "TMPDIR": os.path.join(self.dir, "tmp"),
               "CBPUSH_ROOT": self.root, "CBPUSH_FAULT_MARK": self.rig.mark, "XDG_RUNTIME_DIR": home,
               "SSL_CERT_FILE": os.path.join(self.rig.work, "pki", "ca.crt")}
        if "CB_CHECK_MARK" in os.environ:
            env["CB_CHECK_MARK"] = os.environ["CB_CHECK_MARK"]
        if self.cell.set.get("via") == "proxy":
            env["https_proxy"] = env["http_proxy"] = f"http://127.0.0.1:{self.port}"
        if "conf" in self.cell.set:
            env["CONTAINERS_REGISTRIES_CONF"] = os.path.join(self.dir, "registries.conf")
        env.update(word.partition("=")[::2] for word in self.expand(self.cell.set.get("env", "")).split())
        return env

    def prepare(self):
        os.makedirs(os.path.join(self.dir, "home", ".docker"))
        os.makedirs(os.path.join(self.dir, "tmp"))
        if self.cell.run == "push":
            shutil.copytree(self.rig.store(self.cell.image), self.root)
        if "store" in self.cell.set:
            self.use_store()
        pair = base64.b64encode(f"{USER}:{self.secret('password')}".encode()).decode()
        entry = {"auth": pair}
        if self.cell.set.get("auth") == "refresh":
            entry = {"auth": base64.b64encode(f"{USER}:".encode()).decode(), "identitytoken": self.secret("refresh")}
        if self.cell.run != "login":
            with open(os.path.join(self.dir, "home", ".docker", "config.json"), "w", encoding="ascii") as file:
                json.dump({"auths": {self.address: entry}}, file)
        context = os.path.join(self.dir, "context")
        os.makedirs(context)
        with open(os.path.join(context, "file"), "wb") as file:
            file.write(images.noise(20000, b"file"))
        with open(os.path.join(context, "Dockerfile"), "w", encoding="ascii") as file:
            file.write(f"FROM {self.address}/base/image:v1\nCOPY file /file\n")
        if "conf" in self.cell.set:
            with open(os.path.join(HERE, "confs.json"), encoding="utf-8") as file:
                lines = json.load(file)[self.cell.set["conf"]]
            with open(os.path.join(self.dir, "registries.conf"), "w", encoding="utf-8") as file:
                file.write("\n".join(map(self.expand, lines)) + "\n")

    def use_store(self):
        blobs, body = os.path.join(self.root, "blobs", "sha256"), b"of something else"
        os.makedirs(blobs)
        with open(os.path.join(blobs, hashlib.sha256(body).hexdigest()), "wb") as file:
            file.write(body)

    def command(self):
        name = f"{self.address}/cell/app:v1"
        pulled = name.replace(":v1", "@" + self.rig.layout.images[self.cell.image]) if "by" in self.cell.set else name
        words = {"push": ["push", "cell.example/image:" + self.cell.image, name], "pull": ["pull", pulled],
                 "build": ["build", "-t", name, "--push", "--metadata-file", os.path.join(self.dir, "metadata"),
                           "--toc=false", os.path.join(self.dir, "context")],
                 "login": ["login", "--username", USER, "--password-stdin", self.address],
                 "ask": self.expand(self.cell.set.get("verb", "")).split()}[self.cell.run]
        progress = [] if self.cell.run in ("login", "ask") else ["--progress", "plain"]
        return [self.rig.program, *words, "-D", *progress, "--retry-delay", "30ms", "--max-wait", "4s",
                *self.expand(self.cell.set.get("args", "")).split()]

    def wrapped(self, command):
        """In namespaces of its own, where names are to mean something else."""
        enter = ["unshare", "--mount", *([] if os.getuid() == 0 else ["--map-root-user"])]
        if "hosts" in self.cell.set:
            name, _, address = self.cell.set["hosts"].partition("=")
            path = os.path.join(self.dir, "hosts")
            with open(path, "w", encoding="ascii") as file:
                file.write(f"127.0.0.1 localhost\n{address} {name}\n")
            return [*enter, "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', path, *command]
        if "dns" in self.cell.set:
            return [*enter, "--net", sys.executable, "-B", os.path.join(HERE, "nameserver.py"),
                    os.path.join(self.dir, "queries"), self.cell.set["dns"], *command]
        return command

    def execute(self):
        command = self.wrapped(self.command())
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 env=self.environment(), cwd=self.dir, start_new_session=True)
        limit = 2 if self.cell.set.get("plant") == "hang" else LIMIT
        try:
            out, err = child.communicate(self.secret("password").encode() if self.cell.run == "login" else b"", limit)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            out, err = child.communicate()
            self.problem(f"did not end in {LIMIT} s")
        self.status = child.returncode
        self.out, self.err = out.decode("utf-8", "replace"), err.decode("utf-8", "replace")

    def go(self):
        self.prepare()
        begun = time.monotonic()
        self.execute()
        self.seconds = time.monotonic() - begun
        self.state = self.rig.ask("/cells/" + self.cell.name)
        self.plant()
        for judge in (self.judge_status, self.judge_faults, self.judge_tags, self.judge_sent, self.judge_requests,
                      self.judge_words, self.judge_secrets, self.judge_store):
            judge()
        if not self.problems:
            shutil.rmtree(self.dir)
        return self

    # ---- judging

    def problem(self, text):
        self.problems.append(text)

    def plant(self):
        """For the rig's own test: evidence that no run has left."""
        what, blobs = self.cell.set.get("plant"), os.path.join(self.root, "blobs", "sha256")
        files = {"temp": (self.root, "tmp", "left"), "lease": (self.root, "leases", "left"), "blob": (blobs, "00" * 32),
                 "file": (self.root, "log")}
        if what in files:
            with open(os.path.join(*files[what]), "w", encoding="ascii") as file:
                file.write(self.secret("password") if what == "file" else "")
        elif what == "missing":
            os.unlink(os.path.join(blobs, self.rig.layout.names["big"][7:]))
        elif what in ("secret", "escape", "long"):
            self.err += {"secret": "\nBearer " + self.secret("token"), "escape": "\x1b[2J",
                         "long": "\ncbpush: " + "x" * 2000}[what]
        elif what == "silence":
            self.err = ""
        elif what == "heard":
            self.state["heard"].append({"words": "GET / " + self.secret("password")})
        elif what == "tag":
            self.state["tags"]["cell/app"]["v1"] = "sha256:0"
        elif what == "lost":
            self.state["broken"].append(["cell/app", "v1"])

    def judge_status(self):
        wanted = 0 if self.cell.expect == "ok" else int(self.cell.expect)
        if self.status != wanted:
            self.problem(f"exit status {self.status}, wanted {wanted}")

    def judge_faults(self):
        for text, fired in self.state["rules"]:
            if not fired and "unfired" not in self.cell.lax:
                self.problem(f"never struck: {text}")
        if self.status == 0 and self.state["sessions"] and "left" not in self.cell.lax:
            self.problem(f"{self.state['sessions']} uploads were left open")
        if self.state["most"] > 16:
            self.problem(f"{self.state['most']} connections at a time")

    def new_digest(self):
        if self.cell.run != "build":
            return self.rig.layout.images[self.cell.image]
        with open(os.path.join(self.dir, "metadata"), encoding="ascii") as file:
            return json.load(file)["containerimage.digest"]

    def judge_tags(self):
        if self.cell.run in ("push", "build"):
            tag = self.state["tags"]["cell/app"]["v1"]
            wanted = self.new_digest() if self.status == 0 else self.rig.layout.images["old"]
            if tag != wanted:
                self.problem(f"exit status {self.status}, and the tag leads to {tag}")
            unseen = [entry for entry in self.state["history"] if entry[3]]
            if unseen and "unseen" not in self.cell.lax:
                self.problem(f"a tag was moved to blobs that were not asked for: {unseen}")
        if self.state["broken"]:
            self.problem(f"tags lead to what is not there: {self.state['broken']}")
        if self.state["refused"] and "refused" not in self.cell.lax:
            self.problem(f"manifests came before their blobs: {self.state['refused']}")
        if self.cell.run in ("push", "pull") and self.status == 0 and self.new_digest() not in self.out:
            self.problem(f"standard output is {self.out!r}")

    def judge_sent(self):
        if not self.cell.again or self.cell.run == "pull":
            return
        name = {"new": "big", "large": "huge"}[self.cell.image]
        big = os.path.getsize(os.path.join(self.rig.layout.directory, "blobs", "sha256", self.rig.layout.names[name][7:]))
        sent = sum(entry["in"] for entry in self.state["log"] if entry["op"] in ("patch", "put-blob"))
        limit = big * (1 + float(self.cell.again)) + (30000 if self.cell.set.get("lacks") or self.cell.run == "build" else 0)
        if sent > limit:
            self.problem(f"{sent} bytes were sent, at most {limit:.0f} expected")

    def judge_requests(self):
        for word in self.cell.requests.split():
            op, relation, number = re.fullmatch(r"([a-z-]+)(<=|>=|=)(\d+)", word).groups()
            count = sum(entry["op"] == op for entry in self.state["log"])
            if op == "fired":
                count = sum(fired for _, fired in self.state["rules"])
            if op == "queries":
                with open(os.path.join(self.dir, "queries"), encoding="ascii") as file:
                    count = len(file.readlines())
            if op == "left":
                count = self.state["sessions"]
            if op == "attacker":
                count = len(self.state["heard"])
            if not {"<=": count <= int(number), ">=": count >= int(number), "=": count == int(number)}[relation]:
                self.problem(f"{count} × {op}, wanted {relation}{number}")

    def judge_words(self):
        wanted = self.cell.says
        if wanted and "plant" not in self.cell.set and (wanted.lstrip("!") in self.err) == wanted.startswith("!"):
            self.problem(f"standard error {'holds' if wanted[0] == '!' else 'lacks'} «{wanted.lstrip('!')}»")
        if HARMFUL.search(self.err):
            self.problem(f"control characters in standard error: {HARMFUL.search(self.err)[0]!r}")
        last = [line for line in self.err.split("\n") if line.startswith("cbpush: ")]
        if self.cell.expect != "ok" and not last:
            self.problem("no error line")
        if last and len(last[-1].encode()) > 1200:
            self.problem(f"an error line of {len(last[-1])} characters")

    def judge_secrets(self):
        pair = base64.b64encode(f"{USER}:{self.secret('password')}".encode()).decode().rstrip("=")[:40]
        words = [self.secret("password"), self.secret("token"), self.secret("refresh"), pair, "CANARY-proxy", "CANARY-sign"]
        places = {"what was said in clear": "".join(self.state["clear"]), "standard output": self.out, "standard error": self.err,
                  "what the attacker heard": json.dumps(self.state["heard"]).replace("=CANARY-sign", "")}
        for top, _, files in os.walk(self.dir):
            for name in files:
                path = os.path.join(top, name)
                if name != "config.json":
                    with open(path, encoding="latin-1") as file:
                        places[path] = file.read()
        for place, text in places.items():
            for word in words:
                if word in text:
                    self.problem(f"a secret is in {place}")

    def judge_store(self):
        for name in ("tmp", "leases"):
            path = os.path.join(self.root, name)
            left = os.listdir(path) if os.path.isdir(path) else []
            if left:
                self.problem(f"left in {name}: {left}")
        if os.listdir(os.path.join(self.dir, "tmp")):
            self.problem("left in TMPDIR")
        blobs = os.path.join(self.root, "blobs", "sha256")
        have = set(os.listdir(blobs)) if os.path.isdir(blobs) else set()
        for name in have:
            with open(os.path.join(blobs, name), "rb") as file:
                if hashlib.sha256(file.read()).hexdigest() != name:
                    self.problem(f"blob {name} has other bytes")
        if self.cell.run != "pull":
            return
        index = os.path.join(self.root, "index.json")
        named = os.path.exists(index) and self.rig.layout.images[self.cell.image] in open(index, encoding="utf-8").read()
        if named != (self.status == 0) and "by" not in self.cell.set:
            self.problem("the store names an image that did not come, or lacks one that came")
        image = self.cell.image
        wanted = {self.rig.layout.names[part][7:] for part in (image, image + ".config")}
        wanted |= {self.rig.layout.names[part][7:] for part in ("big", "small") if image == "new"}
        if self.status == 0 and not wanted <= have:
            self.problem("blobs of the image are missing in the store")

    def report(self):
        lines = self.problems + ["command: " + " ".join(self.command()), "requests:"]
        lines += [f"  {e['op']} {e['target'][:100]} {e['status']} in={e['in']} {e['auth']} {e.get('fault', '')}"
                  for e in self.state.get("log", [])]
        lines += [f"  attacker: {entry}" for entry in self.state.get("heard", [])]
        return lines + ["standard error:"] + ["  " + line for line in self.err.split("\n")[-40:]]


def sweep(n):
    """Lines that cut at n positions by chance for each kind of body."""
    for _ in range(n):
        kind, down, up = random.choice(("rst", "fin")), random.randrange(300000), random.randrange(300000)
        yield f"sweep|pull|get-blob what=big {kind} at=body+{down}|ok||get-blob<=4"
        yield f"sweep|push|put-blob {kind} in={up}|ok|1|put-blob<=2"
        yield f"sweep|push|patch#2 {kind} in={up % 65536}; quirk max-body=65536|ok|0.25"
        yield f"sweep|pull|get-manifest {kind} at=body+{down % 500}|ok||get-manifest<=2"


def read_cells(options):
    cells, only = [], options.only
    lines = list(sweep(options.sweep))
    for table in () if lines else options.tables:
        with open(table, encoding="utf-8") as file:
            lines += file.readlines()
    for line in lines:
        if line.strip() and not line.startswith("#"):
            cells.append(Cell(len(cells) + 1, line))
    return [cell for cell in cells if re.search(only, cell.title)]


def left_running(mark):
    left = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                if f"CBPUSH_FAULT_MARK={mark}".encode() in file.read().split(b"\0"):
                    left.append(pid)
        except OSError:
            pass
    return left


def run_all(rig, cells, options):
    """TAP, in the order of the table. True if all is well."""
    ports = rig.ask("/cells", [cell.config(rig.layout.names) for cell in cells])
    print(f"1..{len(cells) + 1}", flush=True)
    good = True
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        runs = [pool.submit(Run(rig, cell, ports[cell.name]).go) for cell in cells]
        for number, (cell, future) in enumerate(zip(cells, runs), 1):
            run = future.result()
            red = bool(run.problems)
            if cell.set.get("plant"):
                red = not any(cell.says in problem for problem in run.problems)
            good = good and not red
            print(f"{'not ok' if red else 'ok'} {number} - {cell.title}", flush=True)
            for line in run.report() if red or options.verbose else ():
                print("# " + line.replace("\n", "\n# "), flush=True)
    for run in sorted((future.result() for future in runs), key=lambda run: -run.seconds)[:options.slowest]:
        print(f"# {run.seconds:.1f} s: {run.cell.title}")
    left = left_running(rig.mark)
    print(f"{'not ok' if left else 'ok'} {len(cells) + 1} - no process is left", flush=True)
    return good and not left


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("-j", dest="jobs", type=int, default=16)
    parser.add_argument("-k", dest="only", default=".")
    parser.add_argument("-v", dest="verbose", action="store_true")
    parser.add_argument("-t", dest="slowest", type=int, default=0, help="list so many of the slowest cells")
    parser.add_argument("-s", dest="sweep", type=int, default=0, help="cut bodies at so many random places, no tables")
    parser.add_argument("tables", nargs="*", default=[os.path.join(HERE, name) for name in ("matrix.txt", "leaks.txt")])
    options = parser.parse_args()
    program = os.path.abspath(os.environ.get("CBPUSH", "./cbpush"))
    cells = read_cells(options)
    with tempfile.TemporaryDirectory(prefix="fault.") as work:
        rig = Rig(program, work)
        try:
            good = run_all(rig, cells, options)
        finally:
            rig.close()
    sys.exit(0 if good and cells else 1)


if __name__ == "__main__":
    main()
