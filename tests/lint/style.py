"""House style that a machine can see: licence line, #pragma once, tabs, columns, blanks, words. usage: style.py ROOT"""
import re
import sys

import tree

COLUMNS_MAX = 120
SPDX = "/* SPDX-License-Identifier: Apache-2.0 */"
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX)\b")
REFUSED = (
    (re.compile(r"\bgoto\b"), "goto: use a cleanup attribute (util/macros.h)"),
    (re.compile(r"\btypedef\s+struct\b"), "typedef of a struct: write struct cb_x"),
)
PRINTS = re.compile(r"\b(v?printf|puts|putchar|perror|stdout|stderr)\b")
MAY_PRINT = ("main", "cmd", "progress")
TEXTS = (".sh", ".py", ".bats", ".bash", ".am", ".ac", ".inc", ".md", ".txt", ".scd")


def check_line(found, path, number, line, is_c):
    if line != line.rstrip(" \t\r"):
        found.add(path, number, "blanks at the end of the line")
    if is_c and "\t" in line:
        found.add(path, number, "tab")
    if is_c and len(line) > COLUMNS_MAX:
        found.add(path, number, f"{len(line)} columns, the limit is {COLUMNS_MAX}")
    if not path.startswith(("tests/lint/", "tests/data/")):
        m = UNFINISHED.search(line)
        if m:
            found.add(path, number, f"{m.group(1)}: finish it or write an issue")


def check_c(found, path, text):
    lines = text.split("\n")
    if lines[0] != SPDX:
        found.add(path, 1, f"the first line must be {SPDX}")
    if path.endswith(".h") and (len(lines) < 2 or lines[1] != "#pragma once"):
        found.add(path, 2, "a header's second line must be #pragma once")
    code = tree.without_comments(text)
    for pattern, message in REFUSED:
        for m in pattern.finditer(code):
            found.add(path, tree.line_of(code, m.start()), message)


def check_prints(found, path, text):
    if path.startswith("tests/") or tree.folder_of(path) in MAY_PRINT:
        return
    code = re.sub(r"__attribute__\s*\(\(format.*", "", tree.without_comments(text))
    for m in PRINTS.finditer(code):
        found.add(path, tree.line_of(code, m.start()), f"{m.group(1)}: only main, cmd and progress print")


def main():
    root, found = sys.argv[1], tree.Findings()
    c_files = tree.walk(root, tree.TOP_FOLDERS + ("tests",), (".c", ".h"))
    for path in c_files + tree.walk(root, tree.TOP_FOLDERS + ("tests", "contrib", "doc"), TEXTS):
        text = tree.read(root, path)
        if path.startswith("tests/data/"):
            continue
        for number, line in enumerate(text.split("\n"), 1):
            check_line(found, path, number, line, path in c_files)
        if path in c_files:
            check_c(found, path, text)
            check_prints(found, path, text)
    found.end()


main()
