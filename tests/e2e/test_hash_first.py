"""Pictures that real vLLM holds are sent to it by their names, and the model sees the same."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.conftest import Stack
from tests.fakes.gateway import gateway, metric
from tests.pictures import chat, data_url, image_part, noise, text_part

PICTURE = noise("PNG")
LEAST_SAVED = 0.9 * len(data_url(PICTURE))


class CountingWay:
    """A way to an engine that counts the bytes of each request for an answer."""

    def __init__(self, engine: str) -> None:
        parts = urlsplit(engine)
        self._to = (parts.hostname or "", parts.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[int] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            engine = socket.create_connection(self._to)
            for ends in ((caller, engine, True), (engine, caller, False)):
                threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, count: bool) -> None:
        counting = False
        try:
            while data := source.recv(1 << 20):
                if count and data.startswith((b"POST", b"GET")):
                    counting = data.startswith((b"POST /v1/chat", b"POST /v1/responses"))
                    self.requests += [0] * counting
                if counting:
                    self.requests[-1] += len(data)
                target.sendall(data)
        except OSError:
            pass
        target.close()


@contextmanager
def counted(engine: str) -> Iterator[CountingWay]:
    way = CountingWay(engine)
    yield way
    way.close()


@pytest.mark.parametrize("stream", [False, True])
def test_a_picture_that_comes_again_is_sent_by_its_name_and_answered_the_same(fp8: Stack, stream: bool) -> None:
    body = chat(
        image_part(PICTURE), text_part("What is it?"), model=fp8.model, temperature=0, max_tokens=16, stream=stream
    )
    with counted(fp8.engine) as way, gateway(way.url) as url:
        said = [httpx2.post(f"{url}/v1/chat/completions", json=body, timeout=120) for _ in range(2)]
        assert [answer.status_code for answer in said] == [200, 200]
        first, second = (list(words(answer)) for answer in said)
        assert first == second
        whole, named = way.requests
        assert named < 2048 < LEAST_SAVED < whole
        assert metric(url, "fovea_image_bytes_not_sent_total") > LEAST_SAVED
        assert metric(url, 'fovea_hash_first_total{outcome="hit"}') == 1


def words(answer: httpx2.Response) -> Iterator[str]:
    """What the model said, however it was sent."""
    for line in answer.text.splitlines():
        yield line.partition('"content":')[2].partition(",")[0]


def test_a_response_knows_the_picture_that_a_chat_has_shown(fp8: Stack) -> None:
    part = {"type": "input_image", "image_url": data_url(PICTURE)}
    message = {"role": "user", "content": [part, {"type": "input_text", "text": "What is it?"}]}
    asked = {"model": fp8.model, "input": [message], "max_output_tokens": 16, "temperature": 0}
    with counted(fp8.engine) as way, gateway(way.url) as url:
        body = chat(image_part(PICTURE), text_part("What is it?"), model=fp8.model, max_tokens=16)
        httpx2.post(f"{url}/v1/chat/completions", json=body, timeout=120).raise_for_status()
        httpx2.post(f"{url}/v1/responses", json=asked, timeout=120).raise_for_status()
        assert way.requests[1] < 2048
        assert metric(url, 'fovea_hash_first_total{outcome="hit"}') == 1


def test_vllm_says_that_it_does_not_hold_a_picture_as_we_expect_it_to(fp8: Stack) -> None:
    part = {"type": "image_url", "image_url": None, "uuid": "0" * 64}
    asked = {"model": fp8.model, "max_tokens": 1, "messages": [{"role": "user", "content": [part]}]}
    answer = httpx2.post(f"{fp8.engine}/v1/chat/completions", json=asked, timeout=60)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("Cache miss for image at index 0")
