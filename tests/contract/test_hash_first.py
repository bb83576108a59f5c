"""Pictures that an engine should hold already are sent by their names; it answers the same, or that it cannot."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from tests.contract.test_faults import wait_until
from tests.contract.test_pools import QUICK, ready
from tests.fakes.engine import FakeEngine, images_in
from tests.fakes.gateway import gateway, metric
from tests.fakes.serve import serving
from tests.pictures import chat, data_url, image_part, picture

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
RED, BLUE = picture(colour="red"), picture(colour="blue")


@contextmanager
def behind(engine: FakeEngine, **engines: Any) -> Iterator[str]:
    with serving(engine.app) as one, gateway(one, engines={**QUICK, **engines}) as url:
        yield url


def ask(url: str, *pictures: bytes, key: str = "", **more: Any) -> int:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    body = chat(*(image_part(each) for each in pictures), **more)
    return httpx2.post(url + CHAT, json=body, headers=headers, timeout=30).status_code


def sent(engine: FakeEngine) -> list[list[bool]]:
    """Of each request that came: whether each of its pictures came with bytes."""
    return [[part["image_url"] is not None for part in images_in(body)] for body in engine.chats]


def outcomes(url: str) -> tuple[float, float]:
    hit, miss = (metric(url, f'fovea_hash_first_total{{outcome="{each}"}}') for each in ("hit", "miss"))
    return hit, miss


def test_a_picture_that_comes_again_is_sent_by_its_name() -> None:
    engine = FakeEngine()
    with behind(engine) as url:
        assert [ask(url, RED), ask(url, RED, stream=True), ask(url, BLUE, RED), ask(url, RED, BLUE)] == [200] * 4
        assert sent(engine) == [[True], [False], [True, False], [False, False]]
        assert outcomes(url) == (3, 0)
        # Of RED thrice, of BLUE once: its object with the address, for which there is `null`.
        spared = {data: len('{"url":""}') + len(data_url(data)) - len("null") for data in (RED, BLUE)}
        assert metric(url, "fovea_image_bytes_not_sent_total") == 3 * spared[RED] + spared[BLUE]


def test_an_input_of_responses_knows_what_a_chat_has_shown() -> None:
    engine = FakeEngine()
    with behind(engine) as url:
        ask(url, RED)
        part = {"type": "input_image", "image_url": data_url(RED)}
        answer = httpx2.post(
            url + RESPONSES, json={"model": "demo", "input": [{"role": "user", "content": [part]}]}
        )
        assert answer.status_code == 200
        (named,) = images_in(engine.responses[0])
        assert (named["image_url"], named["uuid"]) == (None, next(images_in(engine.chats[0]))["uuid"])


def test_a_picture_that_the_engine_let_go_of_is_sent_again_at_once() -> None:
    engine = FakeEngine()
    with behind(engine) as url:
        assert [ask(url, RED), ask(url, BLUE)] == [200, 200]
        engine.processed.clear()
        # BLUE was used later than RED: that it is gone tells that RED is gone, too.
        assert [ask(url, BLUE), ask(url, RED), ask(url, RED, BLUE)] == [200] * 3
        assert sent(engine)[2:] == [[False], [True], [True], [False, False]]
        assert outcomes(url) == (1, 1)


def test_an_engine_that_was_away_is_believed_to_have_forgotten() -> None:
    engine = FakeEngine()
    with behind(engine) as url:
        ask(url, RED)
        engine.healthy = False
        wait_until(lambda: not ready(url, "engine-0"))
        engine.processed.clear()
        engine.healthy = True
        wait_until(lambda: ready(url, "engine-0"))
        assert ask(url, RED) == 200
        assert sent(engine) == [[True], [True]]


def test_an_engine_that_keeps_nothing_is_soon_sent_everything() -> None:
    engine = FakeEngine()
    engine.keeps = False
    with behind(engine) as url:
        assert {ask(url, RED) for _ in range(10)} == {200}
        assert sum(not whole for (whole,) in sent(engine)) == 2
        assert outcomes(url) == (0, 2)


def test_a_record_of_one_tenant_never_answers_for_another() -> None:
    engine = FakeEngine()
    keys = {hashlib.sha256(name.encode()).hexdigest(): name for name in ("ann", "bob")}
    with serving(engine.app) as one, gateway(one, engines=QUICK, auth={"key_hashes": keys}) as url:
        assert [ask(url, RED, key=name) for name in ("ann", "bob", "ann", "bob")] == [200] * 4
        assert sent(engine) == [[True], [True], [False], [False]]
        first, second, third, fourth = (next(images_in(body))["uuid"] for body in engine.chats)
        assert (first, second) == (third, fourth)
        assert first != second


def test_an_engine_that_fails_at_names_is_sent_bytes() -> None:
    engine = FakeEngine()
    with behind(engine) as url:
        ask(url, RED)
        engine.breaks_at_names = True
        assert ask(url, RED) == 200
        assert sent(engine) == [[True], [False], [True]]
        assert ready(url, "engine-0")


@pytest.mark.parametrize("words", ["something else", "No Cache miss for image at index 0"])
def test_other_refusals_are_passed_on_and_nothing_is_sent_again(words: str) -> None:
    engine = FakeEngine()
    with behind(engine) as url:
        ask(url, RED)
        engine.fail, engine.says = 400, words
        assert ask(url, RED) == 400
        assert sent(engine) == [[True], [False]]
        engine.fail = None
        assert ask(url, RED) == 200
        assert sent(engine)[2:] == [[False]]


def test_set_so_every_picture_comes_with_its_bytes() -> None:
    engine = FakeEngine()
    with behind(engine, hash_first=False) as url:
        assert [ask(url, RED), ask(url, RED)] == [200, 200]
        assert sent(engine) == [[True], [True]]
