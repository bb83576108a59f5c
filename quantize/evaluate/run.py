"""One evaluation from start to report: check the endpoints, ask, mark, write."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tqdm import tqdm

from quantize.errors import EndpointLost
from quantize.evaluate.endpoint import Asker, Endpoint, ask_both, find_endpoint
from quantize.evaluate.journal import Journal, Side
from quantize.evaluate.report import Report, make_cases, make_groups, mark_answers
from quantize.evaluate.show import make_page, make_table
from quantize.evaluate.suite import Item, Source

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SideOptions:
    """What the command line says of one side; `model` None: the endpoint's only one."""

    url: str
    model: str | None
    key: str


def evaluate(
    base: SideOptions,
    candidate: SideOptions,
    source: Source,
    out: Path,
    concurrency: int,
    timeout_s: float,
    say: Say,
) -> Report:
    """Ask, and write answers.jsonl, report.json and report.html into `out`. Raises QuantizeError.

    A run whose endpoint is lost writes the report of what it has, says so in it, and raises EndpointLost.
    """
    return asyncio.run(_evaluate(base, candidate, source, out, concurrency, timeout_s, say))


async def _evaluate(
    base: SideOptions,
    candidate: SideOptions,
    source: Source,
    out: Path,
    concurrency: int,
    timeout_s: float,
    say: Say,
) -> Report:
    ends = (await _find("base", base), await _find("candidate", candidate))
    run = {**source.describe(), "base": ends[0].model, "candidate": ends[1].model}
    known: dict[str, Item] = {}
    lost: EndpointLost | None = None
    with Journal(out / "answers.jsonl", run) as journal:
        if journal.replies:
            say(f"going on: {len(journal.replies)} answers are in {out / 'answers.jsonl'}")
        askers = (Asker(ends[0], journal, timeout_s), Asker(ends[1], journal, timeout_s))
        bar = tqdm(total=len(source.keys), unit="question", mininterval=1, file=sys.stderr)

        def progress(item: Item | None) -> None:
            if item is not None:
                known[item.key] = item.without_picture()
            bar.update()

        try:
            await ask_both(askers, source, concurrency, progress)
        except EndpointLost as problem:
            lost = problem
        finally:
            bar.close()
            for asker in askers:
                await asker.close()
    report = make_report(ends, source, journal, known, str(lost or ""))
    write_report(report, source, out)
    say(make_table(report) if report.groups else "nothing was answered by both sides")
    say(f"written: {out / 'report.json'}, {out / 'report.html'}")
    if lost or report.unanswered:
        reason = str(lost) if lost else "some questions failed again and again"
        raise EndpointLost(f"{reason}; {report.unanswered} questions are open: the same command goes on with them")
    return report


def make_report(
    ends: tuple[Endpoint, Endpoint], source: Source, journal: Journal, known: dict[str, Item], problem: str
) -> Report:
    answered = mark_answers(source, journal.replies, known)
    unanswered = len(source.keys) - len(answered)
    base, candidate = ({"url": end.url, "model": end.model} for end in ends)
    return Report(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        fovea=version("fovea"),
        questions=source.describe(),
        base=base,
        candidate=candidate,
        complete=not unanswered,
        unanswered=unanswered,
        problem=problem,
        groups=make_groups(answered),
        differing=sum(not each.agrees for each in answered),
        cases=make_cases(answered),
    )


def write_report(report: Report, source: Source, out: Path) -> None:
    for name, text in (
        ("report.json", report.model_dump_json(indent=2)),
        ("report.html", make_page(report, source)),
    ):
        part = out / f".{name}.part"
        part.write_text(text)
        part.replace(out / name)


def find_endpoints(base: SideOptions, candidate: SideOptions) -> tuple[Endpoint, Endpoint]:
    """Both ends, checked. Raises UsageError."""

    async def find() -> tuple[Endpoint, Endpoint]:
        return await _find("base", base), await _find("candidate", candidate)

    return asyncio.run(find())


async def _find(side: Side, options: SideOptions) -> Endpoint:
    return await find_endpoint(side, options.url, options.model, options.key)
