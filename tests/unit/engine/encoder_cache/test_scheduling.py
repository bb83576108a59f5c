"""Against look-ups that a test fills, by the calls that vLLM's scheduler makes."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pytest

from server.engine.encoder_cache.arena_view import Span
from server.engine.encoder_cache.entry import key_of
from server.engine.encoder_cache.host_memory import Held
from server.engine.encoder_cache.scheduling import PATIENCE_S, Scheduling
from server.engine.encoder_cache.steps import NOTHING, Setup, StepOrders, StepReport

SETUP = Setup("/nowhere", "00" * 32, False)
ROWS = 4
WAIT_S = 0.25


def held(rows: int = ROWS, dtype: str = "bfloat16", tier: Literal["host", "disk", "shared"] = "disk") -> Held:
    return Held(Span(((0, 1),), rows * 16, 1), (rows, 8), dtype, "raw", tier)


@dataclass
class Found:
    """Look-ups whose answers are set by the test."""

    answers: dict[str, str] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)
    pins: Counter[str] = field(default_factory=Counter)
    loaded: Counter[str] = field(default_factory=Counter)
    asked: list[str] = field(default_factory=list)
    told_saved: list[str] = field(default_factory=list)
    waited: list[tuple[str, float]] = field(default_factory=list)
    finds: Callable[[str], None] = lambda key: None

    def wait(self, key: str, timeout_s: float) -> None:
        self.waited.append((key, timeout_s))
        self.finds(key)

    def put(self, identifier: str, what: Held | None = None) -> None:
        self.held[key_of(identifier)] = what or held()
        self.answers[key_of(identifier)] = "held"

    def look(self, key: str) -> str:
        self.asked.append(key)
        return self.answers.get(key, "absent")

    def pin(self, key: str) -> Held | None:
        if key in self.held:
            self.pins[key] += 1
        return self.held.get(key)

    def unpin(self, key: str, loaded: bool = True) -> None:
        assert self.pins[key] > 0
        self.pins[key] -= 1
        self.loaded[key] += loaded

    def forget(self, key: str) -> None:
        del self.held[key]
        self.answers[key] = "absent"

    def saved(self, key: str) -> None:
        self.told_saved.append(key)

    @property
    def pinned(self) -> int:
        return sum(self.pins.values())


@dataclass
class Place:
    offset: int
    length: int

    def get_num_embeds(self) -> int:
        return self.length


@dataclass
class Feature:
    identifier: str
    mm_position: Place


@dataclass
class Asked:
    request_id: str
    mm_features: list[Feature]
    num_computed_tokens: int = 0


@dataclass
class Output:
    free_encoder_mm_hashes: list[str] = field(default_factory=list)
    num_scheduled_tokens: dict[str, int] = field(default_factory=dict)

    @property
    def total_num_scheduled_tokens(self) -> int:
        return sum(self.num_scheduled_tokens.values())


def ask(name: str, *identifiers: str, rows: int = ROWS) -> Asked:
    return Asked(name, [Feature(each, Place(10 * n, rows)) for n, each in enumerate(identifiers)])


class Scene:
    def __init__(self, workers: int = 1, window_tokens: int = 1000) -> None:
        self.found = Found()
        looked_up: Any = self.found
        self.now = 0.0
        self.scheduling = Scheduling(looked_up, SETUP, workers, "bfloat16", window_tokens, WAIT_S, lambda: self.now)

    def open(self) -> "Scene":
        """Past the step that sets workers up."""
        first = self.step(Output(num_scheduled_tokens={"text": 1}))
        self.scheduling.told(StepReport(first.step, 1))
        return self

    def step(self, output: Output | None = None) -> StepOrders:
        return self.scheduling.orders(output or Output(num_scheduled_tokens={"a": 5}))

    def schedule(self, request: Asked) -> list[bool]:
        """As vLLM does what it can for one request: what has_item said of each of its pictures."""
        assert self.scheduling.ensure_available(request, 0)
        promised = [self.scheduling.has_item(each.identifier) for each in request.mm_features]
        for feature in request.mm_features:
            self.scheduling.allocated(feature.identifier)
        return promised

    def lookups(self) -> dict[str, int]:
        stats = self.scheduling.tally.take({})
        counts = stats.data["counts"] if stats else {}
        return {name: number for name, number in counts.items() if name.startswith("lookups|")}


@pytest.fixture
def scene() -> Scene:
    return Scene().open()


@pytest.fixture
def idle(scene: Scene) -> Scene:
    """Nobody has tokens coming."""
    scene.step(Output())
    return scene


def test_what_is_held_is_promised_and_ordered_in_the_step_that_allocates_it(scene: Scene) -> None:
    scene.found.put("cat")
    assert scene.schedule(ask("a", "cat", "dog")) == [True, False]
    orders = scene.step()
    assert [load.identifier for load in orders.loads] == ["cat"]
    assert scene.lookups() == {"lookups|hit_disk": 1, "lookups|miss": 1}


def test_what_was_promised_stays_pinned_until_the_workers_have_run_its_step(scene: Scene) -> None:
    scene.found.put("cat")
    scene.schedule(ask("a", "cat"))
    orders = scene.step()
    assert scene.found.pinned == 1
    scene.scheduling.told(StepReport(orders.step - 1, 1))
    assert scene.found.pinned == 1
    scene.scheduling.told(StepReport(orders.step, 1))
    assert scene.found.pinned == 0
    assert scene.found.loaded == {key_of("cat"): 1}


def test_a_later_step_s_report_tells_of_the_earlier_ones_too(scene: Scene) -> None:
    for name in ("cat", "dog"):
        scene.found.put(name)
        scene.schedule(ask(name, name))
        last = scene.step()
    scene.scheduling.told(StepReport(last.step, 1))
    assert scene.found.pinned == 0


def test_a_promise_of_which_no_use_was_made_is_over_with_its_step(scene: Scene) -> None:
    scene.found.put("cat")
    request = ask("a", "cat")
    assert scene.scheduling.ensure_available(request, 0)
    assert scene.scheduling.has_item("cat")  # and then vLLM finds no room for the request's tokens
    assert scene.step() is NOTHING
    assert scene.found.pinned == 0
    assert not scene.found.loaded[key_of("cat")]
    assert scene.schedule(request) == [True]


def test_one_picture_of_two_requests_in_a_step_is_ordered_once(scene: Scene) -> None:
    scene.found.put("cat")
    scene.schedule(ask("a", "cat"))
    assert scene.scheduling.ensure_available(ask("b", "cat"), 0)  # vLLM has it by now, and asks no more
    assert [load.identifier for load in scene.step().loads] == ["cat"]
    assert scene.found.pinned == 1


def test_what_is_given_up_and_allocated_again_within_a_step_is_ordered_and_pinned_once(scene: Scene) -> None:
    scene.found.put("cat")
    scene.schedule(ask("a", "cat"))
    scene.schedule(ask("b", "cat"))
    orders = scene.step()
    assert [load.identifier for load in orders.loads] == ["cat"]
    scene.scheduling.told(StepReport(orders.step, 1))
    assert scene.found.pinned == 0


def test_what_vllm_frees_in_the_step_that_would_load_it_is_not_loaded(scene: Scene) -> None:
    scene.found.put("cat")
    scene.schedule(ask("a", "cat"))
    orders = scene.step(Output(free_encoder_mm_hashes=["cat"], num_scheduled_tokens={"b": 1}))
    assert not orders.loads
    assert scene.found.pinned == 0


def test_orders_of_a_step_that_runs_nothing_are_given_with_the_next(scene: Scene) -> None:
    scene.found.put("cat")
    scene.schedule(ask("a", "cat"))
    assert scene.step(Output()) is NOTHING
    assert [load.identifier for load in scene.step().loads] == ["cat"]


def test_a_request_waits_while_its_picture_is_looked_for(scene: Scene) -> None:
    request = ask("a", "cat")
    scene.found.answers[key_of("cat")] = "looking"
    assert not scene.scheduling.ensure_available(request, 0)
    scene.found.answers[key_of("cat")] = "absent"
    assert scene.scheduling.ensure_available(request, 0)


def test_a_request_whose_look_ups_never_end_waits_no_longer_than_one(scene: Scene) -> None:
    request = ask("a", "cat")
    scene.found.answers[key_of("cat")] = "looking"
    assert not scene.scheduling.ensure_available(request, 0)
    scene.now += WAIT_S - 0.01
    assert not scene.scheduling.ensure_available(request, 0)
    scene.now += 0.01
    assert scene.scheduling.ensure_available(request, 0)
    assert scene.scheduling.ensure_available(request, 0)


def test_a_request_that_got_further_may_wait_for_its_next_pictures(scene: Scene) -> None:
    request = ask("a", "cat", "dog")
    scene.found.answers = {key_of("cat"): "looking", key_of("dog"): "looking"}
    scene.scheduling.ensure_available(request, 0)
    scene.now += WAIT_S
    assert scene.scheduling.ensure_available(request, 0)
    assert not scene.scheduling.ensure_available(request, 4)
    scene.now += WAIT_S
    assert scene.scheduling.ensure_available(request, 4)
    scene.scheduling.finished(request)
    assert not scene.scheduling._waits


def test_a_look_up_that_is_over_in_a_moment_costs_no_step(idle: Scene) -> None:
    idle.found.answers[key_of("cat")] = "looking"
    idle.found.finds = lambda key: idle.found.put("cat")
    assert idle.schedule(ask("a", "cat")) == [True]
    assert idle.found.waited == [(key_of("cat"), PATIENCE_S)]
    assert len(idle.step().loads) == 1


def test_who_has_tokens_coming_is_not_held_up_by_another_s_look_up(idle: Scene) -> None:
    idle.found.answers[key_of("cat")] = "looking"
    idle.step(Output(num_scheduled_tokens={"text": 1}))
    assert not idle.scheduling.ensure_available(ask("a", "cat"), 0)
    assert idle.found.waited == []
    idle.scheduling.finished(ask("text"))
    assert not idle.scheduling.ensure_available(ask("a", "cat"), 0)
    assert len(idle.found.waited) == 1


def test_all_that_wait_in_a_step_hold_it_up_no_longer_than_one_may(idle: Scene) -> None:
    for name in ("cat", "dog", "cow"):
        idle.found.answers[key_of(name)] = "looking"

    def takes_most_of_it(key: str) -> None:
        idle.now += 0.6 * PATIENCE_S

    idle.found.finds = takes_most_of_it
    for name in ("cat", "dog", "cow"):
        assert not idle.scheduling.ensure_available(ask(name, name), 0)
    assert [key for key, _ in idle.found.waited] == [key_of("cat"), key_of("dog")]
    assert idle.found.waited[1][1] == pytest.approx(0.4 * PATIENCE_S)
    idle.step(Output())
    assert not idle.scheduling.ensure_available(ask("cow", "cow"), 0)
    assert len(idle.found.waited) == 3


def test_what_vllm_has_in_its_own_memory_is_not_looked_for(scene: Scene) -> None:
    scene.schedule(ask("a", "cat"))
    scene.step()
    scene.found.asked.clear()
    assert scene.scheduling.ensure_available(ask("b", "cat"), 0)
    assert scene.found.asked == []
    scene.step(Output(free_encoder_mm_hashes=["cat"], num_scheduled_tokens={"b": 1}))
    scene.scheduling.ensure_available(ask("c", "cat"), 0)
    assert scene.found.asked == [key_of("cat")]


def test_pictures_behind_what_is_computed_or_beyond_the_next_step_are_not_looked_for() -> None:
    scene = Scene(window_tokens=10).open()
    scene.scheduling.ensure_available(ask("a", "done", "next", "later"), 5)
    assert scene.found.asked == [key_of("next")]


@pytest.mark.parametrize("wrong", [held(rows=ROWS + 1), held(dtype="float16")])
def test_an_entry_of_another_size_or_dtype_is_not_promised(scene: Scene, wrong: Held) -> None:
    scene.found.put("cat", wrong)
    assert scene.schedule(ask("a", "cat")) == [False]
    assert not scene.step().loads
    assert scene.found.pinned == 0
    assert not scene.found.held  # the one that is encoded now can be found instead


def test_only_what_is_kept_as_this_engine_keeps_it_is_promised(scene: Scene) -> None:
    """What another engine has rounded is not what this one sees."""
    scene.found.put("cat", replace(held(), encoding="fp8-row"))
    assert scene.schedule(ask("a", "cat")) == [False]


def test_a_later_answer_takes_the_place_of_an_earlier_promise(scene: Scene) -> None:
    """Two requests whose clients call pictures of two sizes by one name: the second's is encoded."""
    scene.found.put("cat")
    scene.scheduling.ensure_available(ask("a", "cat"), 0)
    assert scene.scheduling.has_item("cat")
    assert scene.schedule(ask("b", "cat", rows=ROWS + 3)) == [False]
    assert not scene.step().loads
    assert scene.found.pinned == 0


