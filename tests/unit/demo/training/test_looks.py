"""Where attention is taught to look; which tokens that means is tested with the training (it needs torch)."""

import random

import pytest

from demo.training.curriculum import DESCRIBE, Lesson, describe, draw_lesson_scene, lessons
from demo.training.looks import Head, Look, looks
from quantize.evaluate.drawing import Thing
from quantize.evaluate.scenes import Scene, draw_grid, draw_number, draw_scattered


def only(found: list[Look], head: Head) -> list[Look]:
    return [look for look in found if look.head is head]


@pytest.fixture
def scene() -> Scene:
    things = (
        Thing("circle", "red", 20, 30, 9, 0),
        Thing("square", "blue", 70, 20, 9, 0),
        Thing("square", "red", 50, 80, 9, 0),
    )
    drawn = draw_scattered(random.Random(1), size=(96, 96), count=3)
    return Scene(drawn.image, things=things)


def test_a_comparison_looks_at_both_names_and_each_name_at_its_thing(scene: Scene) -> None:
    asked = "Is the red circle left or right of the blue square? Reply with one word."
    found = looks(scene, Lesson(asked, "left"))
    assert [(asked[: look.character + 1], look.points) for look in only(found, Head.NAMED)] == [
        ("Is the red circle", ((20, 30),)),
        ("Is the red circle left or right of the blue square", ((70, 20),)),
    ]
    assert {asked[: (look.word or 0) + 1] for look in only(found, Head.FIRST)} == {"Is the red circle"}
    assert {asked[: (look.word or 0) + 1] for look in only(found, Head.SECOND)} == {
        "Is the red circle left or right of the blue square"
    }
    assert only(found, Head.SEEN) == []


@pytest.mark.parametrize(
    ("asked", "answer", "clue", "points"),
    [
        ("What colour is the circle?", "red", "circle", ((20, 30),)),
        ("Which color is the circle?", "red", "circle", ((20, 30),)),
        ("What shape is the blue object?", "square", "blue", ((70, 20),)),
        ("What is the leftmost object?", "red circle", "leftmost", ((20, 30),)),
        ("What is the rightmost object?", "blue square", "rightmost", ((70, 20),)),
        ("What is the topmost object?", "blue square", "topmost", ((70, 20),)),
        ("What is the lowest object?", "red square", "lowest", ((50, 80),)),
        ("Point to the red square.", "[520, 830]", "red square", ((50, 80),)),
        ("Where is the red square?", "[430, 740, 610, 930]", "red square", ((50, 80),)),
    ],
)
def test_an_answer_about_one_thing_looks_at_it_and_at_the_word_that_picks_it(
    scene: Scene, asked: str, answer: str, clue: str, points: tuple[tuple[float, float], ...]
) -> None:
    found = looks(scene, Lesson(asked, answer))
    seen, hints = only(found, Head.SEEN), only(found, Head.CLUE)
    assert [look.character for look in seen] == [look.character for look in hints] == list(range(len(answer)))
    assert {look.points for look in seen} == {points}
    assert {asked[: (look.word or 0) + 1].endswith(clue) for look in hints} == {True}


@pytest.mark.parametrize(
    ("asked", "answer", "points"),
    [
        ("How many squares are there?", "2", ((70, 20), (50, 80))),
        ("How many red objects are there?", "2", ((20, 30), (50, 80))),
        ("How many crosses are there?", "0", ()),
        ("How many objects are there?", "3", ((20, 30), (70, 20), (50, 80))),
        ("How many shapes are there?", "3", ((20, 30), (70, 20), (50, 80))),
        ("Count the objects.", "3", ((20, 30), (70, 20), (50, 80))),
    ],
)
def test_a_count_looks_at_all_that_it_counts(
    scene: Scene, asked: str, answer: str, points: tuple[tuple[float, float], ...]
) -> None:
    (look,) = only(looks(scene, Lesson(asked, answer)), Head.COUNTED)
    assert (look.character, look.points) == (0, points)


def test_what_is_not_there_is_looked_for_nowhere(scene: Scene) -> None:
    found = looks(scene, Lesson("Is there a green star?", "no"))
    assert {look.points for look in found if look.word is None} == {()}
    (seen,) = only(looks(scene, Lesson("Is there a red circle?", "yes")), Head.SEEN)
    assert seen.points == ((20, 30),)


def test_a_cell_is_found_by_its_row_and_its_column() -> None:
    drawn = draw_grid(random.Random(2), size=(128, 128))
    assert drawn.grid is not None
    rows, columns = drawn.grid
    asked = f"What is in row {rows}, column 1?"
    thing = drawn.things[(rows - 1) * columns]
    found = looks(drawn, Lesson(asked, thing.name))
    assert {look.points for look in only(found, Head.SEEN)} == {((thing.x, thing.y),)}
    assert {look.word for look in only(found, Head.CLUE)} == {asked.index(str(rows))}
    assert {look.word for look in only(found, Head.SECOND_CLUE)} == {asked.rindex("1")}


def test_a_number_is_read_digit_by_digit_and_then_ends() -> None:
    drawn = draw_number(random.Random(3), size=(128, 128), count=2)
    written = drawn.writings[1]
    asked = f"What number is written in {written.colour}?"
    found = looks(drawn, Lesson(asked, written.text))
    seen = only(found, Head.SEEN)
    assert sorted((look.character, look.points) for look in seen) == [
        *((k, ((x, y),)) for k, (_, x, y) in enumerate(written.characters)),
        (len(written.text), ()),
    ]


def test_a_description_looks_at_each_thing_it_names(scene: Scene) -> None:
    answer = describe(scene)
    seen = only(looks(scene, Lesson(DESCRIBE, answer)), Head.SEEN)
    assert {(answer[look.character], look.points[0]) for look in seen if answer[look.character] == "c"} == {
        ("c", (20, 30)),
    }
    assert {look.points[0] for look in seen} == {(20, 30), (70, 20), (50, 80)}


def test_every_lesson_that_hangs_on_a_place_is_shown_it() -> None:
    rng = random.Random(4)
    for _ in range(150):
        drawn = draw_lesson_scene(rng, (96, 128))
        for lesson in lessons(drawn, rng, most=12):
            found = looks(drawn, lesson)
            free = (lesson.asked == DESCRIBE and drawn.writings) or "JSON" in lesson.asked
            assert bool(found) != bool(free), lesson
            assert all(look.character <= len(lesson.answer) for look in found if look.head is not Head.NAMED)
