"""The sight suite: an endless, seeded supply of questions about drawn pictures, each at one of three difficulties.

`item(skill, level, index, seed)` is a pure function: the same arguments give the same picture and question for
the same `VERSION` of the suite (and the same Pillow, whose codecs and font it draws with).
"""

import base64
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

from quantize.evaluate import questions as ask
from quantize.evaluate.drawing import add_noise, compress
from quantize.evaluate.questions import Question, Skill, Truth
from quantize.evaluate.scenes import Level, Scene, draw_grid, draw_number, draw_receipt, draw_scattered, draw_sign

VERSION = 1  # raised by every change that alters a picture or a question
SEED = 20261121
# JPEG qualities: what a picture of this difficulty may have gone through.
QUALITIES: dict[Level, tuple[int, int]] = {"easy": (40, 95), "medium": (30, 90), "hard": (20, 75)}


@dataclass(frozen=True, slots=True)
class Item:
    """One question about one encoded picture."""

    key: str
    skill: str
    level: str
    topic: str
    text: str
    truth: Truth
    data: bytes
    media_type: str

    @property
    def data_url(self) -> str:
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode()}"

    def without_picture(self) -> "Item":
        """The question alone, cheap to keep."""
        return replace(self, data=b"")


class Source(Protocol):
    """Where questions come from: keys in the order of asking, and the item behind each."""

    @property
    def keys(self) -> Sequence[str]: ...

    def item(self, key: str) -> Item: ...

    def describe(self) -> dict[str, Any]:
        """What two runs must share for their answers to be comparable (JSON)."""


class SightSuite:
    """`count` questions of every skill at every level, taking turns so that an early stop leaves some of all."""

    def __init__(self, skills: Sequence[Skill], levels: Sequence[Level], count: int, seed: int = SEED) -> None:
        self.seed = seed
        self.keys = [f"{skill}/{level}/{i}" for i in range(count) for skill in skills for level in levels]

    def item(self, key: str) -> Item:
        skill, level, index = key.split("/")
        return item(cast(Skill, skill), cast(Level, level), int(index), self.seed)

    def describe(self) -> dict[str, Any]:
        return {"suite": f"sight {VERSION}", "seed": self.seed}


def item(skill: Skill, level: Level, index: int, seed: int = SEED) -> Item:
    rng = random.Random(f"sight/{VERSION}/{seed}/{skill}/{level}/{index}")
    question = None
    while question is None:  # a scene may hold nothing that this skill can be asked about without doubt
        scene, question = _draw_and_ask(skill, level, rng)
    image = add_noise(scene.image, rng, rng.uniform(1, 12)) if rng.random() < 0.5 else scene.image
    data, media_type = compress(image, rng, QUALITIES[level])
    key = f"{skill}/{level}/{index}"
    return Item(key, skill, level, question.topic, question.text, question.truth, data, media_type)


def _draw_and_ask(skill: Skill, level: Level, rng: random.Random) -> tuple[Scene, Question | None]:
    if skill == "ocr":
        return _reading(level, rng)
    if skill == "grid":
        scene = draw_grid(rng, level)
        return scene, ask.ask_cell(scene, rng)
    scene = draw_scattered(rng, level, distinct=skill in ("spatial", "ground"))
    if skill == "attribute":
        return scene, (ask.ask_colour if rng.random() < 0.5 else ask.ask_shape)(scene, rng)
    if skill == "count":
        return scene, ask.ask_count(scene) if level == "easy" or rng.random() < 0.5 else ask.ask_count_of(
            scene, rng
        )
    if skill == "ground":
        return scene, (ask.ask_point if rng.random() < 0.5 else ask.ask_box)(scene, rng)
    return scene, _relation(scene, level, rng)


def _reading(level: Level, rng: random.Random) -> tuple[Scene, Question]:
    if level == "easy":
        scene = draw_number(rng)
        return scene, ask.ask_number(scene)
    if level == "medium":
        scene = draw_sign(rng)
        return scene, ask.ask_sign(scene)
    scene = draw_receipt(rng)
    return scene, ask.ask_price(scene, rng)


def _relation(scene: Scene, level: Level, rng: random.Random) -> Question | None:
    if level == "easy":
        return ask.ask_side(scene, rng)
    if level == "medium":
        return ask.ask_extreme(scene, rng) if rng.random() < 0.5 else ask.ask_side(scene, rng)
    return ask.ask_nearest(scene, rng)
