"""Callers that ask about pictures without a pause, streaming or not, and how each of their requests ended."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.pictures import chat, image_part, picture, text_part

CHAT = "/v1/chat/completions"
CONNECT_TRIES = 100
PICTURES = [
    picture(size=(96, 96), colour=f"#{red:02x}{green:02x}40") for red in (0, 90, 220) for green in (0, 80, 160, 240)
]


@dataclass(frozen=True)
class Outcome:
    """`how`: "whole", "failed" (and said so, with its code), "cut" (ended without a word of the gateway's; `code`
    says how) or "hung"."""

    how: str
    engine: str
    code: str = ""


def ask(
    http: httpx2.Client,
    model: str,
    number: int,
    stream: bool,
    tokens: int = 16,
    urls: Sequence[str] = ("",),
    pictures: Sequence[bytes] = PICTURES,
) -> Outcome:
    """At one of `urls`. Connections that are refused are tried again, as load balancers do; nothing else is."""
    content = (image_part(pictures[number % len(pictures)]), text_part("What do you see?"))
    body = chat(*content, model=model, stream=stream, max_tokens=tokens, ignore_eos=True)
    for attempt in range(CONNECT_TRIES):
        try:
            with http.stream("POST", urls[(number + attempt) % len(urls)] + CHAT, json=body) as response:
                engine = response.headers.get("x-fovea-engine", "")
                return outcome_of(response.status_code, b"".join(response.iter_bytes()), engine, stream)
        except httpx2.ConnectError:
            time.sleep(0.1)
        except httpx2.TimeoutException:
            return Outcome("hung", "")
        except httpx2.TransportError as problem:
            return Outcome("cut", "", f"{type(problem).__name__}: {problem}")
    return Outcome("cut", "", "nobody listens")


def outcome_of(status: int, body: bytes, engine: str, stream: bool) -> Outcome:
    if status != 200:
        return Outcome("failed", engine, json.loads(body)["error"]["code"])
    if not stream:
        return ending(json.loads(body)["choices"][0]["finish_reason"], engine)
    events = [line.removeprefix("data: ") for line in body.decode().splitlines() if line.startswith("data: ")]
    if events[-1:] != ["[DONE]"]:
        last: dict[str, Any] = json.loads(events[-1]) if events else {}
        return (
            Outcome("failed", engine, last["error"]["code"])
            if "error" in last
            else Outcome("cut", engine, f"after {len(events)} events")
        )
    chunks = [json.loads(event) for event in events[:-1]]
    if "error" in chunks[-1]:
        return Outcome("failed", engine, chunks[-1]["error"]["code"])
    reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
    return ending(next(filter(None, reasons), ""), engine)


def ending(reason: str, engine: str) -> Outcome:
    """An engine that aborts says 200 and nothing else: whoever asked has lost its answer without a word."""
    return Outcome("whole", engine) if reason in ("length", "stop") else Outcome("cut", engine, f"ended: {reason}")


@dataclass
class Load:
    """`urls` may change while it runs: whoever asks next takes one of those that there are. So may `pause_s`, for
    which callers wait between their requests."""

    urls: list[str]
    model: str
    pictures: Sequence[bytes] = tuple(PICTURES)
    pause_s: float = 0
    outcomes: list[Outcome] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    _threads: list[threading.Thread] = field(default_factory=list)

    @contextmanager
    def running(self, callers: int) -> Iterator["Load"]:
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(callers)]
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self.stop()

    def stop(self) -> None:
        """What has been asked is waited for."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        """Every second caller streams, and each asks about all pictures."""
        stream = number % 2 == 0
        with httpx2.Client(timeout=60) as http:
            while not self._over.wait(self.pause_s):
                outcome = ask(http, self.model, number, stream, urls=tuple(self.urls), pictures=self.pictures)
                self.outcomes.append(outcome)
                number += 5

    def lost(self) -> list[Outcome]:
        return [each for each in self.outcomes if each.how != "whole"]

    def counts(self) -> dict[str, int]:
        found = list(self.outcomes)
        return {how: sum(each.how == how for each in found) for how in ("whole", "failed", "cut", "hung")}

    def wait_for_more(self, wanted: int) -> None:
        """As many more that ended, however they did."""
        enough = len(self.outcomes) + wanted
        wait_until(lambda: len(self.outcomes) >= enough)


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
