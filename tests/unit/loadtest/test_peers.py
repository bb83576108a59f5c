"""The section beside other gateways: what is asked, what was found, and whether that meets it."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from loadtest.gateway.result import Result, read_result
from loadtest.peers.bench import PEERS, begin, rotated, skip
from loadtest.peers.caller import LeanCaller, Loop
from loadtest.peers.litellm import LiteLLM
from loadtest.peers.ours import Ours
from loadtest.peers.page import TARGETS, make_section, table_of_targets
from loadtest.peers.peer import Peer
from loadtest.peers.processes import cpu_s, memory_mb, tree
from loadtest.peers.result import LARGE, MIDDLE, SMALL, UPSTREAM, PeerMemory, PeerRun, Peers, PeerStreams

NAMES = ("fovea", "nginx", "vllm-router", "production-stack", "LiteLLM")


def make_peers() -> Peers:
    """Everybody costs the same, so that every ratio is 1."""
    peers = Peers("2026-01-02", "x86_64, 2 CPUs", 1, dict.fromkeys(NAMES, "1"), {}, {})
    for name in (UPSTREAM, *NAMES):
        cpu_ms = 0.0 if name == UPSTREAM else 0.5
        for body, connections in ((SMALL, 64), (MIDDLE, 8), (LARGE, 4)):
            peers.runs.append(PeerRun(name, body, connections, 100, 1000.0, 1.0, 2.0, cpu_ms, 0.5))
        delay = 1.0 if name == UPSTREAM else 3.0
        peers.streams.append(PeerStreams(name, 0, 12800, 8 * cpu_ms, 0.25, delay))
        peers.streams.append(PeerStreams(name, 30, 12800, 16 * cpu_ms, 0.25, 2 * delay))
    peers.memory += [PeerMemory(name, 32, 50.0, 150.0) for name in NAMES]
    return peers


def row(peers: Peers, asked: str) -> str:
    return next(line for line in table_of_targets(peers).splitlines() if asked in line)


def test_a_rate_is_what_a_second_of_cpu_is_enough_for() -> None:
    assert PeerRun("fovea", SMALL, 64, 100, 900.0, 1.0, 2.0, 0.5, 0.45).per_cpu_s == 2000
    assert row(make_peers(), ">= 0.5 x vllm-router").endswith("| 2,000/s | 2,000/s | 1.00 | met |")


def test_a_bound_is_missed_from_either_side() -> None:
    peers = make_peers()
    assert row(peers, ">= 5 x production-stack").endswith("| 1.00 | missed |")
    assert row(peers, "<= 0.1 x LiteLLM").endswith("| 4.0 ms | 4.0 ms | 1.00 | missed |")
    assert row(peers, "<= 1.7 x vllm-router").endswith("| 1.00 | met |")


def test_what_pictures_add_is_beyond_what_they_add_with_no_gateway() -> None:
    assert "| 4.0 ms | 4.0 ms | 1.00 | missed |" in row(make_peers(), "token delay added")


def test_medians_are_over_rounds() -> None:
    peers = make_peers()
    for added_mb in (10.0, 20.0):
        peers.memory.append(PeerMemory("fovea", 32, 50.0, 50.0 + added_mb))
    assert "| 20 MB | 100 MB | 0.20 | met |" in row(peers, "memory of 32 uploads")


def test_a_gateway_that_was_not_measured_is_said_and_meets_nothing() -> None:
    peers = make_peers()
    skip(peers, "vllm-router", "it is not there (install it)")
    section = make_section(peers)
    assert "**vllm-router** was not measured: it is not there (install it)." in section
    lines = [line for line in section.splitlines() if "x vllm-router" in line]
    assert len(lines) == sum(target.peer == "vllm-router" for target in TARGETS) == 6
    assert all(line.endswith("| not measured |") for line in lines)
    assert "vllm-router 1" not in section


def test_every_gateway_and_load_has_its_line() -> None:
    section = make_section(make_peers())
    assert "| small | 64 | no gateway | 1,000 | | | | 1.00 | 2.00 |" in section
    assert "| 4 MB | 4 | nginx | 1,000 | 50% | 0.500 | 2,000 | 1.00 | 2.00 |" in section
    assert "| LiteLLM | 4.0 | 0.2 | 3.0 | 6.0 | 4.0 |" in section
    assert "| nginx | 50 | 150 | 100 |" in section


def test_the_targets_peers_are_those_that_are_measured() -> None:
    assert {target.peer for target in TARGETS} <= PEERS.keys()


def test_a_gateway_that_is_not_there_is_told_how_to_get(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    peer: Peer = LiteLLM()
    monkeypatch.setattr("loadtest.peers.litellm.VENVS", tmp_path)
    assert "LiteLLM" in begin(1, [peer]).skipped
    assert "SKIPPED: LiteLLM: it is not there (python3 deploy/environments/set_up.py" in capsys.readouterr().out


def test_everyone_has_the_first_turn_once() -> None:
    assert [rotated("abc", number) for number in range(3)] == [list("abc"), list("bca"), list("cab")]


def test_what_was_noted_is_read_again() -> None:
    result = Result("2026-01-02", "x86_64", {"fovea": "1"}, 1, {"4 MB": 5}, peers=make_peers())
    assert read_result(json.dumps(asdict(result))) == result


def test_configurations_keep_to_loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ours", "litellm", "production_stack"):  # environments that need not be there
        monkeypatch.setattr(f"loadtest.peers.{module}.python_with", lambda *_: Path("python"))
    commands = [peer.command(4001, 4002, tmp_path) for peer in (make() for make in PEERS.values())]
    commands.append(Ours(tmp_path / "keys").command(4001, 4002, tmp_path))
    written = "".join(path.read_text() for path in tmp_path.iterdir())
    for words in (*commands, [written]):
        assert "0.0.0.0" not in " ".join(words)
    assert "listen 127.0.0.1:4001;" in written
    assert "http://127.0.0.1:4002/v1" in written
    assert ["4001" in words for words in commands] == [False, *[True] * (len(commands) - 1)]  # nginx has it written


def test_a_process_is_told_apart_from_others() -> None:
    """This one's own figures, and those of no process at all."""
    mine = tree(1)
    assert mine[0] == 1
    assert tree(0) == []
    assert memory_mb(mine[0], "VmRSS") > 0
    assert cpu_s(mine[0]) >= 0


class Wire(asyncio.Transport):
    """What a caller writes, counted."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))


HEAD = b"HTTP/1.1 200 OK\r\nServer: x\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        [HEAD + b"Content-Length: 4\r\n\r\nabcd"],
        [HEAD + b"content-length: 4\r\n", b"\r\nab", b"cd"],
        [HEAD + b"transfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"],
        [HEAD + b"transfer-encoding: chunked\r\n\r\n", b"4\r\nabcd\r\n0\r", b"\n\r\n"],
    ],
)
async def test_a_caller_asks_anew_when_its_answer_is_whole(pieces: list[bytes]) -> None:
    loop = Loop(b"ask", seconds=60)
    wire, caller = Wire(), LeanCaller(loop)
    caller.connection_made(wire)
    loop.begin([caller])
    for number in (1, 2):
        for piece in pieces:
            assert len(wire.written) == number
            caller.data_received(piece)
    assert len(wire.written) == 3
    assert len(loop.took_s) == 2


async def test_an_answer_that_is_an_error_ends_the_measurement() -> None:
    loop = Loop(b"ask", seconds=60)
    caller = LeanCaller(loop)
    caller.connection_made(Wire())
    loop.begin([caller])
    caller.data_received(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n")
    with pytest.raises(RuntimeError, match="status 503"):
        await loop.over
