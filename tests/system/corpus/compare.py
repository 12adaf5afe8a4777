# SPDX-License-Identifier: Apache-2.0
"""Builds the cases of files with cbpush ($CBPUSH) and compares with what BuildKit made.
usage: compare.py PARENTS-DIR WORK-DIR FILE.case…    fails with the differences; prints how many cases were compared
       compare.py --names                            checks DEVIATIONS and PENDING; prints how many cases there are
CORPUS_UPDATE=1: writes into DEVIATIONS what cbpush makes of its cases now, for somebody to read the difference."""
import difflib
import os
import platform
import re
import sys

import casefile
import parents
import runner


def differs(case, wanted, got, pattern):
    """What is wrong with a result, as text; None if nothing. Of an error the meaning counts, and
    the line if BuildKit tells one."""
    if not wanted:
        return "nothing is expected: run tests/tools/corpus-expect"
    if wanted[0].startswith("error"):
        if got[0] != wanted[0] and not (wanted[0] == "error" and got[0].startswith("error")):
            return "\n".join(["wanted: " + " ".join(wanted), "got:", *got])
        if not re.search(pattern, got[1], re.I):
            return f"the message has nothing of /{pattern}/: {got[1]}"
        return None
    if got == wanted:
        return None
    return "\n".join(difflib.unified_diff(wanted, got, "wanted", "cbpush", lineterm="", n=2))


def verdict(case, result, deviation, is_pending):
    """The complaint about a case, or None."""
    got, output = result
    bad = differs(case, case.expected, got, case.headers.get("error", "."))
    if is_pending:
        return None if bad else "passes: take it out of PENDING"
    if not deviation:
        return bad and bad + ("" if got[0].startswith(("tree", "error")) else "\n" + output)
    if not bad:
        return "is as BuildKit's: take it out of DEVIATIONS"
    wanted = deviation[1] or ["nothing: CORPUS_UPDATE=1 writes it"]
    return differs(case, wanted, got, wanted[1].strip() if wanted[0].startswith("error") else ".")


def runs_here(case):
    return case.headers.get("needs") in (None, parents.ARCHITECTURES.get(platform.machine()))


def compare(path, where, jobs):
    """Compares one file. Returns the number of its cases that did not pass."""
    deviations, pending = casefile.deviations(), casefile.pending()
    cases = casefile.read(path)
    program = runner.Program([os.environ["CBPUSH"], "build", "--progress", "plain"], "type=oci,dest={}",
                             runner.cbpush_error)
    results = runner.run_cases(program, [c for c in cases if runs_here(c)], where[1], where[0], jobs)
    if os.environ.get("CORPUS_UPDATE"):
        casefile.write_deviations({name: lines for name, (lines, _) in results.items() if name in deviations})
    bad = 0
    for case in cases:
        complaint = case.name in results and verdict(case, results[case.name], deviations.get(case.name),
                                                     case.name in pending)
        if complaint:
            bad += 1
            print(f"=== {case.name} ({case.where})\n{complaint}\n", file=sys.stderr)
    print(f"{len(cases)} cases")
    return bad


def check_names():
    """Every name in DEVIATIONS and PENDING is a case's, and in one of them only."""
    names = {c.name for cases in casefile.read_all().values() for c in cases}
    deviations, pending = set(casefile.deviations()), casefile.pending()
    wrong = sorted((deviations | pending) - names) + sorted(deviations & pending)
    if wrong:
        print("in DEVIATIONS or PENDING, but no case or in both: " + " ".join(wrong), file=sys.stderr)
    print(f"{len(names)} names")
    return len(wrong)


def main():
    if sys.argv[1:] == ["--names"]:
        return check_names()
    where = (runner.load_parents(sys.argv[1]), sys.argv[2])
    return sum(compare(path, where, 2 * len(os.sched_getaffinity(0))) for path in sys.argv[3:])


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
