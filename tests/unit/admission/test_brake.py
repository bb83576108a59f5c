from dataclasses import dataclass

import pytest

from server.admission.brake import FIRST_PLACES, MOST_PLACES, Brake, BrakeRules, Load, add_up

RULES = BrakeRules(max_running=None, brake_above=0.9, release_below=0.8, overcommit=4)


@dataclass
class Report:
    kv_tokens: int | None
    kv_usage: float | None
    running: int = 0
    waiting: int = 0
    blocks: int | None = None
    state_blocks: int = 0


def braked(
    load: Load, places: int, tokens: int, times: int = 1, waiting: bool = True, brake: Brake | None = None
) -> Brake:
    brake = brake or Brake(RULES)
    for _ in range(times):
        brake.adjust(load, places, tokens, waiting)
    return brake


def test_engines_are_added_up_and_usage_is_weighed_by_size() -> None:
    reports = [Report(1000, 0.5, 3, 1), Report(3000, 0.9, 4, 0)]
    assert add_up(reports) == Load(2, 4000, pytest.approx(0.8), 7, 1)


def test_each_of_several_processes_begins_with_its_part_of_the_tokens() -> None:
    assert add_up([Report(1000, 0.5, 3, 1), Report(3000, 0.5)], processes=3) == Load(2, 1333, 0.5, 3, 1)


def test_what_one_engine_does_not_tell_is_unknown_of_all() -> None:
    assert add_up([Report(1000, 0.5), Report(None, None)]) == Load(2, None, pytest.approx(0.5))
    assert add_up([]) == Load()


def test_what_every_request_takes_is_counted_in_the_tokens_of_the_capacity() -> None:
    """The demo's model, as vLLM tells of it: two blocks of state, of 2730 that hold 621226 tokens."""
    report = Report(621_226, 0.1, blocks=2730, state_blocks=2)
    assert add_up([report, report]).each_tokens == round(2.5 * 621_226 / 2730)


def test_where_nothing_is_known_places_alone_count() -> None:
    brake = braked(Load(), 64, 10**9, times=100)
    assert (brake.places, brake.tokens, brake.on) == (FIRST_PLACES, None, False)


def test_places_that_are_set_stay_while_engines_bear_them() -> None:
    brake = braked(Load(2, 1000, 0.5, 10), 12, 10, times=50, brake=Brake(BrakeRules(12, 0.9, 0.8, 1)))
    assert (brake.places, brake.tokens) == (12, 1000)


def test_places_grow_while_they_are_used_up_and_no_engine_makes_requests_wait() -> None:
    brake = Brake(RULES)
    for _ in range(100):
        brake.adjust(Load(2, None, None, brake.places), brake.places, 0, True)
    assert brake.places == 2 * MOST_PLACES


def test_places_do_not_grow_where_nobody_needs_them() -> None:
    brake = braked(Load(1, None, None, 3), 3, 0, times=100, waiting=False)
    assert brake.places == FIRST_PLACES


def test_where_requests_wait_in_an_engine_places_come_down_to_what_it_runs() -> None:
    brake = braked(Load(1, None, None, running=16, waiting=48), 64, 0)
    assert (brake.places, brake.on) == (16, True)


def test_the_brake_waits_for_what_it_has_done_to_show() -> None:
    brake = braked(Load(1, None, None, running=16, waiting=48), 64, 0)
    assert braked(Load(1, None, None, running=16, waiting=20), 36, 0, times=9, brake=brake).places == 16


def test_a_gateway_that_shares_engines_gives_back_its_part() -> None:
    """Of 32 that run here and there, 16 are ours."""
    assert braked(Load(1, None, None, running=32, waiting=32), 32, 0).places == 16


def test_one_request_that_has_just_come_is_no_pressure() -> None:
    assert not braked(Load(1, None, None, running=20, waiting=1), 21, 0).on


def test_a_full_cache_takes_tokens_away_and_an_emptier_one_gives_them_back() -> None:
    brake = braked(Load(1, 1000, 0.96), 5, 1000)
    assert (brake.tokens, brake.on) == (round(1000 * 0.8 / 0.96), True)
    kept = brake.tokens
    braked(Load(1, 1000, 0.85), 5, 800, times=9, brake=brake)
    assert (brake.tokens, brake.on) == (kept, False)  # between the two marks: neither
    braked(Load(1, 1000, 0.7), 5, 1000, times=3, brake=brake)
    assert brake.tokens >= 1000


def test_costs_that_engines_do_not_come_to_see_are_overcommitted_up_to_a_bound() -> None:
    brake = Brake(RULES)
    for _ in range(100):
        brake.adjust(Load(1, 1000, 0.2), 5, brake.tokens or 1000, True)
    assert brake.tokens == 4000


def test_tokens_do_not_grow_beyond_the_engines_where_nothing_is_known_of_usage() -> None:
    assert braked(Load(1, 1000, None), 5, 1000, times=100).tokens == 1000


def test_a_brake_never_shuts_wholly_and_recovers() -> None:
    brake = braked(Load(1, 1000, 1.0, running=1, waiting=500), 1, 1, times=50)
    assert (brake.places, brake.tokens) == (1, pytest.approx(4, abs=4))
    braked(Load(1, 1000, 0.1, running=1), 1, 10, times=150, brake=brake)
    assert brake.places == MOST_PLACES
    assert brake.tokens == 4000


def test_limits_follow_the_number_of_engines() -> None:
    brake = braked(Load(1, 1000, 0.85), 5, 10, waiting=False)
    braked(Load(3, 3000, 0.85), 5, 10, waiting=False, brake=brake)
    assert (brake.places, brake.tokens) == (3 * FIRST_PLACES, 3000)


def test_while_no_engine_is_ready_what_was_known_stays() -> None:
    brake = braked(Load(1, 1000, 0.85), 5, 10, waiting=False)
    assert braked(Load(), 5, 10, brake=brake).tokens == 1000
