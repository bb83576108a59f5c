"""`make bench-metrics`: what counting costs a request, and a scrape. Writes docs/benchmarks/metrics.md and .json.

One gateway counts and does not count in turns, block by block, so that both meet the same machine; before, it notes
what is called to count one request, and how long that takes by itself. Scrapes have a process of their own.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from loadtest.driving.this_machine import cpus_here
from loadtest.gateway.bodies import make_body, make_jpeg
from loadtest.gateway.caller import closed_loop, make_request
from loadtest.gateway.counting import Block, Counted, Result, Scrape, make_page
from loadtest.gateway.processes import Gateway, gateway, stub
from loadtest.gateway.stub import TOKENS

COUNTED = Path(__file__).parent / "gateway" / "counted.py"
SCRAPED = Path(__file__).parent / "gateway" / "scraped.py"
ROUNDS, REQUESTS, CALLERS, NOTED = 200, 100, 4, 100
# Engines, models, tenants, workers.
SCRAPES = ((50, 1, 1, 4), (50, 4, 66, 4), (50, 8, 66, 4))


def send(port: int, body: bytes, count: int, callers: int = CALLERS) -> None:
    uvloop.run(closed_loop(port, [make_request(body)] * count, callers))


def measure_block(watch: Gateway, body: bytes, counts: bool) -> Block:
    watch.ask("count" if counts else "mute")
    send(watch.port, body, REQUESTS)
    return Block(counts, watch.ask("count")["cpu_s"] * 1e6 / REQUESTS)


def measure_turns(watch: Gateway, body: bytes, rounds: int) -> list[tuple[Block, Block]]:
    """(counting, not) of each round; which comes first changes every time."""
    pairs = []
    for number in range(rounds):
        first = measure_block(watch, body, number % 2 == 0)
        second = measure_block(watch, body, number % 2 == 1)
        pairs.append((first, second) if first.counts else (second, first))
    return pairs


def measure_calls(watch: Gateway, name: str, body: bytes, count: int, per: int) -> Counted:
    """Of `count` requests one after another, by request; or by event, of which a stream has `per`."""
    watch.ask("note")
    send(watch.port, body, count, 1)
    told = watch.ask("tell")
    each = count * per
    calls = {work: number / each for work, number in told["calls"].items()}
    return Counted(name, calls, told["calls_us"] / each)


def measure_scrape(engines: int, models: int, tenants: int, workers: int) -> Scrape:
    command = [sys.executable, str(SCRAPED), *map(str, (engines, models, tenants, workers))]
    environ = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    run = subprocess.run(command, env=environ, stdout=subprocess.PIPE, check=True)
    return Scrape(engines, models, tenants, workers, **json.loads(run.stdout))


def bench(rounds: int) -> Result:
    small, picture = make_body(None), make_body(make_jpeg(50_000))
    stream = make_body(None, stream=True)
    with stub() as upstream, gateway(Path.cwd(), upstream, {}, COUNTED) as watch:
        send(watch.port, small, 3 * REQUESTS)
        calls = [
            measure_calls(watch, "a small request", small, NOTED, 1),
            measure_calls(watch, "a request with a picture", picture, NOTED, 1),
            measure_calls(watch, "an event of a stream", stream, 1, TOKENS),
        ]
        send(watch.port, small, REQUESTS)
        pairs = measure_turns(watch, small, rounds)
    return Result(
        datetime.now(UTC).date().isoformat(),
        f"{platform.machine()}, {cpus_here()}, Python {platform.python_version()}",
        REQUESTS,
        CALLERS,
        pairs,
        calls,
        [measure_scrape(*each) for each in SCRAPES],
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench_metrics", description=__doc__)
    parser.add_argument("--docs", type=Path, default=Path("docs/benchmarks"), help="folder for the results")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"({ROUNDS})")
    args = parser.parse_args()
    result = bench(args.rounds)
    args.docs.mkdir(parents=True, exist_ok=True)
    (args.docs / "metrics.json").write_text(json.dumps(asdict(result)) + "\n")
    (args.docs / "metrics.md").write_text(make_page(result))
    print(make_page(result))


if __name__ == "__main__":
    main()
