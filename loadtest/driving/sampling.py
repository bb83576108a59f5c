"""What the gateway and its engines say of themselves while a load runs: their /metrics, once a second."""

import asyncio
from collections.abc import Sequence
from typing import BinaryIO

import aiohttp

from loadtest.driving.answers import without_secrets
from loadtest.driving.caller import Clock
from loadtest.driving.pages import Pages
from loadtest.records import MetricSample, make_line
from loadtest.reporting.families import read_page

PERIOD_S = 1.0
TIMEOUT_S = 5
MOST_SAMPLES = 4096
MOST_PAGE_BYTES = 16 * 1024**2


class Sampler:
    """Writes each round down at once, at most MOST_SAMPLES in all: of a longer run every second round is let go,
    and the pace halves. Raises OSError where `file` cannot be written."""

    def __init__(self, session: aiohttp.ClientSession, pages: Pages, clock: Clock, file: BinaryIO) -> None:
        self._session = session
        self._file = file
        self._pages = pages
        self._sources = dict(zip(names_of(pages.addresses), dict.fromkeys(pages.addresses), strict=True))
        self._clock = clock
        self._period_s = PERIOD_S
        self._rounds: list[list[MetricSample]] = []
        self.failed = 0

    async def run(self) -> None:
        """Until cancelled."""
        while self._sources:
            await self.sample()
            await asyncio.sleep(self._period_s)

    async def sample(self) -> None:
        """One round; a page that cannot be read is missing from it."""
        read = await asyncio.gather(*(self._read(name, page) for name, page in self._sources.items()))
        self._rounds.append([sample for sample in read if sample])
        new = self._rounds[-1:]
        if len(self._rounds) * len(self._sources) > MOST_SAMPLES:
            new = self._rounds = self._rounds[::2]  # the first stays: counters are told by what they grew
            self._period_s *= 2
            self._file.seek(0)
            self._file.truncate()
        self._file.writelines(make_line(sample) for each in new for sample in each)
        self._file.flush()  # it outlives a run that is killed

    async def _read(self, source: str, page: str) -> MetricSample | None:
        at_s = self._clock.now_s()
        try:
            shown = self._pages.headers(page)
            async with (
                asyncio.timeout(TIMEOUT_S),
                self._session.get(page, headers=shown, allow_redirects=False) as response,
            ):
                text = await response.content.read(MOST_PAGE_BYTES)
                whole = response.status == 200
                while whole and (more := await response.content.read(MOST_PAGE_BYTES)):
                    text += more
                    whole = len(text) <= MOST_PAGE_BYTES
        except (aiohttp.ClientError, OSError, TimeoutError):
            whole = False
        if not whole:
            self.failed += 1
            return None
        return MetricSample(at_s, source, read_page(text.decode(errors="replace")))


def names_of(sources: Sequence[str]) -> list[str]:
    """What pages are called in records: their addresses without secrets, told apart where only those differ."""
    bare = [without_secrets(source) for source in dict.fromkeys(sources)]
    return [name if name not in bare[:place] else f"{name} ({place + 1})" for place, name in enumerate(bare)]
