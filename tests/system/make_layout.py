#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes an OCI layout that holds one of everything a copy has to keep. usage: make_layout.py DIR [VERSIONS]

Tags: multi (an index of amd64 and arm64 with BuildKit's attestation), plain (amd64 of it alone), sha512 (a layer named by
sha512), empty (a layer without a byte and Docker's empty one), artifact (no image), and for VERSIONS ("1.0.0 1.1.0 …")
one image each with a layer of its own upon a common one. What refers to multi: a signature, an SBOM of amd64, a
signature of the SBOM; and cosign's tag. Prints name and digest of each, a line each."""
import gzip
import hashlib
import io
import json
import os
import random
import sys
import tarfile

OCI = "application/vnd.oci.image."
EMPTY = "application/vnd.oci.empty.v1+json"
root = sys.argv[1]
entries = []


def blob(data, media_type, alg="sha256", **more):
    digest = hashlib.new(alg, data).hexdigest()
    os.makedirs(f"{root}/blobs/{alg}", exist_ok=True)
    with open(f"{root}/blobs/{alg}/{digest}", "wb") as f:
        f.write(data)
    return {"mediaType": media_type, "digest": f"{alg}:{digest}", "size": len(data), **more}


def document(value, media_type, **more):
    # Not as cbpush would print it: a copy has to keep the bytes.
    return blob(json.dumps(value, indent=3).encode(), media_type, **more)


def tar(name, size):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        info = tarfile.TarInfo(name)
        info.size = size
        t.addfile(info, io.BytesIO(random.Random(name).randbytes(size)))
    return out.getvalue()


def layer(name, size=3000, alg="sha256"):
    data = tar(name, size)
    packed = gzip.compress(data, mtime=0)
    return blob(packed, OCI + "layer.v1.tar+gzip", alg), "sha256:" + hashlib.sha256(data).hexdigest()


def image(arch, layers, **more):
    config = document({"architecture": arch, "os": "linux", "config": {"Cmd": ["/bin/sh"]},
                       "rootfs": {"type": "layers", "diff_ids": [d for _, d in layers]}}, OCI + "config.v1+json")
    return document({"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "config": config,
                     "layers": [x for x, _ in layers]}, OCI + "manifest.v1+json",
                    platform={"os": "linux", "architecture": arch}, **more)


def artifact(kind, subject=None, annotations=None):
    value = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "artifactType": kind,
             "config": blob(b"{}", EMPTY), "layers": [blob(f"this is {kind}".encode(), "text/plain")]}
    if subject:
        value["subject"] = {k: subject[k] for k in ("mediaType", "digest", "size")}
    if annotations:
        value["annotations"] = annotations
    return document(value, OCI + "manifest.v1+json")


def tag(name, descriptor):
    plain = {k: v for k, v in descriptor.items() if k != "annotations"}
    entries.append({**plain, "annotations": {"org.opencontainers.image.ref.name": name}})
    print(name, descriptor["digest"])


def main():
    common = layer("common", 200000)
    amd64 = image("amd64", [common, layer("amd64")])
    arm64 = image("arm64", [common, layer("arm64")])
    proof = artifact("application/vnd.example.provenance")
    proof["platform"] = {"os": "unknown", "architecture": "unknown"}
    proof["annotations"] = {"vnd.docker.reference.type": "attestation-manifest",
                            "vnd.docker.reference.digest": amd64["digest"]}
    multi = document({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": [amd64, arm64, proof],
                      "annotations": {"org.example.note": "kept"}}, OCI + "index.v1+json")
    nothing = b""
    tag("multi", multi)
    tag("plain", amd64)
    tag("sha512", image("amd64", [layer("long", alg="sha512")]))
    tag("empty", image("amd64", [(blob(nothing, OCI + "layer.v1.tar"), "sha256:" + hashlib.sha256(nothing).hexdigest()),
                                 (blob(gzip.compress(bytes(1024), mtime=0), OCI + "layer.v1.tar+gzip"),
                                  "sha256:" + hashlib.sha256(bytes(1024)).hexdigest())]))
    tag("artifact", artifact("application/vnd.example.thing"))
    for name in sys.argv[2].split() if len(sys.argv) > 2 else []:
        tag(name, image("amd64", [common, layer(name)]))
    signature = artifact("application/vnd.example.signature", multi)
    sbom = artifact("application/vnd.example.sbom", amd64, {"org.example.format": "spdx"})
    countersigned = artifact("application/vnd.example.signature2", sbom)
    for name, d in (("signature", signature), ("sbom", sbom), ("countersigned", countersigned)):
        entries.append(d)
        print(name, d["digest"])
    tag(multi["digest"].replace(":", "-") + ".sig", artifact("application/vnd.example.cosign"))
    with open(f"{root}/oci-layout", "w", encoding="ascii") as f:
        f.write('{"imageLayoutVersion": "1.0.0"}')
    with open(f"{root}/index.json", "w", encoding="ascii") as f:
        json.dump({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": entries}, f)


main()
