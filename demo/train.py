"""Train the demo model from scratch on drawn scenes: `python -m demo.train OUT` (resumable, seeded).

First the vision tower alone learns to say, patch by patch, which thing has its centre there (the head that
says so is thrown away); then tower and language model learn together from conversations of several questions
a picture, so that every picture teaches many times.
"""

import argparse
import io
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm
from transformers import Qwen3_5Config, Qwen3_5ForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize
from transformers.models.qwen3_5.modeling_qwen3_5 import (
    Qwen3_5VisionAttention,
    Qwen3_5VisionPatchEmbed,
    apply_rotary_pos_emb_vision,
)

from demo import architecture, scenes

IGNORED = -100
COLOUR_NAMES = tuple(scenes.COLOURS)
PATCH_FACTS = 1 + len(COLOUR_NAMES) + len(scenes.SHAPES)


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


class OneSizeAttention(Qwen3_5VisionAttention):
    """Vision attention for a batch of equal pictures: one call where the original makes one a picture."""

    def forward(
        self,
        hidden_states: Tensor,
        cu_seqlens: Tensor,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        **_: Any,
    ) -> Tensor:
        assert position_embeddings is not None
        total, pictures = hidden_states.shape[0], len(cu_seqlens) - 1
        q, k, v = self.qkv(hidden_states).reshape(total, 3, self.num_heads, -1).unbind(1)
        q, k = apply_rotary_pos_emb_vision(q, k, *position_embeddings)
        q, k, v = (x.reshape(pictures, -1, self.num_heads, x.shape[-1]).transpose(1, 2) for x in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, scale=self.scaling)
        return cast(Tensor, self.proj(mixed.transpose(1, 2).reshape(total, -1)))


