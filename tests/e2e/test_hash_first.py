"""Pictures that real vLLM holds are sent to it by their names, and the model sees the same; so it does where vLLM
has let go of them, or is another process by now.
"""

import io
import json
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx2
import pytest

from demo.processes import running
from quantize.evaluate import questions, scenes
from server.together import free_port
from tests.conftest import ENGINE_START_S, Stack
from tests.fakes.gateway import gateway, metric
from tests.pictures import chat, data_url, image_part, noise, text_part

PICTURE = noise("PNG")
LEAST_SAVED = 0.9 * len(data_url(PICTURE))
SIZE = (160, 160)
# GiB: vLLM 0.32 keeps 150 to 190 KB of such a picture (four are held by 0.0007 GiB, and not five).
TWO_GB = "0.0004"
NAMED_BYTES = 1024


class CountingWay:
    """A way to an engine that counts the bytes of each request for an answer."""

    def __init__(self, engine: str) -> None:
        self._ends: list[socket.socket] = []
        self.lead_to(engine)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[int] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def lead_to(self, engine: str) -> None:
        """From now on; what is open is cut off, as by an engine that is killed."""
        parts = urlsplit(engine)
        self._to = (parts.hostname or "", parts.port or 80)
        ends, self._ends = self._ends, []
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            engine = socket.create_connection(self._to)
            self._ends += [caller, engine]
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
        first, second = map(text_of, said)
        assert first == second != ""
        whole, named = way.requests
        assert named < 2048 < LEAST_SAVED < whole
        assert metric(url, "fovea_image_bytes_not_sent_total") > LEAST_SAVED
        assert metric(url, 'fovea_hash_first_total{outcome="hit"}') == 1


def text_of(answer: httpx2.Response) -> str:
    """What the model said, in however many pieces it came: a busy vLLM puts tokens together."""
    if not answer.headers["content-type"].startswith("text/event-stream"):
        return answer.json()["choices"][0]["message"]["content"]
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: {")]
    return "".join(
        choice["delta"].get("content") or "" for event in events for choice in json.loads(event)["choices"]
    )


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


@dataclass(frozen=True)
class Shown:
    """A picture of a number, which no other has: whoever mixes them up reads another's."""

    data: bytes
    question: str
    answer: str


def draw(number: int) -> Shown:
    scene = scenes.draw_number(random.Random(number), size=SIZE, photo=False)
    asked, file = questions.ask_number(scene), io.BytesIO()
    scene.image.save(file, "PNG")
    return Shown(file.getvalue(), asked.text, asked.truth.value)


@pytest.fixture(scope="module")
def forgetful(bf16: Stack) -> Iterator[str]:
    """Another process that serves the same model; its processor's cache has room for two of these pictures."""
    port = free_port()
    options = ("--model", str(bf16.checkpoint), "--name", bf16.model, "--port", str(port))
    with running("server", "engine", *options, "--mm-processor-cache-gb", TWO_GB) as engine:
        engine.wait_for(r"ready at ", ENGINE_START_S)
        yield f"http://127.0.0.1:{port}"


@dataclass
class Caller:
    """Asks about pictures; `way` leads to the engine. The gateway does not look at it meanwhile."""

    url: str
    way: CountingWay
    model: str

    def reads(self, shown: Shown) -> list[bool]:
        """Whether the picture came by its name, in each request that the engine got for it."""
        self.way.requests.clear()
        body = chat(image_part(shown.data), text_part(shown.question), model=self.model)
        answer = httpx2.post(f"{self.url}/v1/chat/completions", json=body, timeout=120)
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["message"]["content"] == shown.answer
        return [size < NAMED_BYTES for size in self.way.requests]

    def outcomes(self) -> tuple[float, float]:
        hit, miss = (metric(self.url, f'fovea_hash_first_total{{outcome="{each}"}}') for each in ("hit", "miss"))
        return hit, miss


@contextmanager
def caller(engine: str, model: str) -> Iterator[Caller]:
    with counted(engine) as way, gateway(way.url, engines={"poll_s": 600}) as url:
        yield Caller(url, way, model)


WHOLE, NAMED, MISSED = [False], [True], [True, False]


def test_pictures_that_vllm_has_let_go_of_are_sent_again_once_each(bf16: Stack, forgetful: str) -> None:
    first, second, third, fourth, fifth = map(draw, range(5))
    with caller(forgetful, bf16.model) as asks:
        for shown in (first, second, third, fourth, fifth):
            assert (asks.reads(shown), asks.reads(shown)) == (WHOLE, NAMED)
        assert asks.outcomes() == (5, 0)
        assert (asks.reads(first), asks.reads(second)) == (MISSED, MISSED)
        # Gone, too; what was used before it is not even asked for.
        assert asks.reads(fifth) == MISSED
        assert (asks.reads(third), asks.reads(fourth)) == (WHOLE, WHOLE)
        assert asks.reads(third) == NAMED
        assert asks.outcomes() == (6, 3)
        assert metric(asks.url, "fovea_engine_retries_total") == 0


def test_an_engine_that_was_restarted_between_two_looks_is_sent_each_picture_again_once(
    bf16: Stack, forgetful: str
) -> None:
    pictures = [draw(number) for number in range(10, 13)]
    with caller(bf16.engine, bf16.model) as asks:
        assert [asks.reads(shown) for shown in pictures * 2] == [WHOLE] * 3 + [NAMED] * 3
        # At the address there is another process now, which has seen none of them.
        asks.way.lead_to(forgetful)
        for shown in pictures:
            assert (asks.reads(shown), asks.reads(shown)) == (MISSED, NAMED)
        assert asks.outcomes() == (6, 3)
        assert metric(asks.url, 'fovea_engine_ready{engine="engine-0"}') == 1
        assert metric(asks.url, 'fovea_rejections_total{code="rejected_by_engine"}') == 0
