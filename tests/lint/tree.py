"""What the lints share: which files there are, what they include, how a finding is printed."""
import os
import re
import sys

TOP_FOLDERS = ("src", "registry", "auth")
GENERATED = ("config.h", "exec/starter_bytes.h", "cmd/completion_scripts.h")  # as they are included
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">\n]+)[">]', re.M)
SKIPPED_DIRS = ("autom4te.cache", "build-aux", "m4", "__pycache__")


class Findings:
    """Collects findings and prints them, one line each, in order."""

    def __init__(self):
        self.lines = []

    def add(self, path, line, message):
        self.lines.append((path, line, message))

    def end(self):
        for path, line, message in sorted(self.lines):
            print(f"{path}:{line}: {message}")
        sys.exit(1 if self.lines else 0)


def walk(root, tops, endings):
    """The paths below root/tops with one of the endings, relative to root, sorted."""
    found = []
    for top in tops:
        for where, dirs, names in os.walk(os.path.join(root, top)):
            dirs[:] = [d for d in dirs if not d.startswith((".", "build-check")) and d not in SKIPPED_DIRS]
            found += [os.path.relpath(os.path.join(where, n), root) for n in names if n.endswith(endings)]
    return sorted(found)


def sources(root):
    """Our C, tests left out."""
    return walk(root, TOP_FOLDERS, (".c", ".h"))


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as f:
        return f.read()


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def folder_of(path):
    """The folder of the include law: src/store/x.c -> store, registry/x.c -> registry, src/main.c -> main."""
    parts = path.split("/")
    if parts[0] != "src":
        return parts[0]
    return parts[1] if len(parts) > 2 else os.path.splitext(parts[1])[0]


def resolve(root, path, quote, name):
    """The path in the tree that an #include in `path` means, or None. The same order as the compiler's."""
    own = (os.path.dirname(path),) if quote == '"' else ()
    for base in own + ("src", ""):
        candidate = os.path.normpath(os.path.join(base, name))
        if os.path.isfile(os.path.join(root, candidate)):
            return candidate
    return None


def includes(root, path):
    """(line, quote, name, target or None) of every #include of a file."""
    text = read(root, path)
    for m in INCLUDE.finditer(text):
        yield line_of(text, m.start()), m.group(1), m.group(2), resolve(root, path, m.group(1), m.group(2))


def without_comments(text, strings=True):
    """The text with comments blanked, line numbers kept; with strings=True string and character contents too."""

    def blank(m):
        if m.group(0)[0] == "/" or strings:
            return re.sub(r"[^\n]", " ", m.group(0))
        return m.group(0)

    token = r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return re.sub(token, blank, text, flags=re.S)
