"""Sizes of files and functions, and numbers of parameters, by universal-ctags. usage: budgets.py ROOT
The tests' functions are not measured, their files are."""
import json
import re
import subprocess
import sys

import tree

FILE_MAX, FUNCTION_MAX, PARAMETERS_MAX = 800, 100, 5
MEDIAN_MAX, P90_MAX = 15, 45
ENDINGS = (".c", ".h", ".py", ".sh", ".bash", ".bats")


def functions(root, paths):
    """(path, line, name, length, signature) of every function definition."""
    if not paths:
        return
    command = ["ctags", "--quiet", "--options=NONE", "--output-format=json", "--fields=+neS", "--language-force=C", "--kinds-C=f",
               "-o", "-", "-L", "-"]
    run = subprocess.run(command, cwd=root, input="\n".join(paths), text=True, stdout=subprocess.PIPE, check=True)
    for line in run.stdout.splitlines():
        tag = json.loads(line)
        if tag.get("_type") == "tag" and "end" in tag:
            yield tag["path"], tag["line"], tag["name"], tag["end"] - tag["line"] + 1, tag.get("signature", "()")


def count_parameters(signature):
    """Commas at depth one, plus one; a function pointer's own parameters do not count, nor does the error that
    nearly every function takes last (HACKING.md)."""
    inner = signature.strip()[1:-1].strip()
    inner = re.sub(r",?\s*struct cb_error \*\s*err(\s+CB_UNUSED)?$", "", inner)
    if inner in ("", "void"):
        return 0
    depth, count = 0, 1
    for c in inner:
        depth += (c in "([{") - (c in ")]}")
        count += c == "," and depth == 0
    return count


def percentile(sorted_lengths, share):
    return sorted_lengths[min(len(sorted_lengths) - 1, int(len(sorted_lengths) * share))]


def check_files(root, found):
    for path in tree.walk(root, tree.TOP_FOLDERS + ("tests", "contrib"), ENDINGS):
        lines = tree.read(root, path).count("\n")
        if lines > FILE_MAX:
            found.add(path, lines, f"file of {lines} lines, the budget is {FILE_MAX}")


def check_functions(root, found):
    lengths = []
    for path, line, name, length, signature in functions(root, tree.sources(root)):
        lengths.append((length, path, line, name))
        if length > FUNCTION_MAX:
            found.add(path, line, f"{name}: function of {length} lines, the budget is {FUNCTION_MAX}")
        count = count_parameters(signature)
        if count > PARAMETERS_MAX:
            found.add(path, line, f"{name}: {count} parameters, the budget is {PARAMETERS_MAX}: use an options struct")
    lengths.sort()
    for share, budget, word in ((0.5, MEDIAN_MAX, "median"), (0.9, P90_MAX, "90th percentile")):
        if lengths and percentile(lengths, share)[0] > budget:
            length, path, line, name = percentile(lengths, share)
            found.add(path, line, f"{name}: the {word} of all functions is {length} lines, the budget is {budget}")


def main():
    root, found = sys.argv[1], tree.Findings()
    check_files(root, found)
    check_functions(root, found)
    found.end()


if __name__ == "__main__":
    main()
