"""Warms every picture of a catalogue once: found -> read -> prepared -> asked for -> counted."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from server.errors import CallerError, GatewayError, ImageFetchFailed, UnknownModel
from server.warm.journal import Journal, JournalError
from server.warm.pictures import Found, NoPicture, Picture
from server.warm.preparing import Preparing, Wanted, read
from server.warm.progress import Progress
from server.warm.report import Report
from server.warm.target import Outcome, Target, TargetError

# Why a picture was not taken that may be another time.
PASSING = frozenset({ImageFetchFailed.code, UnknownModel.code})


@dataclass(frozen=True, slots=True)
class Pace:
    """`concurrency` pictures at once, and no more than `rate` begun in a second (0: as many as come)."""

    concurrency: int
    rate: float = 0.0


class Run:
    """Each of `concurrency` workers holds one picture in memory, whatever the catalogue's size."""

    def __init__(
        self, target: Target, preparing: Preparing, journal: Journal, pace: Pace, max_bytes: int, progress: Progress
    ) -> None:
        self._target = target
        self._preparing = preparing
        self._journal = journal
        self._pace = pace
        self._max_bytes = max_bytes
        self._progress = progress
        self._met: set[str] = set()
        self._next = 0.0
        self.report = Report()

    async def __call__(self, found: Sequence[Found]) -> Report:
        """Broken off (cancelled, or because the target is of no more use), it says so and keeps what is done."""
        began, waiting = time.monotonic(), iter(found)
        workers = [asyncio.create_task(self._work(waiting)) for _ in range(self._pace.concurrency)]
        try:
            await asyncio.gather(*workers)
        except asyncio.CancelledError:
            self.report.stopped = "interrupted: the same command goes on from here"
        except (TargetError, JournalError) as problem:
            self.report.stopped = str(problem)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        self.report.seconds = time.monotonic() - began
        return self.report

    async def _work(self, waiting: Iterator[Found]) -> None:
        for found in waiting:
            if isinstance(found, Picture):
                await self._take(found)
            else:
                self._pass_over(found)
            self._progress.step()

    def _pass_over(self, found: NoPicture) -> None:
        if found.passed_over:
            self.report.passed_over += 1
        else:
            self.report.refuse(found.where, found.reason)

    async def _take(self, picture: Picture) -> None:
        try:
            wanted = await read(picture, self._max_bytes)
        except OSError as problem:
            self.report.fail(picture.where, problem.strerror or "unreadable")
            return
        except CallerError as problem:
            self.report.refuse(picture.where, problem.code)
            return
        if wanted.key in self._met:
            self.report.duplicates += 1
            return
        self._met.add(wanted.key)
        word = self._journal.done.get(wanted.key)
        if word is None:
            await self._warm(wanted)
        elif word == "done":
            self.report.done_before += 1
        else:
            self.report.refuse(picture.where, word)

    async def _warm(self, wanted: Wanted) -> None:
        await self._wait_for_turn()
        try:
            prepared = await self._preparing.prepare(wanted)
        except GatewayError as problem:
            self._refuse(wanted, problem.code, passing=problem.status == 429 or problem.status >= 500)
            return
        if prepared.identity:
            if prepared.identity in self._met:  # by another way than the first time
                self.report.duplicates += 1
                self._journal.add(wanted.key, "done")
                return
            self._met.add(prepared.identity)
        self._count(wanted, await self._target.warm(prepared))

    def _count(self, wanted: Wanted, outcome: Outcome) -> None:
        if outcome.failed:
            self.report.fail(wanted.picture.where, outcome.failed)
        elif outcome.refused:
            self._refuse(wanted, outcome.refused, passing=False)
        else:
            self._journal.add(wanted.key, "done")
            if outcome.cache is None:
                self.report.untold += 1
            elif outcome.cache == "miss":
                self.report.warmed += 1
            else:
                self.report.already_there += 1

    def _refuse(self, wanted: Wanted, reason: str, passing: bool) -> None:
        """What would be refused again is not asked about again, but told of."""
        if passing or reason in PASSING:
            self.report.fail(wanted.picture.where, reason)
        else:
            self._journal.add(wanted.key, reason)
            self.report.refuse(wanted.picture.where, reason)

    async def _wait_for_turn(self) -> None:
        if not self._pace.rate:
            return
        now = time.monotonic()
        turn = max(self._next, now)
        self._next = turn + 1 / self._pace.rate
        if turn > now:
            await asyncio.sleep(turn - now)
