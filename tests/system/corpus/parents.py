# SPDX-License-Identifier: Apache-2.0
"""The images that the cases build upon: OCI layouts made from the file PARENTS and busybox.
usage: parents.py DIR           DIR/NAME is the layout of each; prints the names, one a line"""
import gzip
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile

import casefile
import context

OCI = "application/vnd.oci.image"
DIRECTORIES = ("bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr", "usr/bin", "var")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Parent:
    """=== NAME, then headers `from: PARENT`, `platform: OS/ARCH[/VARIANT]`, `config: JSON`, and `--- layer` sections."""

    def __init__(self, name):
        self.name, self.headers, self.layers = name, {}, []


def read():
    out, lines = [], None
    for line in casefile.read_lines(os.path.join(casefile.DATA, "PARENTS")):
        if line.startswith("=== "):
            out.append(Parent(line[4:].strip()))
            lines = None
        elif line.startswith("--- layer"):
            lines = []
            out[-1].layers.append(lines)
        elif lines is not None:
            lines.append(line)
        elif line and not line.startswith("#"):
            key, _, value = line.partition(": ")
            out[-1].headers[key] = value
    return out


def busybox_lines():
    """A root file system around busybox: its applets, root and nobody."""
    program = shutil.which("busybox")
    applets = subprocess.run([program, "--list"], check=True, capture_output=True, text=True).stdout.split()
    lines = [context.Line(f"{d}/ " + ("01777" if d == "tmp" else "0755")) for d in DIRECTORIES]
    lines.append(context.Line("bin/busybox 0755"))
    with open(program, "rb") as f:
        lines[-1].data = f.read()
    lines += [context.Line(f"bin/{a} -> busybox") for a in applets if a != "busybox"]
    lines.append(context.Line('etc/passwd "root:x:0:0:root:/root:/bin/sh\\nnobody:x:65534:65534:nobody:/home:/bin/false\\n"'))
    lines.append(context.Line('etc/group "root:x:0:\\nnogroup:x:65534:\\nusers:x:100:games\\n"'))
    return lines


def layer_tar(lines):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for line in lines:
            context.member(archive, line)
    return raw.getvalue()


class Layout:
    """An OCI layout in the making."""

    def __init__(self, path):
        self.path = path
        os.makedirs(f"{path}/blobs/sha256")

    def blob(self, media_type, data):
        if not isinstance(data, bytes):
            data = json.dumps(data, sort_keys=True).encode()
        hexes = hashlib.sha256(data).hexdigest()
        with open(f"{self.path}/blobs/sha256/{hexes}", "wb") as f:
            f.write(data)
        return {"mediaType": media_type, "digest": "sha256:" + hexes, "size": len(data)}

    def manifest(self, parent, layers):
        system, _, rest = parent.headers.get("platform", "").partition("/")
        architecture, _, variant = rest.partition("/")
        where = {"os": system or "linux", "architecture": architecture or ARCHITECTURES[platform.machine()]}
        if variant:
            where["variant"] = variant
        history = [{"created_by": f"parent {parent.name}"} for _ in layers]
        config = {**where, "config": json.loads(parent.headers.get("config", "{}")),
                  "history": [] if "nohistory" in parent.headers else history,
                  "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(d).hexdigest() for d in layers]}}
        blobs = [self.blob(f"{OCI}.layer.v1.tar+gzip", gzip.compress(d, 1, mtime=0)) for d in layers]
        document = {"schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json",
                    "config": self.blob(f"{OCI}.config.v1+json", config), "layers": blobs}
        return {**self.blob(f"{OCI}.manifest.v1+json", document), "platform": where}

    def finish(self, found):
        if len(found) > 1:
            document = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": found}
            found = [self.blob(f"{OCI}.index.v1+json", document)]
        found[0]["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
        with open(f"{self.path}/index.json", "w", encoding="ascii") as f:
            json.dump({"schemaVersion": 2, "manifests": found}, f)
        with open(f"{self.path}/oci-layout", "w", encoding="ascii") as f:
            f.write('{"imageLayoutVersion":"1.0.0"}')


def make(directory):
    """Makes all; of several parents with one name an index. Returns the names."""
    layers, found, layouts = {}, {}, {}
    for parent in read():
        name = parent.name
        mine = list(layers[parent.headers["from"]]) if "from" in parent.headers else []
        if name == "busybox":
            mine.append(layer_tar(busybox_lines()))
        mine += [layer_tar(context.parse(lines)) for lines in parent.layers]
        layers.setdefault(name, mine)
        layout = layouts.setdefault(name, None) or Layout(os.path.join(directory, name))
        layouts[name] = layout
        found.setdefault(name, []).append(layout.manifest(parent, mine))
    for name, layout in layouts.items():
        layout.finish(found[name])
    return list(layouts)


def push(directory, names, address):
    """Copies all to a registry without TLS, as library/NAME:latest."""
    for name in names:
        argv = ["skopeo", "copy", "-q", "--all", "--dest-tls-verify=false", f"oci:{directory}/{name}:latest",
                f"docker://{address}/library/{name}:latest"]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    NAMES = make(sys.argv[1])
    if len(sys.argv) > 2:
        push(sys.argv[1], NAMES, sys.argv[2])
    print("\n".join(NAMES))
