"""Real vLLM, Valkey, and embeddings kept as FP8: what one engine has encoded, another one loads."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import redis

from demo.processes import Running, running
from quantize.evaluate.suite import SightSuite
from server.together import free_port
from tests.conftest import DEMO_MODEL, ENGINE_START_S
from tests.valkey import Valkey

SUITE = SightSuite(["attribute", "count", "ocr"], ["easy"], 4)
ITEMS = [SUITE.item(key) for key in SUITE.keys]
PASSWORD = "s3cret-of-the-store"


@contextmanager
def engine(folder: Path, store: str) -> Iterator[tuple[str, Running]]:
    """Its URL; ready once its process says so."""
    port = free_port()
    arguments = (
        "--model", str(DEMO_MODEL), "--name", "demo", "--port", str(port), "--grace", "0",
        "--embedding-cache", str(folder), "--embedding-cache-compress", "fp8-row", "--embedding-cache-wait", "10",
    )  # fmt: skip
    with running("server", "engine", *arguments, FOVEA_EMBEDDING_CACHE_SHARED=store) as process:
        yield f"http://127.0.0.1:{port}", process
        assert PASSWORD not in process.output


def answers(url: str) -> list[str]:
    found = []
    for item in ITEMS:
        parts = [{"type": "image_url", "image_url": {"url": item.data_url}}, {"type": "text", "text": item.text}]
        body = {
            "model": "demo",
            "temperature": 0,
            "max_tokens": 16,
            "messages": [{"role": "user", "content": parts}],
        }
        response = httpx2.post(f"{url}/v1/chat/completions", json=body, timeout=120)
        assert response.status_code == 200, response.text
        found.append(response.json()["choices"][0]["message"]["content"])
    return found


def lookups(url: str, result: str) -> int:
    text = httpx2.get(f"{url}/metrics", timeout=30).text
    found = re.findall(rf'^fovea_encoder_cache_lookups_total{{.*result="{result}".*}} (\S+)$', text, re.M)
    return sum(int(float(each)) for each in found)


def test_what_one_engine_has_encoded_another_loads_from_the_store_at_half_the_size(
    valkey: Valkey, tmp_path: Path
) -> None:
    with redis.Redis.from_url(valkey.url) as store:
        store.config_set("requirepass", PASSWORD)
    url = valkey.url.replace("//", f"//:{PASSWORD}@")
    with engine(tmp_path / "one", url) as (one, first), engine(tmp_path / "two", url) as (two, second):
        for each in (first, second):
            each.wait_for("ready at http", ENGINE_START_S)
        cold = answers(one)
        assert lookups(one, "miss") == len(ITEMS)
        wait_for_entries(url, len(ITEMS))
        warm = answers(two)
        assert (lookups(two, "miss"), lookups(two, "hit_shared")) == (0, len(ITEMS))
        # The store may go: what was found there is in host memory by now.
        valkey.kill()
        assert answers(two) == warm
    # Rounded to FP8, an answer may change now and then (docs/operating.md); more would be a broken picture.
    assert sum(one != other for one, other in zip(cold, warm, strict=True)) <= 2


def wait_for_entries(url: str, count: int) -> None:
    deadline = time.monotonic() + 60
    with redis.Redis.from_url(url) as store:
        while len(names := store.keys("fovea:embedding:????????????????:*")) < count:
            assert time.monotonic() < deadline, names
            time.sleep(0.1)
        # The bundled model's rows are 256 wide: BF16 takes 512 bytes of each, FP8 and its scale 260.
        assert {(store.strlen(name) - 256) % 260 for name in names} == {0}
