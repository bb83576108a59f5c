"""Writes log lines from a thread of its own, many at a time: whoever has something to say never waits for whoever
reads it.

A pipe that nobody reads, or a disk that hangs, would otherwise hold up every request. Up to MOST_BYTES of lines
wait for it; those that come then are lost, and counted: once it goes on, the first line says how many. They come
out in the order in which they were put.

All are written before the process ends, unless writing takes longer than CLOSE_S, or it is killed: then what came
within the last PAUSE_S is lost.
"""

import atexit
import threading
from collections.abc import Callable

# What comes within it is written at once.
PAUSE_S = 0.05
MOST_BYTES = 8 * 1024**2
CLOSE_S = 2.0

Write = Callable[[list[bytes]], None]


class LineWriter:
    """`write` is called in the thread, with whole lines; an OSError of its is theirs to tell (`failed`), once in a
    row. `lost` words the line that says how many were lost."""

    def __init__(
        self, name: str, write: Write, lost: Callable[[int], bytes], failed: Callable[[OSError], None]
    ) -> None:
        self._write = write
        self._word_lost = lost
        self._failed = failed
        self._failing = False
        # Reentrant: a finalizer may have something to say while this thread is in here.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._lines: list[bytes] = []
        self._held = 0
        self._lost = 0
        self._put = self._done = 0
        self._urgent = self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def put(self, line: bytes, urgent: bool = False) -> None:
        """Never waits. `urgent`: with no pause for others to come along."""
        with self._lock:  # the condition's own, of which its methods make three calls
            held = self._held + len(line)
            if held > MOST_BYTES or self._closed:
                self._lost += 1
                return
            self._held = held
            self._put += 1
            lines = self._lines
            lines.append(line)
            if urgent:
                self._urgent = True
                self._changed.notify_all()
            elif len(lines) == 1:
                self._changed.notify_all()

    def flush(self, within_s: float) -> bool:
        """Whether all that was put before has been written within that time."""
        with self._changed:
            wanted, self._urgent = self._put, True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._done >= wanted, within_s)

    def close(self) -> None:
        atexit.unregister(self.close)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while lines := self._next():
            try:
                self._write(lines)
                self._failing = False
            except OSError as problem:
                if not self._failing:
                    self._failing = True
                    self._failed(problem)
            with self._changed:
                self._done = self._taken
                self._held -= sum(map(len, lines))
                self._changed.notify_all()

    def _next(self) -> list[bytes]:
        """The lines since the last time; none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self._closed)
            self._changed.wait_for(lambda: self._urgent or self._closed, PAUSE_S)
            lines, self._lines = self._lines, []
            self._taken, self._urgent = self._put, False
            if self._lost and lines:
                line = self._word_lost(self._lost)
                self._held, self._lost = self._held + len(line), 0
                lines.insert(0, line)
            return lines
