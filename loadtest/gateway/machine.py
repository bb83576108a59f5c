"""What CPU the machine has given, and to whom."""

import os
import resource
import time
from pathlib import Path

LOOK_S = 5.0


def machine_busy_s() -> float:
    """Seconds of CPU that all processes have had, over all CPUs (proc(5): all but idle and iowait)."""
    user, nice, system, _, _, *rest = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def own_cpu_s() -> float:
    """Of this process and of those that it has started and that have ended."""
    mine, theirs = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return mine.ru_utime + mine.ru_stime + theirs.ru_utime + theirs.ru_stime


def others_have(look_s: float = LOOK_S) -> float:
    """The part of this machine's CPUs that is taken while nothing of ours runs."""
    busy_s = machine_busy_s()
    time.sleep(look_s)
    return (machine_busy_s() - busy_s) / look_s / len(os.sched_getaffinity(0))
