"""`make bench-end-to-end`: what a caller sees of Fovea between it and stock vLLM, one engine or two.

Real engines, one checkpoint (embedding_cache/checkpoint.py): asked directly, through the gateway, through nginx in
turn, and through the gateway with and without affinity; the subjects take turns. Writes
docs/benchmarks/end-to-end.md and end-to-end.json.
"""

import argparse
import itertools
import json
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from loadtest.driving.this_machine import cpus_here
from loadtest.end_to_end.asking import SETTLE_S, Load, ask_blocks, ask_pairs, fresh_pictures, order
from loadtest.end_to_end.engines import HELD, SIDE, Engines, stock_engines
from loadtest.end_to_end.page import make_page
from loadtest.end_to_end.result import NGINX, TWO, Result
from loadtest.end_to_end.subjects import Subject, affinity_of, all_subjects
from loadtest.gateway.machine import others_have
from loadtest.peers.nginx import Nginx

StartEngines = Callable[[Path], AbstractContextManager[Engines]]


@dataclass(frozen=True, slots=True)
class Amounts:
    """`pictures`: more than an engine's memory holds, fewer than that of two; each is asked about once, and then
    `times` more. `pairs` of single requests; `settle_s` between blocks; `look_s`: how long to look for others."""

    rounds: int = 5
    pictures: int = HELD * 3 // 2
    times: int = 2
    callers: int = 4
    pairs: int = 40
    settle_s: float = SETTLE_S
    look_s: float = 5


def bench(amounts: Amounts, start_engines: StartEngines) -> Result:
    began, others = time.monotonic(), others_have(amounts.look_s)

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {line}", flush=True)

    with tempfile.TemporaryDirectory(prefix="fovea-bench-") as place:
        folder = Path(place)
        with start_engines(folder) as engines, all_subjects(folder, engines) as subjects:
            result = begin(amounts, engines, {each.name for each in subjects})
            result.start_s = time.monotonic() - began
            say("all are up")
            measure(amounts, engines, subjects, result, say)
            result.affinity = affinity_of(next(each for each in subjects if each.name == TWO))
    result.took_s = time.monotonic() - began
    result.others = max(others, others_have(amounts.look_s))
    return result


def measure(
    amounts: Amounts,
    engines: Engines,
    subjects: Sequence[Subject],
    result: Result,
    say: Callable[[str], None],
) -> None:
    numbers, places = itertools.count(), itertools.count(1)
    for each in subjects:  # what is done for the first time takes longer; as many requests as reach every engine
        warm = Load(-1, 1, fresh_pictures(2, next(places)), range(2), (), amounts.settle_s)
        list(ask_blocks(each, engines.engines, warm, numbers))
    result.pairs = ask_pairs(subjects[0], subjects[1], amounts.pairs, numbers)
    for turn in range(amounts.rounds):
        cold, repeated = order(amounts.pictures, amounts.times, seed=turn)
        for each in in_turns(subjects, turn):
            pictures = fresh_pictures(amounts.pictures, next(places))
            load = Load(turn, amounts.callers, pictures, cold, repeated, amounts.settle_s)
            for block in ask_blocks(each, engines.engines, load, numbers):
                result.blocks.append(block)
                say(
                    f"{turn + 1}. {block.subject}, {block.kind}: {len(block.e2e_s)} requests in "
                    f"{block.took_s:.1f} s, {block.encodes} encodes"
                )


def in_turns(subjects: Sequence[Subject], turn: int) -> Iterator[Subject]:
    """Each round begins with another."""
    first = turn % len(subjects)
    yield from (*subjects[first:], *subjects[:first])


def begin(amounts: Amounts, engines: Engines, names: set[str]) -> Result:
    return Result(
        date=datetime.now(UTC).date().isoformat(),
        machine=f"{platform.machine()}, {cpus_here()}, Python {platform.python_version()}",
        versions={
            "Fovea": version("fovea"),
            **engines.versions,
            **({"nginx": Nginx().version()} if NGINX in names else {}),
        },
        command=" ".join(["python -m loadtest.bench_end_to_end", *sys.argv[1:]]),
        engine_command=engines.command,
        rounds=amounts.rounds,
        callers=amounts.callers,
        times=amounts.times,
        side=SIDE,
        held=HELD,
    )


def main() -> None:
    usual = Amounts()
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench_end_to_end", description=__doc__)
    parser.add_argument("--docs", type=Path, default=Path("docs/benchmarks"), help="folder for the results")
    parser.add_argument("--rounds", type=int, default=usual.rounds, help=f"({usual.rounds})")
    parser.add_argument("--times", type=int, default=usual.times, help=f"a picture comes again ({usual.times})")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing that was started outlives us
    result = bench(Amounts(rounds=args.rounds, times=args.times), stock_engines)
    args.docs.mkdir(parents=True, exist_ok=True)
    (args.docs / "end-to-end.json").write_text(json.dumps(asdict(result)) + "\n")
    (args.docs / "end-to-end.md").write_text(make_page(result))
    print(make_page(result))


if __name__ == "__main__":
    main()
