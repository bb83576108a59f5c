from dataclasses import dataclass, field

from server.engine.encoder_cache import seen as seen_module
from server.engine.encoder_cache.seen import Seen


@dataclass(frozen=True)
class Position:
    offset: int


@dataclass(frozen=True)
class Feature:
    identifier: str
    mm_position: Position


@dataclass
class Request:
    """vLLM's, as far as it is read."""

    request_id: str
    mm_features: list[Feature] = field(default_factory=list)
    num_computed_tokens: int = 0


def request(name: str, **pictures: int) -> Request:
    """With pictures at these offsets."""
    return Request(name, [Feature(each, Position(offset)) for each, offset in pictures.items()])


def test_a_picture_that_room_is_made_for_is_loaded_or_encoded() -> None:
    seen = Seen()
    seen.asks(request("r", a=2, b=20))
    seen.allocated("a", "disk")
    seen.allocated("b", "miss")
    seen.scheduled({"r": 40})
    assert seen.take() == {"a": "disk", "b": "miss"}


def test_a_picture_that_no_room_is_made_for_is_in_vllms_own_memory() -> None:
    seen = Seen()
    seen.asks(request("r", a=2))
    seen.scheduled({"r": 40})
    assert seen.take() == {"a": "gpu"}


def test_a_picture_in_cached_prefix_blocks_is_as_good_as_in_memory() -> None:
    seen = Seen()
    asked = request("r", a=2)
    asked.num_computed_tokens = 30
    seen.asks(asked)
    seen.scheduled({"r": 10})
    assert seen.take() == {"a": "gpu"}


def test_two_requests_of_one_step_share_what_was_made_room_for() -> None:
    seen = Seen()
    seen.asks(request("first", a=2))
    seen.asks(request("second", a=4))
    seen.allocated("a", "miss")
    seen.scheduled({"first": 10, "second": 10})
    assert seen.take() == {"a": "miss"}


def test_a_picture_behind_the_chunk_that_is_scheduled_is_told_of_with_its_own() -> None:
    seen = Seen()
    asked = request("r", a=2, b=100)
    seen.asks(asked)
    seen.allocated("a", "host")
    seen.scheduled({"r": 50})
    assert seen.take() == {"a": "host"}
    asked.num_computed_tokens = 50
    seen.asks(asked)
    seen.scheduled({"r": 70})
    assert seen.take() == {"b": "gpu"}


def test_a_request_that_waits_for_its_turn_is_told_of_when_it_has_come() -> None:
    seen = Seen()
    asked = request("r", a=2)
    seen.asks(asked)
    seen.scheduled({"other": 1})
    assert seen.take() == {}
    seen.asks(asked)
    seen.allocated("a", "shared")
    seen.scheduled({"r": 10})
    assert seen.take() == {"a": "shared"}


def test_steps_of_a_request_that_has_been_told_of_tell_nothing_more() -> None:
    seen = Seen()
    asked = request("r", a=2)
    seen.asks(asked)
    seen.allocated("a", "miss")
    seen.scheduled({"r": 10})
    seen.take()
    for computed in range(10, 15):
        asked.num_computed_tokens = computed
        seen.asks(asked)
        seen.scheduled({"r": 1})
    asked.num_computed_tokens = 0  # preempted: its picture is in memory now, which is not what it cost
    seen.asks(asked)
    seen.scheduled({"r": 10})
    assert seen.take() == {}


def test_what_room_was_made_for_in_one_step_is_not_said_of_the_next() -> None:
    seen = Seen()
    seen.asks(request("first", a=2))
    seen.allocated("a", "miss")
    seen.scheduled({"first": 10})
    seen.take()
    seen.asks(request("second", a=2))
    seen.scheduled({"second": 10})
    assert seen.take() == {"a": "gpu"}


def test_a_picture_twice_in_one_request_is_told_of_by_its_first_place() -> None:
    seen = Seen()
    asked = Request("r", [Feature("a", Position(2)), Feature("a", Position(200))])
    seen.asks(asked)
    seen.allocated("a", "miss")
    seen.scheduled({"r": 10})
    assert seen.take() == {"a": "miss"}
    asked.num_computed_tokens = 10
    seen.scheduled({"r": 300})
    assert seen.take() == {}


def test_requests_that_ended_are_followed_no_longer() -> None:
    seen = Seen()
    asked = request("r", a=2)
    seen.asks(asked)
    seen.finished("r")
    seen.scheduled({"r": 10})
    assert seen.take() == {}
    seen.asks(asked)  # another of that name
    seen.scheduled({"r": 10})
    assert seen.take() == {"a": "gpu"}


def test_what_is_followed_and_what_is_not_taken_is_bounded() -> None:
    seen = Seen()
    most = seen_module.MOST_REQUESTS
    for number in range(most + 10):
        seen.asks(request(f"r{number}", **{f"p{number}": 0}))
    seen.scheduled({f"r{number}": 1 for number in range(most + 10)})
    assert len(seen.take()) == most
    for number in range(3 * seen_module.MOST_UNTAKEN):
        seen.asks(request(f"again{number}", **{f"q{number}": 0}))
        seen.scheduled({f"again{number}": 1})
        seen.finished(f"again{number}")
    assert len(seen.take()) == seen_module.MOST_UNTAKEN
