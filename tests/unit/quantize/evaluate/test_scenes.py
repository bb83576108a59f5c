import io
import random
from itertools import pairwise

import pytest
from PIL import Image

from quantize.evaluate.drawing import add_noise, compress, write
from quantize.evaluate.scenes import (
    COUNTS,
    LEVELS,
    SIDES,
    Level,
    draw_grid,
    draw_number,
    draw_receipt,
    draw_scattered,
    draw_sign,
)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("seed", range(8))
def test_scattered_things_are_as_many_as_the_level_says_and_lie_inside(level: Level, seed: int) -> None:
    scene = draw_scattered(random.Random(seed), level)
    least, most = COUNTS[level]
    assert least <= len(scene.things) <= most
    assert all(SIDES[level][0] <= side <= SIDES[level][1] for side in scene.image.size)
    assert [thing.x for thing in scene.things] == sorted(thing.x for thing in scene.things)
    for thing in scene.things:
        left, top, right, bottom = thing.box
        assert 0 <= left < thing.x < right <= scene.image.width
        assert 0 <= top < thing.y < bottom <= scene.image.height


def test_things_are_drawn_where_their_boxes_say() -> None:
    """Outside its box a flat picture is background; inside, much of it is not."""
    for seed in range(20):
        scene = draw_scattered(random.Random(seed), size=(200, 200), photo=False, count=1)
        (thing,) = scene.things
        background = scene.image.getpixel((0, 0))
        differing = [(x, y) for x in range(200) for y in range(200) if scene.image.getpixel((x, y)) != background]
        xs, ys = [x for x, _ in differing], [y for _, y in differing]
        drawn = (min(xs), min(ys), max(xs) + 1, max(ys) + 1)
        assert all(abs(a - b) <= 2 for a, b in zip(drawn, thing.box, strict=True)), (thing, drawn, thing.box)


def test_distinct_things_differ_in_name() -> None:
    for seed in range(10):
        names = [thing.name for thing in draw_scattered(random.Random(seed), "hard", distinct=True).things]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("seed", range(5))
def test_a_seed_draws_the_same_picture_again(seed: int) -> None:
    for draw in (draw_scattered, draw_grid, draw_number, draw_sign, draw_receipt):
        one, two = (draw(random.Random(seed)) for _ in range(2))
        assert (one.things, one.writings, one.image.tobytes()) == (two.things, two.writings, two.image.tobytes())


@pytest.mark.parametrize("level", LEVELS)
def test_a_grid_is_full_and_in_reading_order(level: Level) -> None:
    for seed in range(6):
        scene = draw_grid(random.Random(seed), level)
        assert scene.grid is not None
        rows, columns = scene.grid
        centres = [(t.x, t.y) for t in scene.things]
        centres += [((w.box[0] + w.box[2]) / 2, (w.box[1] + w.box[3]) / 2) for w in scene.writings]
        assert len(centres) == rows * columns
        cells = [(int(y / scene.image.height * rows), int(x / scene.image.width * columns)) for x, y in centres]
        assert cells == [(row, column) for row in range(rows) for column in range(columns)]


def test_numbers_have_one_to_four_digits_and_lie_inside() -> None:
    lengths = set()
    for seed in range(60):
        scene = draw_number(random.Random(seed))
        (written,) = scene.writings
        lengths.add(len(written.text))
        assert written.text.isdigit()
        assert str(int(written.text)) == written.text
        for digit, x, y in written.characters:
            assert 0 <= x <= scene.image.width
            assert 0 <= y <= scene.image.height
            assert digit in written.text
    assert lengths == {1, 2, 3, 4}


def test_characters_stand_where_they_are_said_to_be() -> None:
    """Of "111" the three strokes are dark at their centres, and the gaps between them are not."""
    for angle in (0, 7, -7):
        image = Image.new("RGB", (300, 200), "white")
        written = write(image, "111", (150, 100), 60, "black", random.Random(0), angle)
        centres = [(x, y) for _, x, y in written.characters]
        assert all(sum(image.getpixel((round(x) + d, round(y)))[0] < 128 for d in range(-6, 7)) for x, y in centres)
        for (x, y), (after, below) in pairwise(centres):
            assert image.getpixel((round((x + after) / 2), round((y + below) / 2)))[0] > 128


def test_a_receipt_alternates_goods_and_prices() -> None:
    scene = draw_receipt(random.Random(3))
    names, prices = scene.writings[::2], scene.writings[1::2]
    assert len(names) == len(prices) == len({name.text for name in names})
    assert all(name.text.isalpha() for name in names)
    assert all(float(price.text) >= 0 and price.text[-3] == "." for price in prices)


def test_pictures_are_written_as_png_and_jpeg_and_noise_keeps_the_size() -> None:
    rng = random.Random(0)
    image = draw_scattered(rng, size=(100, 120)).image
    kinds = {Image.open(io.BytesIO(data)).format: kind for data, kind in (compress(image, rng) for _ in range(20))}
    assert kinds == {"PNG": "image/png", "JPEG": "image/jpeg"}
    noisy = add_noise(image, rng, 10)
    assert noisy.size == image.size
    assert noisy.tobytes() != image.tobytes()
