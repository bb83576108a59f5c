"""What the demo model is taught with: batches of drawn pictures, facts about their patches, and conversations."""

import io
import random
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import Dataset

from demo import architecture, scenes
from quantize.torchvision_on_cpu import allow_torchvision

allow_torchvision()
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize  # noqa: E402

IGNORED = -100
COLOUR_NAMES = tuple(scenes.COLOURS)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Steps and batch sizes of the two stages; `peak_rate` is AdamW's."""

    vision_steps: int
    steps: int
    vision_batch: int = 32
    batch: int = 32
    questions: int = 9
    peak_rate: float = 1e-3
    seed: int = 20261121


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures of one size and their conversations.

    `pixels` float32 [pictures * patches, 3*2*16*16]; `grid` (rows, columns) of patches; `facts` int64
    [pictures * patches, 3] (a centre is here, colour, shape), the last two IGNORED where there is none;
    `tokens` and `labels` int64 [pictures, length].
    """

    pixels: Tensor
    grid: tuple[int, int]
    facts: Tensor
    tokens: Tensor
    labels: Tensor


class Batches(Dataset[Batch]):
    """Batch `i` depends on the seed and `i` alone: a resumed run sees what an unbroken one would have."""

    def __init__(self, schedule: Schedule, tokenizer: Tokenizer) -> None:
        self.schedule, self.tokenizer = schedule, tokenizer

    def __len__(self) -> int:
        return self.schedule.vision_steps + self.schedule.steps

    def __getitem__(self, index: int) -> Batch:
        rng = random.Random(f"{self.schedule.seed}/{index}")
        talks = index >= self.schedule.vision_steps
        count = self.schedule.batch if talks else self.schedule.vision_batch
        size = scenes.random_size(rng, most=512 if rng.random() < 0.15 else 224)
        drawn = [scenes.draw_scene(rng, size) for _ in range(count)]
        rows, columns = (side // architecture.PATCH for side in resized_sides(*size))
        pixels = torch.cat([patchify(worsen(scene.image, rng)) for scene in drawn])
        facts = torch.cat([patch_facts(scene, rows, columns) for scene in drawn])
        tokens = labels = torch.zeros(0, dtype=torch.long)
        if talks:
            system = rng.random() < 0.1
            pad = rows * columns // architecture.MERGE**2
            talk = [self._talk(scene, rng, pad, system) for scene in drawn]
            longest = max(len(ids) for ids, _ in talk)
            tokens = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in talk])
            labels = torch.tensor([said + [IGNORED] * (longest - len(said)) for _, said in talk])
        return Batch(pixels, (rows, columns), facts, tokens, labels)

    def _talk(
        self, scene: scenes.Scene, rng: random.Random, image_tokens: int, system: bool
    ) -> tuple[list[int], list[int]]:
        ids: list[int] = []
        labels: list[int] = []

        def add(text: str, taught: bool) -> None:
            new = self.tokenizer.encode(text).ids
            ids.extend(new)
            labels.extend(new if taught else [IGNORED] * len(new))

        if system:
            add("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n", False)
        vision = f"<|vision_start|>{'<|image_pad|>' * image_tokens}<|vision_end|>"
        for question in scenes.training_questions(scene, rng, self.schedule.questions):
            add(f"<|im_start|>user\n{vision}{question.text}<|im_end|>\n<|im_start|>assistant\n", False)
            add(f"{question.answer}<|im_end|>", True)
            add("\n", False)
            vision = ""
        return ids, labels


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
        image = scenes.add_noise(image, rng, rng.uniform(1, 12))
    if rng.random() < 0.5:
        data, _ = scenes.compress(image, rng)
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


def patch_facts(scene: scenes.Scene, rows: int, columns: int) -> Tensor:
    """int64 [patches, 3] in `patchify`'s order: whether a thing's centre is here, its colour, its shape."""
    facts = torch.full((rows, columns, 3), IGNORED)
    facts[..., 0] = 0
    width, height = scene.image.size
    for thing in scene.things:
        row, column = int(thing.y / height * rows), int(thing.x / width * columns)
        facts[row, column] = torch.tensor([1, COLOUR_NAMES.index(thing.colour), scenes.SHAPES.index(thing.shape)])
    m = architecture.MERGE
    return facts.reshape(rows // m, m, columns // m, m, 3).permute(0, 2, 1, 3, 4).reshape(-1, 3)
