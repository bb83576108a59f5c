"""The measurements: each loads one gateway and notes what came of it and what it cost."""

import asyncio
import time

import uvloop

from loadtest.gateway import caller
from loadtest.peers.caller import closed_loop
from loadtest.peers.processes import Subject
from loadtest.peers.result import PeerMemory, PeerRun, PeerStreams
from loadtest.reporting.intervals import percentile

STREAMS, PICTURES_PER_S = 64, 15
UPLOADS = 32
# Memory at rest is that of a process which has seen some traffic.
SEEN_BEFORE = 50
# What a process still does for a request after its answer is its cost, too.
SETTLE_S = 0.05


def measure_run(subject: Subject, name: str, request: bytes, connections: int, seconds: float) -> PeerRun:
    cpu_s = subject.cpu_s()
    took, all_s = uvloop.run(closed_loop(subject.port, request, connections, seconds))
    time.sleep(SETTLE_S)
    used_s = subject.cpu_s() - cpu_s
    took_ms = [each * 1000 for each in took]
    return PeerRun(
        subject.name,
        name,
        connections,
        requests=len(took),
        per_s=len(took) / all_s,
        p50_ms=percentile(took_ms, 0.5),
        p99_ms=percentile(took_ms, 0.99),
        cpu_ms=used_s * 1000 / len(took),
        busy=used_s / (all_s + SETTLE_S),
    )


def measure_streams(subject: Subject, stream: bytes, picture: bytes | None) -> PeerStreams:
    """STREAMS answers under way at once, alone or while PICTURES_PER_S pictures arrive."""
    cpu_s = subject.cpu_s()
    replies, pictures = uvloop.run(_stream(subject.port, stream, picture))
    time.sleep(SETTLE_S)
    used_s = subject.cpu_s() - cpu_s
    delays_ms = [delay * 1000 for reply in replies for delay in reply.delays_s]
    return PeerStreams(
        subject.name,
        pictures,
        tokens=len(delays_ms),
        cpu_ms=used_s * 1e6 / len(delays_ms),
        p50_ms=percentile(delays_ms, 0.5),
        p99_ms=percentile(delays_ms, 0.99),
    )


async def _stream(port: int, stream: bytes, picture: bytes | None) -> tuple[list[caller.Reply], int]:
    streaming = asyncio.ensure_future(caller.closed_loop(port, [stream] * STREAMS, STREAMS))
    pictures = await caller.paced(port, picture, PICTURES_PER_S, streaming) if picture else 0
    replies, _ = await streaming
    return replies, pictures


def measure_memory(subject: Subject, small: bytes, held: bytes) -> PeerMemory:
    """A fresh gateway holds UPLOADS bodies at once, since the upstream keeps all their answers waiting."""
    uvloop.run(caller.closed_loop(subject.port, [small] * SEEN_BEFORE, 4))
    rest_mb = subject.resident_mb()
    subject.forget_peak()
    uvloop.run(caller.closed_loop(subject.port, [held] * UPLOADS, UPLOADS))
    return PeerMemory(subject.name, UPLOADS, rest_mb, subject.peak_mb())
