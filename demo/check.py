"""Measure what the demo model sees, through real vLLM and the gateway: `python -m demo.check`."""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from demo.ask import Asked, all_questions, ask_all
from demo.held_out import held_out
from demo.processes import running
from demo.scenes import SKILLS
from server.together import free_port

MODEL = Path(__file__).parent / "model"
NEEDED = 0.90
START_S = 420


def score(asked: Sequence[Asked], answers: Sequence[str]) -> dict[str, tuple[int, int]]:
    """(right, asked) by skill; an answer is right when it is the expected word, and nothing else."""
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for (_, question), answer in zip(asked, answers, strict=True):
        total[question.skill] += 1
        right[question.skill] += answer == question.answer
    return {skill: (right[skill], total[skill]) for skill in SKILLS}


def table(scores: dict[str, tuple[int, int]]) -> str:
    lines = ["| skill | right | asked | share |", "| --- | ---: | ---: | ---: |"]
    for skill, (right, total) in scores.items():
        lines.append(f"| {skill} | {right} | {total} | {right / total:.1%} |")
    return "\n".join(lines)


def measure(url: str, model: str, scenes: int) -> bool:
    """Print the table. Whether every skill reaches 90 %."""
    asked = all_questions([held_out(index) for index in range(scenes)])
    scores = score(asked, asyncio.run(ask_all(url, model, asked)))
    print(table(scores))
    return all(right >= NEEDED * total for right, total in scores.values())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.check", description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL, help="checkpoint to serve (the bundled one)")
    parser.add_argument("--url", help="ask a running endpoint instead (base URL with /v1); needs --name")
    parser.add_argument("--name", default="demo", help="model name at the endpoint (demo)")
    parser.add_argument("--scenes", type=int, default=500, help="held-out pictures (500)")
    args = parser.parse_args()
    if args.url:
        sys.exit(0 if measure(args.url, args.name, args.scenes) else 1)
    port = free_port()
    command = ("up", "--model", str(args.model), "--name", args.name, "--port", str(port))
    print(f"serving {args.model} on real vLLM ...", flush=True)
    with running("server", *command) as process:
        process.wait_for(r"fovea   \| ready: ", START_S)
        reached = measure(f"http://127.0.0.1:{port}/v1", args.name, args.scenes)
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    main()
