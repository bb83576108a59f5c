import asyncio
import io
from pathlib import Path
from typing import Any

import pytest

from server.errors import BusyError, ImageError, ImageFetchFailed
from server.warm.journal import Journal
from server.warm.pictures import NoPicture, Picture
from server.warm.preparing import Prepared, Wanted
from server.warm.progress import Lines
from server.warm.report import MOST_NAMED, Report
from server.warm.run import Pace, Run
from server.warm.target import Outcome, TargetError


class Preparing:
    """The identity of a picture is its first byte; `raises` by that."""

    def __init__(self, **raises: Exception) -> None:
        self.raises = raises
        self.prepared = 0

    async def prepare(self, wanted: Wanted) -> Prepared:
        self.prepared += 1
        name = (wanted.data or wanted.picture.url.encode())[:1].decode()
        if name in self.raises:
            raise self.raises[name]
        return Prepared((name.encode(),), {}, name)

    async def close(self) -> None: ...


class Target:
    """Answers by identity; `most` were asked for at once."""

    def __init__(self, **outcomes: Outcome | Exception) -> None:
        self.outcomes = outcomes
        self.asked: list[str] = []
        self.most = self.now = 0
        self.hang = asyncio.Event()
        self.hang.set()

    async def warm(self, prepared: Prepared) -> Outcome:
        self.asked.append(prepared.identity)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(0.001)
            await self.hang.wait()
        finally:
            self.now -= 1
        outcome = self.outcomes.get(prepared.identity, Outcome(cache="miss"))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class Warming:
    def __init__(self, folder: Path, target: Target | None = None, preparing: Preparing | None = None) -> None:
        self.folder = folder
        self.target = target or Target()
        self.preparing = preparing or Preparing()

    def picture(self, data: str) -> Picture:
        path = self.folder / data
        path.write_text(data)
        return Picture(data, path=path)

    async def run(self, *found: Any, concurrency: int = 2, rate: float = 0.0) -> Report:
        with Journal(self.folder / "journal", {}) as journal:
            return await self.begin(journal, *found, concurrency=concurrency, rate=rate)

    async def begin(self, journal: Journal, *found: Any, concurrency: int = 2, rate: float = 0.0) -> Report:
        pace, progress = Pace(concurrency, rate), Lines(len(found), io.StringIO())
        return await Run(self.target, self.preparing, journal, pace, 1000, progress)(found)  # type: ignore[arg-type]


async def test_each_outcome_is_counted_where_it_belongs(tmp_path: Path) -> None:
    target = Target(
        b=Outcome(cache="hit-disk"),
        c=Outcome(),
        d=Outcome(refused="image_too_large"),
        e=Outcome(failed="overloaded"),
    )
    warming = Warming(tmp_path, target)
    found = [
        *map(warming.picture, "abcde"),
        NoPicture("f", "no picture", passed_over=True),
        NoPicture("g", "not JSON"),
    ]
    report = await warming.run(*found)
    assert (report.warmed, report.already_there, report.untold, report.passed_over) == (1, 1, 1, 1)
    assert report.refused == {"image_too_large": 1, "not JSON": 1}
    assert report.failed == {"overloaded": 1}
    assert {(each["where"], each["reason"]) for each in report.named} == {
        ("d", "image_too_large"),
        ("g", "not JSON"),
        ("e", "overloaded"),
    }
    assert (report.pictures, report.exit_code) == (6, 1)


async def test_what_is_named_twice_is_asked_for_once(tmp_path: Path) -> None:
    warming = Warming(tmp_path)
    same = warming.picture("a")
    report = await warming.run(same, same, Picture("by url", url="a"), concurrency=1)
    assert warming.target.asked == ["a"]
    assert (report.warmed, report.duplicates, report.exit_code) == (1, 2, 0)


