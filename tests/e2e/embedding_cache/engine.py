"""`fovea engine` with the embedding cache, as these tests start it, ask it and look into it."""

import hashlib
import os
import re
import signal
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from demo.processes import Running, running
from quantize.evaluate.suite import Item, SightSuite
from server.engine.encoder_cache.entry import key_of
from server.together import free_port
from tests.conftest import ENGINE_START_S
from tests.e2e.load import wait_until
from tests.e2e.test_commands import children_of

SUITE = SightSuite(["attribute", "count", "spatial", "grid"], ["easy", "hard"], 3)
ITEMS = [SUITE.item(key) for key in SUITE.keys]
NAMES = len({item.data for item in ITEMS})
# The bundled model takes 20 to 30 tokens for a picture: vLLM's own memory has room for all of ours.
MEMORY_TOKENS, LEAST_TOKENS = 1024, 20


def name_of(item: Item) -> str:
    return hashlib.sha256(item.data).hexdigest()


@dataclass
class Engine:
    """`fovea engine` alone. `kept` is its folder; both engines share another."""

    name: str
    checkpoint: Path
    kept: Path
    shared: Path
    stack: ExitStack
    ranks: int = 1
    process: Running | None = None
    port: int = field(default_factory=free_port)

    def start(self) -> None:
        arguments = (
            "--model", str(self.checkpoint), "--name", "demo", "--port", str(self.port), "--grace", "0",
            "--embedding-cache", str(self.kept), "--embedding-cache-shared", str(self.shared),
            "--embedding-cache-wait", "10", "--limit-mm-per-prompt", '{"video": 0}',
            "--max-num-batched-tokens", str(MEMORY_TOKENS), "--tensor-parallel-size", str(self.ranks),
        )  # fmt: skip
        # vLLM would keep one of this machine's cores for itself, and then have none for a second rank.
        cores = {"VLLM_CPU_OMP_THREADS_BIND": "|".join(map(str, range(self.ranks)))} if self.ranks > 1 else {}
        self.process = self.stack.enter_context(running("server", "engine", *arguments, **cores))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait(self) -> None:
        assert self.process is not None
        self.process.wait_for("ready at http", ENGINE_START_S)

    def stop(self) -> int:
        assert self.process is not None
        return self.process.stop()

    def kill(self) -> None:
        """vLLM's processes, each by kill -9: none of them can write anything any more."""
        assert self.process is not None
        for pid in children_of(self.process.process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert self.process.finish(60) != 0

    def figure(self, name: str) -> int:
        lines = httpx2.get(f"{self.url}/metrics", timeout=30).text
        return sum(int(float(each)) for each in re.findall(rf"^fovea_encoder_cache_{name}.*}} (\S+)$", lines, re.M))

    @property
    def encoded(self) -> int:
        """How often its encoder ran since it started: vLLM asked for so many in vain."""
        return self.figure('lookups_total{.*result="miss"')

    def found(self, tier: str) -> int:
        return self.figure(f'lookups_total{{.*result="hit_{tier}"')

    def answer(self, item: Item, alias: str = "") -> str:
        """Token for token; `alias`: as another picture, which the engine has never seen."""
        return self.ask([(item.data_url, name_of(item) + alias)], item.text, 24)

    def ask(self, pictures: list[tuple[str, str]], text: str, tokens: int) -> str:
        parts = [{"type": "image_url", "image_url": {"url": url}, "uuid": name} for url, name in pictures]
        body = {
            "model": "demo", "temperature": 0, "max_tokens": tokens, "logprobs": True,
            "messages": [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}],
        }  # fmt: skip
        response = httpx2.post(f"{self.url}/v1/chat/completions", json=body, timeout=120)
        assert response.status_code == 200, response.text
        return " ".join(each["token"] for each in response.json()["choices"][0]["logprobs"]["content"])

    def answers(self, alias: str = "", items: Sequence[Item] = ITEMS) -> list[str]:
        return [self.answer(item, alias) for item in items]

    def push_out(self, alias: str = "") -> int:
        """Shows it so many other pictures that vLLM's own memory has none of ours left. How many."""
        names = [f"another-{alias}{n}" for n in range(MEMORY_TOKENS // LEAST_TOKENS + 8)]
        for first in range(0, len(names), 8):
            self.ask([(ITEMS[0].data_url, name) for name in names[first : first + 8]], "?", 1)
        return len(names)

    def errors(self, reason: str) -> int:
        """They come with a step, and not with each."""
        deadline = time.monotonic() + 20
        while not (found := self.figure(f'errors_total{{.*reason="{reason}"')) and time.monotonic() < deadline:
            time.sleep(0.5)
            self.ask([], "?", 1)
        return found


def wait_for_entries(folder: Path, names: Iterable[str]) -> None:
    """Until the embedding of each, by the name that the engine was given, is written there."""
    wanted = {f"{key_of(name)}.emb" for name in names}
    wait_until(lambda: wanted <= {path.name for path in folder.rglob("*.emb")})
