"""Writes what was encoded to the tiers, off the forward path: workers `offer`, threads write.

One thread fetches the bytes (a copy from the device) and packs them; each tier has a thread of its own that writes
them, so that one that hangs keeps nobody from the others. What is on its way is bounded in bytes.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from server.engine.encoder_cache.entry import Embedding, pack
from server.engine.encoder_cache.tier import Tier
from server.engine.encoder_cache.write_lanes import Lane, Waiting, WriteFigures

logger = logging.getLogger(__name__)

# Keys that nobody takes (`take_done`) are not kept for ever.
MOST_DONE = 16_384


class WriteBehind:
    """Never more than `queue_bytes` on their way, a tier's lane never more than its share; what does not fit is
    dropped and counted. Thread-safe; no lock is held while anything is copied or written.
    """

    def __init__(self, tiers: Sequence[Tier], namespace: str, queue_bytes: int, threads: bool = True) -> None:
        self._namespace = namespace
        self._queue_bytes = queue_bytes
        self._lanes = [Lane(tier) for tier in tiers]
        self._changed = threading.Condition()
        self._waiting: deque[Waiting] = deque()
        self._by_key: dict[str, Waiting] = {}
        self._done: dict[str, None] = {}
        self._figures = WriteFigures()
        self._closed = False
        names = ["fetch", *(lane.tier.name for lane in self._lanes)]
        works: list[Callable[[], None]] = [
            self._run_fetching,
            *(partial(self._run_writing, lane) for lane in self._lanes),
        ]
        self._threads = [
            threading.Thread(target=work, name=f"fovea-write-{name}", daemon=True)
            for name, work in zip(names, works, strict=True)
            if threads
        ]
        for thread in self._threads:
            thread.start()

    def offer(self, key: str, bytes_of: Callable[[], Embedding], size_bytes: int) -> bool:
        """Whether it will be written, or is about to be already. Never waits; `bytes_of` is called by a thread."""
        with self._changed:
            self._figures.offered += 1
            queued = self._by_key.get(key)
            if queued is not None and not queued.forgotten:
                self._figures.repeated += 1
                return True
            if self._closed or self._figures.bytes_queued + size_bytes > self._queue_bytes:
                self._figures.dropped += 1
                return False
            waiting = Waiting(key, bytes_of, size_bytes)
            self._by_key[key] = waiting
            self._waiting.append(waiting)
            self._figures.bytes_queued += size_bytes
            self._figures.queued += 1
            self._changed.notify_all()
            return True

    def forget(self, key: str) -> None:
        """What is queued is not written; what is being written is taken away again."""
        with self._changed:
            if waiting := self._by_key.get(key):
                waiting.forgotten = True
            self._done.pop(key, None)

    def take_done(self) -> list[str]:
        """Keys that a tier has since the last time, in the order in which they came to be there."""
        if not self._done:
            return []
        with self._changed:
            done, self._done = self._done, {}
            return list(done)

    @property
    def figures(self) -> WriteFigures:
        return self._figures

    def drain(self, timeout_s: float) -> bool:
        """Waits until nothing is on its way any more, so long at most. Whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._figures.queued, timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Takes no more, drains, and ends the threads that do not hang. Whether nothing was left."""
        until_s = time.monotonic() + timeout_s
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        drained = self.drain(timeout_s)
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))
        return drained

    def _next(self, queue: deque[Waiting]) -> Waiting | None:
        """Waits for one. None when it is over."""
        with self._changed:
            self._changed.wait_for(lambda: queue or (self._closed and not self._figures.queued))
            return queue.popleft() if queue else None

    def _run_fetching(self) -> None:
        while (waiting := self._next(self._waiting)) is not None:
            self._fetch(waiting)

    def _run_writing(self, lane: Lane) -> None:
        while (waiting := self._next(lane.waiting)) is not None:
            self._write(lane, waiting)

    def _fetch(self, waiting: Waiting) -> None:
        fetched = not waiting.forgotten and self._pack(waiting)
        with self._changed:
            waiting.bytes_of = None
            lanes = self._lanes if fetched else []
            waiting.lanes = sum(self._enter(lane, waiting) for lane in lanes)
            if not waiting.lanes:
                self._leave(waiting)
            self._changed.notify_all()

    def _pack(self, waiting: Waiting) -> bool:
        assert waiting.bytes_of is not None
        try:
            waiting.header, waiting.payload = pack(waiting.bytes_of(), self._namespace)
        except Exception as exc:  # noqa: BLE001 - the device's errors are torch's own; a thread here must live on
            logger.warning("An embedding could not be fetched: %s", type(exc).__name__)
            with self._changed:
                self._figures.failed += 1
            return False
        return True

    def _enter(self, lane: Lane, waiting: Waiting) -> bool:
        """A lane that does not move keeps what it has; what else there is room for is the others'."""
        share = self._queue_bytes // len(self._lanes)
        if lane.bytes and lane.bytes + waiting.size > share:
            self._figures.lane_dropped += 1
            return False
        lane.waiting.append(waiting)
        lane.bytes += waiting.size
        return True

    def _write(self, lane: Lane, waiting: Waiting) -> None:
        written = False
        try:
            if not waiting.forgotten:
                written = lane.tier.put(waiting.key, waiting.header, waiting.payload)
        except Exception:  # Tiers raise nothing: a bug in one must not hold up what comes after.
            logger.exception("An embedding could not be written to the %s tier", lane.tier.name)
        with self._changed:
            if written:
                waiting.kept_by.append(lane.tier)
            if written and not waiting.forgotten:
                self._figures.saved += 1
                self._done[waiting.key] = None
                if len(self._done) > MOST_DONE:
                    del self._done[next(iter(self._done))]
            lane.bytes -= waiting.size
            waiting.lanes -= 1
            if not waiting.lanes:
                self._leave(waiting)
            taken_back = waiting.kept_by if waiting.forgotten and not waiting.lanes else []
        for tier in taken_back:
            tier.forget(waiting.key)

    def _leave(self, waiting: Waiting) -> None:
        if waiting.forgotten:
            self._figures.forgotten += 1
        if self._by_key.get(waiting.key) is waiting:
            del self._by_key[waiting.key]
        waiting.payload = memoryview(b"")  # A thread that waits for the next still names this one.
        self._figures.bytes_queued -= waiting.size
        self._figures.queued -= 1
        self._changed.notify_all()
