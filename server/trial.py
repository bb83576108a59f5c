"""`fovea ask`: one question about one picture, asked as a caller would, to see that a deployment answers."""

import base64
import http.client
import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from PIL import Image, ImageDraw

from server.healthcheck import printable, reason_of

CHAT, MODELS = "/v1/chat/completions", "/v1/models"
QUESTION = "What colour is the square? Reply with one word."
# What may be otherwise in a moment: nobody there yet, no engine ready, no room.
SOON = frozenset({0, 429, 502, 503, 504})
PAUSE_S = 2.0
MOST_BYTES = 1024**2
MOST_TOLD = 200


class NoAnswer(Exception):
    """One sentence that says why."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What is asked of whom. `model` empty: the first that is served. `wait_s`: until it answers at all."""

    url: str
    model: str = ""
    api_key: str = ""
    question: str = QUESTION
    picture: bytes = b""
    wait_s: float = 0
    timeout_s: float = 120

    @property
    def shown(self) -> str:
        """Without what may be a password."""
        scheme, _, rest = self.url.rpartition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}"


@dataclass(frozen=True, slots=True)
class Answer:
    model: str
    text: str
    engine: str
    prompt_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Said:
    """`status` 0: nothing that is HTTP; `why` then says it, else what an error says of itself."""

    status: int
    body: dict[str, Any]
    engine: str = ""
    why: str = ""


def run_trial(trial: Trial, sleep: Callable[[float], None] = time.sleep) -> Answer:
    """Raises NoAnswer; ValueError where `url` is none."""
    until = time.monotonic() + trial.wait_s
    while True:
        try:
            return ask_once(trial)
        except NotYet as problem:
            if time.monotonic() + PAUSE_S > until:
                raise NoAnswer(str(problem)) from None
        sleep(PAUSE_S)


class NotYet(NoAnswer):
    """It may answer in a moment."""


def ask_once(trial: Trial) -> Answer:
    model = trial.model or first_model(trial)
    began = time.monotonic()
    said = send(trial, "POST", CHAT, make_request(model, trial.question, trial.picture or draw_square()))
    seconds = time.monotonic() - began
    if said.status != 200:
        raise refused(trial, said)
    try:
        text = str(said.body["choices"][0]["message"]["content"] or "").strip()
        tokens = int(said.body["usage"]["prompt_tokens"])
    except (KeyError, IndexError, TypeError, ValueError):
        raise NoAnswer(f"{trial.shown} answered something that is no chat completion") from None
    if not text:
        raise NoAnswer(f"{trial.shown} answered with no text: {model} said nothing about the picture")
    return Answer(model, printable(text)[:MOST_TOLD], printable(said.engine), tokens, seconds)


def first_model(trial: Trial) -> str:
    said = send(trial, "GET", MODELS)
    if said.status != 200:
        raise refused(trial, said)
    try:
        return str(said.body["data"][0]["id"])
    except (KeyError, IndexError, TypeError):
        raise NotYet(f"{trial.shown} serves no model yet") from None


def refused(trial: Trial, said: Said) -> NoAnswer:
    kind = NotYet if said.status in SOON else NoAnswer
    if not said.status:
        return kind(f"{trial.shown} cannot be asked: {said.why}")
    if said.status in (401, 403):
        return kind(f"{trial.shown} refuses the API key ({said.why}): give one that it knows in FOVEA_API_KEY")
    return kind(f"{trial.shown} answered {said.status}" + (f" ({said.why})" if said.why else ""))


def make_request(model: str, question: str, picture: bytes) -> bytes:
    kind = Image.open(io.BytesIO(picture)).get_format_mimetype() or "image/png"
    url = f"data:{kind};base64,{base64.b64encode(picture).decode()}"
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": question}]
    messages = [{"role": "user", "content": parts}]
    return json.dumps({"model": model, "messages": messages, "max_tokens": 32, "temperature": 0}).encode()


def draw_square() -> bytes:
    """A red square on white, as PNG: 128x128, so that it costs an engine next to nothing."""
    picture = Image.new("RGB", (128, 128), "white")
    ImageDraw.Draw(picture).rectangle((32, 32, 96, 96), fill="red")
    written = io.BytesIO()
    picture.save(written, "PNG")
    return written.getvalue()


def send(trial: Trial, method: str, path: str, body: bytes | None = None) -> Said:
    """No proxy is asked, no redirect followed: the key is shown to nobody else."""
    parts = urlsplit(trial.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"'{trial.shown}' is not a URL like http://127.0.0.1:8080")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=trial.timeout_s)
    headers = {"content-type": "application/json", **authorization(trial.api_key)}
    try:
        connection.request(method, parts.path.rstrip("/").removesuffix("/v1") + path, body, headers)
        answer = connection.getresponse()
        text = answer.read(MOST_BYTES)
        return Said(answer.status, read_object(text), answer.headers.get("x-fovea-engine", ""), reason_of(text))
    except (OSError, http.client.HTTPException) as problem:
        reason = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
        return Said(0, {}, why=printable(reason))
    finally:
        connection.close()


def authorization(api_key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {api_key}"} if api_key else {}


def read_object(text: bytes) -> dict[str, Any]:
    try:
        read = json.loads(text)
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}
