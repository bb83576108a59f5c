"""What was asked once becomes a trace: times, tenants and pictures as they were, and nothing that was said."""

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from loadtest.records import Run
from loadtest.scenario import recorded
from loadtest.scenario.arrivals import read_trace
from loadtest.scenario.document import ScenarioError
from loadtest.scenario.recorded import Asked, asked_in_log, asked_in_run, make_trace
from tests.unit.loadtest.reporting.runs import INFO, failed, never_sent, request

LINE = {
    "time": "2026-01-01T00:00:10.500+00:00", "logger": "fovea.audit", "event": "request", "status": 200,
    "ms": 1500.0, "tenant": "shop", "route": "chat", "images": ["aaaa1111", "bbbb2222"], "image_tokens": 60,
    "prompt_tokens": 100, "completion_tokens": 7,
}  # fmt: skip


def lines_of(*asked: Asked) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in make_trace(asked)]


def log_of(path: Path, *lines: dict[str, object] | str) -> Path:
    path.write_text(
        "".join((each if isinstance(each, str) else orjson.dumps(each).decode()) + "\n" for each in lines)
    )
    return path


def test_requests_are_told_from_the_first_on_in_the_order_in_which_they_came() -> None:
    one, other = Asked(100.5, "a", ("x", "y"), None, 5), Asked(100.25, "", ("y",), 9, None)
    assert lines_of(one, other) == [
        {"at_s": 0, "pictures": [0], "prompt_tokens": 9},
        {"at_s": 0.25, "tenant": "a", "pictures": [1, 0], "answer_tokens": 5},
    ]


def test_a_run_s_requests_come_when_they_were_due_answered_or_not() -> None:
    words_only = replace(request(2, 14.0), pictures=())
    asked = list(asked_in_run(Run(INFO, (request(0, 12.0), failed(1, 13.0), words_only), ())))
    assert asked == [
        Asked(12.0, "lab", ("p0",), None, 5),
        Asked(13.0, "shop", ("p1",), None, None),
        Asked(14.0, "shop", (), 100, 5),
    ]


def test_a_turn_that_was_never_sent_is_none_of_a_run_s() -> None:
    assert [asked.at_s for asked in asked_in_run(Run(INFO, (request(0, 12.0), never_sent(1, 13.0)), ()))] == [12.0]


def test_a_log_s_request_came_so_long_before_its_line_and_its_words_are_the_prompt_without_pictures(
    tmp_path: Path,
) -> None:
    (asked,) = asked_in_log(log_of(tmp_path / "log", LINE))
    assert asked == Asked(1767225609.0, "shop", ("aaaa1111", "bbbb2222"), 40, 7)


def test_of_a_log_only_requests_that_could_be_answered_are_taken(tmp_path: Path) -> None:
    taken = [LINE | {"status": status} for status in (200, 429, 502)]
    other = (
        {"status": 400}, {"status": 401}, {"status": "200"}, {"route": "files"}, {"logger": "fovea.access"},
        {"time": "yesterday"}, {"ms": None},
    )  # fmt: skip
    passed = [*(LINE | each for each in other), "fovea.audit {", "fovea.audit", ""]
    assert len(list(asked_in_log(log_of(tmp_path / "log", *taken, *passed)))) == 3


def test_words_that_a_log_s_keeper_puts_before_a_line_do_not_matter(tmp_path: Path) -> None:
    path = log_of(tmp_path / "log", "2026-01-01T00:00:10Z stderr F " + orjson.dumps(LINE).decode())
    assert len(list(asked_in_log(path))) == 1


def test_a_log_without_any_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="no request in it: a gateway's audit lines, in JSON"):
        list(asked_in_log(log_of(tmp_path / "log", LINE | {"logger": "fovea.access"})))
    with pytest.raises(ScenarioError, match="cannot be read: No such file"):
        list(asked_in_log(tmp_path / "none"))


def test_a_trace_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "MOST_REQUESTS", 2)
    with pytest.raises(ScenarioError, match="more than 2 requests"):
        list(make_trace([Asked(0, "", (), None, None)] * 3))


def test_what_is_written_is_what_a_scenario_reads(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_bytes(b"".join(make_trace([Asked(3.0, "a", ("x",), 4, 5), Asked(4.5, "", (), None, None)])))
    first, second = read_trace(path, speed=2)
    assert (first.at_s, first.tenant, first.pictures, first.prompt_tokens, first.answer_tokens) == (
        0,
        "a",
        (0,),
        4,
        5,
    )
    assert (second.at_s, second.tenant, second.pictures, second.prompt_tokens) == (0.75, None, (), None)
