"""One run from a scenario to the folder that the report is made of (`loadtest.records`)."""

import asyncio
import itertools
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import BinaryIO, Protocol

import aiohttp

from loadtest.driving.answers import open_session, without_secrets
from loadtest.driving.by_aiperf import Aiperf, drive_by_aiperf
from loadtest.driving.caller import Caller, Clock, Target
from loadtest.driving.drive import Driver
from loadtest.driving.gallery import Gallery
from loadtest.driving.pages import Pages
from loadtest.driving.sampling import Sampler
from loadtest.driving.served import read_version
from loadtest.driving.this_machine import describe_machine
from loadtest.records import METRICS_FILE, REQUESTS_FILE, RequestRecord, RunInfo, make_line, write_run
from loadtest.scenario.document import Scenario
from loadtest.scenario.plan import Picture, PlannedConversation, make_plan

# Of a plan without end.
FIRST_PLANNED = 2000


class Progress(Protocol):
    def drawn(self) -> None: ...

    def begins(self, requests: int | None) -> None: ...

    def ended(self, record: RequestRecord, under_way: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is run. `text` is the scenario's."""

    scenario: Scenario
    text: str
    seed: int
    target: Target
    metrics: Pages
    folder: Path
    aiperf: Aiperf | None = None  # sends it in our place


class Ledger:
    """Writes each request down as it ends, and remembers what the run's summary needs."""

    def __init__(self, file: BinaryIO, progress: Progress) -> None:
        self._file = file
        self._progress = progress
        self.counts_from_s: float | None = None
        self.ended_s = 0.0

    def note(self, record: RequestRecord, under_way: int) -> None:
        self._file.write(make_line(record))
        self._file.flush()  # it outlives a run that is killed
        self.ended_s = max(self.ended_s, record.ended_s)
        if not record.warm_up:
            earliest = record.due_s if self.counts_from_s is None else min(self.counts_from_s, record.due_s)
            self.counts_from_s = earliest
        self._progress.ended(record, under_way)

    def note_all(self, records: Iterable[RequestRecord]) -> None:
        for record in records:
            self.note(record, 0)


async def drive_run(wanted: Wanted, gallery: Gallery, progress: Progress) -> RunInfo:
    """Interrupted (Ctrl-C), what has ended is kept and the run is as long as it was. Raises ScenarioError,
    AiperfError, and OSError where the folder cannot be written."""
    wanted.folder.mkdir(parents=True, exist_ok=True)
    await fill(gallery, wanted.scenario, wanted.seed, progress)
    async with open_session(aiohttp.ClientTimeout(total=None, sock_connect=30)) as session:
        with (wanted.folder / METRICS_FILE).open("wb") as metrics:
            info = await drive_drawn(wanted, gallery, progress, session, metrics)
    write_run(wanted.folder, info)
    return info


async def drive_drawn(
    wanted: Wanted, gallery: Gallery, progress: Progress, session: aiohttp.ClientSession, metrics: BinaryIO
) -> RunInfo:
    """What is told of the run when it is over. Raises what `drive_run` does."""
    server = await read_version(session, wanted.target.url)
    clock = Clock()
    sampler = Sampler(session, wanted.metrics, clock, metrics)
    await sampler.sample()  # what counters are told from: before anything is sent, however busy the machine is
    began, clock.began_ns = datetime.now(UTC), Clock().began_ns
    with (wanted.folder / REQUESTS_FILE).open("wb") as file:
        ledger = Ledger(file, progress)
        # For a run that is killed: what it had written down can be reported.
        write_run(wanted.folder, replace(describe_run(wanted, ledger, began, server), unfinished=True))
        caller, plan = Caller(session, wanted.target, clock), make_plan(wanted.scenario, wanted.seed)
        sampling = asyncio.create_task(sampler.run())
        # What Ctrl-C does: the task is cancelled, and goes on to write down what it has.
        interrupted = False
        try:
            if wanted.aiperf:
                driven = drive_by_aiperf(
                    wanted.aiperf, wanted.scenario, plan, wanted.target, gallery, wanted.folder, clock
                )
                ledger.note_all(await driven)
            else:
                await Driver(wanted.scenario, caller, clock, ledger.note).drive(plan, gallery)
        except asyncio.CancelledError:
            interrupted = True
        except ExceptionGroup as group:  # of the requests under way: all had the same disk
            raise first_unwritten(group) from group
        sampling.cancel()
        await asyncio.wait([sampling])
        await sampler.sample()
    return replace(describe_run(wanted, ledger, began, server), interrupted=interrupted)


async def fill(gallery: Gallery, scenario: Scenario, seed: int, progress: Progress) -> None:
    """Reads the plan once, so that a trace that is wrong is told before anything is sent; of one without end its
    beginning. It is planned anew when it is sent: a plan of a million requests is never in memory."""
    endless = scenario.arrival.kind == "closed" and scenario.requests is None
    read = Read(itertools.islice(make_plan(scenario, seed), FIRST_PLANNED if endless else None))
    await gallery.fill(read.pictures, progress.drawn)
    for _ in read.pictures:
        pass
    progress.begins(None if endless else read.requests)


class Read:
    """A plan as it is read: its pictures, and how many requests it had up to there."""

    def __init__(self, plan: Iterable[PlannedConversation]) -> None:
        self.requests = 0
        self.pictures = self._pictures(plan)

    def _pictures(self, plan: Iterable[PlannedConversation]) -> Iterator[Picture]:
        for each in plan:
            self.requests += len(each.turns)
            yield from (picture for turn in each.turns for picture in turn.pictures)


def first_unwritten(group: ExceptionGroup) -> BaseException:
    """The OSError among them; where there is none, a bug: all of it."""
    found: BaseException | None = group.subgroup(OSError)
    while isinstance(found, ExceptionGroup):
        found = found.exceptions[0]
    return found or group


def describe_run(wanted: Wanted, ledger: Ledger, began: datetime, server: dict[str, str]) -> RunInfo:
    slo = wanted.scenario.slo
    return RunInfo(
        scenario=wanted.scenario.name,
        scenario_text=wanted.text,
        seed=wanted.seed,
        url=without_secrets(wanted.target.url),
        model=wanted.target.model,
        began_at=began.isoformat(timespec="seconds"),
        counts_from_s=ledger.counts_from_s or 0.0,
        ended_s=ledger.ended_s,
        slo_ttft_ms=slo.ttft_ms,
        slo_itl_ms=slo.itl_ms,
        slo_e2e_ms=slo.e2e_ms,
        driver="aiperf" if wanted.aiperf else "fovea",
        fovea=own_version(),
        command=as_run(sys.argv[1:]),
        machine=describe_machine(),
        server=server,
    )


def as_run(arguments: Sequence[str]) -> str:
    return shlex.join(["fovea-loadtest", *map(without_secrets, arguments)])


def own_version() -> str:
    try:
        return version("fovea")
    except PackageNotFoundError:
        return ""
