# SPDX-License-Identifier: Apache-2.0
"""Runs one command and says what it took: wall time, processor time, peak memory."""
import os
import select
import signal
import statistics
import time

TICK_MS = 10
SHORT, SHORT_TICK_MS = 0.05, 2  # s: what takes no longer than that is looked at more often


class Failed(Exception):
    """A command did not do what it was told to; the text says which and why."""


class Sample:
    """What commands took, added up; the peak is the highest."""

    def __init__(self, wall=0.0, cpu=0.0, peak=0):
        self.wall, self.cpu, self.peak = wall, cpu, peak

    def __add__(self, other):
        return Sample(self.wall + other.wall, self.cpu + other.cpu, max(self.peak, other.peak))


def status_field(pid, name):
    """A number of /proc/PID/status, 0 if the process is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
            for line in f:
                if line.startswith(name + ":"):
                    return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def cpu_seconds(pid):
    """Processor time of a running process and of those of its children that it has waited for."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
        fields = f.read().rpartition(")")[2].split()
    return sum(int(v) for v in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def reset_peak(pid):
    with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as f:
        f.write("5")


def spawn(argv, log, env):
    """Starts argv (a program path or a name of PATH) with its output appended to the file."""
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawnp(argv[0], argv, env, file_actions=actions, setpgroup=0)


def peak_of(pid, own):
    """KiB: the highest resident size of a process; not own: of the largest of its children."""
    if own:
        return status_field(pid, "VmHWM")
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            return max((peak_of(int(child), True) for child in f.read().split()), default=0)
    except (FileNotFoundError, ProcessLookupError):
        return 0


def timed(argv, log, env, limit=900, own=True):
    """Runs argv to its end. The peak is the process's own, not its children's: a RUN step may be as fat as it likes;
    not own: that of its largest child. It is looked at every few milliseconds and only ever grows, so little can be
    missed; what wait4 says would count children, and the memory of whoever started the process."""
    began = time.perf_counter()
    pid = spawn(argv, log, env)
    peak = 0
    fd = os.pidfd_open(pid)
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    try:
        while not poller.poll(TICK_MS if time.perf_counter() - began > SHORT else SHORT_TICK_MS):
            peak = max(peak, peak_of(pid, own))
            if time.perf_counter() - began > limit:
                os.killpg(pid, signal.SIGKILL)
    finally:
        os.close(fd)
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - began
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        raise Failed(f"{' '.join(argv)}: {ending(code, wall, limit)}{last_lines(log)}")
    return Sample(wall, usage.ru_utime + usage.ru_stime, peak)


def ending(code, wall, limit):
    if wall > limit:
        return f"not done after {limit} seconds"
    return f"exit status {code}" if code > 0 else f"killed by signal {-code}"


def last_lines(log, n=12):
    with open(log, encoding="utf-8", errors="replace") as f:
        lines = f.read().splitlines()[-n:]
    return "".join("\n    " + line for line in lines)


def median(values):
    return statistics.median(values)


def spread(values):
    """Half of the distance between the quartiles, or between the ends if there are fewer than four, of the median."""
    if len(values) < 2:
        return 0.0
    if len(values) < 4:
        low, high = min(values), max(values)
    else:
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2 / statistics.median(values)
