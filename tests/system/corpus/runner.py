# SPDX-License-Identifier: Apache-2.0
"""Builds cases with a program and renders what came out, several at a time."""
import concurrent.futures
import os
import re
import shutil
import subprocess
import tarfile

import context
import flatten
import render

TIMEOUT = 120


class Program:
    """A builder. argv: the start of its command line; output: the value of --output for a destination; where: a
    function of its error output that gives (line or None, message)."""

    def __init__(self, argv, output, where, env=None):
        self.argv, self.output, self.where, self.env = argv, output, where, env

    def run(self, case, directory):
        """The lines of the result, and what the program printed."""
        context.build(case, directory)
        dest = os.path.join(directory, "out")
        argv = [*self.argv, "--no-cache", "--output", self.output.format(dest), *case.build, case.name]
        try:
            done = subprocess.run(argv, cwd=directory, env=self.env, check=False, capture_output=True, text=True,
                                  errors="replace", stdin=subprocess.DEVNULL, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            return ["timeout"], f"no end after {TIMEOUT} seconds"
        if done.returncode != 0:
            line, message = self.where(done.stderr)
            return [f"error line {line}" if line else "error", "  " + message], done.stderr
        return dest, done.stderr


def rendered(dest, case, parents):
    try:
        return render.render(flatten.Image(dest, parents), case.headers.get("times") == "yes")
    except (flatten.BadImage, OSError, KeyError, tarfile.TarError) as e:
        return [f"bad image: {e}"]


def run_case(program, case, work, parents):
    """(lines, output) of one case; nothing of it stays on the disk."""
    directory = os.path.join(work, case.name)
    os.makedirs(directory)
    try:
        result, output = program.run(case, directory)
        return (rendered(result, case, parents) if isinstance(result, str) else result), output
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def run_cases(program, cases, work, parents, jobs):
    """name → (lines, output)."""
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        waiting = {c.name: pool.submit(run_case, program, c, work, parents) for c in cases}
        return {name: future.result() for name, future in waiting.items()}


def load_parents(directory):
    """The parents of parents.py that have one image; an index has no layers of its own to leave out."""
    out = []
    for name in sorted(os.listdir(directory)):
        try:
            out.append(flatten.Image(os.path.join(directory, name)))
        except flatten.BadImage:
            continue
    return out


def cbpush_error(text):
    """The last line that is not empty says it all; its first FILE:LINE is the place."""
    message = next((line for line in reversed(text.split("\n")) if line.strip()), "")
    found = re.search(r"(?:^|[ /])[\w.]*Dockerfile:(\d+)", message)
    return (int(found.group(1)) if found else None), message
