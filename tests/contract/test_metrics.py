"""Every metric that is declared is counted: gateways in front of fake engines, used until all of them have been."""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from server.metering.declaring import Declared
from server.metrics import Metrics
from tests.containers import MP4
from tests.contract import test_hedging, test_videos
from tests.contract.test_faults import wait_until
from tests.contract.test_image_cache import TellingEngine
from tests.contract.test_pools import ask as ask_of_pair
from tests.contract.test_pools import pair
from tests.fakes.gateway import gateway
from tests.fakes.serve import serving
from tests.pictures import animation, chat, image_part, picture, text_part

CHAT = "/v1/chat/completions"
DECLARED = {each.name: each for each in Metrics().declared}
# What needs more than a gateway and engines, and where it is shown.
ELSEWHERE = {
    "fovea_limit_store_errors_total": "tests/e2e/test_limits_in_valkey.py",
    "fovea_limit_store_seconds": "tests/e2e/test_limits_in_valkey.py",
    "fovea_identity_key_fetches_total": "tests/contract/test_oidc.py",
    "fovea_trace_spans_total": "tests/contract/test_traces.py",
}
ROOT = Path(__file__).parents[2]

# A metric's samples: their labels and values, of a histogram those of its count.
Told = dict[str, list[tuple[dict[str, str], float]]]


def tell(url: str) -> Told:
    told: Told = {}
    for family in text_string_to_metric_families(httpx2.get(f"{url}/metrics").text):
        for sample in family.samples:
            name = sample.name.removesuffix("_count") if family.type == "histogram" else sample.name
            if name in DECLARED:
                told.setdefault(name, []).append((sample.labels, sample.value))
    return told


class Scene:
    """A gateway that takes everything, with a key of each kind, and room for one request at a time."""

    def __init__(self, url: str, engine: TellingEngine, pictures: str, folder: Path) -> None:
        self.url = url
        self.engine = engine
        self.pictures = pictures
        self.folder = folder
        self.http = httpx2.Client(base_url=url, timeout=60)

    def ask(self, *parts: dict[str, Any], key: str = "ann", timeout_s: str = "", **more: Any) -> int:
        headers = {"x-api-key": key} | ({"x-request-timeout": timeout_s} if timeout_s else {})
        return self.http.post(CHAT, json=chat(*parts, text_part("What?"), **more), headers=headers).status_code

    def show_pictures(self) -> None:
        assert [self.ask(image_part(), stream=True) for _ in range(2)] == [200, 200]
        self.engine.engine.processed.clear()
        assert self.ask(image_part()) == 200
        assert self.ask(image_part(animation("GIF", 3))) == 200
        assert self.ask({"type": "image_url", "image_url": {"url": f"{self.pictures}/red.png"}}) == 200
        assert self.ask(test_videos.video(MP4)) == 200

    def keep_files(self) -> None:
        keys = {"x-api-key": "ann"}
        for damaged in (False, True):
            sent = {"file": ("a.png", picture(colour="blue")), "purpose": (None, "vision")}
            file = self.http.post("/v1/files", files=sent, headers=keys).json()["id"]
            if damaged:
                for blob in self.folder.glob("blobs/*/*"):
                    blob.write_bytes(b"x" * blob.stat().st_size)
            status = self.ask({"type": "image_url", "image_url": {"url": file}})
            assert (status == 200) != damaged
            assert self.http.delete(f"/v1/files/{file}", headers=keys).status_code == 200

    def read_slowly(self) -> None:
        """The rest of a stream comes when its beginning has been read, and so not with it."""
        engine = self.engine.engine
        engine.go.clear()
        body = chat(text_part("first"), stream=True)
        with self.http.stream("POST", CHAT, json=body, headers={"x-api-key": "ann"}) as answer:
            frames = answer.iter_raw()
            assert b"data: " in next(frames)
            engine.go.set()
            assert b"[DONE]" in b"".join(frames)

    def be_refused(self) -> None:
        assert [self.ask(key="poor"), self.ask(key="poor")] == [200, 429]
        assert self.ask(key="nobody") == 401

    def wait_in_vain(self) -> None:
        """Behind one that is at the engine, whose caller then leaves."""
        engine = self.engine.engine
        engine.go.clear()
        before = len(engine.chats)
        with ThreadPoolExecutor(1) as callers:
            body = chat(text_part("first"), stream=True)
            with self.http.stream("POST", CHAT, json=body, headers={"x-api-key": "ann"}) as first:
                wait_until(lambda: len(engine.chats) > before)
                assert callers.submit(self.ask, timeout_s="0.2").result() == 429
                next(first.iter_raw())
        wait_until(lambda: self.value("fovea_requests_cancelled_total") == 1)
        engine.go.set()

    def value(self, name: str) -> float:
        return sum(value for _, value in tell(self.url).get(name, []))


