"""`fovea gateway --workers N`: as many processes behind one listening socket, and one that looks after them.

The socket is inherited, not one of many by SO_REUSEPORT: connections wait in one queue, and a worker that ends
takes none of them along. The supervisor serves nobody; it starts workers anew, passes signals on, adds up metrics.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from server.metering.declaring import Across
from server.metering.labels import make_classes
from server.workers.control import ControlLine
from server.workers.sums import Families, Relabelling, merge, only_counts, read_families, write_families

log = logging.getLogger("fovea.workers")

BACKLOG = 2048
TELL_S = 2.0
LAST_WORDS_S = 1.0
# A worker that keeps dying is started ever more rarely; one that has lived this long begins anew.
FIRST_PAUSE_S, LONGEST_PAUSE_S, PROVEN_S = 0.2, 30.0, 60.0


@dataclass(frozen=True, slots=True)
class Crew:
    """What to run. `command` starts a worker, which is told its file descriptors behind it; `stop_s` is how long
    one may take to stop, before it is killed."""

    command: Sequence[str]
    count: int
    stop_s: float
    gauges: Mapping[str, Across]


@dataclass(eq=False, slots=True)
class Worker:
    """A process. `metrics` are as last told, and what remains of them once it is gone."""

    number: int
    process: asyncio.subprocess.Process
    line: ControlLine
    serves: asyncio.Event = field(default_factory=asyncio.Event)
    told: asyncio.Event = field(default_factory=asyncio.Event)
    metrics: Families = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    leaving: bool = False


def listen(host: str, port: int) -> list[socket.socket]:
    """At every address of `host`. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    listeners = []
    for family, kind, protocol, _, address in dict.fromkeys(found):
        listener = socket.socket(family, kind, protocol)
        listeners.append(listener)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    return listeners


