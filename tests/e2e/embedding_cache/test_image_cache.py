"""What callers learn of their pictures from engines that keep embeddings; what is forgotten and warmed there."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from typer.testing import CliRunner

import server.cli
from server.engine.encoder_cache.entry import key_of
from server.images.digest import identify
from tests.e2e.embedding_cache.engine import Engine
from tests.fakes.gateway import gateway, metric
from tests.pictures import chat, image_part, noise, text_part

KEYS = {hashlib.sha256(name.encode()).hexdigest(): name for name in ("ann", "bob")}
HEADER = "x-fovea-image-cache"
# No other test shows them to these engines.
ONE, TWO, THREE = noise(size=(131, 97)), noise(size=(97, 131)), noise(size=(113, 127))


@pytest.fixture(scope="module")
def url(engines: tuple[Engine, Engine], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway with files, in front of an engine that keeps embeddings."""
    files = {"path": tmp_path_factory.mktemp("files")}
    with gateway(
        engines[0].url, auth={"key_hashes": KEYS}, files=files, images={"low_detail_pixels": 4096}
    ) as made:
        yield made


def ask(url: str, *parts: dict[str, Any], key: str = "ann", **fields: Any) -> str | None:
    body = chat(*parts, text_part("How many objects are there?"), max_tokens=2, **fields)
    headers = {"authorization": f"Bearer {key}"}
    answer = httpx2.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer.headers.get(HEADER)


def files_of(folder: Path, name: str) -> list[Path]:
    return list(folder.rglob(f"{key_of(name)}.emb"))


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_callers_are_told_of_misses_and_of_hits_in_each_place(engines: tuple[Engine, Engine], url: str) -> None:
    one = engines[0]
    assert ask(url, image_part(ONE)) == "miss"
    assert ask(url, image_part(ONE)) == "hit-gpu"
    assert ask(url, image_part(ONE), stream=True) == "hit-gpu"
    assert ask(url, image_part(ONE), image_part(TWO), stream=True) == "miss"
    assert ask(url) is None
    wait_until(lambda: files_of(one.kept, identify(ONE, "ann")))
    one.push_out()
    assert ask(url, image_part(ONE)) == "hit-disk"
    one.push_out()
    assert ask(url, image_part(ONE)) == "hit-host"
    assert ask(url, image_part(ONE), image_part(TWO)) == "hit-disk"
    assert metric(url, 'fovea_images_by_cache_total{outcome="hit-disk"}') == 2


def test_a_tenants_picture_is_no_hit_for_another_tenant(engines: tuple[Engine, Engine], url: str) -> None:
    kept = engines[0].kept
    ask(url, image_part(ONE))
    assert ask(url, image_part(ONE), key="bob") == "miss"
    for tenant in ("ann", "bob"):
        wait_until(lambda tenant=tenant: files_of(kept, identify(ONE, tenant)))  # type: ignore[misc]
    assert files_of(kept, identify(ONE, None)) == []


def test_a_deleted_files_embeddings_are_gone_from_where_they_were_kept_and_a_miss_when_it_comes_again(
    engines: tuple[Engine, Engine], url: str
) -> None:
    one = engines[0]
    name = identify(THREE, "ann")
    with openai.OpenAI(base_url=f"{url}/v1", api_key="ann") as ann:
        file = ann.files.create(file=("a.png", THREE), purpose="vision")
        named = [{"type": "image_url", "image_url": {"url": file.id, "detail": each}} for each in ("high", "low")]
        assert [ask(url, each) for each in named] == ["miss", "miss"]  # each a picture of its own
        for folder in (one.kept, one.shared):
            wait_until(lambda folder=folder: files_of(folder, name))  # type: ignore[misc]
        ann.files.delete(file.id)
    wait_until(lambda: metric(url, 'fovea_embeddings_forgotten_total{outcome="forgotten"}') == 2)
    assert [files_of(folder, name) for folder in (one.kept, one.shared)] == [[], []]
    one.push_out()
    assert ask(url, image_part(THREE)) == "miss"


def test_a_warmed_catalogue_is_a_hit_for_its_tenant(
    engines: tuple[Engine, Engine], url: str, tmp_path: Path
) -> None:
    folder, report = tmp_path / "catalogue", tmp_path / "report"
    folder.mkdir()
    pictures = [noise(size=(150, 100 + number)) for number in range(3)]
    for number, data in enumerate(pictures):
        (folder / f"{number}.png").write_bytes(data)
    through_the_gateway = [url, "--api-key", "ann"], {"warmed": 3, "already_there": 0}
    to_the_engine = [engines[0].url, "--tenant", "ann", "--afresh"], {"warmed": 0, "already_there": 3}
    for target, outcome in (through_the_gateway, to_the_engine):
        done = CliRunner().invoke(
            server.cli.app, ["warm", str(folder), "--report", str(report), "--engine", *target]
        )
        assert done.exit_code == 0, done.output
        assert {name: json.loads(report.read_text())[name] for name in outcome} == outcome
    assert [ask(url, image_part(each)) for each in pictures] == ["hit-gpu"] * 3
