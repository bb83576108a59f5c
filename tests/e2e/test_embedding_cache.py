"""Real vLLM with the embedding cache: which pictures its encoder runs for, and that answers stay what they were."""

import hashlib
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from demo.processes import Running, running
from quantize.evaluate.suite import Item, SightSuite
from server.engine.encoder_cache.entry import key_of
from server.together import free_port
from tests.conftest import DEMO_MODEL, ENGINE_START_S

SUITE = SightSuite(["attribute", "count", "spatial", "grid"], ["easy", "hard"], 3)
ITEMS = [SUITE.item(key) for key in SUITE.keys]
NAMES = len({item.data for item in ITEMS})
SPOILT = 6
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
    url: str = ""

    def start(self) -> None:
        port = free_port()
        arguments = (
            "--model", str(self.checkpoint), "--name", "demo", "--port", str(port), "--grace", "0",
            "--embedding-cache", str(self.kept), "--embedding-cache-shared", str(self.shared),
            "--embedding-cache-wait", "10", "--limit-mm-per-prompt", '{"video": 0}',
            "--max-num-batched-tokens", str(MEMORY_TOKENS), "--tensor-parallel-size", str(self.ranks),
        )  # fmt: skip
        # vLLM would keep one of this machine's cores for itself, and then have none for a second rank.
        cores = {"VLLM_CPU_OMP_THREADS_BIND": "|".join(map(str, range(self.ranks)))} if self.ranks > 1 else {}
        self.process = self.stack.enter_context(running("server", "engine", *arguments, **cores))
        self.url = f"http://127.0.0.1:{port}"

    def wait(self) -> None:
        assert self.process is not None
        self.process.wait_for("ready at http", ENGINE_START_S)

    def stop(self) -> int:
        assert self.process is not None
        return self.process.stop()

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

    def push_out(self) -> int:
        """Shows it so many other pictures that vLLM's own memory has none of ours left. How many."""
        names = [f"another-{n}" for n in range(MEMORY_TOKENS // LEAST_TOKENS + 8)]
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


@pytest.fixture(scope="module")
def engines(
    quantized: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Engine, Engine]]:
    """The BF16 checkpoint and its FP8 child, each with a folder of its own, and one that they share."""
    folder = tmp_path_factory.mktemp("embeddings")
    with ExitStack() as stack:
        made = [
            Engine(name, checkpoint, folder / name, folder / "shared", stack)
            for name, checkpoint in (("bf16", DEMO_MODEL), ("fp8", quantized[0]))
        ]
        for each in made:
            each.start()
        for each in made:
            each.wait()
        yield made[0], made[1]


def test_pictures_are_encoded_once_by_two_engines_and_over_a_restart_and_answers_stay_the_same(
    engines: tuple[Engine, Engine],
) -> None:
    one, two = engines
    cold = one.answers()
    assert (one.encoded, one.found("disk"), one.found("shared")) == (NAMES, 0, 0)
    assert one.answers() == cold
    assert one.encoded == NAMES

    wait_for_files(one.shared, NAMES)
    warm = two.answers()
    assert (two.encoded, two.found("shared")) == (0, NAMES)  # of another checkpoint, with the same tower
    assert two.answers("-never-seen") == warm
    assert two.encoded == NAMES

    wait_for_files(one.kept, NAMES)
    assert one.stop() == 0
    spoil(one)
    one.start()
    one.wait()
    assert one.answers() == cold
    assert (one.encoded, one.found("disk")) == (SPOILT, NAMES - SPOILT)
    assert one.errors("checksum") == SPOILT  # half of them in either folder
    assert one.errors("truncated") == SPOILT

    others = one.push_out()
    assert one.answers() == cold
    assert (one.encoded, one.found("host")) == (SPOILT + others, NAMES - SPOILT)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(one.answer, ITEMS))
    assert one.encoded == SPOILT + others


def wait_for_files(folder: Path, count: int) -> None:
    deadline = time.monotonic() + 30
    while len(list(folder.rglob("*.emb"))) < count:
        assert time.monotonic() < deadline, "what was encoded is not written"
        time.sleep(0.2)


def spoil(engine: Engine) -> None:
    """A bit of each of some entries is flipped, or the end is cut off: wherever the engine could find them."""
    for n, item in enumerate(ITEMS[:SPOILT]):
        for folder in (engine.kept, engine.shared):
            (path,) = folder.rglob(f"{key_of(name_of(item))}.emb")
            data = bytearray(path.read_bytes())
            data[-100] ^= 1
            path.write_bytes(data if n % 2 else data[:-100])


def test_of_two_ranks_both_load_and_one_writes(tmp_path: Path) -> None:
    items = ITEMS[:8]
    with ExitStack() as stack:
        engine = Engine("two", DEMO_MODEL, tmp_path / "kept", tmp_path / "shared", stack, ranks=2)
        engine.start()
        engine.wait()
        cold = engine.answers(items=items)
        wait_for_files(engine.kept, len(items))
        engine.push_out()
        encoded = engine.encoded
        assert engine.answers(items=items) == cold
        assert (engine.encoded, engine.found("disk")) == (encoded, len(items))
        engine.ask([], "?", 1)
        assert engine.figure('reads_total{.*tier="host"') == 2 * len(items)
        assert engine.figure('reads_total{.*tier="disk"') == len(items)
        assert engine.stop() == 0
        assert len(list(engine.kept.rglob("*.emb"))) == encoded
