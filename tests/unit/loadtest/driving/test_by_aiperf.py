"""What aiperf can be asked for, how, and how its records become ours."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from loadtest.driving.by_aiperf import (
    INPUTS,
    RAW,
    TRACED,
    Aiperf,
    AiperfError,
    arguments_of,
    drive_by_aiperf,
    read_records,
    refusal_of,
    run_aiperf,
)
from loadtest.driving.caller import Clock, Target
from loadtest.driving.gallery import Gallery, ReadyPicture
from loadtest.records import RequestRecord
from loadtest.scenario.document import Scenario
from loadtest.scenario.plan import make_plan
from loadtest.scenario.reading import bundled_names, read_scenario

TARGET = Target("http://127.0.0.1:9/v1", "demo", {"default": ""}, timeout_s=60)


def planned(number: int) -> RequestRecord:
    return RequestRecord(number, None, 0, None, (), 0, 0, "", pictures=("a",))


def scenario(**fields: Any) -> Scenario:
    return Scenario.model_validate({"name": "x", "arrival": {"kind": "closed", "concurrency": 3}, **fields})


def lines_of(number: int, clock: Clock, *events: object, **fields: Any) -> tuple[str, str]:
    """As aiperf 0.13.0 writes them: sent 1 s after the run began, acknowledged and ended 0.5 and 2 s later."""
    sent_ns, wall_ns = clock.began_ns + 1_000_000_000, 1_795_390_367_000_000_000
    times = {
        "request_start_ns": wall_ns,
        "request_ack_ns": wall_ns + 500_000_000,
        "request_end_ns": wall_ns + 2_000_000_000,
    }
    metadata = {"session_num": number, "benchmark_phase": "profiling", **times}
    said = [event if isinstance(event, str) else json.dumps(event) for event in events]
    responses = [
        {"perf_ns": sent_ns + (nth + 6) * 100_000_000, "packets": [{"name": "data", "value": text}]}
        for nth, text in enumerate(said)
    ]
    raw = {"metadata": metadata, "start_perf_ns": sent_ns, "status": 200, "responses": responses, **fields}
    headers = {"X-Fovea-Engine": "engine-1", "x-fovea-image-cache": "hit-host"}
    return json.dumps(raw), json.dumps({"metadata": metadata, "trace_data": {"response_headers": headers}})


def word(said: str) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": said}}]}


def write(folder: Path, *pairs: tuple[str, str]) -> None:
    (folder / RAW).write_text("\n".join(raw for raw, _ in pairs))
    (folder / TRACED).write_text("\n".join(traced for _, traced in pairs))


def test_its_records_become_ours(tmp_path: Path) -> None:
    clock = Clock()
    usage = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}
    write(tmp_path, lines_of(1, clock, word("a"), word("b"), usage, "[DONE]"), lines_of(99, clock, "[DONE]"))
    (record,) = read_records(tmp_path, [planned(0), planned(1)], clock)
    assert (record.number, record.code, record.status, record.pictures) == (1, "", 200, ("a",))
    assert (record.prompt_tokens, record.output_tokens) == (7, 2)
    assert (record.engine, record.image_cache) == ("engine-1", "hit-host")
    times = [record.sent_s, record.first_byte_s or 0, *record.token_s, record.ended_s]
    assert times == pytest.approx([1.0, 1.5, 1.6, 1.7, 3.0])


@pytest.mark.parametrize(
    ("events", "fields", "code"),
    [
        ([word("a")], {}, "cut"),
        ([], {"status": 429, "error": {"code": 429, "type": "TooMany"}}, "429"),
        ([{"error": {"code": "engine_died"}}], {}, "engine_died"),
    ],
)
def test_what_broke_is_told_by_code(tmp_path: Path, events: list[Any], fields: dict[str, Any], code: str) -> None:
    clock = Clock()
    write(tmp_path, lines_of(0, clock, *events, **fields))
    assert [record.code for record in read_records(tmp_path, [planned(0)], clock)] == [code]


@pytest.mark.parametrize("text", ["{}", "nothing", '{"metadata": {"session_num": 0}}'])
def test_what_it_never_wrote_is_refused(tmp_path: Path, text: str) -> None:
    write(tmp_path, (text, text))
    with pytest.raises(AiperfError, match="is not what aiperf"):
        read_records(tmp_path, [planned(0)], Clock())


def test_a_scenario_that_it_can_do_is_handed_over_as_it_is() -> None:
    closed = arguments_of(Aiperf(Path("aiperf"), Path("t")), scenario(requests=9), 9, TARGET, Path("out"))
    assert closed[closed.index("--concurrency") + 1] == "3"
    assert closed[closed.index("--request-count") + 1] == "9"
    assert closed[closed.index("--url") + 1] == "http://127.0.0.1:9"
    paced = scenario(requests=9, arrival={"kind": "poisson", "rate": 2.5})
    assert "2.5" in arguments_of(Aiperf(Path("aiperf"), Path("t")), paced, 9, TARGET, Path("out"))


def test_of_the_bundled_scenarios_it_can_do_five() -> None:
    can = [name for name in bundled_names() if refusal_of(read_scenario(name)[0], [""]) is None]
    assert can == ["catalogue", "inspection-drone", "receipts", "surveillance", "thumbnails"]


@pytest.mark.parametrize(
    ("fields", "key", "says"),
    [
        ({"requests": 5}, "secret", "API key on its command line"),
        ({"duration_s": 5}, "", "say requests"),
        ({"requests": 5, "tenants": [{"name": "a", "priority": "batch"}]}, "", "no priority"),
    ],
)
def test_what_it_cannot_do_is_refused_with_the_reason(fields: dict[str, Any], key: str, says: str) -> None:
    assert says in (refusal_of(scenario(**fields), [key]) or "")


# Writes of each body in its input that it was answered, as aiperf does.
ANSWERS = """
import json, sys
folder, bodies = (sys.argv[sys.argv.index(option) + 1] for option in ("--artifact-dir", "--input-file"))
raw, traced = (open(f"{folder}/{name}", "w") for name in (RAW, TRACED))
for number, _ in enumerate(open(bodies)):
    metadata = {"session_num": number, "request_start_ns": 0, "request_end_ns": 10**9}
    done = {"perf_ns": 0, "packets": [{"name": "data", "value": "[DONE]"}]}
    answered = {"metadata": metadata, "start_perf_ns": 0, "status": 200, "responses": [done]}
    print(json.dumps(answered), file=raw)
    print(json.dumps({"metadata": metadata}), file=traced)
