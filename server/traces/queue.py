"""Traces that have ended wait here, bounded by their spans, until a thread of its own has sent them away.

Nothing here keeps a request waiting: what does not fit is dropped and counted, and so is what the receiver does not
take.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

from server.span import Spans

log = logging.getLogger("fovea.traces")

BATCH_SPANS = 512
# What waits for others to go with it.
DELAY_S = 1.0
LOST = "spans are lost: the receiver of traces does not take them; this is said once until it does again"
Fate = Literal["sent", "failed", "dropped"]


class TraceQueue:
    """`send` says whether a batch has arrived. It is called by the thread alone, and may take its time."""

    def __init__(
        self,
        send: Callable[[Sequence[Spans]], bool],
        most_spans: int,
        count: Callable[[Fate, int], None],
        delay_s: float = DELAY_S,
    ) -> None:
        self._send = send
        self._most_spans = most_spans
        self._count = count
        self._delay_s = delay_s
        self._waiting: deque[Spans] = deque()
        self._spans = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ends_at: float | None = None
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, ended: Spans) -> None:
        spans = len(ended)
        with self._lock:
            fits = self._spans + spans <= self._most_spans
            if fits:
                self._waiting.append(ended)
                self._spans += spans
            full = self._spans >= BATCH_SPANS
        if not fits:
            self._count("dropped", spans)
        if full:
            self._wake.set()

    def close(self, within_s: float) -> None:
        """Send what waits, for no longer than that; what is left is dropped. Blocks: call it off the loop."""
        self._ends_at = time.monotonic() + within_s
        self._wake.set()
        self._thread.join(within_s)
        self._count("dropped", sum(map(len, self._take(self._most_spans))))

    def _run(self) -> None:
        while True:
            if self._ends_at is None:
                self._wake.wait(self._delay_s)
            self._wake.clear()
            while batch := self._take(BATCH_SPANS):
                self._send_on(batch)
                if self._ends_at is not None and time.monotonic() > self._ends_at:
                    return
            if self._ends_at is not None:
                return

    def _take(self, most_spans: int) -> list[Spans]:
        """The oldest, at least one of them if there is any."""
        batch: list[Spans] = []
        spans = 0
        with self._lock:
            while self._waiting and (not batch or spans + len(self._waiting[0]) <= most_spans):
                batch.append(self._waiting.popleft())
                spans += len(batch[-1])
            self._spans -= spans
        return batch

    def _send_on(self, batch: Sequence[Spans]) -> None:
        spans = sum(map(len, batch))
        arrived = self._send(batch)
        self._count("sent" if arrived else "failed", spans)
        if arrived is self._failing:
            self._failing = not arrived
            if arrived:
                log.info("the receiver of traces takes spans again")
            else:
                log.warning(LOST)
