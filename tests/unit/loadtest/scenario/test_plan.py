"""What is planned is what was asked for: exactly where it can be, by a statistical bound elsewhere.

Seeds are fixed, so that a bound that holds holds always.
"""

import hashlib
import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from loadtest.scenario.document import Scenario, ScenarioError
from loadtest.scenario.plan import PlannedConversation, make_plan
from loadtest.scenario.reading import bundled_names, read_scenario

CLOSED = {"kind": "closed", "concurrency": 2}
UNLIKELY = 0.001


def scenario(**fields: Any) -> Scenario:
    given: dict[str, Any] = {"name": "test", "arrival": CLOSED, **fields}
    if "duration_s" not in fields:
        given.setdefault("requests", 20)
    return Scenario.model_validate(given)


def planned(seed: int = 1, **fields: Any) -> list[PlannedConversation]:
    return list(make_plan(scenario(**fields), seed))


def shown(plan: list[PlannedConversation]) -> list[int]:
    return [picture.number for each in plan for turn in each.turns for picture in turn.pictures]


def gaps(plan: list[PlannedConversation]) -> list[float]:
    times = [0.0, *(each.at_s or 0.0 for each in plan)]
    return [later - earlier for earlier, later in itertools.pairwise(times)]


@pytest.mark.parametrize("name", bundled_names())
def test_a_bundled_scenario_is_planned_the_same_for_the_same_seed_only(name: str) -> None:
    read, _ = read_scenario(name)
    first, again, other = (list(itertools.islice(make_plan(read, seed), 200)) for seed in (7, 7, 8))
    assert first == again
    assert first != other
    assert read.name == name


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("catalogue", "2a2366465e81ce14"),
        ("noisy-neighbour", "b2c2ca8b51fafcb8"),
        ("surveillance", "8febfa1cfcd020a9"),
    ],
)
def test_a_plan_stays_as_it_was_so_that_runs_of_other_versions_compare_in_pairs(name: str, digest: str) -> None:
    """Where a plan must change, so must the scenario's text, by which `compare` knows pairs."""
    read, _ = read_scenario(name)
    found = hashlib.sha256()
    for each in itertools.islice(make_plan(read, 7), 100):
        asked = [(turn.text, turn.answer_tokens, turn.pictures) for turn in each.turns]
        found.update(repr((each.tenant.name, round(each.at_s or 0, 6), asked)).encode())
    assert found.hexdigest()[:16] == digest


def test_all_eight_scenarios_are_bundled() -> None:
    assert set(bundled_names()) == {
        "catalogue", "receipts", "surveillance", "inspection-drone", "multi-turn-inspector", "storm",
        "noisy-neighbour", "thumbnails",
    }  # fmt: skip


@pytest.mark.parametrize("skew", [0.0, 0.7, 1.0, 1.4])
def test_pictures_come_back_by_zipfs_law(skew: float) -> None:
    size, draws = 50, 20_000
    pictures = {"catalogue": size, "reuse": {"kind": "zipf", "skew": skew}}
    counted = Counter(shown(planned(requests=draws, pictures=pictures)))
    weights = [rank**-skew for rank in range(1, size + 1)]
    expected = [draws * weight / sum(weights) for weight in weights]
    assert stats.chisquare([counted[number] for number in range(size)], expected).pvalue > UNLIKELY


def test_a_skew_that_was_not_asked_for_would_be_noticed() -> None:
    pictures = {"catalogue": 50, "reuse": {"kind": "zipf", "skew": 1.0}}
    counted = Counter(shown(planned(requests=20_000, pictures=pictures)))
    weights = [rank**-1.1 for rank in range(1, 51)]
    expected = [20_000 * weight / sum(weights) for weight in weights]
    assert stats.chisquare([counted[number] for number in range(50)], expected).pvalue < UNLIKELY


@pytest.mark.parametrize("share", [0.0, 0.2, 0.9, 1.0])
def test_the_asked_share_of_pictures_was_shown_before(share: float) -> None:
    numbers = shown(planned(requests=5000, pictures={"reuse": {"kind": "ratio", "share": share}}))
    again = len(numbers) - len(set(numbers))
    low, high = stats.binom.interval(1 - UNLIKELY, len(numbers) - 1, share)
    assert low <= again <= high


def test_only_the_latest_new_pictures_come_back() -> None:
    reuse = {"kind": "ratio", "share": 0.8}
    newest = 0
    for number in shown(planned(requests=3000, pictures={"catalogue": 10, "reuse": reuse})):
        assert newest - 10 < number <= newest + 1
        newest = max(newest, number)


def test_unique_pictures_are_shown_once() -> None:
    numbers = shown(planned(requests=500, pictures={"per_request": [{"count": 3}]}))
    assert len(numbers) == len(set(numbers)) == 1500


def test_a_picture_that_comes_back_has_its_size_and_format() -> None:
    pictures = {
        "catalogue": 20,
        "reuse": {"kind": "zipf", "skew": 0.5},
        "sizes": [{"width": 64, "height": 48}, {"width": 32, "height": 32}],
        "formats": [{"format": "png"}, {"format": "jpeg"}],
    }
    plan = planned(requests=400, pictures=pictures)
    met = {picture for each in plan for turn in each.turns for picture in turn.pictures}
    assert len(met) == 20
    assert {(p.width, p.format) for p in met} == {(64, "png"), (64, "jpeg"), (32, "png"), (32, "jpeg")}


