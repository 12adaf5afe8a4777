# SPDX-License-Identifier: Apache-2.0
"""The programs that are measured. Each has a store of its own below the work directory and the same three verbs."""
import os
import resource
import shutil
import signal
import subprocess
import time

from disks import Disk, run, unmount_below
from measure import Failed, Sample, cpu_seconds, reset_peak, spawn, status_field, timed


def clean_environment(home):
    """No configuration of whoever calls, no proxy for what is on this machine."""
    prefixes = ("CBPUSH_", "DOCKER_", "REGISTRY_", "BUILDKIT_", "BUILDX_", "CONTAINERS_", "BUILDAH_", "XDG_")
    env = {k: v for k, v in os.environ.items() if not k.startswith(prefixes) and k != "SOURCE_DATE_EPOCH"}
    env["HOME"] = home
    env["NO_PROXY"] = env["no_proxy"] = "127.0.0.1,localhost"
    return env


def registry_cache(repository):
    """As buildx is told of it; nothing for None."""
    kind = f"type=registry,ref={repository}:cache"
    return ["--cache-from", kind, "--cache-to", kind + ",mode=max"] if repository else []


def first_line(argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines()[0]


class Tool:
    """What is common. key: the name in BENCH_TOOLS and in the table. builds: images from Dockerfiles. moves: images from
    one registry to another. caches: knows unchanged steps again. shares: keeps them in a registry as well, in the
    repository `shared` where a case sets one. inside: works in sid's root file system. usual: measured unless BENCH_TOOLS
    says otherwise. reference: what its images hold is what users expect."""

    key = ""
    builds = True
    moves = False
    caches = True
    shares = False
    shared = None
    inside = False
    usual = True
    reference = False

    def __init__(self, place, root):
        self.work, self.root = os.path.join(place.work, self.key), root
        self.store = os.path.join(self.work, "store")
        self.log = os.path.join(self.work, "log")
        self.disk = Disk(self.store, os.path.join(place.images, self.key), place.loops)
        self.env = clean_environment(os.path.join(place.work, "home"))

    def missing(self):
        """Why it cannot be measured here, or None."""

    def version(self):
        raise NotImplementedError

    def start(self):
        pass

    def stop(self):
        pass

    def wipe(self):
        """Empties its store; takes no part in what is measured."""
        if self.inside:
            unmount_below(self.root.path + self.store)
        self.disk.renew()
        if self.inside:
            run("mount", "--bind", self.store, self.root.path + self.store)

    def commands(self, context, name, push, cache):
        raise NotImplementedError

    def build(self, context, name, push=True, cache=True):
        """Builds a directory under a name and pushes it. Returns what that took."""
        if os.path.exists(self.log):
            os.truncate(self.log, 0)
        return sum((timed(c, self.log, self.env) for c in self.commands(context, name, push, cache)), Sample())

    def copy(self, source, target):
        """One image from NAME:TAG to NAME:TAG."""
        raise NotImplementedError

    def mirror(self, source, target, tags):
        """All tags of one repository into another one."""
        raise NotImplementedError

    def move(self, argv, own=True):
        if os.path.exists(self.log):
            os.truncate(self.log, 0)
        return timed(argv, self.log, self.env, own=own)


class Cbpush(Tool):
    key = "cbpush"
    moves = True
    shares = True
    options = ()

    def __init__(self, place, root):
        super().__init__(place, root)
        self.program = os.environ["CBPUSH"]
        self.env["CBPUSH_ROOT"] = self.store

    def version(self):
        return first_line([self.program, "version"])

    def commands(self, context, name, push, cache):
        options = [*self.options, *(["--push"] if push else []), *([] if cache else ["--no-cache"]),
                   *registry_cache(self.shared)]
        return [[self.program, "build", "--progress", "plain", *options, "-t", name, context]]

    def copy(self, source, target):
        return self.move([self.program, "copy", "--progress", "plain", source, target])

    def mirror(self, source, target, tags):
        spec = os.path.join(self.work, "mirror.yaml")
        with open(spec, "w", encoding="ascii") as f:
            f.write(f"mirrors:\n  - source: {source}\n    target: {target}\n    referrers: false\n")
        return self.move([self.program, "mirror", "run", "--progress", "plain", spec])


class CbpushFormat(Cbpush):
    """The same with layers of another format, measured only when asked for: what a format costs, and what it saves."""

    usual = moves = shares = False


class CbpushFast(CbpushFormat):
    key = "cbpush-fast"
    options = ("--compression-level", "fast")


class CbpushEstargz(CbpushFormat):
    key = "cbpush-estargz"
    options = ("--compression-format", "estargz")


class CbpushZstd(CbpushFormat):
    key = "cbpush-zstd"
    options = ("--compression-format", "zstd")


class CbpushChunked(CbpushFormat):
    key = "cbpush-zstd-chunked"
    options = ("--compression-format", "zstd:chunked")


class Buildah(Tool):
    """Debian 12's. With --layers it commits every step and so knows it again; without, its default, it makes one layer
    of them all and knows nothing again, which is faster once."""

    key = "buildah-layers"
    layers = "true"
    shares = True

    def __init__(self, place, root):
        super().__init__(place, root)
        self.prefix = []
        self.policy = os.path.join(self.work, "policy.json")
        with open(self.policy, "w", encoding="ascii") as f:
            f.write('{"default": [{"type": "insecureAcceptAnything"}]}\n')
        # The host's registries.conf has no say: every name in a benchmark is a full one.
        self.registries = os.path.join(self.work, "registries.conf")
        with open(self.registries, "w", encoding="ascii"):
            pass

    def missing(self):
        return None if shutil.which("buildah") else "buildah is not installed: apt-get install buildah"

    def version(self):
        return first_line([*self.prefix, "buildah", "--version"])

    def program(self):
        return [*self.prefix, "buildah", "--root", f"{self.store}/root", "--runroot", f"{self.store}/run",
                "--storage-driver", "overlay", "--registries-conf", self.registries]

    def commands(self, context, name, push, cache):
        own = ["--signature-policy", self.policy, "--tls-verify=false"]
        # A group of its own: runc takes no rights to devices from one that has dockerd's below it.
        options = ["--isolation", os.environ.get("BENCH_BUILDAH_ISOLATION", "oci"), "--network", "host",
                   "--cgroup-parent", f"{os.environ['BENCH_CGROUP']}/{self.key}", f"--layers={self.layers}"]
        options += [] if cache else ["--no-cache"]
        options += ["--cache-from", self.shared, "--cache-to", self.shared] if self.shared else []
        out = [[*self.program(), "bud", *own, *options, "-t", name, context]]
        if push:
            out.append([*self.program(), "push", *own, name])
        return out


class BuildahPlain(Buildah):
    key = "buildah"
    layers = "false"
    caches = shares = False


class SidBuildah(Buildah):
    """Debian sid's, in the root file system of sid; it may work on two stages at a time. It is not faster than Debian
    12's, so it is measured only when asked for."""

    key = "buildah-sid-layers"
    inside = True
    usual = False

    def __init__(self, place, root):
        super().__init__(place, root)
        self.prefix = ["chroot", root.path]

    def missing(self):
        return self.root.why

    def commands(self, context, name, push, cache):
        out = super().commands(context, name, push, cache)
        at = out[0].index("bud") + 1
        # Its own limits are above what a container without CAP_SYS_RESOURCE can be given where ours are lower.
        out[0][at:at] = [f"--jobs={os.cpu_count()}", *self.ulimit("nofile", resource.RLIMIT_NOFILE),
                         *self.ulimit("nproc", resource.RLIMIT_NPROC)]
        return out

    @staticmethod
    def ulimit(name, number):
        soft, hard = resource.getrlimit(number)
        return ["--ulimit", f"{name}={soft}:{hard}"]


class SidBuildahPlain(SidBuildah):
    key = "buildah-sid"
    layers = "false"
    caches = shares = False


class Buildkit(Tool):
    """BuildKit in Debian sid's dockerd, by docker buildx. Peak and processor time are of dockerd and the client."""

    key = "buildkit"
    reference = True
    inside = True
    daemon_options = ("--storage-driver", "overlay2")

    def __init__(self, place, root):
        super().__init__(place, root)
        self.daemon = None
        self.socket = os.path.join(self.work, "docker.sock")
        self.docker = ["chroot", root.path or "/nonexistent", "docker", "-H", f"unix://{self.socket}"]

    def missing(self):
        return self.root.why

    def version(self):
        engine = first_line([*self.docker, "version", "-f", "{{.Server.Version}}"])
        return f"dockerd {engine}, buildx {first_line([*self.docker, 'buildx', 'version']).split()[1]}"

    def start(self):
        argv = ["chroot", self.root.path, "dockerd", "-H", f"unix://{self.socket}", "--data-root", self.store,
                "--exec-root", f"{self.work}/exec", "--pidfile", f"{self.work}/pid", "--cgroup-parent",
                os.environ["BENCH_CGROUP"], *self.daemon_options, "--iptables=false", "--ip6tables=false",
                "--ip-forward=false", "--ip-masq=false", "--bridge=none", "--log-level", "error"]
        log = os.path.join(self.work, "dockerd.log")
        self.daemon = spawn(argv, log, self.env)
        for _ in range(300):
            done, _ = os.waitpid(self.daemon, os.WNOHANG)
            if done:
                self.daemon = None
                break
            if subprocess.run([*self.docker, "version"], check=False, capture_output=True).returncode == 0:
                return
            time.sleep(0.1)
        self.stop()
        with open(log, encoding="utf-8", errors="replace") as f:
            raise Failed("dockerd did not start: " + " ".join(f.read().splitlines()[-1:]))

    def stop(self):
        if self.daemon is None:
            return
        os.kill(self.daemon, signal.SIGTERM)
        for _ in range(200):
            if os.waitpid(self.daemon, os.WNOHANG)[0]:
                break
            time.sleep(0.05)
        else:
            os.kill(self.daemon, signal.SIGKILL)
            os.waitpid(self.daemon, 0)
        self.daemon = None

    def wipe(self):
        self.stop()
        super().wipe()
        self.start()

    def commands(self, context, name, push, cache):
        options = ["--push"] if push else []
        options += [] if cache else ["--no-cache"]
        # No attestations: nobody else makes them.
        options += ["--progress", "plain", "--network", "host", "--provenance=false", *registry_cache(self.shared)]
        return [[*self.docker, "buildx", "build", *options, "-t", name, context]]

    def build(self, context, name, push=True, cache=True):
        reset_peak(self.daemon)
        before = cpu_seconds(self.daemon)
        sample = super().build(context, name, push, cache)
        sample.cpu += cpu_seconds(self.daemon) - before
        sample.peak += status_field(self.daemon, "VmHWM")
        return sample


class BuildkitCache(Buildkit):
    """The same with containerd's image store, without which buildx cannot write a cache into a registry. Only for the
    cases of that."""

    key = "buildkit-cache"
    builds = False
    shares = True
    daemon_options = ("--feature", "containerd-snapshotter=true")


class Mover(Tool):
    """A client of registries in sid's root, without a store."""

    builds = False
    moves = True
    inside = True

    def __init__(self, place, root):
        super().__init__(place, root)
        self.prefix = ["chroot", root.path or "/nonexistent"]

    def missing(self):
        return self.root.why

    def wipe(self):
        # skopeo remembers where it has seen a blob, and mounts it from there.
        shutil.rmtree(f"{self.root.path}/var/lib/containers/cache", ignore_errors=True)


class Crane(Mover):
    key = "crane"

    def version(self):
        out = subprocess.run([*self.prefix, "dpkg-query", "-W", "-f", "${Version}", "crane"], check=True,
                             capture_output=True, text=True)
        return "crane " + out.stdout

    def copy(self, source, target):
        return self.move([*self.prefix, "crane", "copy", source, target])

    def mirror(self, source, target, tags):
        return self.move([*self.prefix, "crane", "copy", "--all-tags", source, target])


class Skopeo(Mover):
    key = "skopeo"

    def __init__(self, place, root):
        super().__init__(place, root)
        self.options = ["--insecure-policy"]
        self.tls = ["--src-tls-verify=false", "--dest-tls-verify=false"]

    def version(self):
        return first_line([*self.prefix, "skopeo", "--version"])

    def copy(self, source, target):
        return self.move([*self.prefix, "skopeo", *self.options, "copy", "--all", *self.tls, f"docker://{source}",
                          f"docker://{target}"])

    def mirror(self, source, target, tags):
        # It adds the last part of the source's name itself.
        return self.move([*self.prefix, "skopeo", *self.options, "sync", "--all", *self.tls, "--src", "docker",
                          "--dest", "docker", source, target.rpartition("/")[0]])


class Oras(Mover):
    """It copies one tag at a time, so a mirror is a process a tag, several at once."""

    key = "oras"
    at_once = 4
    tls = ("--from-plain-http", "--to-plain-http", "--no-tty")

    def version(self):
        return "oras " + first_line([*self.prefix, "oras", "version"]).split()[-1]

    def copy(self, source, target):
        return self.move([*self.prefix, "oras", "copy", *self.tls, source, target])

    def mirror(self, source, target, tags):
        names = os.path.join(self.work, "tags")
        with open(names, "w", encoding="ascii") as f:
            f.writelines(f"{tag}\n" for tag in tags)
        one = f"exec oras copy {' '.join(self.tls)} {source}:$0 {target}:$0"
        argv = [*self.prefix, "xargs", "-a", names, "-P", str(self.at_once), "-n", "1", "sh", "-c", one]
        return self.move(argv, own=False)


ALL = (Cbpush, CbpushFast, CbpushEstargz, CbpushZstd, CbpushChunked, BuildahPlain, Buildah, SidBuildahPlain, SidBuildah,
       Buildkit, BuildkitCache, Crane, Skopeo, Oras)


class SidRoot:
    """Debian sid as a root file system that can be written to and is forgotten afterwards. path is None if there is
    none, and why says the reason."""

    def __init__(self, place):
        self.path, self.why = None, os.environ["BENCH_SID_WHY"] or None
        if self.why is None:
            self.path = os.path.join(place.work, "sid")
            self.mount(os.environ["BENCH_SID_ROOT"], place.work)

    def mount(self, lower, work):
        for name in ("sid", "sid-upper", "sid-work"):
            os.mkdir(os.path.join(work, name))
        layers = f"lowerdir={lower},upperdir={work}/sid-upper,workdir={work}/sid-work"
        run("mount", "-t", "overlay", "overlay", "-o", layers, self.path)
        run("mount", "-t", "proc", "proc", f"{self.path}/proc")
        run("mount", "--rbind", "/sys", f"{self.path}/sys")
        run("mount", "--rbind", "/dev", f"{self.path}/dev")
        # crun takes either version of cgroups, not a hybrid; without the second there it sees only the first.
        if os.path.ismount(f"{self.path}/sys/fs/cgroup/unified"):
            run("umount", "-l", f"{self.path}/sys/fs/cgroup/unified")
        for name in ("run", "tmp"):
            run("mount", "-t", "tmpfs", name, f"{self.path}/{name}")
        # Contexts, stores and sockets have the same names inside as outside; stores are mounted when they are made. No
        # shared mounts: runtimes cannot pivot_root there.
        os.makedirs(self.path + work, exist_ok=True)
        run("mount", "--bind", work, self.path + work)
        shutil.copy("/etc/resolv.conf", f"{self.path}/etc/resolv.conf")
        shutil.copy("/etc/hosts", f"{self.path}/etc/hosts")
