"""One evaluation from start to report: check the endpoints, ask, mark, write."""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tqdm import tqdm

from quantize.errors import EndpointLost
from quantize.evaluate.answers import Answers, Reply, Side
from quantize.evaluate.endpoint import Asker, Endpoint, ask_each, await_endpoint, find_endpoint
from quantize.evaluate.report import Report, make_cases, make_groups, mark_answers
from quantize.evaluate.show import make_page, make_table
from quantize.evaluate.suite import Item, Source
from quantize.journal import Journal

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
    wait_s: float = 0,
) -> Report:
    """Ask, and write answers.jsonl, report.json and report.html into `out`. Raises QuantizeError.

    Endpoints that do not answer yet are waited for, `wait_s` seconds each.

    A run whose endpoint is lost writes the report of what it has, says so in it, and raises EndpointLost.
    """
    return asyncio.run(_evaluate(base, candidate, source, out, concurrency, timeout_s, say, wait_s))


async def _evaluate(
    base: SideOptions,
    candidate: SideOptions,
    source: Source,
    out: Path,
    concurrency: int,
    timeout_s: float,
    say: Say,
    wait_s: float,
) -> Report:
    ends = (await _find("base", base, wait_s, say), await _find("candidate", candidate, wait_s, say))
    run = {**source.describe(), "base": ends[0].model, "candidate": ends[1].model}
    with Journal(out / "answers.jsonl", run) as journal:
        answers = Answers(journal)
        known, problem = await ask(ends, answers, source, concurrency, timeout_s, say)
    report = make_report(ends, source, answers.replies, known, problem)
    write_report(report, source, out)
    say(make_table(report) if report.groups else "nothing was answered by both sides")
    say(f"written: {out / 'report.json'}, {out / 'report.html'}")
    if report.unanswered:
        reason = problem or "some questions failed again and again"
        raise EndpointLost(f"{reason}; {report.unanswered} questions are open: the same command goes on with them")
    return report


async def ask(
    ends: Sequence[Endpoint], answers: Answers, source: Source, concurrency: int, timeout_s: float, say: Say
) -> tuple[dict[str, Item], str]:
    """Ask what is open, with a progress bar.

    Returns the items asked, without their pictures, and why an endpoint was lost, or "".
    """
    if answers.replies:
        say(f"going on: {len(answers.replies)} answers are there already")
    known: dict[str, Item] = {}
    askers = [Asker(end, answers, timeout_s) for end in ends]
    bar = tqdm(total=len(source.keys), unit="question", mininterval=1, file=sys.stderr)

    def progress(item: Item | None) -> None:
        if item is not None:
            known[item.key] = item.without_picture()
        bar.update()

    try:
        await ask_each(askers, source, concurrency, progress)
    except EndpointLost as problem:
        return known, str(problem)
    finally:
        bar.close()
        for asker in askers:
            await asker.close()
    return known, ""


def make_report(
    ends: tuple[Endpoint, Endpoint],
    source: Source,
    replies: Mapping[tuple[Side, str], Reply],
    known: Mapping[str, Item],
    problem: str,
) -> Report:
    answered = mark_answers(source, replies, known)
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
        return (
            await find_endpoint("base", base.url, base.model, base.key),
            await find_endpoint("candidate", candidate.url, candidate.model, candidate.key),
        )

    return asyncio.run(find())


async def _find(side: Side, options: SideOptions, wait_s: float, say: Say) -> Endpoint:
    return await await_endpoint(side, options.url, options.model, options.key, wait_s, say)
