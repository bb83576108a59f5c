"""What engines of each subject live through, picture by picture; notes it all in a result."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from loadtest.embedding_cache.engines import Engine, Kind, start_engines
from loadtest.embedding_cache.pictures import Picture, draw_picture
from loadtest.embedding_cache.result import (
    AGAIN,
    COLD,
    DISK,
    EXAMPLE,
    FIRST,
    HOST,
    OURS,
    OWN,
    RESTART,
    SHARED,
    STOCK,
    TEXT,
    Asked,
    Count,
    Pair,
    Result,
)

SMALL, LARGE = 448, 1024
REPEATS = 5
PATCH = 32  # a side of what becomes one token of a picture
POLLS = 20
# Before another engine is asked: a worker of vLLM's spins for a second, on a CPU of both, before it sleeps. What is
# written behind is on its way for milliseconds.
SETTLE_S = 1.2


@dataclass(frozen=True, slots=True)
class Amounts:
    """How many fresh pictures by side, of the subjects in turn, and of the example connector."""

    pairs: dict[int, int]
    example: dict[int, int]


@dataclass(slots=True)
class Life:
    """Of one subject, over all its engines: what it was asked is counted."""

    subject: str
    result: Result
    say: Callable[[str], None]
    pictures: dict[str, Picture] = field(default_factory=dict)
    digests: set[str] = field(default_factory=set)
    requests: int = 0
    engines: int = 0
    encoder_runs: int = 0

    def ask(self, engine: Engine, picture: Picture, tier: str, note: bool = True) -> float:
        before = engine.lookups()
        taken = engine.first_token_s(picture)
        self.digests.add(picture.digest)
        self.requests += 1
        polls = 1 if tier == OWN or self.subject != OURS else POLLS  # there, nothing is looked up
        found = "+".join(sorted(name for name, n in self._lookups(engine, before, polls).items() if n))
        if note:
            self.pictures[picture.digest] = picture
            self.result.asked.append(Asked(self.subject, picture.side, tier, taken, found))
            self.say(f"{self.subject}, {picture.side}: {tier}: {taken * 1000:,.0f} ms {found}")
        return taken

    def ask_text(self, engine: Engine, side: int, tier: str = TEXT, times: int = REPEATS) -> None:
        for _ in range(times):
            taken = engine.first_token_of_text_s((side // PATCH) ** 2)
            self.result.asked.append(Asked(self.subject, side, tier, taken))
            self.say(f"{self.subject}, {side}: {tier}: {taken * 1000:,.0f} ms")

    @staticmethod
    def _lookups(engine: Engine, before: dict[str, int], polls: int) -> dict[str, int]:
        """vLLM brings its figures to /metrics after the step."""
        for _ in range(polls):
            now = {name: number - before.get(name, 0) for name, number in engine.lookups().items()}
            if any(now.values()):
                return now
            time.sleep(0.05)
        return {}

    def ask_all(self, engine: Engine, tier: str, rounds: int = 1) -> None:
        """Every picture that the subject knows, in turn: more than vLLM's own memory holds, so that each was pushed
        out by others since it was asked about."""
        for _ in range(rounds):
            for picture in list(self.pictures.values()):
                self.ask(engine, picture, tier)

    def count(self, engine: Engine) -> None:
        self.engines += 1
        self.encoder_runs += len(engine.encoded())

    def close(self) -> None:
        count = Count(self.subject, len(self.digests), self.requests, self.engines, self.encoder_runs)
        self.result.counts.append(count)
        self.say(f"{self.subject}: {count}")


def live_ours_beside_stock(
    model: Path, folder: Path, shared: str, amounts: Amounts, result: Result, say: Callable[[str], None]
) -> None:
    """Fresh pictures on both in turn; ours alone, from each tier. Engines start two at a time, which takes a minute
    of both CPUs; but for the pairs, one of them is asked and the other sleeps."""
    stock, ours = Life(STOCK, result, say), Life(OURS, result, say)
    kind = kind_of_ours(folder / "one", shared)
    with started(result, model, kind, Kind(STOCK)) as (engine, plain):
        ask_fresh(stock, plain, ours, engine, amounts.pairs)
        time.sleep(SETTLE_S)
        ours.ask_all(engine, DISK)
        ours.ask_all(engine, HOST, rounds=2)
        ours.count(engine)
    later = [(kind, RESTART)] + ([(kind_of_ours(folder / "two", shared), SHARED)] if shared else [])
    with started(result, model, *(kind for kind, _ in later)) as engines:
        for engine, (_, tier) in zip(engines, later, strict=True):
            warm_up(ours, engine)
            ours.ask_all(engine, tier)
            ours.count(engine)
            time.sleep(SETTLE_S)
    ours.close()


def ask_fresh(stock: Life, plain: Engine, ours: Life, engine: Engine, amounts: dict[int, int]) -> None:
    warm_up(stock, plain)
    warm_up(ours, engine)
    number = 0
    for side, count in amounts.items():
        for _ in range(count):
            number += 1
            picture = draw_picture(side, number)
            stock.result.pairs.append(ask_pair(picture, (stock, plain), (ours, engine), number % 2 == 0))
            for life, asked in ((ours, engine), (stock, plain)):
                time.sleep(SETTLE_S)
                for _ in range(REPEATS):
                    life.ask(asked, picture, OWN)
        stock.ask_text(plain, side)
    stock.ask(plain, next(iter(stock.pictures.values())), AGAIN)


def live_example(model: Path, folder: Path, amounts: Amounts, result: Result, say: Callable[[str], None]) -> None:
    """And, on an engine of stock's that starts beside its last one, what a first text takes."""
    life = Life(EXAMPLE, result, say)
    options = {"shared_storage_path": str(folder / "example")}
    kind = Kind(EXAMPLE, "WatchedExample", "fovea_bench_example", options)
    with started(result, model, kind) as (engine,):
        warm_up(life, engine)
        for side, count in amounts.example.items():
            for number in range(count):
                picture = draw_picture(side, 1000 + number)
                life.ask(engine, picture, COLD)
                for _ in range(REPEATS):
                    life.ask(engine, picture, OWN)
        life.ask_all(engine, DISK, rounds=3)
        life.count(engine)
    with started(result, model, kind, Kind(STOCK)) as (engine, plain):
        warm_up(life, engine)
        life.ask_all(engine, RESTART)
        life.count(engine)
        life.close()
        time.sleep(SETTLE_S)
        ask_first_text(Life(STOCK, result, say), plain, amounts)


