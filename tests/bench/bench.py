# SPDX-License-Identifier: Apache-2.0
"""Runs the cases and prints the tables. Started by run.sh in its own name spaces; see README.md."""
import fnmatch
import hashlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import time

import cases
import flat
import large
import report
import shared
import tools
import transfers
from disks import Disk, NoDisk, run
from measure import Failed, spawn, timed


MAX_TOLD = 8  # of paths that differ
ALL = cases.ALL + large.ALL + shared.ALL + transfers.ALL


class Registry:
    """far: round trip in ms and Mbit/s (0: no limit) -> the address of the same registry so far away."""

    def __init__(self, address, log):
        self.address, self.log, self.far = address, log, {(0, 0): address}

    def forget(self):
        os.truncate(self.log, 0)

    def requests(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return sum(1 for line in f if '"' in line)

    def layers(self, name):
        """The descriptors of an image's layers; Failed if it is not there."""
        repository, _, tag = name.partition("/")[2].rpartition(":")
        connection = http.client.HTTPConnection(self.address, timeout=20)
        accept = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
        connection.request("GET", f"/v2/{repository}/manifests/{tag}", headers={"Accept": ", ".join(accept)})
        reply = connection.getresponse()
        body = reply.read()
        connection.close()
        if reply.status != 200:
            raise Failed(f"{name} is not in the registry: {reply.status}")
        return json.loads(body)["layers"]

    def image_size(self, name):
        """The bytes of its layers."""
        return sum(layer["size"] for layer in self.layers(name))


def number(name, default):
    text = os.environ.get(name, "") or str(default)
    if not text.isdigit() or int(text) < 1:
        sys.exit(f"bench: {name}={text} is no number above 0")
    return int(text)


def say(text):
    print(text, file=sys.stderr, flush=True)


class Place:
    """Where to work: work is a fresh file system, images the directory of those that are made later. no_loops says why
    there are none, then everything is in plain directories."""

    def __init__(self):
        top = os.environ["BENCH_WORK"]
        self.work, self.images = os.path.join(top, "work"), os.path.join(top, "images")
        os.mkdir(self.images)
        self.no_loops = None
        try:
            Disk(self.work, os.path.join(self.images, "work"), True).renew()
        except NoDisk as e:
            self.no_loops = str(e)
            run("mount", "--bind", self.work, self.work)
        self.loops = self.no_loops is None


class Bench:
    """The place, the registries and the tools."""

    def __init__(self):
        self.place = Place()
        self.work, self.top = self.place.work, os.environ["CB_TOP"]
        self.runs, self.megabytes = number("BENCH_RUNS", 3), number("BENCH_MB", 500)
        self.blob_megabytes = number("BENCH_BLOB_MB", 4096)
        self.stampede = number("BENCH_STAMPEDE", 200)
        self.registries, self.reg, self.wheels = {}, "", None
        os.mkdir(os.path.join(self.work, "home"))
        self.root = tools.SidRoot(self.place)
        self.tools, self.missing, self.proxies = [], {}, []

    def start_registries(self):
        here = os.path.dirname(os.path.abspath(__file__))
        argv = ["bash", f"{here}/rig.bash", f"{self.work}/registries"]
        self.memory = memory = os.path.join(self.work, "memory")
        os.mkdir(memory)
        # The blob twice, and what the other cases put there.
        run("mount", "-t", "tmpfs", "-o", f"size={4096 + 2 * self.blob_megabytes}m", "tmpfs", memory)
        for name in ("mem", "mem2"):
            os.mkdir(os.path.join(memory, name))
        done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False,
                              env={**os.environ, "BENCH_MEMORY": memory})
        if done.returncode != 0:
            sys.exit("bench: the registries did not start")
        for line in done.stdout.splitlines():
            name, address, log = line.split(" ", 2)
            self.registries[name] = Registry(address, log)
        self.reg = self.registries["reg"].address

    def far(self, name, milliseconds, megabits=0):
        """The address of a registry, of one that is so far away, behind a line of so many Mbit/s."""
        registry = self.registries[name]
        line = milliseconds, megabits
        if line not in registry.far:
            program = os.path.join(self.work, "delay")
            if not os.path.exists(program):
                source = os.path.join(self.top, "tests/bench/delay.c")
                run(os.environ.get("CC", "cc"), "-O2", "-o", program, source)
            argv = [program, registry.address.rpartition(":")[2], str(milliseconds), str(megabits)]
            proxy = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
            self.proxies.append(proxy)
            registry.far[line] = f"127.0.0.1:{proxy.stdout.readline().strip()}"
        return registry.far[line]

    def start_tools(self, chosen):
        """Those that BENCH_TOOLS names and that the cases want."""
        known = [kind.key for kind in tools.ALL]
        wanted = os.environ.get("BENCH_TOOLS", "").split() or [kind.key for kind in tools.ALL if kind.usual]
        if wanted == ["all"]:
            wanted = known
        unknown = sorted(set(wanted) - set(known))
        if unknown:
            sys.exit(f"bench: no such tool: {' '.join(unknown)}; there are {' '.join(known)}")
        for kind in tools.ALL:
            if kind.key not in wanted or not any(case.wants(kind) for case in chosen):
                continue
            tool = kind(self.place, self.root)
            why = tool.missing()
            try:
                if why is None:
                    tool.start()
                    self.tools.append(tool)
                    continue
            except Failed as e:
                why = str(e)
            self.missing[tool.key] = why

    def serve_wheels(self):
        """The packages of the example on a port of this machine, so that the road to PyPI is not what is measured."""
        if os.environ.get("BENCH_PIP", "local") != "local":
            return
        directory = fetch_wheels(self)
        port = subprocess.run(["sh", "-c", '. "$CB_TOP/contrib/lib.sh"; cb_free_port'], check=True, capture_output=True,
                              text=True).stdout.strip()
        spawn(["python3", "-B", "-m", "http.server", "--bind", "127.0.0.1", "--directory", directory, port],
              os.path.join(self.work, "wheels.log"), dict(os.environ))
        self.wheels = f"http://127.0.0.1:{port}/"
        for _ in range(100):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=5)
                connection.request("GET", "/")
                connection.getresponse().read()
                return
            except OSError:
                time.sleep(0.1)
        sys.exit("bench: the server of the wheels did not start")

    def pip_lines(self):
        return f"--no-index\n--find-links {self.wheels}\n" if self.wheels else ""


