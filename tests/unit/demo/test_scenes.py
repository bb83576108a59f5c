import io
import random

import pytest
from PIL import Image

from demo.scenes import MOST_OBJECTS, add_noise, compress, describe, draw_scene, skill_questions, training_questions


@pytest.mark.parametrize("seed", range(40))
def test_scenes_hold_what_they_say(seed: int) -> None:
    scene = draw_scene(random.Random(seed))
    assert 1 <= len(scene.things) <= MOST_OBJECTS
    assert all(96 <= side <= 512 for side in scene.image.size)
    assert [thing.x for thing in scene.things] == sorted(thing.x for thing in scene.things)
    for thing in scene.things:
        assert thing.x - thing.radius >= 0
        assert thing.x + thing.radius <= scene.image.width


@pytest.mark.parametrize("seed", range(10))
def test_a_seed_draws_the_same_picture_again(seed: int) -> None:
    one, two = (draw_scene(random.Random(seed)) for _ in range(2))
    assert (one.things, one.image.tobytes()) == (two.things, two.image.tobytes())


@pytest.mark.parametrize("seed", range(40))
def test_questions_have_one_right_answer(seed: int) -> None:
    rng = random.Random(seed)
    scene = draw_scene(rng, (128, 128))
    for question in skill_questions(scene, rng):
        matching = [
            t
            for t in scene.things
            if question.text in (f"What colour is the {t.shape}?", f"What shape is the {t.colour} object?")
        ]
        if question.skill == "count":
            assert question.answer == str(len(scene.things))
        else:
            assert len(matching) == 1
            assert question.answer in (matching[0].colour, matching[0].shape)


def test_training_never_asks_the_same_thing_twice() -> None:
    rng = random.Random(1)
    for _ in range(50):
        asked = training_questions(draw_scene(rng, (96, 96)), rng, most=9)
        assert len({question.text for question in asked}) == len(asked) <= 9


def test_a_description_counts_and_names_from_left_to_right() -> None:
    scene = draw_scene(random.Random(4), (128, 128), count=2)
    assert describe(scene) == f"2 objects: {scene.things[0].name}, {scene.things[1].name}"


def test_pictures_are_written_as_png_and_jpeg_and_noise_keeps_the_size() -> None:
    rng = random.Random(0)
    image = draw_scene(rng, (100, 120)).image
    kinds = {Image.open(io.BytesIO(data)).format: kind for data, kind in (compress(image, rng) for _ in range(20))}
    assert kinds == {"PNG": "image/png", "JPEG": "image/jpeg"}
    noisy = add_noise(image, rng, 10)
    assert noisy.size == image.size
    assert noisy.tobytes() != image.tobytes()
