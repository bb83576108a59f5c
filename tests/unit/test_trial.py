import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from PIL import Image

from server.together import free_port
from server.trial import CHAT, MODELS, NoAnswer, Trial, draw_square, make_request, run_trial

SAID = {"choices": [{"message": {"content": " Red\n"}}], "usage": {"prompt_tokens": 31}}


class Gateway:
    """Says what it is told to, in order and the last again, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, object]] = [(200, SAID)]
        self.asked: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.url = ""

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        if path == MODELS:
            return 200, json.dumps({"data": [{"id": "demo"}]}).encode()
        self.asked.append((path, headers, json.loads(body)))
        status, said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return status, json.dumps(said).encode()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    made = Gateway()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, text = made.answer(self.path, headers, body)
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.send_header("x-fovea-engine", "main-0")
            self.end_headers()
            self.wfile.write(text)

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        made.url = f"http://127.0.0.1:{server.server_port}"
        yield made
        server.shutdown()
        thread.join()


def error(code: str, message: str) -> dict[str, object]:
    return {"error": {"code": code, "message": message}}


def test_the_first_model_is_asked_about_a_picture(gateway: Gateway) -> None:
    answer = run_trial(Trial(gateway.url))
    assert (answer.model, answer.text, answer.engine, answer.prompt_tokens) == ("demo", "Red", "main-0", 31)
    [(path, headers, body)] = gateway.asked
    assert (path, body["model"]) == (CHAT, "demo")
    assert "authorization" not in headers
    assert body["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")


def test_a_key_is_shown_and_a_url_may_end_in_v1(gateway: Gateway) -> None:
    run_trial(Trial(f"{gateway.url}/v1", model="demo", api_key="secret"))
    assert gateway.asked[0][1]["authorization"] == "Bearer secret"


def test_what_is_not_ready_yet_is_asked_again(gateway: Gateway) -> None:
    gateway.answers = [(503, error("no_engine_ready", "No engine is ready.")), (200, SAID)]
    pauses: list[float] = []
    assert run_trial(Trial(gateway.url, wait_s=3600), pauses.append).text == "Red"
    assert len(pauses) == 1


@pytest.mark.parametrize(
    ("status", "said", "sentence"),
    [
        (503, error("no_engine_ready", "None is."), "answered 503 (no_engine_ready: None is.)"),
        (401, error("invalid_api_key", "Wrong."), "refuses the API key (invalid_api_key: Wrong.): give one that"),
        (400, "plain words", "answered 400"),
        (200, {"choices": []}, "is no chat completion"),
        (200, {**SAID, "choices": [{"message": {"content": " "}}]}, "answered with no text: demo said nothing"),
    ],
)
def test_why_there_is_no_answer_is_one_sentence(gateway: Gateway, status: int, said: object, sentence: str) -> None:
    gateway.answers = [(status, said)]
    with pytest.raises(NoAnswer) as caught:
        run_trial(Trial(gateway.url, api_key="secret"))
    assert sentence in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_no_wait_mends_is_told_at_once(gateway: Gateway) -> None:
    gateway.answers = [(400, error("image_undecodable", "No."))]
    pauses: list[float] = []
    with pytest.raises(NoAnswer):
        run_trial(Trial(gateway.url, wait_s=3600), pauses.append)
    assert pauses == []


def test_who_is_not_there_is_named() -> None:
    with pytest.raises(NoAnswer, match="cannot be asked: Connection refused"):
        run_trial(Trial(f"http://127.0.0.1:{free_port()}"))


def test_what_is_no_url_is_refused() -> None:
    with pytest.raises(ValueError, match="is not a URL like"):
        run_trial(Trial("gateway:8080"))


def test_the_picture_is_a_red_square_of_few_pixels() -> None:
    with Image.open(io.BytesIO(draw_square())) as picture:
        assert picture.size == (128, 128)
        assert picture.convert("RGB").getpixel((64, 64)) == (255, 0, 0)
    assert len(make_request("demo", "?", draw_square())) < 1000