def fetch_wheels(bench):
    """What pip in the parent image downloads for requirements.txt; kept, for what it asks for is pinned or old."""
    with open(os.path.join(bench.top, "contrib/examples/flask/requirements.txt"), "rb") as f:
        requirements = f.read()
    cache = os.path.dirname(os.environ["BENCH_SID_ROOT"])
    directory = os.path.join(cache, "wheels-" + hashlib.sha256(requirements).hexdigest()[:16])
    if not os.path.isdir(directory):
        context = os.path.join(bench.work, "contexts", "wheels")
        cases.write(f"{context}/Dockerfile", f"""FROM {bench.reg}/library/python:3.9-slim AS wheels
COPY requirements.txt /
RUN pip download -r /requirements.txt -d /wheels
FROM scratch
COPY --from=wheels /wheels /
""")
        cases.write(f"{context}/requirements.txt", requirements.decode())
        tool = tools.Cbpush(bench.place, bench.root)
        os.makedirs(tool.store, exist_ok=True)
        argv = [tool.program, "build", "--progress", "plain", "-o", f"type=local,dest={directory}.new", context]
        timed(argv, tool.log, tool.env)
        os.rename(directory + ".new", directory)
    return directory


def measure(bench, case, results):
    """One turn after the other, and in each every tool, beginning with another one each time."""
    case.setup()
    able = [t for t in bench.tools if case.measures(t)]
    for turn in range(min(bench.runs, case.turns) if case.peers else 1):
        for tool in able[turn % len(able):] + able[:turn % len(able)]:
            result = results[tool.key]
            if result.why is None:
                take(bench, case, tool, turn, result)


def take(bench, case, tool, turn, result):
    say(f"bench: {case.key}: {tool.key}, turn {turn + 1}")
    try:
        case.before(tool, turn)
        for r in bench.registries.values():
            r.forget()
        result.samples.append(case.sample(tool, turn))
        result.requests = sum(r.requests() for r in bench.registries.values())
        result.bytes = case.verify(tool, turn)
        case.after(tool, result.samples[-1])
    except Failed as e:
        result.why, result.samples = str(e), []


def compare(case, results):
    """The images of the last turn, file by file: what cbpush made, and what the others made of the same."""
    base = results.get("cbpush")
    others = [r for r in results.values() if r is not base and r.samples]
    if not (case.pushes and case.compares and base and base.samples and others):
        return

    by_key = {t.key: t for t in case.bench.tools}

    def image(result):
        return flat.flatten(case.target(by_key[result.key], len(result.samples) - 1))

    own = image(base)
    for result in others:
        say(f"bench: {case.key}: the files of cbpush's image and of {result.key}'s")
        other = image(result)
        unlike = flat.differences(own, other, case.own)
        result.unlike = bool(unlike) and by_key[result.key].reference
        result.remarks = [flat.told(p, own, other) for p in unlike[:MAX_TOLD]]
        result.remarks.append(f"{len(unlike)} of {len(own)} paths differ" if unlike else f"the same {len(own)} paths")


def trace(bench):
    """One cold build of cbpush seen from inside, and its biggest parts alone."""
    case = cases.FlaskCold(bench)
    case.setup()
    tool = next(t for t in bench.tools if t.key == "cbpush")
    tool.wipe()
    argv = [tool.program, "build", "--progress", "rawjson", "--push", "-t", case.target(tool, "trace"), case.context]
    log = os.path.join(tool.work, "trace")
    began = time.time()
    took = timed(argv, log, tool.env)
    with open(log, encoding="utf-8", errors="replace") as f:
        report.print_spans(report.spans_of(f), began, took.wall)

    def whole():
        tool.wipe()
        return tool.build(case.context, case.target(tool, f"part-{len(wholes)}"))

    alone, wholes = parts(bench, tool), []
    samples = {what: [] for what, _ in alone}
    for _ in range(bench.runs):
        wholes.append(whole())
        for what, part in alone:
            samples[what].append(part())
    report.print_parts(samples, wholes)


