import asyncio
import pkgutil
import time
from functools import partial
from pathlib import Path

import orjson
import pytest

from loadtest.bench_gateway import STAGES
from loadtest.gateway.bodies import make_body, make_jpeg
from loadtest.gateway.page import make_page
from loadtest.gateway.processes import always_with_bytes, gateway
from loadtest.gateway.result import DIRECT, OURS, Leaving, Memory, Result, Run, StageTimes, Streams, Yardstick
from loadtest.gateway.stub import HOLD
from loadtest.gateway.watched import Watch, time_stages
from loadtest.gateway.yardsticks import measure_yardsticks
from server.api.parse import parse_request
from server.api.splice import parse_around_pictures
from server.setting_sections.engines import EngineSettings

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("place", STAGES.values(), ids=STAGES.keys())
def test_every_stage_is_a_function_of_the_gateway(place: str) -> None:
    assert callable(pkgutil.resolve_name(place))


def test_bodies_are_of_the_size_that_they_are_called_and_the_gateway_takes_them() -> None:
    picture = make_jpeg(50_000)
    assert abs(len(picture) - 50_000) < 1_000
    parsed = parse_request("chat", make_body(picture, stream=True, detail="low"))
    assert [source.detail for source in parsed.images] == ["low"]


def burn(cpu_s: float) -> None:
    until = time.thread_time() + cpu_s
    while time.thread_time() < until:
        pass


def test_a_stage_is_not_charged_with_the_stages_that_it_calls() -> None:
    watch = Watch()
    inner = watch.stage("inner", burn)

    def work() -> None:
        inner(0.03)

    watch.stage("outer", work)()
    told = watch.tell()["stages_ms"]
    assert told["inner"][0] >= 30 > 15 > told["outer"][0]
    assert watch.tell()["stages_ms"] == {}


def test_yardsticks_are_of_the_picture_that_is_given() -> None:
    small, large = (measure_yardsticks(make_jpeg(size)) for size in (20_000, 400_000))
    assert [each.what for each in small] == [each.what for each in large]
    assert all(each.ms > 0 for each in large)
    assert small[-1].ms < large[-1].ms  # decoding it whole


async def test_the_watch_sees_a_loop_that_stands_still() -> None:
    watch = Watch()
    watch.feeling = True
    feeling = asyncio.create_task(watch.feel())
    await asyncio.sleep(0.01)
    burn(0.05)
    await asyncio.sleep(0.01)
    feeling.cancel()
    told = watch.tell()
    assert told["stalls_ms"][0] >= told["own_stalls_ms"][0] >= 45
    assert told["ticks"] > 1


def test_stages_are_timed_where_they_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.api.bodies.parse_around_pictures", parse_around_pictures)
    watch = Watch()
    time_stages({"parse": STAGES["parse"]}, watch)
    pkgutil.resolve_name(STAGES["parse"])(partial(parse_request, "chat"), make_body(None))
    assert len(watch.tell()["stages_ms"]["parse"]) == 1


def test_the_page_holds_every_subject_body_and_stage() -> None:
    result = Result("2026-01-02", "x86_64", {"fovea": "1"}, 1, {"4 MB": 5})
    for subject in (DIRECT, OURS):
        result.runs.append(Run(subject, "4 MB", 16, 64, 10.0, 1.0, 2.0, 3.25, 1.0, 7, 4.5, 0.5))
        result.streams.append(Streams(subject, 17, 3200, 1.0, 2.0, 3.0))
    result.stages.append(StageTimes("4 MB", "digest", 64, 0.5, 0.625))
    result.memory += [Memory(OURS, 16, 5.0, 70.0, 230.0), Memory(OURS, 16, 5.0, 70.0, 150.0)]
    result.yardsticks.append(Yardstick("a walk", 1.5))
    assert "Callers that leave" not in make_page(result)  # not measured
    result.leaving += [Leaving(OURS, True, 200, 0.5, 1.25, 99.5), Leaving(OURS, False, 200, 0.5, 100.5, 200.0)]
    page = make_page(result)
    assert "| caller leaves a stream: engine cut off within 100 ms, p99 | 1.2 ms | met |" in page
    assert (
        "| caller leaves before its answer begins: engine cut off within 100 ms, p99 | 100.5 ms | missed |" in page
    )
    assert "| gateway | a stream, behind its first token | 200 | 0.50 | 1.25 | 99.50 |" in page
    assert "| gateway | a whole answer, before its first byte | 200 | 0.50 | 100.50 | 200.00 |" in page
    assert "| a walk | 1.50 |" in page
    assert "| 16 uploads at once: loop stalls under 6 ms | 0.5 ms (own) | met |" in page
    assert "| memory at its peak under 3 bodies' worth, 16 held | 1.50 | met |" in page
    assert "CPU under 8 ms" not in page  # nothing was measured with one caller
    assert "| 4 MB | 16 | gateway | 10 | 1.00 | 2.00 | 3.25 | 1.00 | 7 | 4.5 | 0.5 |" in page
    assert "| 4 MB | digest | 0.500 | 0.625 | 2,000 |" in page
    assert "| gateway | 16 | 70 | 190 | 1.50 (1.00-2.00) |" in page
    assert "| direct | 17 | 3200 | 1.00 | 2.00 | 3.00 |" in page


def test_a_body_says_early_what_the_upstream_shall_do() -> None:
    """It looks at no more than a body's first bytes, and the gateway keeps the order of fields."""
    body = orjson.dumps(orjson.loads(make_body(b"x" * 9000, held=True, stream=True)))
    assert HOLD in body[:200]
    assert b'"stream":true' in body[:200]


def test_a_checkout_that_would_name_pictures_is_told_to_send_them(tmp_path: Path) -> None:
    settings = tmp_path / "server" / "settings.py"
    settings.parent.mkdir()
    settings.write_text("poll_s: float\n")
    assert always_with_bytes(tmp_path) == {}
    settings.write_text("hash_first: bool\n")
    assert always_with_bytes(tmp_path) == {"FOVEA_ENGINES__HASH_FIRST": "false"}
    settings.write_text("poll_s: float\n")
    section = tmp_path / "server" / "setting_sections" / "engines.py"
    section.parent.mkdir()
    section.write_text("hash_first: bool\n")
    assert always_with_bytes(tmp_path) == {"FOVEA_ENGINES__HASH_FIRST": "false"}


def test_this_checkout_is_told_to_send_them() -> None:
    assert always_with_bytes(ROOT)
    assert EngineSettings().hash_first  # so it has to be told


def test_a_gateway_that_does_not_start_says_why() -> None:
    with (
        pytest.raises(RuntimeError, match="FOVEA_ODD is not a setting"),
        gateway(ROOT, 9, {}, FOVEA_ODD="1"),
    ):
        pass
