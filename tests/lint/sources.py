"""Every source is listed in a Makefile fragment, and every listed one exists. usage: sources.py ROOT"""
import os
import re
import sys

import tree

LISTED = re.compile(r"[A-Za-z0-9_./-]+\.[ch]\b")


def fragments(root):
    paths = tree.walk(root, tree.TOP_FOLDERS + ("tests", "doc"), (".inc",))
    return paths + [p for p in ("Makefile.am",) if os.path.isfile(os.path.join(root, p))]


def listed(root):
    """path -> (fragment, line) where a source is listed"""
    where = {}
    for fragment in fragments(root):
        for number, line in enumerate(tree.read(root, fragment).split("\n"), 1):
            if "_SOURCES" in line or not re.search(r"=|^\s*#", line):
                for name in LISTED.findall(line.split("#")[0]):
                    where.setdefault(name, (fragment, number))
    return where


def main():
    root, found = sys.argv[1], tree.Findings()
    where = listed(root)
    for path in tree.sources(root) + tree.walk(root, ("tests/unit",), (".c", ".h")):
        if path not in where:
            found.add(path, 1, "listed in no Makefile.inc")
    for name, (fragment, line) in where.items():
        if name.removeprefix("src/") in tree.GENERATED:
            continue
        if name.startswith(tree.TOP_FOLDERS + ("tests/",)) and not os.path.isfile(os.path.join(root, name)):
            found.add(fragment, line, f"{name} does not exist")
    found.end()


main()
