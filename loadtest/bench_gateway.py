"""`make bench-gateway`: what the gateway adds to a request, by stage and beside other gateways (loadtest/peers).

Gateway, upstream and callers are processes of their own on one machine and take turns with each other, round by
round; CPU, memory and stalls are told by a watch inside the gateway's process. Writes docs/benchmarks/gateway.md
and gateway.json.
"""

import argparse
import functools
import json
import os
import platform
import time
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from loadtest.driving.this_machine import cpus_here
from loadtest.gateway.bodies import make_body, make_jpeg
from loadtest.gateway.leaving import measure_leaving
from loadtest.gateway.machine import machine_busy_s, own_cpu_s
from loadtest.gateway.measure import measure_memory, measure_run, measure_streams
from loadtest.gateway.page import make_page, table_of_runs
from loadtest.gateway.processes import Gateway, gateway, stub
from loadtest.gateway.result import DIRECT, LARGE, LOW, OURS, Result, read_result
from loadtest.gateway.yardsticks import measure_yardsticks
from loadtest.peers.bench import PEERS, bench_peers

# Where each stage's function is looked up when it is called. Base64 inside a body is met before the rest is parsed.
STAGES = {
    "read body": "server.api.routes:read_body",
    "base64": "server.api.splice:cut",
    "parse": "server.api.bodies:parse_around_pictures",
    "parse, apart": "server.api.bodies:parse_pictures_apart",
    "base64, apart": "server.images.resolve:decode_data_url",
    "check": "server.images.resolve:inspect_image",
    "digest": "server.images.resolve:identify",
    "draw": "server.images.resolve:render",
    "draw: photograph": "server.images.rendition:bring_down",
    "serialise": "server.pipeline:make_ready",
    "forward": "server.engines.client:EngineClient.send",
}
SIZES = {"no image": 0, "50 KB": 50_000, "500 KB": 500_000, "4 MB": 4_000_000}
REQUESTS = {"no image": 1000, "50 KB": 400, "500 KB": 200, "4 MB": 64, LOW: 12, LARGE: 12}
ROUNDS = 3
PARTS = ("stages", "peers")
CALLERS = (1, 4, 16)
HELD = (1, 16)
# Drawn anew for every request; and, by a gateway of its own, with so many pixels left.
SETTINGS = {"FOVEA_IMAGES__RENDITION_CACHE": "0"}
LARGE_SETTINGS = {**SETTINGS, "FOVEA_IMAGES__LOW_DETAIL_PIXELS": "4000000"}

# By name; None is the upstream itself.
Subjects = dict[str, Gateway | None]


def make_bodies() -> dict[str, bytes]:
    pictures = {name: make_jpeg(size) if size else None for name, size in SIZES.items()}
    bodies = {name: make_body(picture) for name, picture in pictures.items()}
    return {
        **bodies,
        LOW: make_body(pictures["4 MB"], detail="low"),
        LARGE: make_body(pictures["4 MB"], detail="low"),
    }


def bench(sources: dict[str, Path], rounds: int, names: Collection[str]) -> Result:
    """`sources`: a subject -> the checkout whose gateway it is; `names`: those of the bodies."""
    began, busy_s, own_s = time.monotonic(), machine_busy_s(), own_cpu_s()
    bodies = {name: made for name, made in make_bodies().items() if name in names}
    result = begin(rounds, bodies)
    with ExitStack() as stack:
        upstream = stack.enter_context(stub())
        plain = start(stack, sources, upstream, SETTINGS)
        large = start(stack, sources, upstream, LARGE_SETTINGS) if LARGE in bodies else {}
        measure_round(plain, large, upstream, bodies, begin(0, bodies))  # to warm up
        for number in range(rounds):
            measure_round(rotated(plain, number), rotated(large, number), upstream, bodies, result)
            print(f"round {number + 1}\n{table_of_runs(result.runs)}", flush=True)
        for subject, watch in plain.items():
            port = watch.port if watch else upstream
            result.leaving += [measure_leaving(subject, port, upstream, stream) for stream in (True, False)]
        small, held = make_body(make_jpeg(SIZES["50 KB"])), make_body(make_jpeg(SIZES["4 MB"]), held=True)
        result.yardsticks = measure_yardsticks(make_jpeg(SIZES["4 MB"]))
        for _ in range(rounds):
            for name, source in sources.items():
                fresh = functools.partial(gateway, source, upstream, {})
                result.memory += [measure_memory(name, fresh, small, held, count) for count in HELD]
    others_s = machine_busy_s() - busy_s - (own_cpu_s() - own_s)
    result.others = max(0.0, others_s / (time.monotonic() - began) / (os.cpu_count() or 1))
    return result


