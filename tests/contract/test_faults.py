"""What the gateway does when engines, callers or image hosts misbehave. Only a fake engine fails on request."""

import asyncio
import hashlib
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
import trustme
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway, metric
from tests.fakes.serve import serving
from tests.pictures import chat, data_url, image_part, picture, text_part

CHAT = "/v1/chat/completions"
JSON = {"content-type": "application/json"}
RED, BLUE = picture(colour="red"), picture(colour="blue")


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def url(engine: FakeEngine) -> Iterator[str]:
    with serving(engine.app) as engine_url, gateway(engine_url) as gateway_url:
        yield gateway_url


def wait_until(condition: Any, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_the_engine_sees_checked_bytes_under_an_identity_of_ours(engine: FakeEngine, url: str) -> None:
    for data in (RED, BLUE, RED):
        httpx2.post(url + CHAT, json=chat(image_part(data)))
    parts = [body["messages"][0]["content"][0] for body in engine.chats]
    assert [part["image_url"] for part in parts] == [{"url": data_url(RED)}, {"url": data_url(BLUE)}, None]
    identities = [part["uuid"] for part in parts]
    assert identities[0] == identities[2] != identities[1]
    assert all(len(identity) == 64 for identity in identities)


def test_what_passes_through_arrives_as_it_was_sent(engine: FakeEngine, url: str) -> None:
    body = chat(text_part("hi"), seed=5, tools=[{"type": "function", "function": {"name": "f"}}], top_p=0.5)
    httpx2.post(url + CHAT, json=body)
    assert engine.chats == [body]


@pytest.mark.parametrize(("isolated", "shared"), [(True, False), (False, True)])
def test_tenants_share_pictures_only_where_set_so(isolated: bool, shared: bool) -> None:
    engine = FakeEngine()
    keys = {hashlib.sha256(name.encode()).hexdigest(): name for name in ("ann", "bob")}
    options = {"auth": {"key_hashes": keys}, "images": {"isolate_tenants": isolated}}
    with serving(engine.app) as engine_url, gateway(engine_url, **options) as url:
        for key in ("ann", "bob"):
            answer = httpx2.post(url + CHAT, json=chat(image_part(RED)), headers={"authorization": f"Bearer {key}"})
            assert answer.status_code == 200
        refused = httpx2.post(url + CHAT, json=chat(), headers={"authorization": "Bearer eve"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
        assert httpx2.get(f"{url}/v1/models").status_code == 401
    ann, bob = (body["messages"][0]["content"][0]["uuid"] for body in engine.chats)
    assert (ann == bob) is shared


def test_an_engine_that_fails_before_the_first_byte_is_replaced_by_another() -> None:
    good, bad = FakeEngine(), FakeEngine()
    bad.fail = 500
    with serving(good.app) as a, serving(bad.app) as b, gateway(a, b, engines={"poll_s": 60}) as url:
        wait_until(lambda: metric(url, 'fovea_engine_ready{engine="engine-1"}') == 1)
        bad.answers = False
        for s in range(1, 20):
            httpx2.post(url + CHAT, json=chat(image_part(picture(size=(s, 8))))).raise_for_status()
        wait_until(lambda: metric(url, 'fovea_engine_ready{engine="engine-1"}') == 0)
        failed = len(bad.chats)
        statuses = {
            httpx2.post(url + CHAT, json=chat(image_part(picture(size=(s, 9))))).status_code for s in range(1, 20)
        }
        assert statuses == {200}
        # It was asked whether it can answer at all, could not, left the pool, and was asked nothing more.
        assert len(bad.chats) == failed == metric(url, "fovea_engine_retries_total")


def test_a_lone_engine_that_fails_is_a_502_with_a_stable_code(engine: FakeEngine, url: str) -> None:
    engine.fail = 500
    answer = httpx2.post(url + CHAT, json=chat())
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "engine_failed")
    assert "127.0.0.1" not in answer.text


def test_an_engines_refusal_keeps_its_words_and_gets_a_code_of_ours(engine: FakeEngine, url: str) -> None:
    engine.fail = 400
    error = httpx2.post(url + CHAT, json=chat()).json()["error"]
    assert (error["code"], error["message"]) == ("rejected_by_engine", "the engine says no")


def test_bodies_under_way_are_bounded_and_the_next_is_told_to_wait(engine: FakeEngine) -> None:
    """Two requests that do not fit together: the second waits for the first one's answer to begin, or leaves."""
    body = orjson.dumps(chat(image_part(RED), text_part("x" * 1_000_000)))
    engine.cards[0]["max_model_len"] = 10**6
    limits = {"max_body": 1024**2, "max_bytes_in_flight": 1024**2 + 1536, "bytes_wait_s": 0.5}
    images = {"max_count": 1, "max_bytes": 512}
    engine.go.clear()
    with serving(engine.app) as engine_url, gateway(engine_url, http=limits, images=images) as url:
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(httpx2.post, url + CHAT, content=body, headers=JSON, timeout=20)
            wait_until(lambda: metric(url, "fovea_bytes_in_flight") == len(body))
            second = httpx2.post(url + CHAT, content=body, headers=JSON)
            assert (second.status_code, second.json()["error"]["code"]) == (429, "overloaded")
            assert int(second.headers["retry-after"]) >= 1
            engine.go.set()
            assert first.result().status_code == 200
        assert metric(url, "fovea_bytes_in_flight") == 0
        assert len(engine.chats) == 1


def test_what_is_held_is_given_back_when_the_answer_begins(engine: FakeEngine, url: str) -> None:
    engine.go.clear()
    body = {**chat(image_part(RED)), "stream": True}
    with httpx2.stream("POST", url + CHAT, json=body, timeout=20) as response:
        frames = response.iter_raw()
        next(frames)
        assert metric(url, "fovea_requests_in_flight") == 1
        assert metric(url, "fovea_bytes_in_flight") == 0
        engine.go.set()
        assert b"[DONE]" in b"".join(frames)


def test_a_request_that_no_engine_can_bear_turns_none_out(engine: FakeEngine) -> None:
    other = FakeEngine()
    engine.fail = other.fail = 500
    with serving(engine.app) as one, serving(other.app) as two, gateway(one, two) as url:
        wait_until(lambda: metric(url, 'fovea_engine_ready{engine="engine-1"}') == 1)
        for _ in range(3):
            assert httpx2.post(url + CHAT, json=chat()).json()["error"]["code"] == "engine_failed"
        assert [metric(url, f'fovea_engine_ready{{engine="engine-{n}"}}') for n in (0, 1)] == [1, 1]
        engine.fail = other.fail = None
        assert httpx2.post(url + CHAT, json=chat()).status_code == 200
        assert len(engine.chats) + len(other.chats) == 7


def test_an_answer_beyond_all_measure_is_not_taken_in_whole(
    engine: FakeEngine, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.engines.client.MOST_ANSWER_BYTES", 100)
    body = chat(image_part())
    answer = httpx2.post(url + CHAT, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "answer_too_large")
    assert len(engine.chats) == 1  # nor asked for again elsewhere
    assert httpx2.post(url + CHAT, json={**body, "stream": True}).status_code == 200
    assert metric(url, "fovea_requests_in_flight") == 0


def test_an_overloaded_engine_is_said_to_be_with_retry_after(engine: FakeEngine, url: str) -> None:
    engine.fail = 429
    answer = httpx2.post(url + CHAT, json=chat())
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")


def test_an_engine_that_dies_mid_stream_ends_it_with_an_error_event(engine: FakeEngine, url: str) -> None:
    engine.die_after = 2
    answer = httpx2.post(url + CHAT, json=chat(stream=True))
    last = answer.text.strip().split("\n\n")[-1]
    assert answer.status_code == 200
    assert orjson.loads(last.removeprefix("data: "))["error"]["code"] == "engine_failed"
    assert "[DONE]" not in answer.text


@pytest.mark.parametrize("frames", [0, 2])
def test_an_engine_that_says_inside_a_stream_that_it_failed_is_told_in_our_words(
    engine: FakeEngine, url: str, frames: int
) -> None:
    """As vLLM does when its core dies: an event that tells of its insides, and an end as of a whole answer."""
    engine.die_after, engine.says_in_stream, engine.says = frames, 500, "EngineCore of /srv/secret died"
    answer = httpx2.post(url + CHAT, json=chat(stream=True))
    events = answer.text.strip().split("\n\n")
    assert orjson.loads(events[-1].removeprefix("data: "))["error"]["code"] == "engine_failed"
    assert len(events) == frames + 1
    assert "secret" not in answer.text
    labels = 'code="engine_failed",model="demo",route="chat",status="502",tenant="-"'
    assert metric(url, f"fovea_requests_total{{{labels}}}") == 1


def test_what_an_engine_says_inside_a_stream_of_the_request_itself_is_told_with_a_code(
    engine: FakeEngine, url: str
) -> None:
    engine.die_after, engine.says_in_stream, engine.says = 2, 400, "the grammar cannot be met"
    answer = httpx2.post(url + CHAT, json=chat(stream=True))
    told = orjson.loads(answer.text.strip().split("\n\n")[-1].removeprefix("data: "))["error"]
    assert (told["message"], told["code"]) == (engine.says, "rejected_by_engine")
    assert metric(url, "fovea_engine_ejections_total") == 0


def test_a_gateway_without_engines_is_alive_but_not_ready() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with gateway(f"http://127.0.0.1:{unused.getsockname()[1]}", wait=False) as url:
            assert httpx2.get(f"{url}/health/live").status_code == 200
            answer = httpx2.get(f"{url}/health/ready")
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_engine_ready")
            assert httpx2.post(url + CHAT, json=chat()).status_code == 503


def test_an_engine_that_listens_but_cannot_answer_is_not_ready() -> None:
    engine = FakeEngine()
    engine.answers = False
    with serving(engine.app) as engine_url, gateway(engine_url, wait=False) as url:
        time.sleep(0.5)
        assert httpx2.get(f"{url}/health/ready").status_code == 503
        engine.answers = True
        wait_until(lambda: httpx2.get(f"{url}/health/ready").status_code == 200)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_caller_that_leaves_cancels_the_engines_work(engine: FakeEngine, url: str, stream: bool) -> None:
    engine.pause_s = 5
    async with httpx2.AsyncClient() as http:
        with pytest.raises(httpx2.TimeoutException):
            await http.post(url + CHAT, json=chat(stream=stream), timeout=1)
    if stream:
        await asyncio.to_thread(wait_until, lambda: engine.cancelled == 1)
    await asyncio.to_thread(wait_until, lambda: metric(url, "fovea_requests_cancelled_total") == 1)
    assert engine.finished == 0
    assert metric(url, 'fovea_engine_requests_running{engine="engine-0"}') == 0
    assert metric(url, "fovea_requests_in_flight") == 0


async def test_a_caller_that_hangs_up_after_the_last_event_has_not_left(engine: FakeEngine, url: str) -> None:
    for _ in range(20):
        async with httpx2.AsyncClient() as http, http.stream("POST", url + CHAT, json=chat(stream=True)) as answer:
            async for line in answer.aiter_lines():
                if line == "data: [DONE]":
                    break
    sample = 'fovea_requests_total{code="",model="demo",route="chat",status="200",tenant="-"}'
    await asyncio.to_thread(wait_until, lambda: metric(url, sample) == 20)
    assert metric(url, "fovea_requests_cancelled_total") == 0


async def test_permits_come_back_from_callers_that_leave() -> None:
    engine = FakeEngine()
    engine.pause_s = 0.2
    options = {"admission": {"max_running": 2, "max_waiting": 50, "wait_timeout_s": 20}}
    with serving(engine.app) as engine_url, gateway(engine_url, **options) as url:
        async with httpx2.AsyncClient(base_url=url) as http:

            async def impatient() -> None:
                with pytest.raises(httpx2.TimeoutException):
                    await http.post(CHAT, json=chat(stream=True), timeout=0.15)

            await asyncio.gather(*(impatient() for _ in range(10)))
            answers = await asyncio.gather(*(http.post(CHAT, json=chat(), timeout=20) for _ in range(4)))
        assert [answer.status_code for answer in answers] == [200] * 4


def image_host() -> Any:
    async def serve_picture(_: Request) -> Response:
        return Response(RED, media_type="text/plain")

    async def serve_much(_: Request) -> Response:
        return Response(b"x" * 200_000)

    async def serve_compressed(_: Request) -> Response:
        return Response(RED, headers={"content-encoding": "gzip"})

    async def redirect(request: Request) -> Response:
        return RedirectResponse(request.query_params["to"])

    async def loop(_: Request) -> Response:
        return RedirectResponse("/loop")

    return Starlette(
        routes=[
            Route("/picture", serve_picture),
            Route("/much", serve_much),
            Route("/compressed", serve_compressed),
            Route("/redirect", redirect),
            Route("/loop", loop),
        ]
    )


def test_a_url_is_fetched_by_the_gateway_and_never_shown_to_the_engine() -> None:
    engine = FakeEngine()
    options = {"images": {"allow_http": True, "allow_private_addresses": True, "max_bytes": 100_000}}
    with serving(engine.app) as engine_url, serving(image_host()) as host, gateway(engine_url, **options) as url:

        def ask(path: str) -> Any:
            part = {"type": "image_url", "image_url": {"url": host + path, "detail": "low"}}
            answer = httpx2.post(url + CHAT, json=chat(part))
            return answer.json().get("error", {}).get("code", answer.status_code)

        assert ask("/picture") == 200
        assert ask("/redirect?to=/picture") == 200
        assert ask("/redirect?to=file:///etc/passwd") == "image_url_refused"
        assert ask("/much") == "image_too_large"
        assert ask("/compressed") == "image_fetch_failed"
        assert ask("/loop") == "image_fetch_failed"
        assert ask("/missing") == "image_fetch_failed"
    seen = [body["messages"][0]["content"][0]["image_url"] for body in engine.chats]
    assert seen == [{"url": data_url(RED), "detail": "low"}, None]


def test_one_url_is_fetched_once_by_many_requests_and_kept_as_long_as_its_host_says() -> None:
    engine, asked = FakeEngine(), []

    async def slow_picture(request: Request) -> Response:
        asked.append(request.headers.get("if-none-match"))
        await asyncio.sleep(0.3)
        if asked[-1] == '"1"':
            return Response(status_code=304)
        return Response(RED, headers={"etag": '"1"', "cache-control": request.query_params["say"]})

    host_app = Starlette(routes=[Route("/picture", slow_picture)])
    images = {"allow_http": True, "allow_private_addresses": True}
    with serving(engine.app) as engine_url, serving(host_app) as host, gateway(engine_url, images=images) as url:

        def ask(say: str) -> int:
            part = {"type": "image_url", "image_url": {"url": f"{host}/picture?say={say}"}}
            return httpx2.post(url + CHAT, json=chat(part), timeout=30).status_code

        with ThreadPoolExecutor(20) as pool:
            assert set(pool.map(ask, ["max-age=60"] * 100)) == {200}
        assert asked == [None]
        assert [ask("no-cache"), ask("no-cache")] == [200, 200]
        assert asked == [None, None, '"1"']
        assert [ask("no-store"), ask("no-store")] == [200, 200]
        assert asked == [None, None, '"1"', None, None]
        assert metric(url, "fovea_bytes_in_flight") == 0
    parts = [body["messages"][0]["content"][0] for body in engine.chats]
    assert {part["image_url"]["url"] for part in parts if part["image_url"]} == {data_url(RED)}
    assert len({part["uuid"] for part in parts}) == 1


def test_https_is_verified(tmp_path: Path) -> None:
    """A host whose certificate we have no reason to trust gives no picture; with its authority named, it does."""
    authority, engine = trustme.CA(), FakeEngine()
    certificate = authority.issue_cert("localhost")
    key, chain, ca_file = (str(tmp_path / name) for name in ("key.pem", "chain.pem", "ca.pem"))
    certificate.private_key_pem.write_to_path(key)
    certificate.cert_chain_pems[0].write_to_path(chain)
    authority.cert_pem.write_to_path(ca_file)
    with serving(engine.app) as engine_url, serving(image_host(), ssl_keyfile=key, ssl_certfile=chain) as host:
        picture_url = host.replace("http://127.0.0.1", "https://localhost") + "/picture"
        codes = []
        for trusted in (None, ca_file):
            images = {"allow_private_addresses": True, "ca_file": trusted}
            with gateway(engine_url, images=images) as url:
                part = {"type": "image_url", "image_url": {"url": picture_url}}
                answer = httpx2.post(url + CHAT, json=chat(part))
                codes.append(answer.json().get("error", {}).get("code", answer.status_code))
    assert codes == ["image_fetch_failed", 200]


def test_a_name_that_resolves_inside_is_refused_at_connect_time() -> None:
    engine = FakeEngine()
    with (
        serving(engine.app) as engine_url,
        serving(image_host()) as host,
        gateway(engine_url, images={"allow_http": True}) as url,
    ):
        part = {"type": "image_url", "image_url": {"url": host.replace("127.0.0.1", "localhost") + "/picture"}}
        error = httpx2.post(url + CHAT, json=chat(part)).json()["error"]
    assert error["code"] == "image_url_refused"
    assert engine.chats == []
