"""Who may include whom: reads layers.txt. usage: include_law.py ROOT"""
import os
import sys

import tree


def read_law(path):
    law = {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            line = line.split("#")[0].strip()
            if line:
                folder, _, allowed = line.partition(":")
                law[folder] = allowed.split()
    return law


def judge(law, path, target):
    """What is wrong with path including target, or None."""
    own, other = tree.folder_of(path), tree.folder_of(target)
    if target.split("/")[0] not in tree.TOP_FOLDERS:
        return f"includes {target}, which is no part of the sources"
    if own == other:
        return None
    if "*" not in law[own] and other != "util" and other not in law[own]:
        return f"{own} may not include {other} ({target})"
    if other not in law["open"] and os.path.basename(target) != other + ".h":
        return f"{target} is private to {other}: include {other}/{other}.h"
    return None


def main():
    root, found = sys.argv[1], tree.Findings()
    law = read_law(os.path.join(os.path.dirname(os.path.abspath(__file__)), "layers.txt"))
    for path in tree.sources(root):
        if tree.folder_of(path) not in law:
            found.add(path, 1, f"folder {tree.folder_of(path)} is not in tests/lint/layers.txt")
            continue
        for line, quote, name, target in tree.includes(root, path):
            if target is None:
                if quote == '"' and name not in tree.GENERATED:
                    found.add(path, line, f"no such header: {name}")
                continue
            if quote == "<":
                found.add(path, line, f'our own header in <>: write "{name}"')
            message = judge(law, path, target)
            if message:
                found.add(path, line, message)
    found.end()


main()
