"""The lesson, reproduced: what quantizing which part of the model does to its sight. `make lesson` runs it.

Every variant of the demo model is served by real vLLM and asked the sight suite's questions; a run that was stopped
goes on where it was.
"""

import argparse
import asyncio
import hashlib
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai

from demo.ask import parts
from demo.lesson.page import Example, Measured, write_lesson
from demo.lesson.variants import VARIANTS, engine_environ
from demo.processes import ProcessFailed, Running, running
from quantize.checkpoint import read_tensors
from quantize.errors import QuantizeError
from quantize.evaluate.answers import Answers, Reply, Side
from quantize.evaluate.endpoint import Endpoint
from quantize.evaluate.gate import POLICY, breaches, read_policy
from quantize.evaluate.questions import SKILLS
from quantize.evaluate.report import Report
from quantize.evaluate.run import ask, make_report
from quantize.evaluate.suite import Item, SightSuite
from quantize.journal import Journal
from server.together import free_port

MODEL = Path(__file__).parents[1] / "model"
BUILD = Path("build/lesson")
DOCS = Path("docs")
QUANTIZE_PYTHON = Path(".venv/quantize/bin/python")
BASE, REAL, SHOWN = "bf16", "fp8-dynamic", "int4-everything"
NAMES = (BASE, REAL, *VARIANTS)
QUESTIONS = 150
EXAMPLES = 6
IN_FLIGHT = 32
START_S = 420


@dataclass(frozen=True, slots=True)
class Variant:
    """A checkpoint to serve; `weight_bytes` is what its weights take, or would if they were stored as rounded."""

    name: str
    folder: Path
    weight_bytes: int


def make_variant(name: str, build: Path) -> Variant:
    """The checkpoint, made unless it is there."""
    if name == BASE:
        return Variant(name, MODEL, sum(tensor.size for tensor in read_tensors(MODEL).values()))
    folder, size_file = build / name / "checkpoint", build / name / "weight_bytes"
    if not size_file.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        if name == REAL:
            quantize = Running("quantize.cli", "run", str(MODEL), str(folder))
            if quantize.finish(300):
                raise ProcessFailed(f"fovea-quantize failed:\n{quantize.tail()}")
            size = sum(tensor.size for tensor in read_tensors(folder).values())
        else:
            command = [str(QUANTIZE_PYTHON), "-m", "demo.lesson.write_variant", str(MODEL), str(folder), name]
            written = subprocess.run(command, check=False, capture_output=True, text=True)
            if written.returncode:
                raise ProcessFailed(f"{name} could not be written:\n{written.stderr}")
            size = int(written.stdout)
        size_file.write_text(str(size))
    return Variant(name, folder, int(size_file.read_text()))


def measure(
    variant: Variant, side: Side, source: SightSuite, build: Path
) -> tuple[dict[str, Reply], dict[str, Item]]:
    """Replies by key, asked of real vLLM behind the gateway unless they are in the journal."""
    known: dict[str, Item] = {}
    with Journal(
        build / variant.name / "answers.jsonl", {**source.describe(), "model": checkpoint_name(variant)}
    ) as log:
        answers = Answers(log)
        if not all((side, key) in answers.replies for key in source.keys):
            with serving(variant) as url:
                end = Endpoint(side, url, variant.name, "none")
                known, problem = asyncio.run(ask([end], answers, source, IN_FLIGHT, 120, print))
                if problem:
                    raise ProcessFailed(f"{variant.name}: {problem}: run this again to go on")
    return {key: answers.replies[side, key] for key in source.keys}, known


def find_examples(variant: Variant, report: Report, source: SightSuite, most: int) -> list[Example]:
    """Pictures that the base reads and this variant does not, those first of whose wrong answer it is surest."""
    cases = [case for case in report.cases if case.base_outcome == "right" and case.candidate_outcome == "wrong"]
    found = []
    with serving(variant) as url, openai.OpenAI(base_url=url, api_key="none") as client:
        for case in cases[:60]:
            item = source.item(case.key)
            sure = confidence(client, variant.name, item)
            found.append(Example(item, case.base, case.candidate, sure))
    found.sort(key=lambda example: -example.confidence)
    chosen: list[Example] = []
    for example in found:  # at most two of a skill
        if sum(other.item.skill == example.item.skill for other in chosen) < 2:
            chosen.append(example)
    return chosen[:most]