class FlatPatchEmbed(Qwen3_5VisionPatchEmbed):
    """The patch embedding as one matrix product: its strides equal its kernel, and Conv3d is slow on CPUs."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        return F.linear(hidden_states, self.proj.weight.flatten(1), self.proj.bias)


class Student(nn.Module):
    """The model being trained and the throw-away head that reads facts off single patches."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.model = Qwen3_5ForConditionalGeneration(Qwen3_5Config(**config))
        self.patch_head = nn.Linear(config["vision_config"]["hidden_size"], PATCH_FACTS)
        self.model.model.visual.patch_embed.__class__ = FlatPatchEmbed
        for block in self.model.model.visual.blocks:
            block.attn.__class__ = OneSizeAttention

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(loss of the patch facts, loss of the answers), float32 scalars."""
        rows, columns = batch.grid
        pictures = len(batch.pixels) // (rows * columns)
        grids = torch.tensor([[1, rows, columns]]).expand(pictures, 3)
        seen = self.model.model.visual(batch.pixels, grid_thw=grids)
        facts = facts_loss(self.patch_head(seen.last_hidden_state).float(), batch.facts)
        if not len(batch.tokens):
            return facts, torch.zeros(())
        hidden = self._hidden(batch, seen.pooler_output, pictures)
        taught = batch.labels[:, 1:] != IGNORED
        logits = self.model.lm_head(hidden[:, :-1][taught])
        return facts, F.cross_entropy(logits.float(), batch.labels[:, 1:][taught])

    def _hidden(self, batch: Batch, embeddings: Tensor, pictures: int) -> Tensor:
        core = self.model.model
        is_image = batch.tokens == self.model.config.image_token_id
        inputs = core.language_model.embed_tokens(batch.tokens)
        inputs = inputs.masked_scatter(is_image[..., None], embeddings.to(inputs.dtype))
        # Every row of a batch has its picture at the same place, so one row's positions serve all.
        positions, _ = core.get_rope_index(
            batch.tokens[:1],
            mm_token_type_ids=is_image[:1].int(),
            image_grid_thw=torch.tensor([[1, *batch.grid]]),
        )
        out = core.language_model(
            inputs_embeds=inputs, position_ids=positions.expand(-1, pictures, -1), use_cache=False
        )
        return cast(Tensor, out.last_hidden_state)


def facts_loss(said: Tensor, facts: Tensor) -> Tensor:
    """`said` float32 [patches, 14]; `facts` int64 [patches, 3]."""
    here, colour, shape = said.split([1, len(COLOUR_NAMES), len(scenes.SHAPES)], dim=-1)
    presence = F.binary_cross_entropy_with_logits(here[:, 0], facts[:, 0].float())
    return (
        4 * presence
        + F.cross_entropy(colour, facts[:, 1], ignore_index=IGNORED)
        + F.cross_entropy(shape, facts[:, 2], ignore_index=IGNORED)
    )


def learning_rate(step: int, schedule: Schedule) -> float:
    """Warm-up of 100 steps in each stage, then a cosine to 2 % of the peak over the second."""
    if step < schedule.vision_steps:
        return schedule.peak_rate * min(1.0, (step + 1) / 100)
    done = step - schedule.vision_steps
    cosine = 0.5 * (1 + np.cos(np.pi * done / max(1, schedule.steps)))
    return float(schedule.peak_rate * min(1.0, (done + 1) / 100) * (0.02 + 0.98 * cosine))


def train(out: Path, schedule: Schedule, workers: int, save_every: int = 250) -> None:
    """Train, saving the whole state every `save_every` steps; a second call goes on from the last save."""
    torch.manual_seed(schedule.seed)
    torch.set_flush_denormal(True)
    tokenizer = architecture.make_tokenizer()
    config = architecture.make_config(tokenizer)
    architecture.write_sidecars(out, tokenizer, config)
    student = Student(config)
    optimizer = torch.optim.AdamW(student.parameters(), lr=0.0, weight_decay=0.02, betas=(0.9, 0.98))
    state_path, start = out / "training.pt", 0
    if state_path.exists():
        state = torch.load(state_path, weights_only=True)
        student.load_state_dict(state["student"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["step"]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    student.to(device)
    data = Batches(schedule, tokenizer)
    bar = tqdm(_loaded(data, start, workers), initial=start, total=len(data), unit="step", mininterval=5)
    for step, batch in enumerate(bar, start):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, schedule)
        # BF16 autocast is 10-20 times slower than FP32 on CPUs without AMX.
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
            facts, answers = student(batch)
        optimizer.zero_grad(set_to_none=True)
        (facts * (1.0 if step < schedule.vision_steps else 0.3) + answers).backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        if step % 20 == 0:
            bar.set_postfix(facts=f"{facts.item():.3f}", answers=f"{answers.item():.4f}", refresh=False)
        if (step + 1) % save_every == 0 or step + 1 == len(data):
            _save_state(state_path, student, optimizer, step + 1)
            save_weights(student, out / "model.safetensors")


def save_weights(student: Student, path: Path) -> None:
    """Write the model as one BF16 safetensors file."""
    tensors = {
        name: tensor.detach().to("cpu", torch.bfloat16).contiguous()
        for name, tensor in student.model.state_dict().items()
    }
    save_file(tensors, path, metadata={"format": "pt"})


def _loaded(data: Batches, start: int, workers: int) -> Iterator[Batch]:
    order = range(start, len(data))
    return iter(DataLoader(data, batch_size=None, sampler=order, num_workers=workers))


def _save_state(path: Path, student: Student, optimizer: torch.optim.Optimizer, step: int) -> None:
    part = path.with_suffix(".part")
    state = {"student": student.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
    torch.save(state, part)
    part.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.train", description=__doc__)
    parser.add_argument("out", type=Path, help="folder for the checkpoint; an unfinished one is resumed")
    parser.add_argument("--vision-steps", type=int, default=1500, help="steps of the vision stage (1500)")
    parser.add_argument("--steps", type=int, default=1600, help="steps of the joint stage (1600)")
    parser.add_argument("--seed", type=int, default=Schedule(0, 0).seed)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw scenes (1)")
    parser.add_argument("--threads", type=int, default=0, help="threads for the arithmetic (torch's default)")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    train(args.out, Schedule(args.vision_steps, args.steps, seed=args.seed), args.workers)


if __name__ == "__main__":
    main()