def test_independent_callers_come_at_exponential_gaps() -> None:
    plan = planned(arrival={"kind": "poisson", "rate": 4}, requests=4000)
    assert stats.kstest(gaps(plan), stats.expon(scale=1 / 4).cdf).pvalue > UNLIKELY


def test_a_burst_has_its_own_rate() -> None:
    arrival = {"kind": "bursts", "rate": 2, "burst_rate": 20, "every_s": 10, "for_s": 2}
    times = [each.at_s or 0.0 for each in planned(arrival=arrival, duration_s=1000)]
    assert times == sorted(times)
    bursting = sum(at_s % 10 >= 8 for at_s in times)
    for count, mean in ((bursting, 20 * 200), (len(times) - bursting, 2 * 800)):
        low, high = stats.poisson.interval(1 - UNLIKELY, mean)
        assert low <= count <= high


def test_nothing_is_due_after_the_duration() -> None:
    plan = planned(arrival={"kind": "poisson", "rate": 50}, duration_s=4)
    assert 100 < len(plan) < 300
    assert all(each.at_s is not None and each.at_s < 4 for each in plan)


def test_a_closed_loop_of_a_duration_has_always_one_more() -> None:
    plan = make_plan(scenario(duration_s=1), 1)
    assert [each.at_s for each in itertools.islice(plan, 500)] == [None] * 500


def test_conversations_are_cut_where_the_requests_are_all_planned() -> None:
    plan = planned(requests=10, conversations={"turns": 4}, warm_up_requests=4)
    assert [len(each.turns) for each in plan] == [4, 4, 2]
    turns = [turn for each in plan for turn in each.turns]
    assert [turn.number for turn in turns] == list(range(10))
    assert [turn.warm_up for turn in turns] == [True] * 4 + [False] * 6
    assert [len(turn.pictures) for turn in turns] == [1, 0, 0, 0] * 2 + [1, 0]


def test_each_turn_may_bring_a_picture_of_its_own() -> None:
    plan = planned(requests=8, conversations={"turns": 4, "same_picture": False})
    assert [len(turn.pictures) for each in plan for turn in each.turns] == [1] * 8


def test_tenants_share_by_weight_and_one_may_come_on_its_own() -> None:
    tenants = [
        {"name": "a", "weight": 3},
        {"name": "b"},
        {"name": "noisy", "arrival": {"kind": "poisson", "rate": 30}},
    ]
    plan = planned(arrival={"kind": "poisson", "rate": 10}, duration_s=200, tenants=tenants)
    counted = Counter(each.tenant.name for each in plan)
    expected = [1500, 500, 6000]
    assert all(abs(counted[name] - mean) < 4 * mean**0.5 for name, mean in zip("ab", expected[:2], strict=True))
    assert abs(counted["noisy"] - 6000) < 4 * 6000**0.5
    times = [each.at_s or 0.0 for each in plan]
    assert times == sorted(times)


def test_lengths_are_spread_and_cut_as_asked() -> None:
    text = {
        "prompt_tokens": {"mean": 50, "spread": 10, "least": 30, "most": 60},
        "answer_tokens": {"mean": 7},
        "shared_prefix_tokens": 12,
    }
    turns = [turn for each in planned(requests=500, text=text) for turn in each.turns]
    lengths = [len(turn.text.split()) - 12 for turn in turns]
    assert (min(lengths), max(lengths)) == (30, 60)
    assert 45 < sum(lengths) / len(lengths) < 55
    assert {turn.answer_tokens for turn in turns} == {7}
    assert len({tuple(turn.text.split()[:12]) for turn in turns}) == 1
    assert len({turn.text for turn in turns}) == len(turns)


def test_a_trace_is_asked_again_as_it_was(tmp_path: Path) -> None:
    lines = [
        '{"at_s": 1, "pictures": [5, 2], "prompt_tokens": 4, "answer_tokens": 9}',
        '{"at_s": 3, "tenant": "b"}',
    ]
    (tmp_path / "then.jsonl").write_text("\n".join(lines))
    (tmp_path / "replayed.yaml").write_text(
        "name: replayed\narrival: {kind: trace, file: then.jsonl, speed: 2}\ntenants: [{name: a}, {name: b}]\n"
    )
    read, _ = read_scenario(str(tmp_path / "replayed.yaml"))
    first, second = make_plan(read, 1)
    assert (first.at_s, second.at_s, second.tenant.name) == (0.5, 1.5, "b")
    assert [picture.number for picture in first.turns[0].pictures] == [5, 2]
    assert (len(first.turns[0].text.split()), first.turns[0].answer_tokens) == (4, 9)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{}", "line 2: at_s: Field required"),
        ("nothing", "line 2: the text: Invalid JSON"),
        ('{"at_s": 0}', "line 2: at_s is earlier than the line before"),
    ],
)
def test_a_broken_trace_is_told_by_its_line(tmp_path: Path, line: str, says: str) -> None:
    (tmp_path / "t.jsonl").write_text('{"at_s": 1}\n' + line)
    given = scenario(arrival={"kind": "trace", "file": tmp_path / "t.jsonl"}, requests=None)
    with pytest.raises(ScenarioError, match=says):
        list(make_plan(given, 1))