def confidence(client: openai.OpenAI, model: str, item: Item) -> float:
    """The probability that the model gives its whole answer, greedy."""
    messages: list[Any] = [{"role": "user", "content": parts(item.data_url, item.text)}]
    answer = client.chat.completions.create(
        model=model, messages=messages, max_tokens=64, temperature=0, logprobs=True
    )
    logprobs = answer.choices[0].logprobs
    tokens = (logprobs.content if logprobs else None) or []
    return math.exp(sum(token.logprob for token in tokens))


@contextmanager
def serving(variant: Variant) -> Iterator[str]:
    """`fovea up` with this variant for as long as a `with` block lasts; gives the base URL."""
    port = free_port()
    command = ("up", "--model", str(variant.folder), "--name", variant.name, "--port", str(port))
    environ = engine_environ() if variant.name in VARIANTS else {}
    with running("server", *command, **environ) as up:
        up.wait_for(r"fovea   \| ready: ", START_S)
        yield f"http://127.0.0.1:{port}/v1"


def checkpoint_name(variant: Variant) -> str:
    """Names the checkpoint, so that answers of other weights are never taken for these."""
    digest = hashlib.sha256()
    for name in ("config.json", "model.safetensors"):
        digest.update((variant.folder / name).read_bytes())
    return f"{variant.name} {digest.hexdigest()}"


def teach(names: tuple[str, ...], questions: int, build: Path, docs: Path) -> None:
    source, policy = SightSuite(SKILLS, ("easy",), questions), read_policy(POLICY)
    variants = [make_variant(name, build) for name in names]
    base, known = measure(variants[0], "base", source, build)
    measured, examples = [], []
    for variant in variants:
        print(f"== {variant.name}: {variant.weight_bytes:,} bytes", flush=True)
        replies: dict[tuple[Side, str], Reply] = {("base", key): reply for key, reply in base.items()}
        if variant.name == BASE:
            candidate = base
        else:
            candidate, more = measure(variant, "candidate", source, build)
            known.update(more)
        replies.update({("candidate", key): reply for key, reply in candidate.items()})
        ends = (Endpoint("base", "", BASE, ""), Endpoint("candidate", "", variant.name, ""))
        report = make_report(ends, source, replies, known, "")
        (build / variant.name).mkdir(parents=True, exist_ok=True)
        (build / variant.name / "report.json").write_text(report.model_dump_json(indent=2))
        measured.append(Measured(variant.name, variant.weight_bytes, report, breaches(report, policy)))
        if variant.name == SHOWN:
            examples = find_examples(variant, report, source, EXAMPLES)
    write_lesson(measured, examples, questions, docs)
    print(json.dumps({each.name: "red" if each.breaches else "green" for each in measured}, indent=2))
    print(f"written: {docs / 'lesson.md'}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.lesson.teach", description=__doc__)
    parser.add_argument("--questions", type=int, default=QUESTIONS, help=f"questions of each skill ({QUESTIONS})")
    parser.add_argument("--only", default=",".join(NAMES), help="variants, comma-separated (all)")
    parser.add_argument("--build", type=Path, default=BUILD, help=f"folder for checkpoints and answers ({BUILD})")
    parser.add_argument("--docs", type=Path, help=f"folder for lesson.md ({DOCS}; for part of it, --build)")
    args = parser.parse_args()
    if args.questions < 1:
        parser.error("--questions must be at least 1")
    wanted = args.only.split(",")
    if unknown := set(wanted) - set(NAMES):
        parser.error(f"no variant {', '.join(sorted(unknown))}: there are {', '.join(NAMES)}")
    names = (BASE, *(name for name in NAMES[1:] if name in wanted))
    whole = names == NAMES and args.questions >= QUESTIONS
    try:
        teach(names, args.questions, args.build, args.docs or (DOCS if whole else args.build))
    except (ProcessFailed, QuantizeError) as problem:
        sys.exit(f"lesson: {problem}")
    except KeyboardInterrupt:
        sys.exit("lesson: stopped; the same command goes on")


if __name__ == "__main__":
    main()