def ask_first_text(stock: Life, plain: Engine, amounts: Amounts) -> None:
    """Of an engine just started."""
    warm_up(stock, plain)
    for side in amounts.pairs:
        stock.ask_text(plain, side, FIRST, times=1)


def kind_of_ours(folder: Path, shared: str) -> Kind:
    options = {"folder": str(folder)} | ({"shared": shared} if shared else {})
    return Kind(OURS, "WatchedFovea", "fovea_bench_ours", options)


@contextmanager
def started(result: Result, model: Path, *kinds: Kind) -> Iterator[list[Engine]]:
    """How long they took to answer, side by side, is noted, of the last of each kind."""
    began = time.monotonic()
    with start_engines(model, *kinds) as engines:
        result.start_s.update({kind.name: time.monotonic() - began for kind in kinds})
        yield engines


def warm_up(life: Life, engine: Engine) -> None:
    """The first picture of an engine's life takes what later ones do not: it is one that the subject knows already,
    but on its first engine."""
    life.ask(engine, draw_picture(SMALL // 2, 0), "", note=False)
    life.ask(engine, draw_picture(SMALL // 2, 0), "", note=False)
    engine.cost()


def ask_pair(
    picture: Picture, without: tuple[Life, Engine], with_ours: tuple[Life, Engine], ours_first: bool
) -> Pair:
    engine = with_ours[1]
    seconds = {}
    time.sleep(SETTLE_S)
    engine.cost()
    for life, asked in (with_ours, without) if ours_first else (without, with_ours):
        seconds[life.subject] = life.ask(asked, picture, COLD)
        time.sleep(SETTLE_S)
    cost = engine.cost()
    return Pair(picture.side, seconds[STOCK], seconds[OURS], sum(cost.calls.values()), cost.waited_s)
