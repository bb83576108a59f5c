"""`make bench-scaling`: a request's cost as pictures, streams, tenants, engines and cache entries grow 100 x.

Gateways as users run them, filled beforehand, in front of stubs; their CPU is the kernel's count. The sizes of a
thing take turns, block by block. Writes docs/benchmarks/scaling.md and .json; what grows is named there.
"""

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import uvloop

from loadtest.driving.this_machine import cpus_here
from loadtest.gateway.machine import machine_busy_s, own_cpu_s
from loadtest.scaling import scenes
from loadtest.scaling.page import make_page
from loadtest.scaling.processes import upstreams
from loadtest.scaling.result import Growth, Result
from loadtest.scaling.turns import take_turns

ENTRIES = Path(__file__).parent / "scaling" / "entries.py"
ROUNDS, REQUESTS = 9, 200
# What grows: its name, how far, by what it is made.
SCENES: dict[str, tuple[Sequence[int], scenes.Scene]] = {
    "pictures": ((100, 1_000, 10_000), scenes.pictures),
    "fetched": ((50, 500, 5_000), scenes.fetched),
    "streams": ((10, 100, 1_000), scenes.streams),
    "tenants": ((10, 100, 1_000), scenes.tenants),
    "engines": ((1, 10, 100), scenes.engines),
    "looks": ((1, 10, 100), scenes.looks),
    "waiting": ((10, 100, 1_000), scenes.waiting),
    "messages": ((1, 10, 100), scenes.messages),
    "together": ((1, 10, 100), scenes.together),
}
ENTRY_SIZES = (100, 1_000, 10_000)
CACHE = "entries"
# Long blocks need fewer of them.
FEWER = {"looks": 3, "waiting": 5}


def measure_scene(name: str, ports: Sequence[int], rounds: int, requests: int, divided: int) -> Growth:
    sizes, scene = SCENES[name]
    wanted = sorted({max(1, size // divided) for size in sizes})
    with (
        ExitStack() as stack,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        tempfile.TemporaryDirectory(prefix="fovea-scaling-") as folder,
    ):
        stage = scenes.Stage(stack, runner, ports, wanted, requests, Path(folder))
        return take_turns(name, scene(stage), rounds)


def measure_entries(rounds: int, divided: int) -> list[Growth]:
    sizes = [max(20, size // divided) for size in ENTRY_SIZES]
    with tempfile.TemporaryDirectory(prefix="fovea-scaling-") as folder:
        command = [sys.executable, str(ENTRIES), json.dumps(sizes), folder, str(rounds)]
        environ = {**os.environ, "PYTHONPATH": str(Path.cwd())}
        run = subprocess.run(command, env=environ, stdout=subprocess.PIPE, check=True)
    return [Growth(name, sizes, us, []) for name, us in json.loads(run.stdout).items()]


def measure_all(names: Collection[str], rounds: int, requests: int, divided: int) -> Iterator[Growth]:
    most = max(max(SCENES[name][0]) for name in ("engines", "looks"))
    with upstreams(max(3, most // divided)) as ports:
        for name in SCENES:
            if name in names:
                yield measure_scene(name, ports, min(rounds, FEWER.get(name, rounds)), requests, divided)
    if CACHE in names:
        yield from measure_entries(rounds, divided)


def bench(names: Collection[str], rounds: int, requests: int, divided: int = 1) -> Result:
    """`divided`: by what all sizes are, for a look at whether it works."""
    began, busy_s, own_s = time.monotonic(), machine_busy_s(), own_cpu_s()
    result = Result(
        datetime.now(UTC).date().isoformat(),
        f"{platform.machine()}, {cpus_here()}, Python {platform.python_version()}",
        {name: version(name) for name in ("fovea", "uvloop", "uvicorn", "orjson", "pybase64", "blake3")},
        " ".join(["python -m loadtest.bench_scaling", *sys.argv[1:]]),
        rounds,
    )
    for growth in measure_all(names, rounds, requests, divided):
        result.growths.append(growth)
        print(f"{growth.name}: {growth.ratio():.2f} ({time.monotonic() - began:.0f} s)", flush=True)
    result.took_s = time.monotonic() - began
    result.others = max(0.0, machine_busy_s() - busy_s - (own_cpu_s() - own_s)) / result.took_s
    return result


def main() -> None:
    everything = (*SCENES, CACHE)
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench_scaling", description=__doc__)
    parser.add_argument("--docs", type=Path, default=Path("docs/benchmarks"), help="folder for the results")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"({ROUNDS})")
    parser.add_argument("--requests", type=int, default=REQUESTS, help=f"a block ({REQUESTS})")
    parser.add_argument("--divided", type=int, default=1, help="all sizes are, by this, to see that it works (1)")
    parser.add_argument("--only", action="append", choices=everything, help="one alone; repeat for more")
    args = parser.parse_args()
    result = bench(args.only or everything, args.rounds, args.requests, args.divided)
    args.docs.mkdir(parents=True, exist_ok=True)
    (args.docs / "scaling.json").write_text(json.dumps(asdict(result)) + "\n")
    (args.docs / "scaling.md").write_text(make_page(result))
    print(make_page(result))


if __name__ == "__main__":
    main()
