"""Who shares embeddings on real vLLM: a checkpoint and its quantized child, and none that sees otherwise."""

import json
import os
import re
import shutil
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import pytest

from demo.processes import Running, running
from quantize.checkpoint import read_tensors
from server.engine.encoder_cache.fingerprint import vision_fingerprint
from server.together import free_port
from tests.conftest import DEMO_MODEL, ENGINE_START_S
from tests.pictures import chat, data_url, noise, text_part

T = TypeVar("T")
LOOKUPS = re.compile(r'^fovea_encoder_cache_lookups_total\{.*result="(\w+)".*\} (\S+)$', re.M)


def flip_one_bit(folder: Path) -> Path:
    """Of the tower's first block."""
    shutil.copytree(DEMO_MODEL, folder, ignore=shutil.ignore_patterns("fovea-vision.json"))
    tensor = read_tensors(folder)["model.visual.blocks.0.attn.qkv.weight"]
    with tensor.file.open("rb+") as stream:
        stream.seek(tensor.start + tensor.size // 2)
        (byte,) = stream.read(1)
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte ^ 1]))
    return folder


@pytest.fixture(scope="module")
def checkpoints(quantized: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    flipped = flip_one_bit(tmp_path_factory.mktemp("flipped") / "model")
    return {"bf16": DEMO_MODEL, "fp8": quantized[0], "flipped": flipped}


def test_as_many_tensors_are_hashed_as_the_proof_finds_bit_identical(
    checkpoints: dict[str, Path], quantized: tuple[Path, str]
) -> None:
    parts = {name: vision_fingerprint(folder, "bfloat16", {}).parts for name, folder in checkpoints.items()}
    assert parts["bf16"] == parts["fp8"]
    assert {name for name, part in parts["bf16"].items() if part != parts["flipped"][name]} == {"weights"}
    assert f"vision tower bit-identical: {parts['bf16']['tensors']} tensors" in quantized[1]


class Sharing:
    """Engines of each checkpoint over one folder."""

    def __init__(self, folder: Path, processes: dict[str, Running], ports: dict[str, int]) -> None:
        self.folder, self.processes, self._ports = folder, processes, ports

    def looked_up(self, name: str) -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._ports[name]}/metrics") as answer:
            return {result: float(number) for result, number in LOOKUPS.findall(answer.read().decode())}

    def ask(self, name: str, url: str) -> str:
        """What the engine found of a picture whose name is always the same."""
        before = self.looked_up(name)
        part = {"type": "image_url", "image_url": {"url": url}, "uuid": "one picture"}
        body = json.dumps(chat(part, text_part("?"), model=name, max_tokens=1)).encode()
        address = f"http://127.0.0.1:{self._ports[name]}/v1/chat/completions"
        request = urllib.request.Request(address, body, {"content-type": "application/json"})
        urllib.request.urlopen(request, timeout=60).read()
        after = wait_for(lambda: {k: n for k, n in self.looked_up(name).items() if n != before.get(k, 0)})
        (found,) = after
        return found


def wait_for(look: Callable[[], T], timeout_s: float = 30) -> T:
    """Its first answer that is not nothing."""
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def sharing(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sharing]:
    folder = tmp_path_factory.mktemp("embeddings")
    with ExitStack() as stack:
        processes, ports = {}, {}
        for name, checkpoint in checkpoints.items():
            ports[name] = free_port()
            arguments = ("--model", str(checkpoint), "--name", name, "--port", str(ports[name]))
            started = running("server", "engine", *arguments, "--embedding-cache", str(folder))
            processes[name] = stack.enter_context(started)
        for process in processes.values():
            process.wait_for(r"ready at (http://\S+) after", ENGINE_START_S)
        yield Sharing(folder, processes, ports)


def namespace(process: Running) -> str:
    return process.wait_for(r"Embedding cache: namespace (\w+)", 1).group(1)


def test_an_fp8_child_finds_what_its_parent_saw_and_one_flipped_bit_finds_nothing(sharing: Sharing) -> None:
    url = data_url(noise())
    assert sharing.ask("bf16", url) == "miss"
    wait_for(lambda: list(sharing.folder.rglob("*.emb")))  # it is written behind
    named = {name: namespace(process) for name, process in sharing.processes.items()}
    assert named["bf16"] == named["fp8"] != named["flipped"]
    assert sharing.ask("fp8", url) == "hit_disk"
    assert sharing.ask("flipped", url) == "miss"