def test_nothing_is_promised_before_all_workers_are_ready() -> None:
    scene = Scene(workers=2)
    scene.found.put("cat")
    assert scene.schedule(ask("a", "cat")) == [False]
    assert scene.found.asked == []
    orders = scene.step()
    assert orders.setup == SETUP
    scene.scheduling.told(StepReport(orders.step, 1).aggregate(StepReport(orders.step, 1)))
    scene.step(Output(free_encoder_mm_hashes=["cat"], num_scheduled_tokens={"a": 1}))
    assert scene.schedule(ask("b", "cat")) == [True]
    assert scene.step().setup is None


def test_workers_that_do_not_share_the_memory_turn_the_cache_off() -> None:
    scene = Scene(workers=2)
    orders = scene.step()
    scene.scheduling.told(StepReport(orders.step, 1))
    assert not scene.scheduling.is_on
    scene.found.put("cat")
    assert scene.schedule(ask("a", "cat")) == [False]
    assert scene.step().setup is None


def test_a_step_without_pictures_orders_and_sends_nothing(scene: Scene) -> None:
    assert scene.step() is NOTHING


def test_who_needs_what_a_worker_could_not_load_is_failed_and_others_are_not(scene: Scene) -> None:
    scene.found.put("cat")
    one, other = ask("a", "cat"), ask("b", "dog")
    scene.schedule(one)
    scene.schedule(other)
    orders = scene.step()
    scene.scheduling.told(StepReport(orders.step, 1, failed=["cat"], off="broken"))
    assert scene.scheduling.take_unavailable() == {"a"}
    assert scene.scheduling.take_unavailable() == set()
    assert not scene.scheduling.is_on


