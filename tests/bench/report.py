# SPDX-License-Identifier: Apache-2.0
"""Tables: of a case, of the aims, and of where the time of one build went."""
import datetime
import json
import statistics

from measure import median, spread

PEAK_AIM_KIB = 64 * 1024


def seconds(value):
    return f"{value:.3f} s" if value < 10 else f"{value:.1f} s"


def size(value):
    return f"{value / 1e6:.2f} MB" if value else "-"


class Result:
    """The samples of one tool in one case, or why there are none."""

    def __init__(self, key):
        self.key, self.samples, self.why, self.requests, self.bytes = key, [], None, 0, 0
        self.remarks, self.unlike = [], False

    def walls(self):
        return [s.wall for s in self.samples]


def turn_ratios(result, base):
    """How many times as long as the base the tool took, turn by turn: both saw the same machine then."""
    return [a / b for a, b in zip(result.walls(), base.walls())]


def ratio_text(result, base):
    if result is base or base is None or not base.samples:
        return "1" if result is base else "-"
    ratios = turn_ratios(result, base)
    around = f" ({min(ratios):.1f}–{max(ratios):.1f})" if len(ratios) > 1 else ""
    return f"{statistics.median(ratios):.1f}{around}"


def spread_text(walls):
    return f"±{spread(walls):.0%}" if len(walls) > 1 else "-"


def row(result, base):
    if result.why is not None:
        return [result.key, "failed, see below"]
    if not result.samples:
        return [result.key, "not measured here"]
    cpu = median([s.cpu for s in result.samples])
    peak = max(s.peak for s in result.samples)
    return [result.key, seconds(median(result.walls())), spread_text(result.walls()), ratio_text(result, base),
            seconds(cpu), f"{peak / 1024:.0f} MiB", str(result.requests), size(result.bytes)]


HEAD = ["tool", "median", "spread", "× cbpush", "cpu", "peak", "requests", "image"]


def print_rows(rows):
    """Columns, the first to the left and the others to the right; a row of two cells is a name and a remark."""
    full = [r for r in rows if len(r) > 2]
    widths = [max(len(r[i]) for r in full) for i in range(len(full[0]))]
    widths[0] = max(len(r[0]) for r in rows)
    for r in rows:
        cells = [r[0].ljust(widths[0])]
        cells += [c.rjust(w) for c, w in zip(r[1:], widths[1:])] if len(r) > 2 else [r[1]]
        print("  " + "  ".join(cells).rstrip())


def print_case(case, results):
    base = results.get("cbpush")
    print(f"\n{case.key}: {case.title}")
    print_rows([HEAD] + [row(r, base) for r in results.values()])
    for r in results.values():
        if r.why is not None:
            print(f"  {r.key}: {r.why}")
        for remark in r.remarks:
            print(f"  {r.key}: {remark}")
    for remark in case.remarks():
        print(f"  {remark}")


def verdict(case, results):
    """One line about a case that has an aim, or None."""
    base = results.get("cbpush")
    if base is None or not base.samples:
        return None
    if not case.peers:
        peak = max(s.peak for s in base.samples)
        return f"{case.key}: {peak / 1024:.0f} MiB at most (aim: under {PEAK_AIM_KIB // 1024})"
    peers = [r for r in results.values() if r is not base and r.samples]
    if not peers:
        return f"{case.key}: no peer could be measured"
    best = min(peers, key=lambda r: median(r.walls()))
    ratio = statistics.median(turn_ratios(best, base))
    aim = f" (aim: {case.aim})" if case.aim else ""
    text = f"{case.key}: {ratio:.1f} times faster than {best.key}, the best of the others{aim}"
    if case.memory:
        part = min(max(s.peak for s in r.samples) for r in peers) / max(s.peak for s in base.samples)
        text += f", 1/{part:.1f} of the memory of the thriftiest (aim: 1/{case.memory})"
    return text


def as_json(path, facts, results):
    cases = {
        key: {
            r.key: {"wall": r.walls(), "cpu": [s.cpu for s in r.samples], "peak_kib": [s.peak for s in r.samples],
                    "requests": r.requests, "bytes": r.bytes, "why": r.why}
            for r in of_case.values()
        }
        for key, of_case in results.items()
    }
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"facts": facts, "cases": cases}, f, indent=1)


# ---- where the time goes


def parse_time(text):
    """RFC 3339 with nanoseconds -> seconds."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    stamp = datetime.datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=datetime.timezone.utc)
    return stamp.timestamp() + float("0." + (fraction or "0"))


class Span:
    def __init__(self, name, start, end, indent=0):
        self.name, self.start, self.end, self.indent = name, start, end, indent


def spans_of(lines):
    """The steps, and the transfers below them, of `--progress rawjson`."""
    steps, parts = {}, {}
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        for v in event.get("vertexes", ()):
            if "completed" in v:
                steps[v["digest"]] = Span(v["name"], parse_time(v["started"]), parse_time(v["completed"]))
        for s in event.get("statuses", ()):
            key = (s["vertex"], s["id"])
            name = f"{s['name']} {size(s.get('total', s.get('current', 0)))}"
            parts[key] = Span(name, parse_time(s["started"]), parse_time(s.get("completed", s["timestamp"])), 1)
    out = []
    for digest, step in sorted(steps.items(), key=lambda item: item[1].start):
        out.append(step)
        out += sorted((p for (vertex, _), p in parts.items() if vertex == digest), key=lambda p: p.start)
    return out


def print_spans(spans, began, wall):
    """A bar a span, on one time line."""
    cells = 40
    print("\nwhere the time of one cold build and push goes (cbpush, parts of the whole; one build is one sample)")
    for s in spans:
        start, end = (s.start - began) / wall, (s.end - began) / wall
        first = min(int(start * cells), cells - 1)
        last = max(first + 1, round(end * cells))
        bar = (" " * first + "█" * (last - first)).ljust(cells)[:cells]
        print(f"  |{bar}| {start:4.0%} +{end - start:4.0%}  {'  ' * s.indent}{s.name[:70]}")


def print_parts(samples, wholes):
    """Parts of the cold build that were measured alone, {what: [Sample]}, beside whole ones in the same turns."""
    print("\nparts of it measured alone, beside whole cold builds (not a sum: they overlap, and hold each other)")
    rows = [["part", "wall", "cpu"]]
    for what, alone in samples.items():
        wall = median([part.wall / whole.wall for part, whole in zip(alone, wholes)])
        cpu = median([part.cpu / whole.cpu for part, whole in zip(alone, wholes)])
        rows.append([what, f"{wall:.0%}", f"{cpu:.0%}"])
    print_rows(rows)
