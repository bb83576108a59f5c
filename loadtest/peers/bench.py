"""Ours beside other gateways: each on one core, callers and the upstream on another, in turns, round by round."""

import os
import platform
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from loadtest.driving.this_machine import cpus_here
from loadtest.gateway.bodies import make_body, make_jpeg
from loadtest.gateway.caller import NotAnswered, make_request
from loadtest.gateway.machine import machine_busy_s, own_cpu_s
from loadtest.gateway.processes import stub
from loadtest.peers.interpreter import best_python
from loadtest.peers.litellm import LiteLLM
from loadtest.peers.measure import measure_memory, measure_run, measure_streams
from loadtest.peers.nginx import Nginx
from loadtest.peers.ours import Ours, make_key
from loadtest.peers.peer import Peer
from loadtest.peers.processes import NotStarted, Subject, on_core, running
from loadtest.peers.production_stack import ProductionStack
from loadtest.peers.result import LARGE, MIDDLE, SMALL, UPSTREAM, Peers
from loadtest.peers.smg import Smg
from loadtest.peers.vllm_router import VllmRouter

T = TypeVar("T")

PEERS: dict[str, Callable[[], Peer]] = {
    make.name: make for make in (Nginx, VllmRouter, Smg, ProductionStack, LiteLLM)
}
CONNECTIONS = {SMALL: 64, MIDDLE: 8, LARGE: 4}
RUN_S, WARM_S = 1.5, 0.5
# Starting all of them takes most of a minute, and what is held differs little from start to start.
MEMORY_ROUNDS = 2


class Requests:
    """All that is ever sent, made beforehand."""

    def __init__(self, key: str) -> None:
        pictures = {SMALL: None, MIDDLE: make_jpeg(500_000), LARGE: make_jpeg(4_000_000)}
        self.bodies = {name: make_request(make_body(picture), key) for name, picture in pictures.items()}
        self.held = make_request(make_body(pictures[LARGE], held=True), key)
        self.stream = make_request(make_body(None, stream=True), key)


def bench_peers(names: Collection[str], rounds: int) -> Peers:
    """`names` of PEERS; those that are not there, do not start or fail are said under `skipped`."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("the benchmark of peers needs two cores: one for a gateway, one for callers and upstream")
    began, busy_s, own_s = time.monotonic(), machine_busy_s(), own_cpu_s()
    with ExitStack() as stack:
        keys = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fovea-bench-keys-"))) / "keys.yaml"
        requests = Requests(make_key(keys))
        peers = [Ours(keys), *(make() for name, make in PEERS.items() if name in names)]
        result = begin(rounds, peers)
        there = [peer for peer in peers if peer.name not in result.skipped]
        stack.enter_context(on_core(cores[1]))
        upstream = stack.enter_context(stub())
        measure_all_memory(there, upstream, cores[0], requests, result)
        measure_rounds(there, upstream, cores[0], requests, rounds, result)
    others_s = machine_busy_s() - busy_s - (own_cpu_s() - own_s)
    result.others = max(0.0, others_s / (time.monotonic() - began) / (os.cpu_count() or 1))
    return result


def begin(rounds: int, peers: Sequence[Peer]) -> Peers:
    result = Peers(
        date=datetime.now(UTC).date().isoformat(),
        machine=f"{platform.machine()}, {cpus_here()}; {best_python()[1]}, for those written in it",
        rounds=rounds,
        versions={},
        settings={},
        skipped={},
    )
    for peer in peers:
        if peer.is_there():
            result.versions[peer.name], result.settings[peer.name] = peer.version(), peer.settings
        else:
            skip(result, peer.name, f"it is not there ({peer.get})")
    return result


def skip(result: Peers, name: str, why: str) -> None:
    print(f"SKIPPED: {name}: {why}", flush=True)
    result.skipped[name] = why
    result.versions.pop(name, None)
    result.settings.pop(name, None)
    result.runs = [run for run in result.runs if run.subject != name]
    result.streams = [each for each in result.streams if each.subject != name]
    result.memory = [each for each in result.memory if each.subject != name]


def measure_all_memory(peers: Sequence[Peer], upstream: int, core: int, requests: Requests, result: Peers) -> None:
    """Each in processes of its own, since what others measured before would leave its memory grown."""
    for number in range(min(MEMORY_ROUNDS, result.rounds)):
        for peer in rotated(peers, number):
            if peer.name in result.skipped:
                continue
            try:
                with running(peer, upstream, core, requests.bodies[SMALL]) as subject:
                    result.memory.append(measure_memory(subject, requests.bodies[SMALL], requests.held))
            except (NotStarted, NotAnswered) as problem:
                skip(result, peer.name, str(problem))


def measure_rounds(
    peers: Sequence[Peer], upstream: int, core: int, requests: Requests, rounds: int, result: Peers
) -> None:
    with ExitStack() as stack:
        subjects = [Subject(UPSTREAM, upstream, 0)]
        for peer in peers:
            if peer.name in result.skipped:
                continue
            try:
                subjects.append(stack.enter_context(running(peer, upstream, core, requests.bodies[SMALL])))
            except NotStarted as problem:
                skip(result, peer.name, str(problem))
        for number in range(-1, rounds):
            for subject in rotated(subjects, number):
                if subject.name not in result.skipped:
                    measure_subject(subject, requests, WARM_S if number < 0 else RUN_S, number >= 0, result)
            print(f"peers: {'warmed up' if number < 0 else f'round {number + 1}'}", flush=True)


def measure_subject(subject: Subject, requests: Requests, seconds: float, noted: bool, result: Peers) -> None:
    try:
        for name, request in requests.bodies.items():
            run = measure_run(subject, name, request, CONNECTIONS[name], seconds)
            if noted:
                result.runs.append(run)
        for picture in (None, requests.bodies[LARGE]) if noted else ():
            result.streams.append(measure_streams(subject, requests.stream, picture))
    except NotAnswered as problem:
        skip(result, subject.name, f"it failed: {problem}")


def rotated(things: Sequence[T], number: int) -> list[T]:
    turn = number % len(things) if things else 0
    return [*things[turn:], *things[:turn]]
