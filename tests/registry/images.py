# SPDX-License-Identifier: Apache-2.0
"""The images of the cells, as an OCI layout: always the same bytes.

new: layers big (300 kB, not compressible) and small; old: only small, and another configuration; base: for builds;
large: like new, with 1.5 MB; foreign: its layer is to be had elsewhere.
names.json holds [{image: digest of its manifest}, {blob: digest}].
"""
import gzip
import hashlib
import io
import json
import os
import tarfile

PREFIX = "application/vnd.oci.image."


def noise(n, seed):
    return hashlib.shake_128(seed).digest(n)


def layer(name, data):
    """(tar, tar.gz) with one file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo(name)
        info.size, info.mtime = len(data), 1700000000
        tar.addfile(info, io.BytesIO(data))
    return out.getvalue(), gzip.compress(out.getvalue(), 6, mtime=0)


class Layout:
    def __init__(self, directory):
        self.directory, self.images, self.names = directory, {}, {}
        os.makedirs(os.path.join(directory, "blobs", "sha256"))

    def add(self, data, name=None):
        digest = hashlib.sha256(data).hexdigest()
        with open(os.path.join(self.directory, "blobs", "sha256", digest), "wb") as file:
            file.write(data)
        if name:
            self.names[name] = "sha256:" + digest
        return {"digest": "sha256:" + digest, "size": len(data)}

    def image(self, name, layers, kind="layer.v1.tar+gzip", **more):
        """layers: {name: bytes of its file}; more: of their descriptors"""
        made = {part: layer(part, data) for part, data in layers.items()}
        config = {"architecture": "amd64", "os": "linux", "created": "2023-11-14T22:13:20Z",
                  "config": {"Cmd": [name], "Env": ["PATH=/usr/bin"]},
                  "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(tar).hexdigest()
                                                            for tar, _ in made.values()]},
                  "history": [{"created_by": part} for part in made]}
        config = self.add(json.dumps(config).encode(), name + ".config")
        manifest = {"schemaVersion": 2, "mediaType": PREFIX + "manifest.v1+json",
                    "config": {"mediaType": PREFIX + "config.v1+json", **config},
                    "layers": [{"mediaType": PREFIX + kind, **self.add(blob, part), **more}
                               for part, (_, blob) in made.items()]}
        data = json.dumps(manifest).encode()
        self.images[name] = self.add(data, name)["digest"]
        return {"mediaType": manifest["mediaType"], "digest": self.images[name], "size": len(data)}


def make(directory):
    out = Layout(directory)
    small = noise(5000, b"small")
    stored = [out.image("new", {"big": noise(300000, b"big"), "small": small}),
              out.image("large", {"huge": noise(1500000, b"huge"), "small": small})]
    out.image("old", {"small": small})
    out.image("base", {"ground": noise(100000, b"ground")})
    out.image("foreign", {"away": noise(3000, b"away")}, "layer.nondistributable.v1.tar+gzip",
              urls=["https://evil.fault.test/away", "http://169.254.169.254/away", "file:///etc/passwd"])
    for name, descriptor in zip(("new", "large"), stored):
        descriptor["annotations"] = {"org.opencontainers.image.ref.name": f"cell.example/image:{name}",
                                     "io.containerd.image.name": f"cell.example/image:{name}"}
    indexes = [(f"{name}.json", {"schemaVersion": 2, "manifests": [descriptor]})
               for name, descriptor in zip(("new", "large"), stored)]
    for name, value in (*indexes, ("oci-layout", {"imageLayoutVersion": "1.0.0"}), ("names.json", [out.images, out.names])):
        with open(os.path.join(directory, name), "w", encoding="ascii") as file:
            json.dump(value, file)
    return out
