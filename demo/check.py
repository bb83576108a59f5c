"""Measure what the demo model sees, through real vLLM and the gateway: `python -m demo.check`.

The questions are the sight suite's easy ones: pictures of other seeds than in training, sides of 96-512 px, JPEG
(quality 40-95) and PNG, half with added noise.
"""

import argparse
import asyncio
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import openai

from demo.ask import ask_all
from demo.processes import ProcessFailed, running
from quantize.evaluate.intervals import wilson
from quantize.evaluate.questions import SKILLS
from quantize.evaluate.score import Mark, mark
from quantize.evaluate.suite import Item, SightSuite
from server.together import free_port

MODEL = Path(__file__).parent / "model"
# What the bundled model must reach, skill by skill.
NEEDED = {"attribute": 0.97, "count": 0.93, "spatial": 0.93, "grid": 0.90, "ocr": 0.90, "ground": 0.85}
START_S = 420


def group(items: Sequence[Item], answers: Sequence[str]) -> dict[str, list[Mark]]:
    """Marks by skill and, where a skill has several topics, by skill and topic."""
    marks: dict[str, list[Mark]] = defaultdict(list)
    for item, answer in zip(items, answers, strict=True):
        marked = mark(answer, item.truth)
        marks[item.skill].append(marked)
        marks[f"{item.skill}: {item.topic}"].append(marked)
    single = {f"{item.skill}: {item.topic}" for item in items} - {
        name for name in marks if ":" in name and len(marks[name]) < len(marks[name.partition(":")[0]])
    }
    return {name: marks[name] for name in sorted(marks) if name not in single}


def table(groups: dict[str, list[Mark]]) -> str:
    """Markdown: one row a skill or topic."""
    lines = [
        "| skill | right | asked | share | 95 % interval | needed |",
        "| --- | ---: | ---: | ---: | --- | ---: |",
    ]
    for name, marks in groups.items():
        right = sum(each.right for each in marks)
        low, high = wilson(right, len(marks))
        needed = f"{NEEDED[name]:.0%}" if name in NEEDED else ""
        lines.append(
            f"| {name} | {right} | {len(marks)} | {right / len(marks):.1%} | {low:.1%} - {high:.1%} | {needed} |"
        )
    return "\n".join(lines)


def measure(url: str, model: str, count: int) -> bool:
    """Print the table. Whether every skill reaches what it must."""
    suite = SightSuite(SKILLS, ("easy",), count)
    items = [suite.item(key) for key in suite.keys]
    groups = group(items, asyncio.run(ask_all(url, model, items)))
    print(table(groups))
    return all(sum(each.right for each in groups[skill]) >= NEEDED[skill] * count for skill in SKILLS)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.check", description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL, help="checkpoint to serve (the bundled one)")
    parser.add_argument("--url", help="ask a running endpoint instead (base URL with /v1); needs --name")
    parser.add_argument("--name", default="demo", help="model name at the endpoint (demo)")
    parser.add_argument("--questions", type=int, default=500, help="held-out questions a skill (500)")
    args = parser.parse_args()
    if args.questions < 1:
        parser.error("--questions must be at least 1")
    try:
        if args.url:
            reached = measure(args.url, args.name, args.questions)
        else:
            reached = serve_and_measure(args.model, args.name, args.questions)
    except (ProcessFailed, openai.APIError) as problem:
        sys.exit(f"check: {problem}")
    sys.exit(0 if reached else 1)


def serve_and_measure(model: Path, name: str, count: int) -> bool:
    port = free_port()
    print(f"serving {model} on real vLLM ...", flush=True)
    with running("server", "up", "--model", str(model), "--name", name, "--port", str(port)) as process:
        process.wait_for(r"fovea   \| ready: ", START_S)
        return measure(f"http://127.0.0.1:{port}/v1", name, count)


if __name__ == "__main__":
    main()
