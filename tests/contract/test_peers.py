"""The benchmark's harness beside other gateways, for a moment: ours, and nginx where it is unpacked."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from loadtest.gateway.processes import stub
from loadtest.gateway.stub import TOKENS
from loadtest.peers.bench import Requests
from loadtest.peers.measure import STREAMS, UPLOADS, measure_memory, measure_run, measure_streams
from loadtest.peers.nginx import Nginx
from loadtest.peers.ours import Ours, make_key
from loadtest.peers.processes import NotStarted, Subject, running
from loadtest.peers.result import LARGE, SMALL

CORE = min(os.sched_getaffinity(0))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.yaml"


@pytest.fixture(scope="module")
def requests(keys: Path) -> Requests:
    return Requests(make_key(keys))


@pytest.fixture(scope="module")
def upstream() -> Iterator[int]:
    with stub() as port:
        yield port


def test_ours_is_started_as_users_run_it_and_measured(keys: Path, requests: Requests, upstream: int) -> None:
    with running(Ours(keys), upstream, CORE, requests.bodies[SMALL]) as subject:
        memory = measure_memory(subject, requests.bodies[SMALL], requests.held)
        run = measure_run(subject, SMALL, requests.bodies[SMALL], 8, seconds=0.3)
        streams = measure_streams(subject, requests.stream, requests.bodies[LARGE])
    assert (memory.uploads, memory.added_mb > 0) == (UPLOADS, True)
    assert run.requests > 8
    assert 0 < run.cpu_ms < 1000
    assert 0 < run.busy <= 1.05
    assert streams.tokens == STREAMS * TOKENS
    assert streams.pictures > 0
    assert streams.cpu_ms > 0


def test_ours_asks_for_the_key_that_is_sent(keys: Path, upstream: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtest.peers.processes.START_TIMEOUT_S", 3)
    wrong = Requests("fovea-nobody").bodies[SMALL]
    with pytest.raises(NotStarted, match="fovea did not answer"), ExitStack() as stack:
        stack.enter_context(running(Ours(keys), upstream, CORE, wrong))


@pytest.mark.skipif(not Nginx().is_there(), reason="SKIPPED: nginx is not unpacked: set_up.py nginx")
def test_nginx_passes_requests_and_streams_on(requests: Requests, upstream: int) -> None:
    with running(Nginx(), upstream, CORE, requests.bodies[SMALL]) as subject:
        family = subject.processes()
        run = measure_run(subject, SMALL, requests.bodies[SMALL], 8, seconds=0.3)
        streams = measure_streams(subject, requests.stream, None)
    assert len(family) == 2  # master and worker
    assert run.requests > 8
    assert (streams.tokens, streams.pictures) == (STREAMS * TOKENS, 0)
    assert not any(Path(f"/proc/{pid}").exists() for pid in family)


def test_the_upstream_itself_has_no_cpu_of_its_own(requests: Requests, upstream: int) -> None:
    run = measure_run(Subject("no gateway", upstream, 0), SMALL, requests.bodies[SMALL], 8, seconds=0.2)
    assert (run.cpu_ms, run.busy) == (0, 0)
    assert run.requests > 8
