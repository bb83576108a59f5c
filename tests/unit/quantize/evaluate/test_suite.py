import hashlib
import io

from PIL import Image

from quantize.evaluate.questions import SKILLS
from quantize.evaluate.scenes import LEVELS
from quantize.evaluate.score import mark
from quantize.evaluate.suite import VERSION, SightSuite, item


def test_every_skill_has_questions_at_every_level_that_its_own_answer_answers() -> None:
    suite = SightSuite(SKILLS, LEVELS, 4)
    assert len(suite.keys) == len(set(suite.keys)) == 4 * 6 * 3
    for key in suite.keys:
        each = suite.item(key)
        assert each.key == key == f"{each.skill}/{each.level}/{key.split('/')[2]}"
        assert Image.open(io.BytesIO(each.data)).format == each.media_type.removeprefix("image/").upper()
        assert mark(each.truth.value, each.truth).right, (each.text, each.truth)


def test_skills_take_turns_so_that_an_early_stop_leaves_all_of_them() -> None:
    suite = SightSuite(("count", "ocr"), ("easy", "hard"), 2)
    assert suite.keys[:5] == ["count/easy/0", "count/hard/0", "ocr/easy/0", "ocr/hard/0", "count/easy/1"]


def test_the_same_key_and_seed_is_the_same_question_and_another_seed_is_not() -> None:
    one, two = (item("ground", "medium", 3) for _ in range(2))
    assert one == two
    assert item("ground", "medium", 3, seed=1).data != one.data


def test_a_longer_run_begins_as_a_shorter_one() -> None:
    assert SightSuite(SKILLS, LEVELS, 5).keys[:18] == SightSuite(SKILLS, LEVELS, 1).keys


def test_a_change_of_questions_raises_the_version() -> None:
    """Texts and answers of version 1, pinned: whoever changes them raises VERSION and this digest."""
    suite = SightSuite(SKILLS, LEVELS, 5)
    asked = [(each.text, each.truth.value) for each in map(suite.item, suite.keys)]
    assert (VERSION, hashlib.sha256(repr(asked).encode()).hexdigest()[:16]) == (1, "eef16ceac9375575")
