"""The load test's driver against a gateway and an engine: what is planned is sent, what comes back is noted."""

import asyncio
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from loadtest.driving.caller import Target
from loadtest.driving.gallery import drawn_gallery
from loadtest.driving.pages import Pages
from loadtest.driving.run import Wanted, drive_run
from loadtest.driving.served import find_model
from loadtest.records import REQUESTS_FILE, RequestRecord, Run, read_run
from loadtest.reporting.making import make_report
from loadtest.scenario.document import Scenario
from tests.fakes.engine import FakeEngine, images_in
from tests.fakes.gateway import gateway
from tests.fakes.serve import serving

SMALL = {"sizes": [{"width": 32, "height": 32}]}


class Silent:
    """Progress that is only counted."""

    def __init__(self) -> None:
        self.most_under_way = 0
        self.begun_with: int | None = -1
        self.numbers: list[int] = []

    def drawn(self) -> None: ...

    def begins(self, requests: int | None) -> None:
        self.begun_with = requests

    def ended(self, record: RequestRecord, under_way: int) -> None:
        self.numbers.append(record.number)
        self.most_under_way = max(self.most_under_way, under_way)


async def drive(url: str, folder: Path, progress: Silent | None = None, **fields: Any) -> Run:
    given = {"name": "test", "arrival": {"kind": "closed", "concurrency": 3}, "pictures": SMALL, **fields}
    scenario = Scenario.model_validate(given)
    keys = {tenant.name: f"key of {tenant.name}" for tenant in scenario.tenants}
    target = Target(f"{url}/v1", "demo", keys, timeout_s=120)
    gallery = drawn_gallery(scenario.pictures)
    wanted = Wanted(scenario, "text", 1, target, Pages((f"{url}/metrics",)), folder)
    await drive_run(wanted, gallery, progress or Silent())
    gallery.close()
    return read_run(folder)


async def test_every_planned_request_is_sent_once_and_noted_whole(tmp_path: Path) -> None:
    engine = FakeEngine()
    progress = Silent()
    with serving(engine.app) as engine_url, gateway(engine_url) as url:
        run = await drive(url, tmp_path, progress, requests=23, warm_up_requests=4)
        assert await find_model(f"{url}/v1", "") == "demo"
    assert sorted(request.number for request in run.requests) == sorted(progress.numbers) == list(range(23))
    assert (len(engine.chats), progress.begun_with) == (23, 23)
    assert progress.most_under_way < 3
    for request in run.requests:
        assert (request.code, request.status, request.output_tokens, request.prompt_tokens) == ("", 200, 5, 20)
        assert len(request.token_s) == 5
        assert request.planned_s is None
        assert request.first_byte_s is not None
        assert request.sent_s <= request.first_byte_s <= request.token_s[0] <= request.ended_s
        assert (len(request.pictures), request.engine) == (1, "engine-0")
    assert sum(request.warm_up for request in run.requests) == 4
    assert run.info.counts_from_s <= run.info.ended_s
    assert "fovea_requests_in_flight" in {name.partition("{")[0] for s in run.samples for name in s.values}


async def test_an_open_loop_sends_on_while_nothing_is_answered(tmp_path: Path) -> None:
    """Coordinated omission: a server that stalls is asked all the same, and its callers' waits are told."""
    engine = FakeEngine()
    engine.go.clear()

    async def release_when_all_are_there() -> None:
        while len(engine.chats) < 40:
            await asyncio.sleep(0.01)
        engine.go.set()

    with serving(engine.app) as engine_url:
        releasing = asyncio.create_task(release_when_all_are_there())
        run = await drive(engine_url, tmp_path, arrival={"kind": "poisson", "rate": 400}, requests=40)
        await releasing
    assert [request.code for request in run.requests] == [""] * 40
    last_sent_s = max(request.sent_s for request in run.requests)
    for request in run.requests:
        assert request.planned_s is not None
        assert request.planned_s <= request.sent_s
        assert request.ended_s >= last_sent_s
        assert request.e2e_s == request.ended_s - request.planned_s


async def test_a_conversation_repeats_what_was_said_and_shown(tmp_path: Path) -> None:
    engine = FakeEngine()
    with serving(engine.app) as engine_url:
        conversations = {"turns": 3, "think_s": 0.01}
        arrival = {"kind": "poisson", "rate": 200}
        run = await drive(engine_url, tmp_path, requests=6, conversations=conversations, arrival=arrival)
    assert Counter(len(chat["messages"]) for chat in engine.chats) == {1: 2, 3: 2, 5: 2}
    assert all(len(list(images_in(chat["messages"]))) == 1 for chat in engine.chats)
    longest = max(engine.chats, key=lambda chat: len(chat["messages"]))
    assert [message["role"] for message in longest["messages"]] == ["user", "assistant"] * 2 + ["user"]
    assert longest["messages"][1]["content"] == "3 objects: red circle"
    for number in (0, 1):
        turns = sorted((r for r in run.requests if r.conversation == number), key=lambda r: r.turn)
        assert len({turn.pictures for turn in turns}) == 1
        for earlier, later in pairwise(turns):
            assert later.planned_s == earlier.ended_s + 0.01


