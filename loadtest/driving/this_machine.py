"""The machine that drives: a figure means little without it."""

import os
import platform
from pathlib import Path

GIB = 1024**3


def describe_machine() -> dict[str, str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": cpu_name(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory / GIB:.0f} GiB",
        "python": platform.python_version(),
        "system": platform.system(),
    }


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def cpus_here() -> str:
    """Those that this process may run on, of those that there are."""
    return f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} CPUs"
