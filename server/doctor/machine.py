"""What the machine gives: Python, open files, shared memory, the clock, ports, folders."""

import ctypes
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from server.doctor.finding import Finding, failure, ok, warning
from server.engine.launch_checks import check_port
from server.engine.vllm_build import LaunchError

LEAST_PYTHON = (3, 11)
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the kernel's, not a file of ours
GIB = 1 << 30
LEAST_SHARED_BYTES = GIB
LEAST_FREE_BYTES, FEW_FREE_BYTES = GIB // 2, 5 * GIB
# Room for adjtimex(2)'s struct, whatever the architecture.
TIMEX_BYTES = 1024


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> Iterator[Finding]:
    told = ".".join(map(str, version))
    if version < LEAST_PYTHON:
        yield failure("python", told, "install Python 3.11 or newer")
    else:
        yield ok("python", told)
    yield ok("fovea", metadata.version("fovea"))


def check_open_files(wanted: int, limits: tuple[int, int] | None = None) -> Iterator[Finding]:
    """A gateway raises its own limit as far as the hard one goes."""
    soft, hard = limits or resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= wanted:
        yield ok("open files", f"{wanted} may be needed; {soft} now, which a gateway may raise to what it needs")
    else:
        do = f"raise the limit to {wanted} (ulimit -Hn, LimitNOFILE=), or lower http.max_connections"
        yield warning("open files", f"at most {hard}; {wanted} may be needed", do)


def check_shared_memory(place: Path = SHARED_MEMORY) -> Iterator[Finding]:
    try:
        total = shutil.disk_usage(place).total
    except OSError as problem:
        yield warning(
            "shared memory", f"{place}: {problem.strerror}", "mount a tmpfs there: vLLM's processes use it"
        )
        return
    if total < LEAST_SHARED_BYTES:
        do = "give the container more: --shm-size=2g, or an emptyDir with medium Memory at /dev/shm"
        yield warning(
            "shared memory", f"{show_bytes(total)} at {place}: little for vLLM and the embedding cache", do
        )
    else:
        yield ok("shared memory", f"{show_bytes(total)} at {place}")


def ask_kernel() -> int:
    """The clock's state by adjtimex(2), -1 where it cannot be asked."""
    libc = ctypes.CDLL(None)
    return int(libc.adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))) if hasattr(libc, "adjtimex") else -1


def check_clock(state: Callable[[], int] = ask_kernel) -> Iterator[Finding]:
    match state():
        case -1:
            yield warning("clock", "the kernel does not say whether it is set", "see that the machine runs NTP")
        case 5:
            do = "run NTP (chrony, systemd-timesyncd): tokens, shared limits and files expire by the clock"
            yield warning("clock", "nothing sets it", do)
        case _:
            yield ok("clock", "set by NTP")


def check_listening(what: str, host: str, port: int, option: str) -> Iterator[Finding]:
    try:
        check_port(host, port)
    except LaunchError as problem:
        yield failure(f"port of the {what}", str(problem), f"stop what listens there, or choose another ({option})")
    else:
        yield ok(f"port of the {what}", f"{host}:{port} is free")


def check_folder(what: str, folder: Path) -> Iterator[Finding]:
    """That it can be written to, or made, and has room. Nothing is made or left there."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    try:
        if there == folder:
            with tempfile.TemporaryFile(dir=folder):
                pass
        elif not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(0, "it cannot be made")
        free = shutil.disk_usage(there).free
    except OSError as problem:
        yield failure(what, f"{folder}: {problem.strerror}", "give us a folder that this user may write to")
        return
    told = f"{folder} has {show_bytes(free)} free"
    if free < LEAST_FREE_BYTES:
        yield failure(what, told, "free some space, or choose another disk")
    elif free < FEW_FREE_BYTES:
        yield warning(what, told, "free some space, or bound what is kept there")
    else:
        yield ok(what, told)


def show_bytes(count: int) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / (1 << 20):.0f} MiB"
