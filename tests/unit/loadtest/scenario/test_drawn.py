"""Pictures are drawn from their numbers alone."""

import io

import numpy as np
import pytest
from PIL import Image

from loadtest.scenario.document import Pictures
from loadtest.scenario.drawn import draw_picture
from loadtest.scenario.plan import Picture

DRAWINGS = ("objects", "receipt", "photo", "camera")


def draw(drawing: str, number: int, kind: str = "png", seed: int = 1) -> bytes:
    pictures = Pictures.model_validate({"drawing": drawing, "cameras": 2})
    return draw_picture(Picture(number, 160, 120, kind, 85, seed), pictures)


@pytest.mark.parametrize("drawing", DRAWINGS)
@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_number_is_one_picture_of_its_size_and_format(drawing: str, kind: str) -> None:
    data = draw(drawing, 3, kind)
    image = Image.open(io.BytesIO(data))
    assert (image.size, (image.format or "").lower()) == ((160, 120), kind)
    assert draw(drawing, 3, kind) == data


@pytest.mark.parametrize("drawing", DRAWINGS)
def test_no_two_numbers_and_no_two_seeds_look_alike(drawing: str) -> None:
    files = {draw(drawing, number, seed=seed) for number in range(10) for seed in (1, 2)}
    assert len(files) == 20


def test_little_changes_between_frames_of_a_camera() -> None:
    frames = [np.asarray(Image.open(io.BytesIO(draw("camera", n))).convert("RGB")).astype(int) for n in (0, 2, 1)]
    same_view, other_view = ((np.abs(frames[0] - each).max(axis=2) > 0).mean() for each in frames[1:])
    assert 0 < same_view < 0.1 < other_view


@pytest.mark.parametrize("side", [16, 64])
@pytest.mark.parametrize("drawing", DRAWINGS)
def test_pictures_too_small_for_print_are_unlike_all_the_same(drawing: str, side: int) -> None:
    pictures = Pictures.model_validate({"drawing": drawing, "cameras": 2})
    planned = [Picture(number, side, side, "jpeg", 80, seed) for number in range(60) for seed in (1, 2)]
    assert len({draw_picture(each, pictures) for each in planned}) == 120
