"""What traces show of calls of engines."""

from collections.abc import Iterator

import pytest

from server.engines.refusal import EngineAnsweredBadly, EngineRefused
from server.record import RequestRecord, begin_record
from server.span import Span, Trace
from tests.unit.engines.test_hedge import Race
from tests.unit.engines.test_relay import Scene


@pytest.fixture
def record() -> Iterator[RequestRecord]:
    """Of a request that is traced."""
    made = begin_record("req-1")
    made.span = Trace(0xABC).spans[0]
    yield made
    begin_record("")


def calls(record: RequestRecord) -> list[Span]:
    assert record.span is not None
    return [span for span in record.span.trace.spans if span.kind == "client"]


async def test_a_call_is_a_span_until_its_answer_has_been_passed_on(record: RequestRecord) -> None:
    scene = Scene(2)
    assert record.span is not None
    record.enter("admission")
    assert await scene.ask() == scene.engines[0].name
    (call,) = calls(record)
    admission, *pieces = [span for span in record.span.trace.spans[1:] if span is not call]
    assert (admission.name, admission.parent_id) == ("admission", record.span.span_id)
    assert admission.ended <= call.began
    assert [(piece.name, piece.parent_id) for piece in pieces] == [("send", call.span_id)]
    assert (call.parent_id, call.name, call.error) == (record.span.span_id, "chat demo", "")
    assert call.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "vllm",
        "gen_ai.request.model": "demo",
        "gen_ai.request.stream": False,
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "fovea.engine": scene.engines[0].name,
    }
    assert call.ended


async def test_each_try_is_a_span_of_its_own_that_says_how_it_ended(record: RequestRecord) -> None:
    scene = Scene(2)
    scene.clients[0].fails = EngineAnsweredBadly("500")
    assert await scene.ask() == scene.engines[1].name
    first, second = calls(record)
    assert (first.error, second.error) == ("engine_failed", "")
    assert first.ended <= second.began
    assert "http.request.resend_count" not in first.attributes
    assert second.attributes["http.request.resend_count"] == 1
    assert [each.attributes["fovea.engine"] for each in (first, second)] == [each.name for each in scene.engines]


async def test_a_refusal_is_told_by_its_code_and_not_by_its_words(record: RequestRecord) -> None:
    scene = Scene(1)
    scene.clients[0].fails = EngineRefused("what the caller wrote")
    assert await scene.ask() == "rejected_by_engine"
    (call,) = calls(record)
    assert call.error == "rejected_by_engine"
    assert "wrote" not in str(call.attributes)


async def test_of_two_that_race_the_one_that_is_cut_off_says_so(record: RequestRecord) -> None:
    race = Race()
    asked = race.begin()
    await race.both_sent()
    race.second.says.set_result(None)
    assert await asked == race.second.name
    first, second = calls(record)
    assert (first.error, second.error) == ("cancelled", "")
    assert "fovea.hedge" not in first.attributes
    assert second.attributes["fovea.hedge"] is True


async def test_where_traces_are_off_there_is_nothing() -> None:
    begin_record("req-1")
    scene = Scene(1)
    assert await scene.ask() == scene.engines[0].name
    assert scene.clients[0].traced == [("", None)]


async def test_a_request_that_is_not_traced_says_so_to_its_engine() -> None:
    begin_record("req-1").traceparent = "00-1-2-00"
    scene = Scene(1)
    assert await scene.ask() == scene.engines[0].name
    assert scene.clients[0].traced == [("00-1-2-00", None)]
    begin_record("")


async def test_an_engine_learns_whose_child_its_span_is(record: RequestRecord) -> None:
    scene = Scene(1)
    await scene.ask()
    (call,) = calls(record)
    ((traceparent, when_sent),) = scene.clients[0].traced
    assert traceparent == f"00-{0xABC:032x}-{call.span_id:016x}-01"
    assert when_sent is not None