def write_keys(file: Path) -> Path:
    def entry(key: str, **more: Any) -> dict[str, Any]:
        digest = hashlib.sha256(key.encode()).hexdigest()
        return {"hash": f"sha256:{digest}", "tenant": key, "scopes": ["inference", "files"], **more}

    file.write_text(json.dumps({"keys": [entry("ann"), entry("poor", limits={"requests": 1})]}))
    return file


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder, engine = tmp_path_factory.mktemp("metrics"), TellingEngine()

    async def red(_: Any) -> Response:
        return Response(picture(colour="red"), media_type="image/png")

    with (
        serving(engine.app) as engine_url,
        serving(Starlette(routes=[Route("/red.png", red)])) as pictures,
        gateway(
            engine_url,
            auth={"keys_file": write_keys(folder / "keys.json")},
            files={"path": folder / "files"},
            images={"allow_http": True, "allow_private_addresses": True},
            video=test_videos.LIMITS,
            admission={"max_running": 1},
        ) as url,
    ):
        made = Scene(url, engine, pictures, folder / "files")
        made.show_pictures()
        made.keep_files()
        made.read_slowly()
        made.be_refused()
        made.wait_in_vain()
        yield made
        made.http.close()


@pytest.fixture(scope="module")
def told(scene: Scene) -> Told:
    """By all gateways together."""
    wait_until(lambda: scene.value("fovea_embeddings_forgotten_total") > 0)
    parts = [tell(scene.url), failing(), hedged()]
    return {name: [each for part in parts for each in part.get(name, [])] for name in DECLARED}


def failing() -> Told:
    """An engine that fails what the other can do is retried, put out, and in the end not retried any more."""
    wanted = [f"fovea_engine_{what}_total" for what in ("retries", "retries_refused", "ejections")]
    quickly = {"eject_failures": 1, "eject_s": 0.05, "eject_most_s": 0.1}
    with pair(**quickly, retry_ratio=0, retry_floor=1) as (one, _, url):
        one.fail = 500
        numbers = iter(range(10**6))

        def all_seen() -> bool:
            for _ in range(10):
                ask_of_pair(url, next(numbers))
            now = tell(url)
            return all(sum(value for _, value in now[name]) > 0 for name in wanted)

        wait_until(all_seen)
        return tell(url)


def hedged() -> Told:
    with test_hedging.scene() as made:
        made.slow()
        assert made.post().status_code == 200
        return tell(made.url)


@pytest.mark.parametrize("metric", DECLARED.values(), ids=lambda metric: metric.name)
def test_what_is_declared_is_counted(told: Told, metric: Declared) -> None:
    seen = told[metric.name]
    if metric.name in ELSEWHERE:
        assert metric.name in (ROOT / ELSEWHERE[metric.name]).read_text()
        assert not any(value for _, value in seen)
    elif metric.type == "gauge":
        assert seen
    else:
        assert any(value for _, value in seen)


@pytest.mark.parametrize("metric", DECLARED.values(), ids=lambda metric: metric.name)
def test_labels_of_closed_sets_have_no_other_value(told: Told, metric: Declared) -> None:
    for labels, _ in told[metric.name]:
        for label in metric.labels:
            assert not label.values or labels[label.name] in label.values


def test_what_callers_make_up_makes_no_series(scene: Scene) -> None:
    def series() -> int:
        lines = httpx2.get(f"{scene.url}/metrics").text.splitlines()
        return sum(not line.startswith("#") for line in lines)

    def make_up(number: int) -> None:
        assert scene.ask(model=f"model-{number}") == 404
        assert scene.ask(key=f"key-{number}") == 401
        assert scene.ask(image_part(f"no picture {number}".encode())) in (400, 415)
        assert scene.http.get(f"/v1/path-{number}").status_code == 404
        assert scene.http.request(f"METHOD{number}", CHAT).is_client_error

    make_up(0)
    before = series()
    for number in range(1, 20):
        make_up(number)
    assert series() == before


def test_each_request_is_its_tenants(scene: Scene) -> None:
    tenants = {labels["tenant"] for labels, _ in tell(scene.url)["fovea_requests_total"]}
    assert tenants == {"ann", "poor", "-"}


def test_only_streams_have_a_first_token(scene: Scene) -> None:
    """Of an answer in one piece the first byte comes with its last: objectives would call it late."""

    def count(name: str) -> float:
        return sum(value for labels, value in tell(scene.url).get(name, ()) if labels["route"] == "chat")

    def ask_and_wait(stream: bool) -> float:
        firsts, wholes = count("fovea_time_to_first_token_seconds"), count("fovea_request_duration_seconds")
        assert scene.ask(stream=stream) == 200
        wait_until(lambda: count("fovea_request_duration_seconds") == wholes + 1)
        return count("fovea_time_to_first_token_seconds") - firsts

    assert (ask_and_wait(False), ask_and_wait(True)) == (0, 1)