def test_what_could_not_be_loaded_fails_later_requests_only_while_vllm_holds_it(scene: Scene) -> None:
    scene.found.put("cat")
    scene.schedule(ask("a", "cat"))
    orders = scene.step()
    scene.scheduling.told(StepReport(orders.step, 1, failed=["cat"], off="broken"))
    scene.scheduling.finished(ask("a", "cat"))
    scene.scheduling.ensure_available(ask("b", "cat"), 0)
    assert scene.scheduling.take_unavailable() == {"b"}
    scene.scheduling.finished(ask("b", "cat"))
    scene.scheduling.ensure_available(ask("c", "cat"), 0)
    assert not scene.scheduling.has_item("cat")  # vLLM asks: it has it no more, and encodes it
    assert scene.scheduling.take_unavailable() == set()


def test_saved_pictures_are_made_known_to_the_look_ups(scene: Scene) -> None:
    scene.scheduling.told(StepReport(0, saved=["key"]))
    assert scene.found.told_saved == ["key"]


def test_nothing_is_kept_of_requests_that_are_over(scene: Scene) -> None:
    for n in range(50):
        request = ask(f"r{n}", f"p{n}")
        scene.schedule(request)
        scene.step(Output([f"p{n}"], {f"r{n}": 1}))
        scene.scheduling.finished(request)
    kept = ("_refusals", "_resident", "_orders", "_in_flight", "_promised", "_waits")
    assert {name: len(getattr(scene.scheduling, name)) for name in kept} == dict.fromkeys(kept, 0)
