"""The soak: its line, what it calls flat, what its visits are, and what its page says of them."""

import io
import json
import random
from dataclasses import asdict, replace

import pytest
from PIL import Image

from loadtest.soak.line import grown
from loadtest.soak.mix import ANSWERED, KEYS, KINDS, Mix, draw_picture
from loadtest.soak.page import make_page, make_plot
from loadtest.soak.result import MOST_MB, Result, Sample, Watched, Window, growth_of, none_stayed_open
from loadtest.soak.tally import MOST_KEPT, WINDOW_S, Tally

LASTED_S = 1800.0


def sample(at_s: float, rss_mb: float, files: int = 10, sockets: int = 3) -> Sample:
    return Sample(at_s, rss_mb, rss_mb / 2, files, sockets, 5)


def watched(
    per_s: float = 0.0, warm_up_mb: float = 0.0, leak_every_s: float = 0.0, name: str = "gateway"
) -> Watched:
    """Grows by `warm_up_mb` at first, then by `per_s`, and opens a file every `leak_every_s`."""
    rng = random.Random(1)
    samples = []
    for at_s in range(10, int(LASTED_S), 10):
        mb = 100 + min(1.0, at_s / 500) * warm_up_mb + per_s * at_s + rng.gauss(0, 0.3)
        files = 10 + (int(at_s / leak_every_s) if leak_every_s else 0)
        samples.append(sample(at_s, mb, files, rng.randrange(3, 9)))
    return Watched(name, True, samples, sample(0, 100), sample(0, 100))


def result(*processes: Watched) -> Result:
    windows = [Window(60.0 * number, {"text": {ANSWERED: 5}}, [20.0, 40.0], [90.0, 120.0]) for number in range(30)]
    made = Result("2026-11-23", "here", {"fovea": "0.1.0"}, "command", 10.0, 8.0, LASTED_S)
    made.watched, made.windows = list(processes), windows
    made.sizes_at_s, made.sizes = [10.0, 20.0, 30.0], {"fovea_encoder_cache_bytes host": [1.0, 5.0, 5.0]}
    return made


def verdicts(made: Result) -> list[str]:
    rows = make_page(made).split("| --- | --- | --- |\n")[1].split("\n\n")[0].splitlines()
    return [line.split(" | ")[-1].strip(" |") for line in rows]


def test_a_line_is_not_bent_by_peaks() -> None:
    at_s = [float(place) for place in range(120)]
    values = [5 + 0.5 * at + (500 if place % 10 == 0 else 0) for place, at in enumerate(at_s)]
    found = grown(at_s, values, over_s=100)
    assert found.value == pytest.approx(50, rel=0.05)
    assert found.low <= found.value <= found.high


def test_what_was_never_told_apart_is_not_called_flat() -> None:
    seen = growth_of(Watched("gateway", True, [sample(1000, 100)]), LASTED_S)
    assert not seen.memory_is_flat
    assert not seen.files_are_flat


@pytest.mark.parametrize(
    ("process", "memory", "files"),
    [
        (watched(), True, True),
        (watched(warm_up_mb=60), True, True),
        (watched(per_s=2 * MOST_MB / 1200), False, True),
        (watched(leak_every_s=100), True, False),
    ],
)
def test_only_what_grows_after_the_warm_up_grows(process: Watched, memory: bool, files: bool) -> None:
    growth = growth_of(process, LASTED_S)
    assert (growth.memory_is_flat, growth.files_are_flat) == (memory, files)


def test_at_rest_less_may_be_open_and_never_more() -> None:
    process = watched()
    process.rest_after = sample(0, 100, sockets=2)
    assert none_stayed_open(process)
    process.rest_after = sample(0, 100, sockets=4)
    assert not none_stayed_open(process)
    process.rest_after = None
    assert not none_stayed_open(process)


def test_the_page_says_which_was_missed() -> None:
    assert verdicts(result(watched())) == ["met"] * 6
    assert verdicts(result(watched(per_s=0.01))) == ["missed", *["met"] * 5]
    assert verdicts(result(watched(leak_every_s=100))) == ["met", "missed", *["met"] * 4]
    left_open = replace_rest(watched())
    assert verdicts(result(left_open)) == ["met", "met", "missed", "met", "met", "met"]
    changed = result(watched())
    changed.changed, changed.unexpected = ["gateway ended"], {"text: timeout": 1}
    assert verdicts(changed) == [*["met"] * 3, "missed", "met", "missed"]


def test_a_few_may_be_refused_for_want_of_room_and_no_more() -> None:
    made = result(watched())  # of 150 requests
    for refused, verdict in ((1, "met"), (2, "missed")):
        made.windows[0].counts["text"]["queue_full"] = refused
        assert verdicts(made) == [*["met"] * 4, verdict, "met"]


def replace_rest(process: Watched) -> Watched:
    return replace(process, rest_after=sample(0, 100, files=11))


def test_who_asks_is_seen_and_not_judged() -> None:
    driver = replace(watched(per_s=0.1, name="driver"), judged=False)
    made = result(watched(), driver)
    assert verdicts(made) == ["met"] * 6
    assert next(line for line in make_page(made).splitlines() if line.startswith("| driver")).endswith("| seen |")
    assert "driver" not in make_plot(made)


def test_page_and_raw_data_of_half_an_hour_are_small() -> None:
    made = result(*(watched(name=f"process {number}") for number in range(7)))
    assert make_page(made).count("\n| 25 | 25 |") == 1
    assert len(json.dumps(asdict(made))) < 200_000
    assert make_plot(made).startswith('<svg xmlns="http://www.w3.org/2000/svg"')


def test_the_same_seed_asks_the_same_and_every_kind_comes() -> None:
    first, second = (Mix(1, "http://127.0.0.1:1") for _ in range(2))
    visits = [first.draw() for _ in range(400)]
    assert visits == [second.draw() for _ in range(400)]
    assert {visit.kind for visit in visits} == {*KINDS}
    assert {ask.key for visit in visits for ask in visit.asks} > {*KEYS.values()}
    assert {len(visit.asks) for visit in visits if visit.kind == "conversation"} == {3}


def test_pictures_differ_and_are_pictures() -> None:
    assert len({draw_picture(number) for number in range(1_000_000, 1_000_300)}) == 300
    with Image.open(io.BytesIO(draw_picture(7))) as picture:
        picture.load()


def test_outcomes_that_no_request_asked_for_are_found() -> None:
    tally = Tally()
    for kind, outcome in (
        ("wrong JSON", "invalid_json"),
        ("wrong JSON", ANSWERED),
        ("over its limit", ANSWERED),
        ("text", "queue_full"),
    ):
        tally.note(1, kind, outcome, None, 0.1)
    assert tally.unexpected() == {f"wrong JSON: {ANSWERED}": 1}


def test_latencies_are_bounded_in_number_and_compared_by_thirds() -> None:
    tally = Tally()
    for at_s, took_s in ((1, 0.1), (WINDOW_S * 5 + 1, 0.2)):
        for _ in range(2 * MOST_KEPT):
            tally.note(at_s, "text", ANSWERED, took_s / 2, took_s)
    assert tally.ratios(6 * WINDOW_S) == pytest.approx({"ttft": 2.0, "e2e": 2.0})
    assert [window.ttft_ms for window in tally.windows()] == [[50.0, 50.0], [100.0, 100.0]]
    assert sum(len(kept.values) for kept in tally._e2e.values()) == 2 * MOST_KEPT
