"""Runs `python -m server` with a watch on it; a line on stdin is answered with what was seen since the last one.

A script of its own, on nothing of this project but what it is given: with another checkout on PYTHONPATH it watches
that one's gateway. Its first argument says, as JSON, which functions are the stages; the rest goes to the gateway.
"""

import asyncio
import functools
import heapq
import inspect
import json
import pkgutil
import resource
import runpy
import sys
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn

TICK_S = 0.001
REST_S = 0.05
KEPT_STALLS = 100


class Watch:
    """What the gateway did since `tell` was last called.

    A stage's time is CPU of the thread that it runs on, without the stages that it calls. A stage that waits
    (reading a body, sending one) is charged with all that its thread does meanwhile: right for one request at a
    time only.
    """

    def __init__(self) -> None:
        self._stages: dict[str, list[float]] = defaultdict(list)
        self._inner = threading.local()
        self._stalls: list[tuple[float, float]] = []
        self._ticks = 0
        self.feeling = False
        self._before = self._usage()

    async def feel(self) -> None:
        """Note how much later than asked the loop comes round, and how much CPU its thread took meanwhile. That
        costs CPU of its own: only while `feeling`."""
        while True:
            if not self.feeling:
                await asyncio.sleep(REST_S)
                continue
            asked, cpu = time.perf_counter(), time.thread_time()
            await asyncio.sleep(TICK_S)
            late_s = time.perf_counter() - asked - TICK_S
            # Late while this thread did nothing: it waited for a CPU, or for another to give the interpreter back.
            stall = (late_s, min(late_s, time.thread_time() - cpu))
            self._ticks += 1
            if len(self._stalls) < KEPT_STALLS:
                heapq.heappush(self._stalls, stall)
            else:
                heapq.heappushpop(self._stalls, stall)

    def stage(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """`work`, timed: a function, a coroutine function, or the entering of an async context manager, also of one
        that a function makes."""

        @functools.wraps(work)
        def called(*args: Any, **named: Any) -> Any:
            began, outer = time.thread_time(), getattr(self._inner, "cpu_s", 0.0)
            self._inner.cpu_s, made = 0.0, None
            try:
                made = work(*args, **named)
            finally:
                took = time.thread_time() - began
                if not hasattr(made, "__aenter__"):
                    self._stages[name].append(took - self._inner.cpu_s)
                self._inner.cpu_s = outer + took
            return entered(made) if hasattr(made, "__aenter__") else made

        @functools.wraps(work)
        async def awaited(*args: Any, **named: Any) -> Any:
            began = time.thread_time()
            try:
                return await work(*args, **named)
            finally:
                self._stages[name].append(time.thread_time() - began)

        @asynccontextmanager
        async def entered(lender: AbstractAsyncContextManager[Any]) -> AsyncIterator[Any]:
            began = time.thread_time()
            async with lender as lent:
                self._stages[name].append(time.thread_time() - began)
                yield lent

        return awaited if inspect.iscoroutinefunction(work) else called

    def tell(self) -> dict[str, Any]:
        usage, stalls = self._usage(), sorted(self._stalls, reverse=True)
        told: dict[str, Any] = {name: usage[name] - self._before[name] for name in usage}
        told |= {
            "stages_ms": {name: [s * 1000 for s in took] for name, took in self._stages.items()},
            "stalls_ms": [late_s * 1000 for late_s, _ in stalls],
            "own_stalls_ms": sorted((own_s * 1000 for _, own_s in stalls), reverse=True),
            "ticks": self._ticks,
            "peak_mb": memory_mb("VmHWM"),
            "resident_mb": memory_mb("VmRSS"),
            "source": str(sys.modules["server"].__file__) if "server" in sys.modules else "",
        }
        self._stages, self._stalls, self._ticks = defaultdict(list), [], 0
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        self._before = self._usage()
        return told

    @staticmethod
    def _usage() -> dict[str, float]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "cpu_s": time.process_time(),
            "user_s": used.ru_utime,
            "system_s": used.ru_stime,
            "faults": used.ru_minflt,
        }


def memory_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(name))) / 1024


def answer_lines(watch: Watch) -> None:
    for line in sys.stdin:
        told = watch.tell()
        watch.feeling = line == "feel\n"
        print(json.dumps(told), flush=True)


def feel_the_loop(server: Any, watch: Watch) -> None:
    serve = server.serve

    async def felt(self: Any, *args: Any, **named: Any) -> None:
        feeling = asyncio.create_task(watch.feel())
        try:
            await serve(self, *args, **named)
        finally:
            feeling.cancel()

    server.serve = felt


def time_stages(stages: dict[str, str], watch: Watch) -> None:
    """`stages`: name -> `module:name`, or `module:class.name`, where it is looked up when it is called."""
    for name, place in stages.items():
        module, _, path = place.partition(":")
        owner, _, attribute = path.rpartition(".")
        holder = pkgutil.resolve_name(f"{module}:{owner}" if owner else module)
        setattr(holder, attribute, watch.stage(name, getattr(holder, attribute)))


def main() -> None:
    watch = Watch()
    stages = json.loads(sys.argv.pop(1))
    time_stages(stages, watch)
    feel_the_loop(uvicorn.Server, watch)
    threading.Thread(target=answer_lines, args=(watch,), daemon=True).start()
    runpy.run_module("server", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
