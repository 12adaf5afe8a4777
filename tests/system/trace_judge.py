# SPDX-License-Identifier: Apache-2.0
"""Judges a timeline of --trace as chrome://tracing and Perfetto read it. usage: trace_judge.py FILE [EXPRESSION]
The file has to be one JSON object; every complete event has to have all its members, a track with a name, and to lie
within or beside the others of its track. Prints what EXPRESSION (Python) gives, in which `spans` are the events as
objects with kind, name, begin, end (microseconds), track and args; some("regex") those whose "KIND: NAME" it finds,
one(…) the only one; overlap(a, b) tells whether they share time."""
import collections
import json
import re
import sys

Span = collections.namedtuple("Span", "kind name begin end track args")


def no_twins(pairs):
    found = dict(pairs)
    assert len(found) == len(pairs), f"a key stands twice: {pairs}"
    return found


def refuse(text):
    raise ValueError(f"{text} is no JSON")


with open(sys.argv[1], encoding="utf-8", errors="strict") as file:
    whole = json.load(file, object_pairs_hook=no_twins, parse_constant=refuse)
events = whole["traceEvents"]
names = {e["tid"]: e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
assert len(set(names.values())) == len(names), f"two tracks have one name: {names}"
spans = []
for e in events:
    assert e["ph"] in "MX", e
    if e["ph"] == "X":
        assert e["ts"] >= 0 and e["dur"] >= 0 and e["cat"] and e["name"] and isinstance(e["args"], dict), e
        spans.append(Span(e["cat"], e["name"], e["ts"], e["ts"] + e["dur"], names[e["tid"]], e["args"]))
assert len({e["pid"] for e in events}) == 1, "several processes"

ROUNDING = 0.002
for track in names.values():
    under = []
    for s in sorted((s for s in spans if s.track == track), key=lambda s: (s.begin, -s.end)):
        while under and under[-1].end <= s.begin + ROUNDING:
            under.pop()
        assert not under or s.end <= under[-1].end + ROUNDING, f"neither within nor beside:\n{under[-1]}\n{s}"
        under.append(s)


def some(regex):
    return [s for s in spans if re.search(regex, f"{s.kind}: {s.name}")]


def one(regex):
    found = some(regex)
    assert len(found) == 1, f"{len(found)} spans are {regex}: {found}"
    return found[0]


def overlap(a, b):
    return a.begin < b.end and b.begin < a.end


if len(sys.argv) > 2:
    print(eval(sys.argv[2]))
