"""Sends one request and notes what became of it: failures are records, never exceptions."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import orjson

from loadtest.driving.answers import read_whole
from loadtest.driving.stream import Heard, ProtocolError, code_of, word_of
from loadtest.records import RequestRecord
from loadtest.scenario.document import Tenant

MOST_ERROR_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """`url` is the OpenAI base URL, with /v1; `keys` are by tenant's name, sent and never noted."""

    url: str
    model: str
    keys: Mapping[str, str]
    timeout_s: float = 300
    fields: Mapping[str, Any] | None = None  # more of the body


class Clock:
    """Seconds since the run began."""

    def __init__(self) -> None:
        self.began_ns = time.perf_counter_ns()

    def now_s(self) -> float:
        return self.at_s(time.perf_counter_ns())

    def at_s(self, counted_ns: int) -> float:
        """Of another process's perf_counter_ns too: it is the machine's (CLOCK_MONOTONIC)."""
        return (counted_ns - self.began_ns) / 1e9


@dataclass(slots=True)
class Noted:
    """What is known of a request under way, whatever breaks."""

    heard: Heard
    first_byte_s: float | None = None
    status: int = 0
    refused: str = ""
    engine: str = ""
    image_cache: str = ""


class Caller:
    def __init__(self, session: aiohttp.ClientSession, target: Target, clock: Clock) -> None:
        self._session = session
        self._target = target
        self._clock = clock

    async def ask(
        self, planned: RequestRecord, tenant: Tenant, messages: Sequence[object], most_tokens: int
    ) -> tuple[RequestRecord, str]:
        """`planned` with what became of it; and the answer's words."""
        body, headers = as_body(self._target, messages, most_tokens), self._headers(tenant)
        noted, sent_s = Noted(Heard()), self._clock.now_s()
        code = await self._outcome(noted, body, headers)
        heard = noted.heard
        ended = replace(
            planned,
            sent_s=sent_s,
            first_byte_s=noted.first_byte_s,
            token_s=tuple(heard.token_s),
            ended_s=self._clock.now_s(),
            status=noted.status,
            code=code,
            prompt_tokens=heard.prompt_tokens,
            output_tokens=heard.output_tokens,
            engine=noted.engine,
            image_cache=noted.image_cache,
        )
        return ended, "".join(heard.words)

    async def _outcome(self, noted: Noted, body: bytes, headers: dict[str, str]) -> str:
        """Empty where it was answered whole. The only place where the transport's errors become codes."""
        try:
            async with asyncio.timeout(self._target.timeout_s):
                await self._exchange(noted, body, headers)
        except TimeoutError:
            return "timeout"
        except ProtocolError:
            return "protocol"
        except (aiohttp.ClientError, OSError):
            return "cut" if noted.heard.token_s else "connection"
        return noted.refused or noted.heard.code or ("" if noted.heard.done else "cut")

    async def _exchange(self, noted: Noted, body: bytes, headers: dict[str, str]) -> None:
        url = f"{self._target.url.rstrip('/')}/chat/completions"
        # A redirect is an answer, and none of ours: what is asked, and the key, go where they were sent.
        async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
            noted.first_byte_s, noted.status = self._clock.now_s(), response.status
            noted.engine = word_of(response.headers.get("x-fovea-engine", ""))
            noted.image_cache = word_of(response.headers.get("x-fovea-image-cache", ""))
            if response.status != 200:
                noted.refused = await refusal_of(response)
                return
            async for data in response.content.iter_any():
                noted.heard.feed(data, self._clock.now_s())

    def _headers(self, tenant: Tenant) -> dict[str, str]:
        headers = {"content-type": "application/json"}
        if key := self._target.keys.get(tenant.name):
            headers["authorization"] = f"Bearer {key}"
        if tenant.priority:
            headers["x-fovea-priority"] = tenant.priority
        return headers


def as_body(target: Target, messages: Sequence[object], most_tokens: int) -> bytes:
    asked = {
        "model": target.model,
        "messages": messages,
        "max_tokens": most_tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        **(target.fields or {}),
    }
    return orjson.dumps(asked)


async def refusal_of(response: aiohttp.ClientResponse) -> str:
    text = await read_whole(response, MOST_ERROR_BYTES)
    try:
        return code_of(orjson.loads(text), str(response.status))
    except orjson.JSONDecodeError:
        return str(response.status)
