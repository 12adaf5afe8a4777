# SPDX-License-Identifier: Apache-2.0
"""What random tests have in common: many seeds, each a run of its own, as many at a time as there are processors."""
import concurrent.futures
import os
import shutil
import sys
import time


class Differs(Exception):
    """Something is not what it should be."""


def outcome(go, heading, directory, told=()):
    """What is wrong where go fails, or None. A seed that passes leaves nothing on the disk."""
    try:
        go()
    except Exception as e:  # pylint: disable=broad-except
        kind = "" if isinstance(e, Differs) else f"{type(e).__name__}: "
        return "\n".join([f"=== {heading}", *told, kind + str(e)]) + "\n"
    shutil.rmtree(directory)
    return None


def run(start, seeds, steps, seconds):
    """seeds: "FIRST[-LAST]"; seconds: after which no more are begun, or "". start(seed) is a run with outcome(steps). All
    that were begun, and of how many the outcome was bad."""
    end = time.monotonic() + float(seconds) if seconds else None
    first, _, last = seeds.partition("-")

    def one(seed):
        if end and time.monotonic() > end:
            return None, None
        it = start(seed)
        complaint = it.outcome(steps)
        if complaint:
            print(complaint, file=sys.stderr, flush=True)
        return it, complaint

    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        done = [d for d in pool.map(one, range(int(first), int(last or first) + 1)) if d[0]]
    return [it for it, _ in done], sum(bool(c) for _, c in done)
