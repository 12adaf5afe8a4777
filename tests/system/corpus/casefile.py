# SPDX-License-Identifier: Apache-2.0
"""Reads and rewrites .case files. Their format: tests/data/dockerfile/build/README.md."""
import glob
import os
import shlex

DATA = os.path.normpath(os.path.join(os.path.dirname(__file__), "../../data/dockerfile/build"))
HEADERS = ("build", "error", "times", "needs")


class BadCase(Exception):
    """A case file is not as its README says."""


class Section:
    """`--- NAME ARGUMENTS` and the lines under it."""

    def __init__(self, head):
        self.words = shlex.split(head)
        self.name = self.words[0]
        self.lines = []

    def text(self):
        if "escaped" in self.words[1:]:
            whole = "\n".join(self.lines)
            whole = whole[:-2] if whole.endswith("\\c") else whole + "\n"
            return whole.encode("latin-1", "backslashreplace").decode("unicode_escape").encode("latin-1")
        return "".join(line + "\n" for line in self.lines).encode()

    def path(self, default):
        words = [w for w in self.words[1:] if w != "escaped"]
        return words[0] if words else default


class Case:
    """One case. expected: the lines that BuildKit's result gave."""

    def __init__(self, name, where):
        self.name, self.where = name, where
        self.headers, self.sections, self.expected = {}, [], []

    def add_header(self, line):
        key, colon, value = line.partition(":")
        if not colon or key not in HEADERS or key in self.headers:
            raise BadCase(f"{self.where}: {self.name}: not a header: {line}")
        self.headers[key] = value.strip()

    def add_section(self, section):
        if section.name == "expect":
            self.expected = section.lines
        elif section.name in ("Dockerfile", "dockerignore", "context", "file"):
            self.sections.append(section)
        else:
            raise BadCase(f"{self.where}: {self.name}: no such section: {section.name}")

    @property
    def build(self):
        """The words of the header, with the context's name for {ctx}."""
        return [w.replace("{ctx}", self.name) for w in shlex.split(self.headers.get("build", ""))]


def parse(lines, where):
    """The cases of a file."""
    cases, section = [], None
    for line in lines:
        if line.startswith("=== "):
            cases.append(Case(line[4:].strip(), where))
            section = None
        elif line.startswith("--- ") and cases:
            section = Section(line[4:])
            cases[-1].add_section(section)
        elif section is not None:
            section.lines.append(line)
        elif line.startswith("#") or not line.strip():
            continue
        elif cases:
            cases[-1].add_header(line)
        else:
            raise BadCase(f"{where}: text before the first case: {line}")
    for case in cases:
        for part in [s.lines for s in case.sections] + [case.expected]:
            while part and not part[-1]:
                part.pop()
    return cases


def read_lines(path):
    with open(path, encoding="utf-8", newline="\n") as f:
        return f.read().split("\n")[:-1]


def read(path):
    return parse(read_lines(path), os.path.basename(path))


def read_all(paths=None):
    """All cases of the corpus, by file name; refuses two of the same name."""
    out, seen = {}, set()
    for path in paths or sorted(glob.glob(os.path.join(DATA, "*.case"))):
        out[path] = read(path)
        for case in out[path]:
            if case.name in seen:
                raise BadCase(f"{case.where}: two cases are named {case.name}")
            seen.add(case.name)
    return out


def rewrite(path, results):
    """Puts results (name → lines) into the expect sections of a file; everything else stays as it is."""
    out, name, skipping = [], None, False
    for line in read_lines(path):
        if line.startswith("=== "):
            flush(out, name, results)
            name, skipping = line[4:].strip(), False
        elif line.startswith("--- "):
            skipping = name in results and line.split()[1] == "expect"
        if not skipping:
            out.append(line)
    flush(out, name, results)
    text = "\n".join(out).rstrip("\n") + "\n"
    with open(path + ".new", "w", encoding="utf-8", newline="\n") as f:
        f.write(text)
    os.replace(path + ".new", path)


def flush(out, name, results):
    """Ends a case: its expected lines and one empty line."""
    if name not in results:
        return
    while out and not out[-1]:
        out.pop()
    out += ["--- expect", *results[name], ""]


def deviations():
    """DEVIATIONS: name → (reason, lines)."""
    path, out = os.path.join(DATA, "DEVIATIONS"), {}
    reason, name = [], None
    for line in read_lines(path):
        if line.startswith("=== "):
            name, reason = line[4:].strip(), []
            if name in out:
                raise BadCase(f"DEVIATIONS: {name} is there twice")
            out[name] = (reason, [])
        elif name is None or line.startswith("--- expect"):
            continue
        elif line.startswith("reason: "):
            reason.append(line[8:])
        elif line:
            out[name][1].append(line)
    for name, (reason, _) in out.items():
        if not reason:
            raise BadCase(f"DEVIATIONS: {name} has no reason")
    return out


def write_deviations(results):
    """Puts cbpush's own results (name → lines) into DEVIATIONS. Of an error only the line: the pattern is written by
    hand."""
    path = os.path.join(DATA, "DEVIATIONS")
    known, out, name = deviations(), [], None
    for line in read_lines(path):
        if line.startswith("=== "):
            name = line[4:].strip()
        if name not in results or line.startswith(("=== ", "reason: ")):
            out.append(line)
        if name in results and line.startswith("--- expect"):
            lines = results[name]
            old = known[name][1]
            pattern = old[1:] if old and old[0].startswith("error") else ["  ."]
            out += [line, *(lines[:1] + pattern if lines[0].startswith("error") else lines), ""]
    with open(path, "w", encoding="utf-8", newline="\n") as f:
        f.write("\n".join(out).rstrip("\n") + "\n")


def pending():
    """PENDING: the names of cases that cbpush does not pass yet."""
    lines = [line.split("#")[0].strip() for line in read_lines(os.path.join(DATA, "PENDING"))]
    return {line for line in lines if line}
