# SPDX-License-Identifier: Apache-2.0
"""An image as lines of text: what differs from its parent in files, the configuration, the history."""
import hashlib
import json
import re

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
FIELDS = ("User", "Entrypoint", "Cmd", "Shell", "ExposedPorts", "Volumes", "Labels", "StopSignal", "Healthcheck",
          "OnBuild", "ArgsEscaped", "Domainname", "Hostname", "Image", "NetworkDisabled", "Tty")
LONGEST_TEXT = 4000
NOW = 1700000000  # a later time is that of the build


def is_text(data):
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return len(text) <= LONGEST_TEXT and all(c.isprintable() or c in "\n\t\r" for c in text)


def content(data):
    """What a file holds: the rest of its line, and the lines after it."""
    if not is_text(data):
        return f"{len(data)} sha256:{hashlib.sha256(data).hexdigest()[:16]}", []
    text = data.decode("utf-8")
    if text.count("\n") > 1 and text.endswith("\n") and "\r" not in text:
        return "|", ["  |" + line for line in text.split("\n")[:-1]]
    return json.dumps(text, ensure_ascii=False), []


def name_of(path):
    """As it is, or as a JSON string; bytes that are no UTF-8 as Python's surrogates."""
    if re.fullmatch(r"[!-~]+", path):
        return path
    return json.dumps(path, ensure_ascii=re.search("[\ud800-\udfff]", path) is not None)


def entry_lines(path, e, times):
    owner = f"{e.uid}:{e.gid}"
    when = "" if not times else f" @{int(e.mtime)}" if e.mtime < NOW else " @now"
    extra = "".join(f" {k}={hashlib.sha256(v.encode()).hexdigest()[:8]}" for k, v in sorted(e.xattrs.items()))
    if e.kind == "l":
        return [f"l {owner}{when} {name_of(path)} -> {e.link}{extra}"]
    head = f"{e.kind} {e.mode:04o} {owner}{when} {name_of(path)}"
    if e.kind == "f":
        text, more = content(e.data)
        return [f"{head} {text}{extra}", *more]
    return [head + (f" {e.device[0]},{e.device[1]}" if e.device else "") + extra]


def tree_lines(image, times):
    out, first = [], {}
    for path in sorted(set(image.tree) | set(image.base)):
        now, before = image.tree.get(path), image.base.get(path)
        if now is None:
            if path.rpartition("/")[0] in image.tree or "/" not in path:
                out.append(f"gone {name_of(path)}")
        elif now is before or (before is not None and now.same(before) and not (times and now.mtime != before.mtime)):
            continue
        elif id(now) in first:
            out.append(f"h {name_of(path)} == {name_of(first[id(now)])}")
        else:
            first[id(now)] = path
            out += entry_lines(path, now, times)
    return out



def config_lines(config):
    c, out = config.get("config", {}), []
    env = c.get("Env") or []
    if not any(e.startswith("PATH=") for e in env):
        out.append("no PATH")
    out += [f"Env {json.dumps(e, ensure_ascii=False)}" for e in env if e != DEFAULT_PATH]
    if c.get("WorkingDir") not in (None, "", "/"):
        out.append(f"WorkingDir {c['WorkingDir']}")
    for field in FIELDS:
        if c.get(field):
            out.append(f"{field} {json.dumps(c[field], sort_keys=True, ensure_ascii=False)}")
    unknown = set(c) - set(FIELDS) - {"Env", "WorkingDir"}
    out += [f"{k} {json.dumps(c[k])}" for k in sorted(unknown) if c[k]]
    out += [f"{k} {config[k]}" for k in ("author", "variant", "os.version") if config.get(k)]
    return out


def created_by(text):
    """BuildKit signs some of its lines, cbpush none."""
    return json.dumps(text.removesuffix(" # buildkit"), ensure_ascii=False)[1:-1].replace('\\"', '"')


def history_lines(config):
    """A + before what made a layer. The parents' own history is left out."""
    return [f"{'.' if h.get('empty_layer') else '+'} {created_by(h.get('created_by', ''))}".rstrip()
            for h in config.get("history") or [] if not h.get("created_by", "").startswith("parent ")]


def render(image, times=False):
    return ["tree", *tree_lines(image, times), "config", *config_lines(image.config),
            "history", *history_lines(image.config)]