async def test_after_a_turn_that_is_not_answered_none_is_sent_and_all_are_lost(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.fail = 400
    with serving(engine.app) as engine_url, gateway(engine_url) as url:
        run = await drive(url, tmp_path, requests=6, conversations={"turns": 3})
    never = [(turn, 0, "not_sent") for turn in (1, 2)]
    told = {n: [(r.turn, r.status, r.code) for r in run.requests if r.conversation == n] for n in (0, 1)}
    assert told == {number: [(0, 400, "rejected_by_engine"), *never] for number in (0, 1)}
    assert [len(chat["messages"]) for chat in engine.chats] == [1, 1]
    report = make_report(run)
    assert (report.requests, report.answered, report.errors) == (6, 0, {"not_sent": 4, "rejected_by_engine": 2})
    assert any(told.startswith("4 of the failed requests were never sent") for told in report.warnings)


async def test_tenants_send_their_own_key_and_priority(tmp_path: Path) -> None:
    engine = FakeEngine()
    tenants = [{"name": "a", "priority": "batch"}, {"name": "b"}]
    with serving(engine.app) as engine_url:
        run = await drive(engine_url, tmp_path, requests=30, tenants=tenants)
    asked = Counter((head["authorization"], head.get("x-fovea-priority")) for head in engine.heads)
    noted = Counter((f"Bearer key of {r.tenant}", r.priority or None) for r in run.requests)
    assert asked == noted
    assert set(asked) == {("Bearer key of a", "batch"), ("Bearer key of b", None)}
    assert "key of" not in (tmp_path / "run.json").read_text() + (tmp_path / "requests.jsonl").read_text()


async def test_the_same_seed_sends_the_same_and_a_picture_comes_back_as_it_was(tmp_path: Path) -> None:
    sent = []
    for folder in ("first", "second"):
        engine = FakeEngine()
        pictures = {**SMALL, "catalogue": 5, "reuse": {"kind": "zipf", "skew": 1}}
        with serving(engine.app) as engine_url:
            run = await drive(engine_url, tmp_path / folder, requests=40, pictures=pictures)
        sent.append(sorted(str(chat) for chat in engine.chats))
        urls = {part["image_url"]["url"] for chat in engine.chats for part in images_in(chat["messages"])}
        assert len(urls) == len({request.pictures for request in run.requests}) == 5
    assert sent[0] == sent[1]


async def test_what_breaks_is_told_by_what_broke(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.die_after = 2
    with serving(engine.app) as engine_url:
        run = await drive(engine_url, tmp_path / "cut", requests=2)
        assert [(r.code, len(r.token_s)) for r in run.requests] == [("cut", 2)] * 2
        engine.says_in_stream = 500
        run = await drive(engine_url, tmp_path / "told", requests=2)
        assert [r.code for r in run.requests] == ["500"] * 2
    run = await drive(engine_url, tmp_path / "gone", requests=2)
    assert [(r.code, r.status, r.first_byte_s) for r in run.requests] == [("connection", 0, None)] * 2


async def test_a_full_disk_ends_the_run_and_is_told_as_such(tmp_path: Path) -> None:
    engine = FakeEngine()
    (tmp_path / REQUESTS_FILE).symlink_to("/dev/full")
    with serving(engine.app) as engine_url, pytest.raises(OSError, match="No space left on device"):
        await drive(engine_url, tmp_path, requests=3000)
    assert len(engine.chats) < 3000


async def test_interrupted_what_has_ended_is_kept(tmp_path: Path) -> None:
    engine = FakeEngine()
    progress = Silent()
    with serving(engine.app) as engine_url:
        arrival = {"kind": "closed", "concurrency": 2}
        few = {**SMALL, "catalogue": 5, "reuse": {"kind": "zipf", "skew": 0}}
        driving = asyncio.create_task(
            drive(engine_url, tmp_path, progress, arrival=arrival, duration_s=3600, pictures=few)
        )
        while len(progress.numbers) < 5:
            await asyncio.sleep(0.01)
        driving.cancel()
        run = await driving
    assert len(run.requests) == len(progress.numbers) >= 5
    assert progress.begun_with is None
    assert run.info.interrupted
