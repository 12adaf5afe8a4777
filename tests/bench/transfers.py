# SPDX-License-Identifier: Apache-2.0
"""What is measured of registry clients: images that go from one registry to another one, or within one, at several
round-trip times. The images are made here, by no tool that takes part."""
import gzip
import hashlib
import http.client
import io
import json
import os
import random
import shutil
import tarfile

from cases import Case, MIB, far
from measure import Failed

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
TAGS = 200


class Pusher:
    """Puts blobs and manifests into a repository of a registry."""

    def __init__(self, address, repository):
        self.connection = http.client.HTTPConnection(address, timeout=600)
        self.repository = repository

    def ask(self, method, path, wanted, body=None, headers=None):
        self.connection.request(method, path, body=body, headers=headers or {})
        reply = self.connection.getresponse()
        text = reply.read()
        if reply.status != wanted:
            raise Failed(f"{method} {path}: {reply.status}: {text[:200]!r}")
        return reply

    def blob(self, media_type, digest, size, body):
        """body: bytes, or a file."""
        place = self.ask("POST", f"/v2/{self.repository}/blobs/uploads/", 202).headers["Location"]
        place = "/" + place.split("/", 3)[3] if "://" in place else place
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        self.ask("PUT", f"{place}{'&' if '?' in place else '?'}digest={digest}", 201, body, headers)
        return {"mediaType": media_type, "digest": digest, "size": size}

    def bytes(self, media_type, body):
        return self.blob(media_type, sha256(body), len(body), body)

    def image(self, tag, layers, diff_ids):
        config = {"architecture": "amd64", "os": "linux", "config": {"Labels": {"tag": tag}},
                  "rootfs": {"type": "layers", "diff_ids": diff_ids}}
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST,
                    "config": self.bytes(CONFIG, json.dumps(config).encode()), "layers": layers}
        body = json.dumps(manifest).encode()
        self.ask("PUT", f"/v2/{self.repository}/manifests/{tag}", 201, body, {"Content-Type": MANIFEST})


def sha256(body):
    return "sha256:" + hashlib.sha256(body).hexdigest()


class Layers:
    """Layers of one file each, half noise and half text, from a seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def make(self, size):
        """(compressed, diff id)"""
        text = b"a line of text that is like all the others\n" * (size // 86 + 1)
        body = io.BytesIO()
        with tarfile.open(fileobj=body, mode="w") as tar:
            entry = tarfile.TarInfo(f"file-{self.random.getrandbits(32)}")
            data = self.random.randbytes(size // 2) + text[:size // 2]
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        return gzip.compress(body.getvalue(), 1, mtime=0), sha256(body.getvalue())

    def push(self, pusher, size):
        """(descriptor, diff id)"""
        blob, diff_id = self.make(size)
        return pusher.bytes(LAYER + "+gzip", blob), diff_id


class Transfer(Case):
    """source and into: registries by name; those in memory, so that it is not their disk that is measured. delay: of a
    round trip to either, in ms."""

    source, into = "mem", "mem2"
    repository = "moved"
    delay = 0
    aim, memory = 2, 4
    compares = False  # digests are kept, and looked at

    @classmethod
    def wants(cls, tool):
        return tool.moves

    def setup(self):
        marks = os.path.join(self.bench.work, "made")
        os.makedirs(marks, exist_ok=True)
        mark = os.path.join(marks, self.repository)
        if not os.path.exists(mark):
            self.make(Pusher(self.bench.registries[self.source].address, self.repository))
            with open(mark, "w", encoding="ascii"):
                pass

    def make(self, pusher):
        """Puts the images into the source."""
        raise NotImplementedError

    def address(self, name):
        return self.bench.far(name, self.delay)

    def place(self, tool, turn):
        """The target's repository; skopeo's mirrors end like their source."""
        return f"{self.key.replace('@', '-at-')}-{tool.key}-{turn}/{self.repository}"

    def sample(self, tool, turn):
        source, target = (f"{self.address(n)}/{r}" for n, r in
                          ((self.source, self.repository), (self.into, self.place(tool, turn))))
        return tool.copy(f"{source}:1", f"{target}:1")

    def verify(self, tool, turn):
        registry = self.bench.registries[self.into]
        return registry.image_size(f"{registry.address}/{self.place(tool, turn)}:1")


class Copy(Transfer):
    key = "copy"
    title = "copy of an image of ten layers to another registry"
    repository = "ten"
    sizes = (32, 16, 16, 8, 8, 4, 4, 2, 1, 1)

    def make(self, pusher):
        layers = Layers(self.repository)
        made = [layers.push(pusher, size * MIB) for size in self.sizes]
        pusher.image("1", [d for d, _ in made], [i for _, i in made])


class CopyMount(Copy):
    key = "copy-mount"
    title = "copy of an image of ten layers within one registry"
    into = "mem"


class Mirror(Transfer):
    """The usual repository: tags on a few bases, each with something of its own."""

    key = "mirror"
    title = f"mirror of {TAGS} tags on four bases, each with two layers of its own, to another registry"
    repository = "tags"

    def make(self, pusher):
        layers = Layers(self.repository)
        bases = [[layers.push(pusher, size * MIB) for size in (8, 2, 1)] for _ in range(4)]
        for i in range(TAGS):
            made = bases[i % 4] + [layers.push(pusher, size) for size in (200000, 20000)]
            pusher.image(f"v{i}", [d for d, _ in made], [i for _, i in made])

    def sample(self, tool, turn):
        return tool.mirror(f"{self.address(self.source)}/{self.repository}",
                           f"{self.address(self.into)}/{self.place(tool, turn)}", [f"v{i}" for i in range(TAGS)])

    def verify(self, tool, turn):
        registry = self.bench.registries[self.into]
        return sum(registry.image_size(f"{registry.address}/{self.place(tool, turn)}:v{i}") for i in range(TAGS))


class MirrorSame(Mirror):
    key = "mirror-same"
    title = f"the same mirror of {TAGS} tags again, nothing changed"

    def place(self, tool, turn):
        return super().place(tool, "all")

    def before(self, tool, turn):
        if turn == 0:
            tool.wipe()
            self.sample(tool, turn)


class Blob(Transfer):
    """One layer that is no archive: nobody looks inside."""

    key = "blob"
    repository = "blob"
    turns = 1

    def __init__(self, bench):
        super().__init__(bench)
        self.size = bench.blob_megabytes * MIB
        self.title = f"copy of an image of one layer of {bench.blob_megabytes} MiB to another registry"

    def make(self, pusher):
        path = os.path.join(self.bench.work, "blob")
        digest = hashlib.sha256()
        with open(path, "wb") as f:
            for _ in range(self.bench.blob_megabytes):
                piece = os.urandom(MIB)
                digest.update(piece)
                f.write(piece)
        name = "sha256:" + digest.hexdigest()
        with open(path, "rb") as f:
            layer = pusher.blob(LAYER, name, self.size, f)
        os.unlink(path)
        pusher.image("1", [layer], [name])

    def before(self, tool, turn):
        """Room for one more: repositories are new each time, so that the registry does not miss what is gone."""
        super().before(tool, turn)
        shutil.rmtree(os.path.join(self.bench.memory, self.into), ignore_errors=True)
        os.mkdir(os.path.join(self.bench.memory, self.into))


ALL = tuple(far(case, ms) if ms else case for case in (Copy, CopyMount, Mirror, MirrorSame, Blob) for ms in (0, 20, 80))
