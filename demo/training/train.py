"""Train the demo model from scratch on drawn scenes: `python -m demo.training.train OUT` (CPU, resumable, seeded).

First the vision tower alone learns to say what lies where (the heads that say so are thrown away). Then tower and
language model learn together from conversations of several questions a picture, and some heads of the attention
are shown where to look for each answer (`demo.training.looks`).
"""

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from demo.training import architecture
from demo.training.lessons import Batch, Batches, Schedule
from demo.training.student import Student

TOWER, STEPS = 2500, 2500


def learning_rate(step: int, schedule: Schedule) -> float:
    """A warm-up of 100 steps in each stage; in the second, then a cosine to 2 % of the peak."""
    done = step if step < schedule.tower else step - schedule.tower
    warm = schedule.rate * min(1.0, (done + 1) / 100)
    if step < schedule.tower:
        return warm
    cosine = 0.5 * (1 + math.cos(math.pi * done / schedule.steps))
    return warm * (0.02 + 0.98 * cosine)


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
    data = Batches(schedule, tokenizer)
    bar = tqdm(_loaded(data, start, workers), initial=start, total=len(data), unit="step", mininterval=5)
    for step, batch in enumerate(bar, start):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, schedule)
        # FP32 throughout: BF16 autocast is 10-20 times slower on CPUs without AMX.
        losses = student(batch)
        optimizer.zero_grad(set_to_none=True)
        losses.total().backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        if step % 20 == 0:
            shown = {name: f"{getattr(losses, name).item():.3f}" for name in ("facts", "answers", "looks")}
            bar.set_postfix(shown, refresh=False)
        if (step + 1) % save_every == 0 or step + 1 == len(data):
            _save_state(state_path, student, optimizer, step + 1)
            save_weights(student, out / "model.safetensors")


def save_weights(student: Student, path: Path) -> None:
    """Write the model as one BF16 safetensors file."""
    tensors = {
        name: tensor.detach().to(torch.bfloat16).contiguous() for name, tensor in student.model.state_dict().items()
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
    parser = argparse.ArgumentParser(prog="python -m demo.training.train", description=__doc__)
    parser.add_argument("out", type=Path, help="folder for the checkpoint; an unfinished one is resumed")
    parser.add_argument("--tower", type=int, default=TOWER, help=f"steps of the vision tower alone ({TOWER})")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"steps of conversations ({STEPS})")
    parser.add_argument("--seed", type=int, default=Schedule(0, 0).seed)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw scenes (1)")
    parser.add_argument("--threads", type=int, default=0, help="threads for the arithmetic (torch's default)")
    args = parser.parse_args()
    if args.tower < 0 or args.steps < 0:
        parser.error("--tower and --steps cannot be negative")
    if args.threads:
        torch.set_num_threads(args.threads)
    train(args.out, Schedule(args.tower, args.steps, seed=args.seed), args.workers)


if __name__ == "__main__":
    main()
