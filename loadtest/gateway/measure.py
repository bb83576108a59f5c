"""The measurements themselves: each asks one subject, the gateway or the upstream, and notes what came of it."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import uvloop

from loadtest.gateway.bodies import make_body
from loadtest.gateway.caller import Reply, closed_loop, make_request, paced
from loadtest.gateway.processes import Gateway
from loadtest.gateway.result import Memory, Run, StageTimes, Streams
from loadtest.reporting.intervals import percentile

STREAMS, UPLOADS_PER_S = 16, 8
# Memory at rest is that of a process which has seen some traffic.
SEEN_BEFORE = 50
SETTLE_S = 0.1  # for the watch to begin to feel


def measure_run(
    subject: str, port: int, watch: Gateway | None, name: str, body: bytes, count: int, callers: int
) -> tuple[Run, list[StageTimes]]:
    """`count` requests by `callers`, and, of a gateway, as many again while its loop is felt. Stages are told apart
    where requests come one at a time."""
    if watch:
        watch.tell()
    replies, took_s = uvloop.run(closed_loop(port, [make_request(body)] * count, callers))
    told: dict[str, Any] = watch.tell(then_feel=True) if watch else {}
    if watch:
        time.sleep(SETTLE_S)
        uvloop.run(closed_loop(port, [make_request(body)] * count, callers))
        felt = watch.tell()
        told |= {name: felt[name] for name in ("stalls_ms", "own_stalls_ms")}
    took_ms = [reply.took_s * 1000 for reply in replies]
    run = Run(
        subject,
        name,
        callers,
        count,
        per_s=count / took_s,
        p50_ms=percentile(took_ms, 0.5),
        p99_ms=percentile(took_ms, 0.99),
        cpu_ms=told.get("cpu_s", 0) * 1000 / count,
        system_ms=told.get("system_s", 0) * 1000 / count,
        faults=told.get("faults", 0) / count,
        stall_ms=max(told.get("stalls_ms", ()), default=0),
        own_stall_ms=max(told.get("own_stalls_ms", ()), default=0),
    )
    if callers > 1 or not told:
        return run, []
    return run, [
        StageTimes(name, stage, len(cpu_ms), percentile(cpu_ms, 0.5), percentile(cpu_ms, 0.99))
        for stage, cpu_ms in told["stages_ms"].items()
    ]


def measure_streams(subject: str, port: int, picture_body: bytes | None) -> Streams:
    """STREAMS answers under way at once, alone or beside uploads of `picture_body`."""
    replies, uploads = uvloop.run(_stream(port, picture_body))
    delays_ms = [delay * 1000 for reply in replies for delay in reply.delays_s]
    return Streams(
        subject, uploads, len(delays_ms), percentile(delays_ms, 0.5), percentile(delays_ms, 0.99), max(delays_ms)
    )


async def _stream(port: int, picture_body: bytes | None) -> tuple[list[Reply], int]:
    request = make_request(make_body(None, stream=True))
    streaming = asyncio.ensure_future(closed_loop(port, [request] * STREAMS, STREAMS))
    uploads = 0
    if picture_body is not None:
        uploads = await paced(port, make_request(picture_body), UPLOADS_PER_S, streaming)
    replies, _ = await streaming
    return replies, uploads


def measure_memory(
    subject: str, start: Callable[[], AbstractContextManager[Gateway]], small: bytes, held: bytes, uploads: int
) -> Memory:
    """A fresh gateway holds `uploads` bodies at once, since the upstream keeps all their answers waiting."""
    with start() as gateway:
        uvloop.run(closed_loop(gateway.port, [make_request(small)] * SEEN_BEFORE, 4))
        idle_mb = gateway.tell()["resident_mb"]
        uvloop.run(closed_loop(gateway.port, [make_request(held)] * uploads, uploads))
        return Memory(subject, uploads, len(held) / 2**20, idle_mb, gateway.tell()["peak_mb"])
