import random

from demo.training.curriculum import DESCRIBE, describe, draw_lesson_scene, lessons
from quantize.evaluate.scenes import draw_scattered


def test_nothing_is_asked_twice_and_a_description_comes_last() -> None:
    rng = random.Random(1)
    described = 0
    for _ in range(200):
        scene = draw_lesson_scene(rng, (96, 96))
        taught = lessons(scene, rng, most=9)
        asked = [lesson.asked for lesson in taught]
        assert len(set(asked)) == len(asked) <= 10
        if DESCRIBE in asked:
            described += 1
            assert asked[-1] == DESCRIBE
            assert taught[-1].answer == describe(scene)
    assert described > 10


def test_things_grids_and_numbers_are_all_taught() -> None:
    rng = random.Random(2)
    scenes = [draw_lesson_scene(rng, (96, 128)) for _ in range(60)]
    assert {bool(scene.writings) for scene in scenes} == {True, False}
    assert {scene.grid is not None for scene in scenes} == {True, False}
    taught = " ".join(lesson.asked for scene in scenes for lesson in lessons(scene, rng, most=9))
    for words in (
        "What colour",
        "How many",
        "left or right",
        "above or below",
        "row 1",
        "Point to",
        "Where is",
        "number",
    ):
        assert words in taught


def test_a_description_counts_and_names_from_left_to_right() -> None:
    scene = draw_scattered(random.Random(4), size=(128, 128), count=2)
    assert describe(scene) == f"2 objects: {scene.things[0].name}, {scene.things[1].name}"
