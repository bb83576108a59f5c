import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantize.evaluate.questions import COLOUR_WORDS, SHAPE_WORDS, Truth
from quantize.evaluate.score import character_error_rate, intersection_over_union, last_word, mark

THREE = Truth("number", "3")
RED = Truth("choice", "red", (COLOUR_WORDS,))
LEFT = Truth("choice", "left", (("left", "right"),))
RED_STAR = Truth("choices", "red star", (COLOUR_WORDS, SHAPE_WORDS))
NUMBER = Truth("text", "4071")
PRICE = Truth("text", "23.95")
CODE = Truth("text", "GX-4821")
WORD = Truth("text", "HARBOR")
LETTER = Truth("text", "K")
POINT = Truth("point", "[500, 500]", box=(400, 400, 600, 600))
BOX = Truth("box", "[400, 400, 600, 600]", box=(400, 400, 600, 600))


@pytest.mark.parametrize(
    ("reply", "truth", "outcome"),
    [
        ("3", THREE, "right"),
        ("Three.", THREE, "right"),
        ("There are **3** objects.", THREE, "right"),
        ("<think>1, 2, maybe 4?</think>3", THREE, "right"),
        ("I see 2 stars and 1 ring. Answer: 3", THREE, "right"),
        ("I see 2 stars and 1 ring.", THREE, "several answers"),
        ("$\\boxed{3}$", THREE, "right"),
        ("13", THREE, "wrong"),
        ("3.0", THREE, "right"),
        ("3.7", THREE, "wrong"),
        ("a few", THREE, "no answer"),
        ("", THREE, "no answer"),
        ("I'm sorry, I can't see the image.", THREE, "refused"),
        ("red", RED, "right"),
        ("The star is RED.", RED, "right"),
        ("red or orange", RED, "several answers"),
        ("not red", RED, "no answer"),
        ("blue", RED, "wrong"),
        ("reddish", RED, "no answer"),
        ("Left", LEFT, "right"),
        ("It is to the left of it", LEFT, "right"),
        ("left, not right", LEFT, "right"),
        ("left right left right", LEFT, "several answers"),
        ("a red star", RED_STAR, "right"),
        ("red five-pointed star", RED_STAR, "right"),
        ("red ring", RED_STAR, "wrong"),
        ("star", RED_STAR, "no answer"),
        ("red star, blue ring", RED_STAR, "several answers"),
        ("red stars", RED_STAR, "right"),
        ("orange disc", Truth("choices", "orange circle", (COLOUR_WORDS, SHAPE_WORDS)), "right"),
        ("4071", NUMBER, "right"),
        ("The number is 4071.", NUMBER, "right"),
        ("4 0 7 1", NUMBER, "right"),
        ("4,071", NUMBER, "right"),
        ("40711", NUMBER, "wrong"),
        ("4071 4071 or 4017", NUMBER, "several answers"),
        ("$23.95", PRICE, "right"),
        ("The price of Milk is 23.95 EUR", PRICE, "right"),
        ("23.96", PRICE, "wrong"),
        ("2395", PRICE, "wrong"),
        ("GX-4821", CODE, "right"),
        ("gx 4821", CODE, "wrong"),
        ('It says "GX-4821".', CODE, "right"),
        ("The sign reads \u201cHarbor\u201d.", WORD, "right"),
        ("HARBOR", WORD, "right"),
        ("HARBOUR", WORD, "wrong"),
        ("K", LETTER, "right"),
        ("The letter is K.", LETTER, "right"),
        ("X", LETTER, "wrong"),
        ("I see a K.", LETTER, "right"),
        ("A", Truth("text", "A"), "right"),
        ("The letter is A.", Truth("text", "A"), "right"),
        ("A letter that I cannot read", Truth("text", "A"), "wrong"),
        ("Blue Ridge", Truth("text", "Blue Ridge"), "right"),
        ("blue  ridge.", Truth("text", "Blue Ridge"), "right"),
        ("Blue Ridge, USA", Truth("text", "Blue Ridge"), "wrong"),
        ("[500, 510]", POINT, "right"),
        ("(500, 399)", POINT, "wrong"),
        ('{"point_2d": [450, 550]}', POINT, "right"),
        ("x = 450, y = 550", POINT, "right"),
        ("[0.5, 0.5]", POINT, "wrong"),
        ("[450, 550], [10, 10], [20, 20]", POINT, "several answers"),
        ("[1450, 550]", POINT, "wrong"),
        ("middle", POINT, "no answer"),
        ("[400, 400, 600, 600]", BOX, "right"),
        ('```json\n[{"bbox_2d": [390, 410, 610, 580], "label": "red star"}]\n```', BOX, "right"),
        ("[0, 0, 100, 100]", BOX, "wrong"),
        ("[500, 500]", BOX, "wrong"),
    ],
)
def test_replies_are_marked(reply: str, truth: Truth, outcome: str) -> None:
    assert mark(reply, truth).outcome == outcome


def test_a_reply_that_was_cut_off_is_right_only_if_it_had_said_it() -> None:
    assert mark("There are many things here, among them", THREE, finished=False).outcome == "cut off"
    assert mark("3", THREE, finished=False).outcome == "right"


def test_text_has_an_error_rate_and_boxes_an_overlap() -> None:
    assert mark("4071", NUMBER).error == 0
    assert mark("4011", NUMBER).error == 0.25
    assert mark("", NUMBER).error == 1
    assert mark("[400, 400, 600, 500]", BOX).overlap == 0.5
    assert mark("none", BOX).overlap == 0
    assert mark("[500, 500]", POINT).overlap is None


def test_a_box_that_holds_the_centre_may_still_overlap_badly() -> None:
    whole = mark("[0, 0, 1000, 1000]", BOX)
    assert (whole.outcome, whole.overlap) == ("right", pytest.approx(0.04))


@pytest.mark.parametrize(
    ("said", "true", "rate"),
    [("abc", "abc", 0), ("ab", "abc", 1 / 3), ("xabc", "abc", 1 / 3), ("z" * 99, "abc", 1)],
)
def test_the_character_error_rate_is_levenshteins_distance_over_the_length(
    said: str, true: str, rate: float
) -> None:
    assert character_error_rate(said, true) == pytest.approx(rate)


def test_overlap_is_intersection_over_union() -> None:
    assert intersection_over_union((0, 0, 2, 2), (1, 1, 3, 3)) == pytest.approx(1 / 7)
    assert intersection_over_union((0, 0, 1, 1), (2, 2, 3, 3)) == 0
    assert intersection_over_union((0, 0, 0, 0), (0, 0, 0, 0)) == 0


def test_only_the_last_answer_counts() -> None:
    assert last_word("Answer: 2. Wait. Answer: 3") == "3"


@given(st.text(max_size=300), st.sampled_from([THREE, RED, RED_STAR, NUMBER, PRICE, CODE, POINT, BOX]))
def test_no_reply_breaks_the_marking(reply: str, truth: Truth) -> None:
    found = mark(reply, truth)
    assert found.error is None or 0 <= found.error <= 1
    assert found.overlap is None or 0 <= found.overlap <= 1