async def test_what_was_done_is_neither_prepared_nor_asked_for_again(tmp_path: Path) -> None:
    target = Target(b=Outcome(refused="invalid_image"), c=Outcome(failed="unreachable"))
    warming = Warming(tmp_path, target)
    found = [*map(warming.picture, "abc")]
    await warming.run(*found)
    warming.preparing.prepared, target.outcomes = 0, {}
    report = await warming.run(*found)
    assert target.asked[3:] == ["c"]
    assert warming.preparing.prepared == 1
    assert (report.done_before, report.warmed, report.refused) == (1, 1, {"invalid_image": 1})


async def test_what_fails_now_is_tried_by_the_next_run(tmp_path: Path) -> None:
    raises = {"a": BusyError("busy"), "b": ImageFetchFailed("away"), "c": ImageError("broken")}
    warming = Warming(tmp_path, preparing=Preparing(**raises))
    found = [*map(warming.picture, "abc")]
    report = await warming.run(*found)
    assert report.failed == {"overloaded": 1, "image_fetch_failed": 1}
    assert report.refused == {"invalid_image": 1}
    warming.preparing.raises = {}
    assert (await warming.run(*found)).warmed == 2


async def test_no_more_are_asked_for_at_once_than_may_be(tmp_path: Path) -> None:
    warming = Warming(tmp_path)
    await warming.run(*map(warming.picture, "abcdefgh"), concurrency=3)
    assert warming.target.most == 3


async def test_turns_are_as_far_apart_as_the_rate_says(tmp_path: Path) -> None:
    warming = Warming(tmp_path)
    report = await warming.run(*map(warming.picture, "abcde"), concurrency=5, rate=100)
    assert report.seconds >= 0.04


async def test_files_that_are_too_large_or_gone_are_told_and_not_asked_for(tmp_path: Path) -> None:
    warming = Warming(tmp_path)
    (tmp_path / "large").write_bytes(bytes(1001))
    report = await warming.run(Picture("l", path=tmp_path / "large"), Picture("g", path=tmp_path / "gone"))
    assert report.refused == {"image_too_large": 1}
    assert report.failed == {"No such file or directory": 1}
    assert warming.target.asked == []


async def test_a_target_of_no_more_use_ends_the_run_and_what_was_done_stays(tmp_path: Path) -> None:
    warming = Warming(tmp_path, Target(b=TargetError("it refuses the API key")))
    report = await warming.run(*map(warming.picture, "abcdef"), concurrency=1)
    assert (report.stopped, report.exit_code) == ("it refuses the API key", 1)
    assert warming.target.asked == ["a", "b"]
    warming.target.outcomes = {}
    assert (await warming.run(*map(warming.picture, "abcdef"))).done_before == 1


async def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    warming = Warming(tmp_path)
    found = [*map(warming.picture, "abcd")]
    with Journal(tmp_path / "journal", {}) as journal:
        task = asyncio.create_task(warming.begin(journal, *found, concurrency=1))
        while len(journal.done) < 2:
            await asyncio.sleep(0)
        warming.target.hang.clear()
        task.cancel()
        report = await task
    assert "interrupted" in report.stopped
    assert (report.warmed, report.exit_code, warming.target.now) == (2, 1, 0)
    warming.target.hang.set()
    again = await warming.run(*found)
    assert (again.done_before, again.warmed, again.exit_code) == (2, 2, 0)


def test_the_report_names_a_bounded_number_and_counts_all() -> None:
    report = Report()
    for number in range(MOST_NAMED + 5):
        report.refuse(str(number), "invalid_image")
    told = report.as_json()
    assert isinstance(told["named"], list)
    assert len(told["named"]) == MOST_NAMED
    assert told["refused"] == {"invalid_image": MOST_NAMED + 5}
    assert f"{MOST_NAMED + 5} refused: invalid_image" in "\n".join(report.lines())


@pytest.mark.parametrize("report", [Report(stopped="x"), Report()])
def test_only_a_whole_run_is_a_success(report: Report) -> None:
    assert report.exit_code == bool(report.stopped)
