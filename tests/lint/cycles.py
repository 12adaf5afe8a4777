"""No include cycles. A module is foo.c + foo.h + foo_private.h, an edge an #include between two modules. A folder's
public header <folder>/<folder>.h is a module of its own, apart from <folder>.c: it is the contract of the whole
folder, so what implements a part of it may include it and be included by <folder>.c. usage: cycles.py ROOT"""
import os
import re
import sys

import tree


def module_of(path):
    base, ending = os.path.splitext(path)
    if ending == ".h" and os.path.basename(base) == tree.folder_of(path):
        return path
    return re.sub(r"_priv(ate)?$", "", base)


def edges(root):
    """module -> {module it includes: (path, line)}"""
    graph = {}
    for path in tree.sources(root):
        here = graph.setdefault(module_of(path), {})
        for line, _, _, target in tree.includes(root, path):
            if target and module_of(target) != module_of(path):
                here.setdefault(module_of(target), (path, line))
    return graph


def reaches(graph, start):
    seen, todo = set(), [start]
    while todo:
        for following in graph.get(todo.pop(), {}):
            if following not in seen:
                seen.add(following)
                todo.append(following)
    return seen


def main():
    root, found = sys.argv[1], tree.Findings()
    graph = edges(root)
    reach = {m: reaches(graph, m) for m in graph}
    done = set()
    for module in sorted(graph):
        if module in done or module not in reach[module]:
            continue
        ring = sorted(m for m in reach[module] if module in reach.get(m, ()))
        done.update(ring)
        path, line = min(at for m in ring for to, at in graph[m].items() if to in ring)
        found.add(path, line, "include cycle: " + " ".join(ring))
    found.end()


main()
