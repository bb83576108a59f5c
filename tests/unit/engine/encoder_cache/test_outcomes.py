from server.engine.encoder_cache.outcomes import Outcomes


class Clock:
    def __init__(self) -> None:
        self.now = 10.0

    def __call__(self) -> float:
        return self.now


def test_what_a_step_said_is_found_in_the_order_asked_for() -> None:
    outcomes = Outcomes(clock=Clock())
    outcomes.note({"a": "disk", "b": "miss"})
    assert outcomes.of(["b", "a", "b"], since=9.0) == ["miss", "disk", "miss"]


def test_nothing_is_said_unless_all_pictures_have_been_told_of() -> None:
    outcomes = Outcomes(clock=Clock())
    outcomes.note({"a": "disk"})
    assert outcomes.of(["a", "b"], since=9.0) is None


def test_what_an_earlier_request_was_told_is_nobody_elses() -> None:
    clock = Clock()
    outcomes = Outcomes(clock=clock)
    outcomes.note({"a": "miss"})
    clock.now = 20.0
    assert outcomes.of(["a"], since=15.0) is None
    outcomes.note({"a": "gpu"})
    assert outcomes.of(["a"], since=15.0) == ["gpu"]


def test_the_oldest_leave_first_and_what_is_told_again_is_young() -> None:
    outcomes = Outcomes(most=2, clock=Clock())
    outcomes.note({"a": "miss", "b": "miss"})
    outcomes.note({"a": "gpu"})
    outcomes.note({"c": "host"})
    assert outcomes.of(["a", "c"], since=0.0) == ["gpu", "host"]
    assert outcomes.of(["b"], since=0.0) is None


def test_words_that_are_no_outcomes_are_left_out() -> None:
    outcomes = Outcomes(clock=Clock())
    outcomes.note({"a": "hit\r\nset-cookie: x"})  # type: ignore[dict-item]
    assert outcomes.of(["a"], since=0.0) is None
