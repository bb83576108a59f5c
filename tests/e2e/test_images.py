"""What becomes of pictures on their way to real vLLM, and that the model sees the same."""

import asyncio
import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx2
import openai
import pytest
from PIL import Image

from demo.ask import ask_all
from quantize.evaluate.questions import SKILLS
from quantize.evaluate.score import mark
from quantize.evaluate.suite import Item, SightSuite, item
from server.images.token_rules.choose import read_rule
from tests.conftest import DEMO_MODEL, Stack
from tests.fakes.gateway import gateway, metric
from tests.pictures import chat, data_url, image_part, noise, png_claiming, text_part

QUESTIONS = 8  # of each skill
LARGER = 4
PREPROCESSOR = DEMO_MODEL / "preprocessor_config.json"


@pytest.fixture(scope="module")
def brought_down(fp8: Stack) -> Iterator[str]:
    """A gateway before the stack's engine that makes large pictures small enough for the model."""
    with gateway(fp8.engine, admission={"preprocessor": PREPROCESSOR}) as url:
        yield url


@pytest.fixture(scope="module")
def as_they_come(fp8: Stack) -> Iterator[str]:
    """One that leaves that to the engine."""
    with gateway(fp8.engine, images={"downscale": False}, admission={"preprocessor": PREPROCESSOR}) as url:
        yield url


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def enlarged(asked: Item, kind: str) -> Item:
    """The same scene as a large picture: what a camera would send of it."""
    with Image.open(io.BytesIO(asked.data)) as image:
        size = (image.width * LARGER, image.height * LARGER)
        large = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    return replace(asked, data=encode(large, kind), media_type=f"image/{kind.lower()}")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_downscaling_before_the_engine_changes_no_answer(
    fp8: Stack, brought_down: str, as_they_come: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = SightSuite(SKILLS, ("easy",), QUESTIONS)
    asked = [enlarged(suite.item(key), kind) for key in suite.keys]
    ours = asyncio.run(ask_all(f"{brought_down}/v1", fp8.model, asked))
    theirs = asyncio.run(ask_all(f"{as_they_come}/v1", fp8.model, asked))
    right = [
        [mark(said, each.truth).right for said, each in zip(answers, asked, strict=True)]
        for answers in (ours, theirs)
    ]
    words = [a == b for a, b, each in zip(ours, theirs, asked, strict=True) if each.skill != "ground"]
    boxes = [a == b for a, b, each in zip(ours, theirs, asked, strict=True) if each.skill == "ground"]
    with capsys.disabled():
        print(f"\n{kind}, {LARGER} x as large: brought down by the gateway {sum(right[0])} of {len(asked)} right,")
        print(f"by the engine {sum(right[1])}; the same: {sum(words)} of {len(words)} answers word for word,")
        print(f"{sum(boxes)} of {len(boxes)} boxes")
    # Two ways of computing the same resize do not come to the same grey levels everywhere: boxes may show it.
    assert sum(words) >= 0.98 * len(words)
    assert sum(a != b for a, b in zip(*right, strict=True)) <= 0.01 * len(asked)


def notes_of(url: str, model: str, *parts: dict[str, Any]) -> tuple[int, str | None, dict[str, Any]]:
    answer = httpx2.post(f"{url}/v1/chat/completions", json=chat(*parts, model=model), timeout=60)
    return answer.status_code, answer.headers.get("x-fovea-image-notes"), answer.json()


def test_every_format_is_seen_for_what_it_shows(fp8: Stack) -> None:
    """The same drawn number, in every format, read off by the model."""
    asked = item("ocr", "easy", 3)
    with Image.open(io.BytesIO(asked.data)) as image:
        scene = image.convert("RGB")
    other = Image.new("RGB", scene.size, "white")
    animated = {"save_all": True, "append_images": [other]}
    pictures = {
        "PNG": encode(scene, "PNG"),
        "JPEG": encode(scene, "JPEG", quality=95),
        "WEBP": encode(scene, "WEBP", lossless=True),
        "GIF": encode(scene, "GIF"),
        "AVIF": encode(scene, "AVIF", quality=95),
        "animated GIF": encode(scene, "GIF", **animated),
        "animated PNG": encode(scene, "PNG", **animated),
        "animated WebP": encode(scene, "WEBP", lossless=True, **animated),
        "camera JPEG": encode(scene, "MPO", quality=95, **animated),
    }
    for name, data in pictures.items():
        status, notes, body = notes_of(fp8.url, fp8.model, image_part(data), text_part(asked.text))
        assert status == 200, (name, body)
        assert mark(body["choices"][0]["message"]["content"], asked.truth).right, name
        assert ("first-frame" in (notes or "")) == name.startswith("animated"), (name, notes)


def test_a_turned_picture_is_seen_upright(fp8: Stack, brought_down: str, as_they_come: str) -> None:
    asked = item("ocr", "easy", 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter clockwise
    with Image.open(io.BytesIO(asked.data)) as image:
        turned = image.convert("RGB").transpose(Image.Transpose.ROTATE_90)
    data = encode(turned, "JPEG", exif=exif, quality=95)
    for url, noted in ((brought_down, "0=downscaled,lossy"), (as_they_come, None)):
        status, notes, body = notes_of(url, fp8.model, image_part(data), text_part(asked.text))
        assert (status, notes) == (200, noted)
        assert mark(body["choices"][0]["message"]["content"], asked.truth).right, noted


@pytest.mark.parametrize("detail", ["low", "high"])
@pytest.mark.parametrize("size", [(640, 480), (900, 150), (150, 900), (90, 90)])
def test_what_is_sent_costs_what_it_was_priced_at(fp8: Stack, size: tuple[int, int], detail: str) -> None:
    rule = read_rule(PREPROCESSOR)
    low = {"low_detail_pixels": 150 * 150}
    url = data_url(noise("JPEG", size))
    part = {"type": "image_url", "image_url": {"url": url, "detail": detail}}
    with gateway(fp8.engine, images=low, admission={"preprocessor": PREPROCESSOR}) as gate:
        usage = [
            notes_of(gate, fp8.model, *parts, text_part("Hi"))[2]["usage"]["prompt_tokens"]
            for parts in ([part], [])
        ]
        priced = metric(gate, "fovea_image_tokens_sum")
    assert usage[0] - usage[1] == priced
    if detail == "high":
        assert rule is not None
        assert priced == rule.tokens(*size) + 2  # the two vision markers


def test_a_picture_that_only_a_decoder_can_tell_is_broken_is_the_callers_fault(
    fp8: Stack, as_they_come: str
) -> None:
    """Its header and outline are sound; vLLM's decoder finds out. No engine is suspected for that."""
    for size in ((40, 30), (160, 100), (600, 400)):
        status, _, body = notes_of(as_they_come, fp8.model, image_part(png_claiming(*size)))
        assert status == 400, (size, body)
        assert notes_of(as_they_come, fp8.model, image_part())[0] == 200


def test_no_engine_sees_an_identity_that_a_caller_chose(client: openai.OpenAI, fp8: Stack) -> None:
    """Two pictures under one name of the caller's: refused, so that neither can answer for the other."""
    for place in (
        {**image_part(), "uuid": "mine"},
        {"type": "image_url", "image_url": {"url": data_url(noise()), "uuid": "mine"}},
    ):
        status, _, body = notes_of(fp8.url, fp8.model, place)
        assert (status, body["error"]["code"]) == (400, "field_not_allowed")