class Supervisor:
    """`count` workers serve at any time, but while one has died and its successor starts."""

    def __init__(self, crew: Crew, listeners: list[socket.socket]) -> None:
        self._crew = crew
        self._listeners = listeners
        self._current: dict[int, Worker] = {}
        self._alive: set[Worker] = set()
        self._gone: Families = {}
        self._relabelling = Relabelling(make_classes())
        self._pauses = dict.fromkeys(range(crew.count), FIRST_PAUSE_S)
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._scraping = asyncio.Lock()
        self._reloading = False

    async def run(self) -> int:
        """Until told to stop. Returns the exit code: the first worker's, where it cannot start and has said why."""
        loop = asyncio.get_running_loop()
        for stop in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(stop, self._stop, stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        first = await self._start(0)
        if not await self._begins_to_serve(first):
            return 0 if self._stopping.is_set() else first.process.returncode or 1
        self._current[0] = first
        for number in range(1, self._crew.count):
            await self._fill(number)
        await self._stopping.wait()
        return await self._wait_for_all()

    async def _fill(self, number: int) -> None:
        if not self._stopping.is_set() and number not in self._current:
            self._current[number] = await self._start(number)

    async def _start(self, number: int) -> Worker:
        ours, theirs = socket.socketpair()
        fds = [listener.fileno() for listener in self._listeners]
        options = [f"--control={theirs.fileno()}", *(f"--listener={fd}" for fd in fds)]
        with theirs:
            # Sessions of their own: Ctrl-C reaches us alone, and we pass it on.
            process = await asyncio.create_subprocess_exec(
                *self._crew.command, *options, pass_fds=[theirs.fileno(), *fds], start_new_session=True
            )
        worker = Worker(number, process, await ControlLine.open(ours))
        self._alive.add(worker)
        self._spawn(self._watch(worker, self._spawn(self._listen(worker))))
        if self._stopping.is_set():
            send(worker, signal.SIGTERM)
        return worker

    async def _begins_to_serve(self, worker: Worker) -> bool:
        ending = asyncio.create_task(worker.process.wait())
        serving = asyncio.create_task(worker.serves.wait())
        await asyncio.wait({ending, serving}, return_when=asyncio.FIRST_COMPLETED)
        for task in (ending, serving):
            task.cancel()
        return worker.serves.is_set()

    async def _listen(self, worker: Worker) -> None:
        while (message := await worker.line.hear()) is not None:
            if "serving" in message:
                worker.serves.set()
            elif "told" in message:
                worker.metrics = read_families(message["told"])
                worker.told.set()
            else:
                self._spawn(self._answer(worker, message["ask"]))

    async def _answer(self, worker: Worker, number: int) -> None:
        worker.line.say(asked=number, sum=await self._sum())

    async def _sum(self) -> str:
        """Everybody's. What a worker last told is what stays of it: so no counter that was scraped ever falls."""
        async with self._scraping:
            asked = [worker for worker in self._alive if worker.serves.is_set()]
            for worker in asked:
                worker.told.clear()
                worker.line.say(tell=None)
            if asked:
                waits = [asyncio.create_task(worker.told.wait()) for worker in asked]
                _, late = await asyncio.wait(waits, timeout=TELL_S)
                for task in late:
                    task.cancel()
            told = [self._gone, *(worker.metrics for worker in self._alive)]
            return write_families(merge(told, self._crew.gauges, self._relabelling))

    async def _watch(self, worker: Worker, listening: "asyncio.Task[None]") -> None:
        """See to its end, and to a successor where it was not meant to end."""
        code = await worker.process.wait()
        await asyncio.wait({listening}, timeout=LAST_WORDS_S)
        await worker.line.close()
        worker.told.set()
        self._alive.discard(worker)
        counted = only_counts(worker.metrics, self._crew.gauges)
        self._gone = merge([self._gone, counted], self._crew.gauges, self._relabelling)
        number = worker.number
        if self._stopping.is_set() or self._current.get(number) is not worker:
            return
        del self._current[number]
        if time.monotonic() - worker.began > PROVEN_S:
            self._pauses[number] = FIRST_PAUSE_S
        pause_s = self._pauses[number]
        self._pauses[number] = min(2 * pause_s, LONGEST_PAUSE_S)
        log.error("worker %d ended with code %d; the next begins in %.1f s", number, code, pause_s)
        await asyncio.sleep(pause_s)
        await self._fill(number)

    def _reload(self) -> None:
        if not self._reloading and not self._stopping.is_set():
            self._reloading = True
            self._spawn(self._replace_all())

    async def _replace_all(self) -> None:
        """One after another by a new process, which reads all settings anew; the old one finishes what it has."""
        try:
            for number in range(self._crew.count):
                if self._stopping.is_set():
                    return
                new = await self._start(number)
                serves = await self._begins_to_serve(new)
                if self._stopping.is_set():
                    return  # all have been told already, and would be cut off if told again
                if not serves:
                    log.error("a new worker does not start: the others stay as they are")
                    return
                old, self._current[number] = self._current.get(number), new
                if old is not None:
                    old.leaving = True
                    send(old, signal.SIGTERM)
            log.info("%d workers were replaced", self._crew.count)
        finally:
            self._reloading = False

    def _stop(self, number: int) -> None:
        """They all close the listener once they have drained: ours would let callers wait there for nobody."""
        again = self._stopping.is_set()
        self._stopping.set()
        for listener in self._listeners:
            listener.close()
        for worker in self._alive:
            if again or not worker.leaving:  # a second signal would cut off what it still runs
                send(worker, number)

    async def _wait_for_all(self) -> int:
        """Their exit codes in one: 0, or 1 where one did not end in order or in time."""
        processes = [worker.process for worker in self._alive]
        ends = [asyncio.create_task(process.wait()) for process in processes]
        if ends:
            await asyncio.wait(ends, timeout=self._crew.stop_s)
        codes = {process.returncode for process in processes}
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return 0 if codes <= {0, -signal.SIGTERM, -signal.SIGINT} else 1

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def send(worker: Worker, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        worker.process.send_signal(number)


def run_crew(crew: Crew, listeners: list[socket.socket]) -> int:
    return asyncio.run(Supervisor(crew, listeners).run())
