"""What a server tells of itself during a run is in the run's folder at once, and its amount is bounded."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from loadtest.driving import sampling
from loadtest.driving.caller import Clock
from loadtest.driving.pages import Pages
from loadtest.driving.sampling import Sampler


class Page:
    """Stands in for a session and for the one page that it reads: a gauge that tells how often it was asked."""

    status = 200

    def __init__(self) -> None:
        self.asked = 0
        self.content = self
        self._left = b""

    @asynccontextmanager
    async def get(self, page: str, **options: Any) -> AsyncIterator["Page"]:
        self.asked += 1
        self._left = f"fovea_requests_in_flight {self.asked}\n".encode()
        yield self

    async def read(self, most: int) -> bytes:
        text, self._left = self._left, b""
        return text


def told(path: Path) -> list[float]:
    return [next(iter(orjson.loads(line)["values"].values())) for line in path.read_bytes().splitlines()]


async def test_each_round_is_written_at_once_and_of_many_every_second_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "MOST_SAMPLES", 4)
    path = tmp_path / "metrics.jsonl"
    seen = []
    with path.open("wb") as file:
        sampler = Sampler(Page(), Pages(("http://127.0.0.1:9/metrics",)), Clock(), file)  # type: ignore[arg-type]
        for _ in range(9):
            await sampler.sample()
            seen.append(told(path))
    assert seen[:4] == [[1], [1, 2], [1, 2, 3], [1, 2, 3, 4]]
    assert seen[4:7] == [[1, 3, 5], [1, 3, 5, 6], [1, 5, 7]]
    assert seen[-1] == [1, 7, 9]
    assert all(told_by[0] == 1 for told_by in seen), "what counters are told from"
