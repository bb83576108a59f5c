"""What the demo model is taught with: batches of drawn pictures, facts about their patches, and conversations."""

import io
import math
import random
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import Dataset

from demo.training import architecture, curriculum
from demo.training.curriculum import Lesson
from demo.training.facts import IGNORED, patch_facts
from demo.training.looks import Head, Look, looks
from quantize.evaluate import scenes
from quantize.evaluate.drawing import add_noise, compress
from quantize.evaluate.scenes import Scene
from quantize.torchvision_on_cpu import allow_torchvision

allow_torchvision()
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize  # noqa: E402

# (height, width) of every picture with sides up to 1:2, once resized.
RESIZED = ((160, 160), (128, 192), (192, 128), (128, 224), (224, 128), (160, 192), (192, 160), (96, 224), (224, 96))
COORDINATES = 4.0  # what an answer in coordinates weighs: its digits are many, and each is learnt for itself


@dataclass(frozen=True, slots=True)
class Schedule:
    """`tower` steps of the vision tower alone, then `steps` of conversations; `rate` is AdamW's peak."""

    tower: int
    steps: int
    tower_batch: int = 32
    batch: int = 16
    questions: int = 9
    rate: float = 1e-3
    seed: int = 20261121


@dataclass(frozen=True, slots=True)
class Looks:
    """What one head is taught in a batch.

    `rows` and `positions` int64 [looks]: the tokens that look; `targets` float32 [looks, length]: where to, as
    shares of 1; `points` float32 [looks, 2]: the first of their points as shares of the picture, NaN where there is
    none.
    """

    rows: Tensor
    positions: Tensor
    targets: Tensor
    points: Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures of one size and their conversations.

    `pixels` float32 [pictures * patches, 3*2*16*16]; `grid` (rows, columns) of patches; `facts` int64
    [pictures * patches, len(FACTS)], IGNORED where there is none; `boxes` float32 [pictures * patches, 4], NaN
    where there is none (`demo.training.facts`); `tokens` and `labels` int64 [pictures, length]; `weights` float32
    of the same shape: each answer weighs 1 in all, or long ones would drown the rest (COORDINATES, where it is
    some). The last four are empty while the tower learns alone.
    """

    pixels: Tensor
    grid: tuple[int, int]
    facts: Tensor
    boxes: Tensor
    tokens: Tensor
    labels: Tensor
    weights: Tensor
    looks: dict[Head, Looks]


class Batches(Dataset[Batch]):
    """Batch `i` depends on the seed and `i` alone: a resumed run sees what an unbroken one would have."""

    def __init__(self, schedule: Schedule, tokenizer: Tokenizer) -> None:
        self.schedule, self.tokenizer = schedule, tokenizer

    def __len__(self) -> int:
        return self.schedule.tower + self.schedule.steps

    def __getitem__(self, index: int) -> Batch:
        rng = random.Random(f"{self.schedule.seed}/{index}")
        talks = index >= self.schedule.tower
        size = draw_size(rng)
        count = self.schedule.batch if talks else self.schedule.tower_batch
        drawn = [curriculum.draw_lesson_scene(rng, size) for _ in range(count)]
        height, width = resized_sides(*size)
        grid = rows, columns = height // architecture.PATCH, width // architecture.PATCH
        pixels = torch.cat([patchify(worsen(scene.image, rng)) for scene in drawn])
        known = [patch_facts(scene, rows, columns) for scene in drawn]
        facts, boxes = torch.cat([facts for facts, _ in known]), torch.cat([boxes for _, boxes in known])
        if not talks:
            none = torch.zeros(0, dtype=torch.long)
            return Batch(pixels, grid, facts, boxes, none, none, none, {})
        system = rng.random() < 0.1
        talks_of = [Talk(scene, grid, self.tokenizer, system) for scene in drawn]
        for talk in talks_of:
            for lesson in curriculum.lessons(talk.scene, rng, self.schedule.questions):
                talk.add(lesson)
        longest = max(len(talk.ids) for talk in talks_of)
        tokens = torch.tensor([talk.ids + [0] * (longest - len(talk.ids)) for talk in talks_of])
        labels = torch.tensor([talk.labels + [IGNORED] * (longest - len(talk.ids)) for talk in talks_of])
        weights = torch.tensor([talk.weights + [0.0] * (longest - len(talk.ids)) for talk in talks_of])
        return Batch(pixels, grid, facts, boxes, tokens, labels, weights, gather_looks(talks_of, longest))


class Talk:
    """A conversation about one scene as tokens, what is taught of them, and where they are to look."""

    def __init__(self, scene: Scene, grid: tuple[int, int], tokenizer: Tokenizer, system: bool) -> None:
        self.scene, self._tokenizer = scene, tokenizer
        self._rows, self._columns = (side // architecture.MERGE for side in grid)
        self.ids: list[int] = []
        self.labels: list[int] = []
        self.weights: list[float] = []
        self.looks: dict[tuple[Head, int], tuple[list[int], tuple[float, float]]] = {}
        if system:
            self._say("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n", False)
        self._vision = f"<|vision_start|>{'<|image_pad|>' * self._rows * self._columns}<|vision_end|>"

    def add(self, lesson: Lesson) -> None:
        start = f"<|im_start|>user\n{self._vision}"
        question = self._say(f"{start}{lesson.asked}<|im_end|>\n<|im_start|>assistant\n", False)[len(start) :]
        answer = self._say(f"{lesson.answer}<|im_end|>", True)
        self._say("\n", False)
        self._vision = ""
        for look in looks(self.scene, lesson):
            named = look.head is Head.NAMED
            position = question[look.character] if named else answer[look.character] - 1
            self.looks.setdefault((look.head, position), (self._targets(look, question), self._share(look)))

    def _say(self, text: str, taught: bool) -> list[int]:
        """The position of the token that each character of `text` becomes part of."""
        encoded = self._tokenizer.encode(text)
        first, count = len(self.ids), len(encoded.ids)
        self.ids.extend(encoded.ids)
        self.labels.extend(encoded.ids if taught else [IGNORED] * count)
        weight = COORDINATES if text.startswith("[") else 1.0
        self.weights.extend([weight / count if taught else 0.0] * count)
        return [first + k for k, (begin, end) in enumerate(encoded.offsets) for _ in range(end - begin)]

    def _targets(self, look: Look, question: list[int]) -> list[int]:
        if look.word is not None:
            return [question[look.word]]
        width, height = self.scene.image.size
        image = self.ids.index(architecture.SPECIAL_TOKENS.index("<|image_pad|>"))
        seen = [
            image + _cell(y, height, self._rows) * self._columns + _cell(x, width, self._columns)
            for x, y in look.points
        ]
        return [*seen, 0] if look.head is Head.COUNTED or not seen else seen

    def _share(self, look: Look) -> tuple[float, float]:
        if not look.points:
            return (math.nan, math.nan)
        (x, y), (width, height) = look.points[0], self.scene.image.size
        return (x / width, y / height)


def gather_looks(talks: list[Talk], length: int) -> dict[Head, Looks]:
    """The looks of all conversations of a batch, head by head."""
    gathered = {}
    for head in Head:
        mine = [
            (row, key[1], look)
            for row, talk in enumerate(talks)
            for key, look in talk.looks.items()
            if key[0] is head
        ]
        targets = torch.zeros(len(mine), length)
        for row, (_, _, (places, _)) in enumerate(mine):
            for place in places:
                targets[row, place] += 1 / len(places)
        gathered[head] = Looks(
            torch.tensor([row for row, _, _ in mine], dtype=torch.long),
            torch.tensor([position for _, position, _ in mine], dtype=torch.long),
            targets,
            torch.tensor([share for _, _, (_, share) in mine]).view(-1, 2),
        )
    return gathered


def _cell(place: float, side: int, cells: int) -> int:
    return min(cells - 1, max(0, int(place / side * cells)))


def draw_size(rng: random.Random) -> tuple[int, int]:
    """(width, height) of a batch's pictures: half of the batches as they come, mostly small and so drawn soon.

    The others' fall evenly on what the preprocessor makes of sides up to 1:2, for what is learnt on one grid of
    image tokens (counting above all) holds badly on another.
    """
    if rng.random() < 0.5:
        return scenes.random_size(rng, (96, 512 if rng.random() < 0.15 else 224))
    wanted = rng.choice(RESIZED)
    while True:
        size = scenes.random_size(rng)
        if resized_sides(*size) == wanted:
            return size


def resized_sides(width: int, height: int) -> tuple[int, int]:
    """(height, width) the preprocessor resizes to: multiples of 32 within the pixel budget."""
    factor = architecture.PATCH * architecture.MERGE
    return cast(
        tuple[int, int],
        smart_resize(height, width, factor, architecture.MIN_PIXELS, architecture.MAX_PIXELS),
    )


def worsen(image: Image.Image, rng: random.Random) -> Image.Image:
    """What happens to pictures on their way: noise, then a codec."""
    if rng.random() < 0.4:
        image = add_noise(image, rng, rng.uniform(1, 12))
    if rng.random() < 0.5:
        data, _ = compress(image, rng)
        image = Image.open(io.BytesIO(data)).convert("RGB")
    return image


def patchify(image: Image.Image) -> Tensor:
    """RGB image -> float32 [patches, 1536] in Qwen's order (2x2 merge groups, then channel, time, y, x)."""
    height, width = resized_sides(*image.size)
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
    scaled = torch.from_numpy(pixels / 127.5 - 1.0).permute(2, 0, 1)
    p, m = architecture.PATCH, architecture.MERGE
    tiles = scaled.reshape(3, height // p // m, m, p, width // p // m, m, p)
    tiles = tiles.permute(1, 4, 2, 5, 0, 3, 6)
    return tiles.unsqueeze(5).expand(-1, -1, -1, -1, -1, 2, -1, -1).reshape(-1, 3 * 2 * p * p)
