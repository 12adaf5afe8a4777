"""What the documents name is there: files, functions, verbs, options, variables, media types, sections; and what a user
can set is in the manual: variables of the environment, exit statuses. usage: docs.py ROOT"""
import fnmatch
import os
import re
import sys

import tree

MANUAL = "doc/cbpush.1.scd"
FILE = re.compile(r"(?<![\w/$~.<>-])((?:[\w*-]+/)*[\w*-]+\.(?:c|h|py|sh|bats|bash|md|inc))(?![\w/<])|"
                  r"(?<![\w/$~.<>-])((?:src|tests|doc|contrib)/[\w./*-]*)(?![\w<])")
PLACEHOLDER = re.compile(r"NAME|\bNN\b|FILE\b")
NAMED = (
    (re.compile(r"\b(cb_[a-z]\w*)"), "no source has"),
    (re.compile(r"(?<![\w./])((?:vnd\.|org\.|containerimage\.|buildx\.|cbpush\.)[a-z][A-Za-z.-]*[a-z])"), "no source has"),
    (re.compile(r"(application/[a-z][\w.+-]*\w)"), "no source has"),
)
OPTION = re.compile(r"(?<![\w-])--([a-z][a-z0-9-]*[a-z0-9])")
VERB = re.compile(r"(?:^ {4}|`|\*|\t)cbpush ([a-z]+)\b", re.M)
OURS = re.compile(r"\b((?:CBPUSH|BENCH|CORPUS|FUZZ|KANIKO|BUILDX)_[A-Z_]*[A-Z])\b")
READ = re.compile(r'\b(?:getenv|environment|number_from|get)\("(\w+)"|first_set\(get, "(\w+)", (?:"(\w+)")?')
LISTED = re.compile(r"\bgetenv\((\w+)\[\w+\]\)")  # of an array in the same file
SECTION = re.compile(r"\b[Ss]ee\s+\*([A-Z][A-Za-z, -]+)\*|\(\*([A-Z][A-Z ]+)\*\)")
MEMBER = re.compile(r'"((?:cbpush|containerimage|buildx)\.[a-z.]+)"')
STATUS = re.compile(r"^\s+CB_E?[A-Z]+ = (\d+),", re.M)
# Of every program, and what a web server puts there.
NOT_OURS = ("PATH", "TERM", "REQUEST_METHOD")


class Tree:
    """What the documents are compared with."""

    def __init__(self, root):
        self.root = root
        self.docs = [d for d in ("README.md", "HACKING.md", "NEWS.md") if os.path.isfile(os.path.join(root, d))]
        self.docs += tree.walk(root, ("doc",), (".md", ".scd")) + tree.walk(root, ("tests",), ("README.md",))
        self.paths = [p for p in tree.walk(root, tree.TOP_FOLDERS + ("tests", "contrib", "doc"), "")] + os.listdir(root)
        self.sources = {p: tree.read(root, p) for p in tree.sources(root)}
        self.code = "\n".join(self.sources.values())
        scripts = [p for p in self.paths if p.endswith((".sh", ".py", ".bash", ".bats", ".c")) or
                   p.startswith("tests/tools/") and "." not in p]
        self.all = self.code + "".join(tree.read(root, p) for p in scripts)
        if "configure.ac" in self.paths:
            self.all += tree.read(root, "configure.ac").replace("$1", "bash")

    def has_file(self, name):
        """As it is, from a folder of sources or tests on, or by its name alone; a program by its source."""
        tail = name.rstrip("/.")
        return any(fnmatch.fnmatch(p, tail) or fnmatch.fnmatch(p, "*/" + tail) or p.startswith((tail + "/", tail + ".c"))
                   for p in self.paths)


def check_files(found, t, path, text):
    for m in FILE.finditer(text):
        name = m.group(1) or m.group(2)
        if not PLACEHOLDER.search(name) and not t.has_file(name):
            found.add(path, tree.line_of(text, m.start()), f"there is no {name}")


def check_names(found, t, path, text):
    for pattern, message in NAMED:
        for m in pattern.finditer(text):
            if m.group(1) not in t.code:
                found.add(path, tree.line_of(text, m.start()), f"{message} {m.group(1)}")
    for m in OPTION.finditer(text):
        if f'"{m.group(1)}"' not in t.code and f"--{m.group(1)}" not in t.all:
            found.add(path, tree.line_of(text, m.start()), f"nothing has an option --{m.group(1)}")
    for m in VERB.finditer(text):
        if f'"{m.group(1)}"' not in t.code:
            found.add(path, tree.line_of(text, m.start()), f"there is no verb {m.group(1)}")
    for m in OURS.finditer(text):
        if not re.search(rf"\b{m.group(1)}\b", t.all):
            found.add(path, tree.line_of(text, m.start()), f"nothing reads {m.group(1)}")


def variables(text):
    """Those that a source reads, each with where."""
    for m in READ.finditer(text):
        for name in filter(None, m.groups()):
            yield name, m.start()
    for array in set(LISTED.findall(text)):
        for m in re.finditer(rf"\b{array}\[\]\s*=\s*{{(.*?)}}\s*;", text, re.S):
            for name in re.finditer(r'"(\w+)"', m.group(1)):
                yield name.group(1), m.start(1) + name.start()


def check_variables(found, t, manual):
    for path, text in t.sources.items():
        for name, at in variables(text):
            if name not in NOT_OURS and not re.search(rf"\b{name}\b", manual, re.I):
                found.add(path, tree.line_of(text, at), f"{MANUAL} does not tell of {name}")
        for m in MEMBER.finditer(text if path.startswith("src/cmd/") else ""):
            if m.group(1) not in manual:
                found.add(path, tree.line_of(text, m.start()), f"{MANUAL} does not tell of {m.group(1)}")


def check_sections(found, manual):
    there = re.findall(r"^# (.+)$", manual, re.M)
    for m in SECTION.finditer(manual):
        name = re.sub(r"\s+", " ", m.group(1) or m.group(2))
        if name not in there:
            found.add(MANUAL, tree.line_of(manual, m.start()), f"there is no section {name}")


def check_statuses(found, t):
    errors = t.sources.get("src/util/error.h")
    for path, begin in (("README.md", "Exit status:"), (MANUAL, "# EXIT STATUS"), ("src/cmd/help.c", "exit status:")):
        text = tree.read(t.root, path) if errors and os.path.isfile(os.path.join(t.root, path)) else None
        if text is None:
            continue
        at = text.find(begin)
        for value in STATUS.findall(errors):
            if int(value) < 20 and not re.search(rf"\b{value} [A-Za-z]", text[at:at + 600]):
                found.add(path, tree.line_of(text, max(at, 0)), f"exit status {value} is not told")


def main():
    found, t = tree.Findings(), Tree(sys.argv[1])
    for path in t.docs:
        text = tree.read(t.root, path)
        check_files(found, t, path, text)
        check_names(found, t, path, text)
        if path == MANUAL:
            check_variables(found, t, text)
            check_sections(found, text)
    check_statuses(found, t)
    found.end()


main()
