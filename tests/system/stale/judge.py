# SPDX-License-Identifier: Apache-2.0
"""Whether two images say the same. Shares no code with cbpush, nor with what makes the Dockerfiles."""
import difflib
import hashlib
import json

import flatten


def entry_line(path, e, first):
    """Times of the parent's files only: those of others are those of the build that made them."""
    if id(e) in first:
        return f"{path} == {first[id(e)]}"
    first[id(e)] = path
    data = hashlib.sha256(e.data).hexdigest()[:16] + f" {len(e.data)}" if e.data is not None else ""
    when = f" @{int(e.mtime)}" if path.startswith("base/") else ""
    mode = "" if e.kind == "l" else f"{e.mode:04o} "
    return f"{path} {e.kind} {mode}{e.uid}:{e.gid}{when} {e.link if e.kind == 'l' else data} {sorted(e.xattrs.items()) or ''}"


def lines(layout, parents, clocked):
    """clocked: a RUN that writes what is there already makes a layer only where a second has passed since."""
    image, first, hidden = flatten.Image(layout, parents), {}, ("created", "empty_layer") if clocked else ("created",)
    out = [entry_line(path, image.tree[path], first) for path in sorted(image.tree)]
    out += [f"config {k} {json.dumps(v, sort_keys=True)}" for k, v in sorted((image.config.get("config") or {}).items())]
    out += [f"{k} {image.config.get(k)}" for k in ("os", "architecture", "variant", "author")]
    for step in image.config.get("history", []):
        out.append(json.dumps({k: v for k, v in step.items() if k not in hidden}, sort_keys=True))
    return out if clocked else [*out, f"{len(image.diff_ids)} layers"]


def differs(cached, clean, parents, clocked):
    """How two layouts differ, as text; empty if not."""
    both = [lines(layout, parents, clocked) for layout in (clean, cached)]
    return "\n".join(difflib.unified_diff(*both, "without caches", "with caches", lineterm="", n=0))


def documents(layout):
    """Manifest and config of its only image, as lines."""
    def read(path):
        with open(f"{layout}/{path}", encoding="utf-8") as f:
            return json.load(f)
    manifest = read("blobs/" + read("index.json")["manifests"][0]["digest"].replace(":", "/"))
    config = read("blobs/" + manifest["config"]["digest"].replace(":", "/")) if "config" in manifest else None
    return json.dumps([manifest, config], indent=1, sort_keys=True).split("\n")


def unlike(before, after):
    return "\n".join(difflib.unified_diff(before, after, "one", "other", lineterm="", n=0))


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()
