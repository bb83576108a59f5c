"""The benchmark from end to end: who is asked what, what is made of it, and what its page says for and against."""

import json
from collections import Counter
from dataclasses import asdict

import pytest

from loadtest.bench_end_to_end import in_turns
from loadtest.end_to_end.asking import fresh_pictures, messages_of, order, target_of
from loadtest.end_to_end.engines import HELD, OPTIONS, TOKENS, count_encodes
from loadtest.end_to_end.page import HEADS, make_page, too_many
from loadtest.end_to_end.result import (
    COLD,
    DIRECT,
    IN_FRONT,
    NGINX,
    NO_AFFINITY,
    REPEATED,
    SUBJECTS,
    TWO,
    Block,
    Pair,
    Result,
    encodes_each,
    per_s,
    ratios,
    read_result,
)
from loadtest.end_to_end.subjects import AFFINITY, Subject
from loadtest.suite.claimed import of_end_to_end

# Seconds that twelve requests take, by subject, where a round is not slow.
TOOK_S = {DIRECT: 12.0, IN_FRONT: 12.0, NGINX: 6.0, NO_AFFINITY: 6.0, TWO: 3.0}
ENCODES = {DIRECT: 18, IN_FRONT: 18, NGINX: 12, NO_AFFINITY: 12, TWO: 3}


def block(subject: str, turn: int, kind: str, slower: float = 1.0) -> Block:
    took_s, encodes = slower * TOOK_S[subject], 12 if kind == COLD else ENCODES[subject]
    return Block(subject, turn, kind, 12, encodes, took_s, [took_s / 4] * 12, [took_s / 3] * 12)


def result(*subjects: str) -> Result:
    made = Result("2026-11-23", "here", {"Fovea": "0.1.0"}, "command", "vllm serve", 2, 4, 3, 128, HELD)
    made.blocks = [
        block(subject, turn, kind, slower=1 + 9 * turn)  # the second round met a slow machine
        for turn in range(2)
        for subject in subjects or SUBJECTS
        for kind in (COLD, REPEATED)
    ]
    made.pairs = [Pair(0.1, 0.1 + added / 1000) for added in (1.0, 2.0, 3.0, 4.0)]
    made.affinity = {"home": 90, "spilled": 10}
    return made


@pytest.mark.parametrize(("pictures", "held", "share"), [(2, 1, 0.5), (9, 6, 92 / 512), (9, 9, 0)])
def test_how_often_one_of_two_has_more_pictures_than_it_holds(pictures: int, held: int, share: float) -> None:
    assert too_many(pictures, held) == pytest.approx(share)


def test_new_pictures_come_once_and_all_of_them_again_as_often_as_said() -> None:
    cold, repeated = order(12, 3, seed=1)
    assert sorted(cold) == list(range(12))
    assert set(Counter(repeated).values()) == {3}
    assert all(sorted(repeated[at : at + 12]) == list(range(12)) for at in (0, 12, 24))
    assert order(12, 3, seed=1) == (cold, repeated) != order(12, 3, seed=2)


def test_every_place_has_pictures_of_its_own_and_no_two_requests_begin_alike() -> None:
    assert len({*fresh_pictures(12, 1), *fresh_pictures(12, 2)}) == 24
    assert fresh_pictures(2, 3) == fresh_pictures(2, 3)
    first, second = (json.dumps(messages_of("data:,", number)) for number in (1, 2))
    assert first.index("No. 1.") == second.index("No. 2.") < first.index("image_url")


def test_only_who_asks_for_a_key_is_given_one() -> None:
    assert not target_of(Subject(DIRECT, "http://127.0.0.1:1")).keys
    assert list(target_of(Subject(TWO, "http://127.0.0.1:1", "secret")).keys.values()) == ["secret"]


def test_an_engine_holds_fewer_pictures_than_are_asked_about_and_two_hold_more() -> None:
    assert OPTIONS[OPTIONS.index("--max-num-batched-tokens") + 1] == str(HELD * TOKENS)
    assert HELD < HELD * 3 // 2 <= 2 * HELD


def test_encodes_are_what_vllm_logs_of_its_steps() -> None:
    step = (
        "INFO 11-23 [loggers.py:202] Engine 000: Iteration(%d): 1 context requests, CPU KV cache usage: 0.1%%%s\n"
    )
    log = step % (1, ", encoder inputs: 2, encoder output embeddings: 32") + step % (2, "")
    assert count_encodes(log + step % (3, ", encoder inputs: 11, encoder output embeddings: 176")) == 13


def test_each_round_begins_with_another_subject_and_asks_all() -> None:
    subjects = [Subject(name, "") for name in SUBJECTS]
    rounds = [[each.name for each in in_turns(subjects, turn)] for turn in range(3)]
    assert [names[0] for names in rounds] == list(SUBJECTS[:3])
    assert all(sorted(names) == sorted(SUBJECTS) for names in rounds)


def test_ratios_are_within_a_round() -> None:
    made = result()
    assert ratios(made, TWO, DIRECT, REPEATED, per_s) == [pytest.approx(4), pytest.approx(4)]
    assert ratios(made, TWO, NGINX, REPEATED, encodes_each) == [0.25, 0.25]
    made.blocks = [each for each in made.blocks if each.subject != DIRECT or each.round]
    assert ratios(made, TWO, DIRECT, REPEATED, per_s) == [pytest.approx(4)]


def test_the_page_has_a_row_for_each_subject_and_says_what_affinity_gives_and_costs() -> None:
    page = make_page(result())
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert len([line for line in rows if line.startswith(f"| {TWO} |")]) == 2
    assert all(line.count("|") == len(HEADS) + 1 for line in rows)
    assert "repeated pictures**: 4.00 (4.00-4.00) x the requests/s" in page
    assert "with 0.25 encodes a picture for 1.00" in page
    assert "with 1.50 encodes a picture for 1.50" in page
    assert "+2.5 ms later than the 100 ms" in page
    assert "90% went where their picture belongs" in page
    assert "SKIPPED" not in page


def test_a_page_without_nginx_says_so_and_compares_with_what_there_is() -> None:
    made = result(DIRECT, IN_FRONT, NO_AFFINITY, TWO)
    page = make_page(made)
    assert "SKIPPED: nginx" in page
    assert "| nginx" not in page
    assert f"in turn ({NO_AFFINITY})" in next(of_end_to_end(json.dumps(asdict(made))))


def test_claims_are_medians_of_ratios_within_rounds() -> None:
    affinity, alone = of_end_to_end(json.dumps(asdict(result())))
    assert (
        ": 2.00 x (2.00 to 2.00 by round) the requests/s through Fovea that they have in turn (nginx before two)"
        in affinity
    )
    assert ": 1.00 x (1.00 to 1.00 by round) the requests/s through Fovea that it has directly" in alone


def test_a_result_is_read_as_it_was_written() -> None:
    assert read_result(json.dumps(asdict(result()))) == result()


def test_where_requests_went_is_read_from_the_gateways_metrics() -> None:
    page = (
        '# TYPE fovea_affinity counter\nfovea_affinity_total{outcome="home"} 7.0\n'
        'fovea_affinity_total{outcome="none",worker="1"} 0.0\n'
    )
    assert AFFINITY.findall(page) == [("home", "7.0"), ("none", "0.0")]