def parts(bench, tool):
    """(name, function that gives a Sample) of what can be measured alone."""
    parent = f"{bench.reg}/library/python:3.9-slim"
    directory = os.path.join(bench.work, "contexts", "parts")
    cases.write(f"{directory}/config/Dockerfile", f"FROM {parent}\nENV PART=1\n")
    cases.write(f"{directory}/workdir/Dockerfile", f"FROM {parent}\nWORKDIR /app\n")
    cases.write(f"{directory}/run/Dockerfile", f"FROM {parent}\nRUN true\n")
    rootfs = os.path.join(bench.work, "rootfs")
    timed([tool.program, "build", "-o", f"type=local,dest={rootfs}", f"{directory}/config"], tool.log, tool.env)
    shutil.copy(f"{bench.work}/contexts/flask-reg/requirements.txt", f"{rootfs}/requirements.txt")
    shutil.copy("/etc/resolv.conf", f"{rootfs}/etc/resolv.conf")

    def cold(name):
        def once():
            tool.wipe()
            return tool.build(f"{directory}/{name}", f"{bench.reg}/parts-{name}:1", push=False)
        return once

    def pip():
        shutil.rmtree(f"{rootfs}/root/.local", ignore_errors=True)
        shutil.rmtree(f"{rootfs}/root/.cache", ignore_errors=True)
        env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
        chroot = shutil.which("chroot")
        argv = [chroot, rootfs, "pip", "install", "-q", "--user", "--no-warn-script-location", "-r",
                "/requirements.txt"]
        return timed(argv, tool.log, env)

    return [("FROM and ENV: nothing of the parent but its config", cold("config")),
            ("FROM and WORKDIR: and its table of contents", cold("workdir")),
            ("FROM and RUN true: and all its files on the disk", cold("run")),
            ("pip install by chroot, no tool at all", pip)]


def facts_of(bench):
    load = os.getloadavg()[0]
    facts = {"cpus": os.cpu_count(), "load": load, "kernel": os.uname().release, "runs": bench.runs,
             "pip": "local" if bench.wheels else "network", "versions": {t.key: t.version() for t in bench.tools}}
    print(f"{facts['cpus']} processors, Linux {facts['kernel']}, {bench.runs} turns, packages from "
          + ("this machine" if bench.wheels else "PyPI"))
    if load > facts["cpus"] / 2:
        print(f"NOTE: the load is {load:.1f} before anything is measured: mistrust what follows")
    if not bench.place.loops:
        print(f"NOTE: no fresh file system for an empty store ({bench.place.no_loops}): all cold builds are slower")
    for key, version in facts["versions"].items():
        print(f"  {key}: {version}")
    for key, why in bench.missing.items():
        print(f"  {key}: not measured: {why}")
    sys.stdout.flush()
    return facts


def chosen_cases(arguments):
    known = {case.key: case for case in ALL}
    for word in arguments:
        if word != "trace" and not any(fnmatch.fnmatch(key, word) for key in known):
            sys.exit(f"bench: no case {word}; there are {' '.join(known)} trace")
    chosen = [c for key, c in known.items() if not arguments or any(fnmatch.fnmatch(key, w) for w in arguments)]
    return chosen, not arguments or "trace" in arguments


def main(arguments):
    chosen, with_trace = chosen_cases(arguments)
    if with_trace and cases.FlaskCold not in chosen:
        chosen.insert(0, cases.FlaskCold)
    bench = Bench()
    bench.start_registries()
    if with_trace or any(issubclass(kind, cases.Flask) for kind in chosen):
        bench.serve_wheels()
    bench.start_tools(chosen)
    facts = facts_of(bench)
    results, verdicts = {}, []
    for kind in chosen:
        case = kind(bench)
        of_case = results[case.key] = {t.key: report.Result(t.key) for t in bench.tools if case.measures(t)}
        measure(bench, case, of_case)
        compare(case, of_case)
        report.print_case(case, of_case)
        verdicts.append(report.verdict(case, of_case))
        sys.stdout.flush()
        case.cleanup()
    if with_trace and results["flask-cold"].get("cbpush") and results["flask-cold"]["cbpush"].samples:
        trace(bench)
    print("\nin short")
    for line in filter(None, verdicts):
        print("  " + line)
    if os.environ.get("BENCH_JSON"):
        report.as_json(os.environ["BENCH_JSON"], facts, results)
    own = [r["cbpush"] for r in results.values() if "cbpush" in r]
    unlike = any(r.unlike for of_case in results.values() for r in of_case.values())
    return 1 if unlike or any(r.why for r in own) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