"""


async def test_each_request_of_the_plan_has_its_body_and_its_record(tmp_path: Path) -> None:
    program, pages, clock = tmp_path / "aiperf-program", tmp_path / "aiperf", Clock()
    program.write_text(f"#!{sys.executable}\nRAW, TRACED = {RAW!r}, {TRACED!r}\n{ANSWERS}")
    program.chmod(0o700)
    pages.mkdir()
    one = scenario(requests=3, pictures={"reuse": {"kind": "unique"}})
    gallery = Gallery(lambda drawn: ReadyPicture(f"name-{drawn.number}", 5, f"data:,{drawn.number}"))
    aiperf = Aiperf(program, tmp_path)
    records = await drive_by_aiperf(aiperf, one, make_plan(one, 0), TARGET, gallery, tmp_path, clock)
    bodies = [json.loads(line) for line in (tmp_path / INPUTS).read_text().splitlines()]
    shown = [body["messages"][0]["content"][0]["image_url"]["url"].removeprefix("data:,") for body in bodies]
    assert len(set(shown)) == 3
    assert [(r.number, r.code, r.pictures) for r in records] == [
        (n, "", (f"name-{s}",)) for n, s in enumerate(shown)
    ]


async def test_where_it_fails_its_words_are_named(tmp_path: Path) -> None:
    with pytest.raises(AiperfError, match=r"ended with 3: .*aiperf\.log says why"):
        await run_aiperf(["/bin/sh", "-c", "echo no; exit 3"], tmp_path)
    assert (tmp_path / "aiperf.log").read_text() == "no\n"
    with pytest.raises(AiperfError, match="cannot be started"):
        await run_aiperf([str(tmp_path / "none")], tmp_path)


async def test_interrupted_it_is_not_left_behind(tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", 'echo $$ > "$0"; exec sleep 600', str(tmp_path / "pid")]
    running = asyncio.create_task(run_aiperf(command, tmp_path))
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
