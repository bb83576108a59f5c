"""Callers are told where their pictures' embeddings came from, as far as their engine tells: the real middleware
of `fovea engine` around the fake one."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from server.domain import IMAGE_CACHE
from server.engine.encoder_cache.outcomes import Outcome, Outcomes
from server.engine.encoder_cache.telling import Message, Receive, Send, TellsOutcomes
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway, metric
from tests.fakes.serve import serving
from tests.pictures import chat, data_url, image_part, picture

CHAT = "/v1/chat/completions"
HEADER = "x-fovea-image-cache"
RED, BLUE = picture(colour="red"), picture(colour="blue")


class TellingEngine:
    """Encodes each picture once and has it in memory from then on, unless `says` names an outcome for all."""

    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.says: Outcome | None = None
        self.asked: list[list[str]] = []
        self.heads: list[dict[bytes, bytes]] = []
        self._outcomes = Outcomes()
        self._known: set[str] = set()
        self.app = TellsOutcomes(self._steps, self._outcomes.of)

    async def _steps(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in ("/health", "/metrics", "/v1/models"):
            self.heads.append(dict(scope["headers"]))
            value = self.heads[-1].get(b"x-fovea-images", b"").decode()
            self.asked.append(value.split(",") if value else [])
            for name in self.asked[-1]:
                self._outcomes.note({name: self.says or ("gpu" if name in self._known else "miss")})
                self._known.add(name)
        await self.engine.app(scope, receive, send)  # type: ignore[arg-type]


@contextmanager
def behind(engine: TellingEngine, **sections: Any) -> Iterator[str]:
    with serving(engine.app) as one, gateway(one, **sections) as url:
        engine.asked.clear()
        engine.heads.clear()
        yield url


def ask(url: str, *pictures: bytes, **more: Any) -> str | None:
    response = httpx2.post(url + CHAT, json=chat(*(image_part(each) for each in pictures), **more), timeout=30)
    assert response.status_code == 200
    return response.headers.get(HEADER)


def counted(url: str, outcome: str) -> float:
    return metric(url, f'fovea_images_by_cache_total{{outcome="{outcome}"}}')


def test_a_pictures_first_time_is_a_miss_and_its_second_a_hit_streamed_or_not() -> None:
    with behind(TellingEngine()) as url:
        assert [ask(url, RED), ask(url, RED), ask(url, RED, stream=True)] == ["miss", "hit-gpu", "hit-gpu"]
        assert [ask(url, BLUE, stream=True)] == ["miss"]
        assert (counted(url, "miss"), counted(url, "hit-gpu")) == (2, 2)


@pytest.mark.parametrize("outcome", IMAGE_CACHE)
def test_every_outcome_is_told_in_its_own_word(outcome: str) -> None:
    engine = TellingEngine()
    engine.says = outcome.removeprefix("hit-")  # type: ignore[assignment]
    with behind(engine) as url:
        assert ask(url, RED) == outcome
        assert counted(url, outcome) == 1


def test_of_several_pictures_the_one_that_was_waited_for_longest_is_told_and_each_is_counted() -> None:
    with behind(TellingEngine()) as url:
        ask(url, RED)
        assert ask(url, RED, BLUE, RED) == "miss"
        assert ask(url, BLUE, RED) == "hit-gpu"
        assert (counted(url, "miss"), counted(url, "hit-gpu")) == (2, 3)


def test_responses_and_messages_are_told_as_chats_are() -> None:
    with behind(TellingEngine()) as url:
        image = {"type": "input_image", "image_url": data_url(RED)}
        body = {"model": "demo", "input": [{"role": "user", "content": [image]}]}
        assert httpx2.post(url + "/v1/responses", json=body).headers[HEADER] == "miss"
        head, _, data = data_url(RED).partition(",")
        source = {"type": "base64", "media_type": head[len("data:") : -len(";base64")], "data": data}
        messages = [{"role": "user", "content": [{"type": "image", "source": source}]}]
        for stream in (False, True):
            asked = {"model": "demo", "max_tokens": 5, "messages": messages, "stream": stream}
            told = httpx2.post(url + "/v1/messages", json=asked, headers={"anthropic-version": "2023-06-01"})
            assert told.headers[HEADER] == "hit-gpu"


def test_the_pictures_are_named_to_the_engine_by_our_digests_alone() -> None:
    engine = TellingEngine()
    with behind(engine) as url:
        forged = {"x-fovea-images": "f" * 64, "X-Fovea-Anything": "1", HEADER: "hit-gpu"}
        body = chat(image_part(RED), image_part(BLUE))
        assert httpx2.post(url + CHAT, json=body, headers=forged).headers[HEADER] == "miss"
        sent = [part["uuid"] for part in body_parts(engine)]
        assert engine.asked == [sent]
        assert [name for name in engine.heads[0] if name.startswith(b"x-fovea")] == [b"x-fovea-images"]


def body_parts(engine: TellingEngine) -> list[dict[str, Any]]:
    return [part for part in engine.engine.chats[0]["messages"][0]["content"] if part["type"] == "image_url"]


@pytest.mark.parametrize(("isolate", "second"), [(True, "miss"), (False, "hit-gpu")])
def test_one_picture_of_two_tenants_is_two_entries_unless_they_share(isolate: bool, second: str) -> None:
    keys = {hashlib.sha256(name.encode()).hexdigest(): name for name in ("ann", "bob")}
    engine = TellingEngine()
    with behind(engine, auth={"key_hashes": keys}, images={"isolate_tenants": isolate}) as url:
        told = []
        for key in ("ann", "bob", "ann", "bob"):
            headers = {"authorization": f"Bearer {key}"}
            told.append(httpx2.post(url + CHAT, json=chat(image_part(RED)), headers=headers).headers[HEADER])
        assert told == ["miss", second, "hit-gpu", "hit-gpu"]
        assert len({name for names in engine.asked for name in names}) == (2 if isolate else 1)


def test_requests_without_pictures_ask_and_are_told_nothing() -> None:
    engine = TellingEngine()
    with behind(engine) as url:
        asked = {"model": "demo", "messages": [{"role": "user", "content": "hello"}]}
        response = httpx2.post(url + CHAT, json=asked, headers={"x-fovea-images": "a"})
        assert response.status_code == 200
        assert HEADER not in response.headers
        assert engine.asked == [[]]


def test_an_engine_that_tells_nothing_is_no_reason_to_say_anything() -> None:
    with serving(FakeEngine().app) as one, gateway(one) as url:
        assert ask(url, RED) is None


def test_a_stream_that_was_kept_alive_before_its_answer_has_no_word_of_it() -> None:
    engine = TellingEngine()
    engine.engine.pause_s = 0.4
    with behind(engine, http={"keepalive_s": 0.1}) as url:
        assert ask(url, RED, stream=True) is None
        assert counted(url, "miss") == 1


def test_words_of_an_engines_own_do_not_reach_callers() -> None:
    engine = FakeEngine()

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        async def say(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (HEADER.encode(), b"hit-cloud")]
            await send(message)

        await engine.app(scope, receive, say)

    with serving(app) as one, gateway(one) as url:
        assert ask(url, RED) is None
