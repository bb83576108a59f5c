"""Train the demo model from scratch on drawn scenes: `python -m demo.train OUT` (CPU, resumable, seeded).

First the vision tower alone learns to say, patch by patch, which thing has its centre there (the head that
says so is thrown away); then tower and language model learn together from conversations of several questions
a picture, so that every picture teaches many times.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from demo import architecture
from demo.lessons import Batch, Batches, Schedule
from demo.student import Student


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
    data = Batches(schedule, tokenizer)
    bar = tqdm(_loaded(data, start, workers), initial=start, total=len(data), unit="step", mininterval=5)
    for step, batch in enumerate(bar, start):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, schedule)
        # FP32 throughout: BF16 autocast is 10-20 times slower on CPUs without AMX.
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
