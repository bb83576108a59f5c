import re

from server.record import RequestRecord
from server.span import MOST_SPANS, Span, Trace, enter, write_traceparent


def names(trace: Trace) -> list[str]:
    return [span.name for span in trace.spans[1:]]


def test_pieces_follow_one_another_and_end_with_their_span() -> None:
    root = Trace(7).spans[0]
    root.enter("parse")
    root.enter("price")
    root.end("invalid_json")
    parse, price = root.trace.spans[1:]
    assert [parse.name, price.name] == ["parse", "price"]
    assert {parse.parent_id, price.parent_id} == {root.span_id}
    assert root.began <= parse.began <= parse.ended <= price.began <= price.ended <= root.ended
    assert (parse.error, price.error, root.error) == ("", "invalid_json", "invalid_json")


def test_pieces_that_are_begun_overlap() -> None:
    root = Trace(7).spans[0]
    one = root.begin("image")
    two = root.begin("image")
    two.enter("check")
    assert one.ended == 0
    assert [span.parent_id for span in root.trace.spans] == [0, root.span_id, root.span_id, two.span_id]
    assert len({span.span_id for span in root.trace.spans}) == 4


def test_the_piece_that_is_under_way_is_known() -> None:
    root = Trace(7).spans[0]
    assert root.stage is root
    root.enter("images")
    assert root.stage is root.trace.spans[1]
    root.leave()
    assert root.stage is root


def test_what_has_ended_stays_as_it_was() -> None:
    span = Trace(7).spans[0]
    span.end("first")
    ended = span.ended
    span.end()
    assert (span.ended, span.error) == (ended, "first")


def test_spans_of_one_request_are_bounded_and_the_rest_is_counted() -> None:
    root = Trace(7).spans[0]
    for _ in range(MOST_SPANS + 5):
        root.begin("image").enter("check")
    assert len(root.trace.spans) == MOST_SPANS
    assert root.trace.left_out == 2 * (MOST_SPANS + 5) + 1 - MOST_SPANS


def test_a_span_says_what_makes_others_its_children() -> None:
    span = Trace(0xABC).spans[0]
    assert span.traceparent == f"00-{0xABC:032x}-{span.span_id:016x}-01"
    assert re.fullmatch(r"00-0{29}abc-0{15}1-00", write_traceparent(0xABC, 1, sampled=False))


def test_a_stage_of_a_request_that_is_not_traced_is_nothing() -> None:
    record = RequestRecord()
    record.enter("parse")
    enter(None, "check")
    assert record.span is None


def test_a_stage_of_one_that_is_is_a_piece_of_it() -> None:
    trace = Trace(7)
    record = RequestRecord(span=trace.spans[0])
    record.enter("parse")
    assert names(trace) == ["parse"]
    assert isinstance(trace.spans[1], Span)