def start(stack: ExitStack, sources: dict[str, Path], upstream: int, settings: dict[str, str]) -> Subjects:
    subjects: Subjects = {DIRECT: None}
    stages = STAGES if len(sources) == 1 else {}  # watching them costs a seventh of a small request
    for name, source in sources.items():
        subjects[name] = stack.enter_context(gateway(source, upstream, stages, **settings))
    return subjects


def rotated(subjects: Subjects, number: int) -> Subjects:
    turn = list(subjects.items())
    return dict(turn[number % len(turn) :] + turn[: number % len(turn)]) if turn else {}


def begin(rounds: int, bodies: dict[str, bytes]) -> Result:
    return Result(
        date=datetime.now(UTC).date().isoformat(),
        machine=f"{platform.machine()}, {cpus_here()}",
        versions={name: version(name) for name in ("fovea", "aiohttp", "orjson", "pybase64", "uvicorn", "uvloop")},
        rounds=rounds,
        body_bytes={name: len(body) for name, body in bodies.items()},
    )


def measure_round(
    plain: Subjects, large: Subjects, upstream: int, bodies: dict[str, bytes], result: Result
) -> None:
    """Every body and number of callers, the subjects in turn at each."""
    for name, body in bodies.items():
        for callers in CALLERS if name in SIZES else (1,):
            for subject, watch in (large if name == LARGE else plain).items():
                port = watch.port if watch else upstream
                run, stages = measure_run(subject, port, watch, name, body, REQUESTS[name], callers)
                result.runs.append(run)
                result.stages += stages
    for picture_body in (None, bodies["4 MB"]) if "4 MB" in bodies else ():
        for subject, watch in plain.items():
            port = watch.port if watch else upstream
            result.streams.append(measure_streams(subject, port, picture_body))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench_gateway", description=__doc__)
    parser.add_argument("--docs", type=Path, default=Path("docs/benchmarks"), help="folder for the results")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"({ROUNDS})")
    parser.add_argument("--only", choices=PARTS, help="measure this alone; the rest stays as it was last measured")
    parser.add_argument("--peers", default=",".join(PEERS), help=f"other gateways, with commas ({','.join(PEERS)})")
    against = "another checkout, whose gateway takes turns with this one's; stages are not measured then"
    parser.add_argument("--against", type=Path, help=against)
    parser.add_argument("--body", action="append", choices=REQUESTS, help="measure this one alone; repeat for more")
    args = parser.parse_args()
    peers = [name for name in args.peers.split(",") if name]
    if unknown := set(peers) - PEERS.keys():
        parser.error(f"no other gateway is called {', '.join(sorted(unknown))}: {', '.join(PEERS)}")
    sources = {OURS: Path.cwd()} | ({"other": args.against} if args.against else {})
    raw = args.docs / "gateway.json"
    before = read_result(raw.read_text()) if args.only and raw.exists() else None
    if args.only == "peers" and before is not None:
        result = before
    elif args.only == "peers":
        result = begin(0, {})
    else:
        result = bench(sources, args.rounds, args.body or list(REQUESTS))
    if args.only == "stages":
        result.peers = before.peers if before else None
    else:
        result.peers = bench_peers(peers, args.rounds)
    args.docs.mkdir(parents=True, exist_ok=True)
    raw.write_text(json.dumps(asdict(result)) + "\n")
    (args.docs / "gateway.md").write_text(make_page(result))
    print(make_page(result))


if __name__ == "__main__":
    main()
