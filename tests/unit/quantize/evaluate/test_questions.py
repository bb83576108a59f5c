"""Every question has one right answer, worked out here a second time from what was drawn."""

import math
import random

import pytest

from quantize.evaluate import questions as ask
from quantize.evaluate.drawing import Thing
from quantize.evaluate.scenes import Scene, draw_grid, draw_number, draw_receipt, draw_scattered

SEEDS = range(30)


def named(scene: Scene, name: str) -> Thing:
    (thing,) = (thing for thing in scene.things if thing.name == name)
    return thing


@pytest.mark.parametrize("seed", SEEDS)
def test_attributes_are_asked_of_the_only_candidate(seed: int) -> None:
    rng = random.Random(seed)
    scene = draw_scattered(rng, size=(128, 128))
    if colour := ask.ask_colour(scene, rng):
        shape = colour.asked.removeprefix("What colour is the ").removesuffix("?")
        assert [t.colour for t in scene.things if t.shape == shape] == [colour.truth.value]
    if shaped := ask.ask_shape(scene, rng):
        hue = shaped.asked.removeprefix("What shape is the ").removesuffix(" object?")
        assert [t.shape for t in scene.things if t.colour == hue] == [shaped.truth.value]


@pytest.mark.parametrize("seed", SEEDS)
def test_counts_are_counts(seed: int) -> None:
    rng = random.Random(seed)
    scene = draw_scattered(rng, "medium", size=(300, 300))
    assert ask.ask_count(scene).truth.value == str(len(scene.things))
    question = ask.ask_count_of(scene, rng)
    word = question.asked.removeprefix("How many ").removesuffix(" are there?").removesuffix(" objects")
    matching = [t for t in scene.things if word == t.colour or word == ask.plural(t.shape)]
    assert question.truth.value == str(len(matching))


@pytest.mark.parametrize("seed", SEEDS)
def test_sides_are_true_and_clear(seed: int) -> None:
    rng = random.Random(seed)
    scene = draw_scattered(rng, size=(200, 150), distinct=True, count=5)
    question = ask.ask_side(scene, rng)
    if question is None:
        return
    text = question.asked.removeprefix("Is the ").removesuffix("?")
    level = " left or right of the " in text
    one, other = text.split(" left or right of the " if level else " above or below the ")
    a, b = named(scene, one), named(scene, other)
    gap = (a.x - b.x) / 200 if level else (a.y - b.y) / 150
    assert abs(gap) >= 0.08
    assert question.truth.value == (("left", "right") if level else ("above", "below"))[gap > 0]


@pytest.mark.parametrize("seed", SEEDS)
def test_extremes_and_neighbours_win_by_a_margin(seed: int) -> None:
    rng = random.Random(seed)
    scene = draw_scattered(rng, "medium", size=(300, 300), distinct=True)
    if question := ask.ask_extreme(scene, rng):
        word = question.asked.split()[3]
        best = {
            "leftmost": min(scene.things, key=lambda t: t.x),
            "rightmost": max(scene.things, key=lambda t: t.x),
            "topmost": min(scene.things, key=lambda t: t.y),
            "lowest": max(scene.things, key=lambda t: t.y),
        }[word]
        assert question.truth.value == best.name
    if question := ask.ask_nearest(scene, rng):
        centre = named(scene, question.asked.removeprefix("Which object is closest to the ").removesuffix("?"))
        others = [t for t in scene.things if t is not centre]
        nearest = min(others, key=lambda t: math.hypot(t.x - centre.x, t.y - centre.y))
        assert question.truth.value == nearest.name


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cell_holds_its_answer(seed: int) -> None:
    rng = random.Random(seed)
    scene = draw_grid(rng, ("easy", "medium", "hard")[seed % 3])
    question = ask.ask_cell(scene, rng)
    row, column = (
        int(part) for part in question.asked.removeprefix("What is in row ").rstrip("?").split(", column ")
    )
    assert scene.grid is not None
    rows, columns = scene.grid
    inside = [
        name
        for name, x, y in [(t.name, t.x, t.y) for t in scene.things]
        + [(w.text, (w.box[0] + w.box[2]) / 2, (w.box[1] + w.box[3]) / 2) for w in scene.writings]
        if (column - 1) / columns < x / scene.image.width < column / columns
        and (row - 1) / rows < y / scene.image.height < row / rows
    ]
    assert inside == [question.truth.value]


@pytest.mark.parametrize("seed", SEEDS)
def test_places_are_on_the_thousand_scale(seed: int) -> None:
    rng = random.Random(seed)
    scene = draw_scattered(rng, size=(400, 200), distinct=True)
    for question in (ask.ask_point(scene, rng), ask.ask_box(scene, rng)):
        assert question is not None
        name = question.asked.rstrip(".?").split(" the ")[1]
        thing = named(scene, name)
        assert question.truth.box is not None
        left, top, right, bottom = question.truth.box
        assert left / 1000 * 400 == pytest.approx(thing.box[0])
        assert bottom / 1000 * 200 == pytest.approx(thing.box[3])
        said = [int(part) for part in question.truth.value.strip("[]").split(",")]
        assert all(0 <= number <= 1000 and number % 10 == 0 for number in said)
        if len(said) == 2:
            assert left < said[0] < right
            assert top < said[1] < bottom


def test_reading_asks_for_what_is_written() -> None:
    rng = random.Random(5)
    scene = draw_number(rng)
    assert ask.ask_number(scene).truth.value == scene.writings[0].text
    scene = draw_number(rng, count=3)
    for _ in range(10):
        question = ask.ask_number_in(scene, rng)
        (written,) = (w for w in scene.writings if question.asked.endswith(f" in {w.colour}?"))
        assert question.truth.value == written.text
    scene = draw_receipt(rng)
    question = ask.ask_price(scene, rng)
    goods = question.asked.removeprefix("What is the price of ").removesuffix(" on this receipt?")
    texts = [w.text for w in scene.writings]
    assert texts[texts.index(goods) + 1] == question.truth.value
