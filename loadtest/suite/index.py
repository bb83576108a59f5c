"""README's performance section and docs/benchmarks/README.md, out of what lies in docs/benchmarks."""

import json
from pathlib import Path

from loadtest.suite.benchmarks import BENCHMARKS
from loadtest.suite.claimed import claims_of
from loadtest.suite.noted import read_runs

BEGIN, END = "<!-- Written by `python -m loadtest.claims`: do not edit. -->", "<!-- /claims -->"
# Of each benchmark in README; the index has all.
SHOWN = 2


def judged(page: str) -> dict[str, list[str]]:
    """What a page's tables hold against what was asked, by verdict."""
    found: dict[str, list[str]] = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        if line.startswith("|") and cells[-1] in ("met", "missed", "too close to say"):
            found.setdefault(cells[-1], []).append(f"{cells[0]} ({', '.join(cells[1:-1])})")
    return found


def make_section(docs: Path) -> str:
    lines = [BEGIN]
    for each in reversed(BENCHMARKS.values()):
        raw, page = each.outputs(docs)
        told = claims_of(each, docs)
        if not told:
            continue
        verdicts = judged(page.read_text()) if page.exists() else {}
        missed = len(verdicts.get("missed", ())) + len(verdicts.get("too close to say", ()))
        of = missed + len(verdicts.get("met", ()))
        said = f": {missed} of {of} asked not met" if of else ""
        lines.append(f"- [{each.name}]({page.relative_to(docs.parent.parent)}), {date_of(raw)}{said}")
        lines += [f"  - {claim}" for claim in told[:SHOWN]]
    return "\n".join([*lines, END])


def date_of(raw: Path) -> str:
    return str(json.loads(raw.read_text())["date"])


def make_index(docs: Path) -> str:
    runs = read_runs(docs / "run.json")
    whole = f"All of it last took {runs.whole / 60:.0f} minutes, set-up included ({runs.day}, {runs.machine})."
    rows = ["| page | what it asks | of | on | took | again |", "| --- | --- | --- | --- | ---: | --- |"]
    claimed: list[str] = []
    missed: list[str] = []
    for each in reversed(BENCHMARKS.values()):
        raw, page = each.outputs(docs)
        command = f"`python -m loadtest.{each.module}`"
        if not raw.exists() or not page.exists():
            rows.append(f"| {each.name} | {each.asks} | pending | | | {command} |")
            continue
        told, took = json.loads(raw.read_text()), runs.took.get(each.name)
        spent = f"{took.seconds / 60:.0f} min" if took else ""
        cells = (f"[{each.name}]({page.name})", each.asks, told["date"], told["machine"], spent, command)
        rows.append(f"| {' | '.join(cells)} |")
        claimed += [f"- [{each.name}]({page.name}): {claim}" for claim in claims_of(each, docs)]
        verdicts = judged(page.read_text())
        missed += [
            f"- [{each.name}]({page.name}), {verdict}: {what}"
            for verdict in ("missed", "too close to say")
            for what in verdicts.get(verdict, ())
        ]
    rows.append(
        f"| [gpu](gpu.md) | what do FP8 and kept embeddings give on a GPU? | {state_of_gpu(docs)} | | | "
        "`make bench-gpu` |"
    )
    return "\n".join(
        [
            "# Benchmarks",
            "",
            "*Written by `make bench` (`python -m loadtest.claims` without measuring).* Every ratio is out of one",
            "run, in which what is compared took turns. Nothing was measured on a GPU but what `gpu.md` says was.",
            *([whole] if runs.whole else []),
            "",
            *rows,
            "",
            "## What was found",
            "",
            *claimed,
            "",
            "## What was missed",
            "",
            *(missed or ["Nothing."]),
            "",
        ]
    )  # fmt: skip


def state_of_gpu(docs: Path) -> str:
    page = docs / "gpu.md"
    is_pending = not page.exists() or "pending" in page.read_text()
    return "SKIPPED: no GPU; pending" if is_pending else "see its page"
