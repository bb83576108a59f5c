"""What is left of faults that no request's handler catches: types and places in the log, never a value.

Python, asyncio and the kernel would each print or keep what was in memory: prompts, pictures, keys.
"""

import asyncio
import contextlib
import faulthandler
import logging
import resource
import sys
import threading
import warnings
from types import TracebackType
from typing import Any

log = logging.getLogger("fovea.faults")


def tell_no_values() -> None:
    """For the whole process: exceptions uncaught, of threads and of finalizers, warnings, crashes, core dumps."""
    sys.excepthook = log_uncaught
    threading.excepthook = lambda fault: log_uncaught(fault.exc_type, fault.exc_value, fault.exc_traceback)
    sys.unraisablehook = lambda fault: log_uncaught(fault.exc_type, fault.exc_value, fault.exc_traceback)
    warnings.showwarning = log_warning
    faulthandler.enable()  # files, lines and functions alone
    # One byte: too small for a file, and where dumps are piped to a program, which ignores other limits, the
    # kernel's own sign to make none (fs/coredump.c).
    with contextlib.suppress(ValueError):  # a hard limit of 0 may not be raised: then at least no file is made
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))


def log_uncaught(
    kind: type[BaseException], problem: BaseException | None, trace: TracebackType | None = None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    log.critical("uncaught %s", kind.__qualname__, exc_info=(kind, problem or kind(), trace))


def log_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any, **__: Any
) -> None:
    """In the place of `warnings.showwarning`, without the text."""
    log.warning("%s at %s:%d", category.__name__, filename, lineno)


def log_loop_fault(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An event loop's exception handler: asyncio's own prints the exception, and the arguments of callbacks."""
    problem = context.get("exception")
    task = context.get("task") or context.get("future")
    work = getattr(task, "get_coro", lambda: None)()
    name = getattr(work, "__qualname__", "callback")
    kind = type(problem).__qualname__ if problem else "fault"
    log.error("%s in %s, outside of any request", kind, name, exc_info=problem)
