"""One engine over HTTP: probes, the model list, and completions. The only place that knows aiohttp's errors."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass

import aiohttp
import orjson

from server.domain import Answer, Json, ReadyRequest, Route
from server.engines.capacity import MOST_METRICS_BYTES, EngineReport, read_report
from server.engines.cards import Card, read_cards
from server.engines.payload import JsonChunks
from server.errors import (
    AnswerTooLarge,
    BusyError,
    CallerError,
    ContextTooLong,
    EngineError,
    EngineTimeout,
)
from server.loop_turns import LoopTurns
from server.permit import Permit

PATHS: Mapping[Route, str] = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
    "tokenize": "/tokenize",
    "detokenize": "/detokenize",
}
PROBE_TIMEOUT_S = 60
# Several tokens: of a prompt of one, vLLM 0.32 dies with Qwen3.5 on some CPUs (we mend only those that we start).
PROBE = "one two three four"
MOST_ERROR_BYTES = 64 * 1024
MOST_CARDS_BYTES = 4 * 1024**2
# Of an answer that is not streamed: text is far below it, log probabilities of long answers may be above.
MOST_ANSWER_BYTES = 64 * 1024**2
# vLLM closes a connection that was idle for 5 s (VLLM_HTTP_TIMEOUT_KEEP_ALIVE), perhaps with a request on its way.
KEEP_IDLE_S = 3


@dataclass(frozen=True, slots=True)
class EngineTimeouts:
    """`first_byte_s` includes the engine's own queue; `idle_s` is the longest silence inside an answer."""

    connect_s: float
    first_byte_s: float
    idle_s: float


class EngineRefused(CallerError):
    """The engine found fault with the request; its own words are the best there are."""

    code = "rejected_by_engine"


class EngineAnsweredBadly(EngineError):
    """A status of 500 or above, from an engine that is there to say so: the request may be what it cannot bear."""


class EngineUnreachable(EngineError):
    """No connection could be made: the engine has seen nothing of the request."""


class EngineOverloaded(BusyError):
    """A status of 503: the engine sheds load, and another one may have room."""


@contextmanager
def engine_errors(engine: str) -> Iterator[None]:
    """The only place the engine's transport errors become ours."""
    try:
        yield
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as problem:
        raise EngineUnreachable(f"{engine} cannot be reached.") from problem
    except TimeoutError as problem:
        raise EngineTimeout(f"{engine} did not answer in time.") from problem
    except (aiohttp.ClientError, OSError) as problem:
        raise EngineError(f"{engine} failed: {type(problem).__name__}.") from problem


class EngineClient:
    """Keeps connections to one engine. `name` is what callers and metrics see; the URL stays inside."""

    def __init__(self, name: str, url: str, timeouts: EngineTimeouts, turns: LoopTurns) -> None:
        self.name = name
        self._turns = turns
        self._timeouts = timeouts
        self._session = aiohttp.ClientSession(
            base_url=url.rstrip("/") + "/",
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_IDLE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect_s),
            read_bufsize=256 * 1024,
        )

    async def close(self) -> None:
        await self._session.close()

    async def is_healthy(self) -> bool:
        try:
            with engine_errors(self.name):
                timeout = aiohttp.ClientTimeout(total=self._timeouts.connect_s)
                async with self._session.get("health", timeout=timeout) as response:
                    return response.status == 200
        except EngineError:
            return False

    async def models(self) -> dict[str, Card]:
        """What it says that it serves, bases before adapters. Raises EngineError."""
        with engine_errors(self.name):
            timeout = aiohttp.ClientTimeout(total=self._timeouts.connect_s)
            async with self._session.get("v1/models", timeout=timeout) as response:
                body = await read_at_most(response.content, MOST_CARDS_BYTES)
        try:
            return read_cards(body)
        except ValueError as problem:
            raise EngineError(f"{self.name} lists no models.") from problem

    async def report(self) -> EngineReport:
        """What the engine's own metrics tell of its memory and its queue. Raises EngineError."""
        with engine_errors(self.name):
            timeout = aiohttp.ClientTimeout(total=self._timeouts.connect_s)
            async with self._session.get("metrics", timeout=timeout) as response:
                body = await read_at_most(response.content, MOST_METRICS_BYTES + 1)
        if response.status != 200:
            raise EngineError(f"{self.name} tells no metrics.")
        return read_report(body)

    async def can_answer(self, model: str) -> bool:
        """Whether a generation of one token comes back: listening is not answering."""
        payload = orjson.dumps({"model": model, "prompt": PROBE, "max_tokens": 1})
        try:
            with engine_errors(self.name):
                async with self._session.post(
                    "v1/completions",
                    data=payload,
                    headers={"content-type": "application/json"},
                    timeout=aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S),
                ) as response:
                    return response.status == 200
        except EngineError:
            return False

    @asynccontextmanager
    async def send(self, request: ReadyRequest, permit: Permit) -> AsyncIterator[Answer]:
        """Send, wait for the answer's first bytes, and lend it; leaving the block early cancels the engine.

        `permit` is the proof of admission: no permit, no call. Raises EngineError, BusyError, EngineRefused or
        AnswerTooLarge.
        """
        permit.check()
        with engine_errors(self.name):
            response = await self._session.post(
                PATHS[request.route].lstrip("/"),
                data=JsonChunks(request.payload, self._turns),
                headers=request.headers,
                timeout=aiohttp.ClientTimeout(
                    total=None,
                    sock_connect=self._timeouts.connect_s,
                    sock_read=self._timeouts.idle_s if request.stream else self._timeouts.first_byte_s,
                ),
            )
        try:
            if response.status != 200:
                raise await self._refusal(response)
            async with aclosing(self._frames(response)) as frames:
                # A whole answer is taken in before any of it is passed on, so that a failure keeps its status.
                first = await (anext(frames, b"") if request.stream else self._whole(frames))
                media_type = response.headers.get("content-type", "application/json")
                async with aclosing(_chain(first, frames)) as answer:
                    yield Answer(200, media_type, self.name, answer, whole=None if request.stream else first)
        finally:
            response.close()

    async def _frames(self, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
        with engine_errors(self.name):
            async for frame in response.content.iter_any():
                yield frame

    async def _whole(self, frames: AsyncGenerator[bytes, None]) -> bytes:
        found, size = [], 0
        async for frame in frames:
            found.append(frame)
            size += len(frame)
            if size > MOST_ANSWER_BYTES:
                raise AnswerTooLarge(
                    f"The answer has more than {MOST_ANSWER_BYTES} bytes: ask for fewer tokens or log "
                    "probabilities, or stream it."
                )
        return b"".join(found)

    async def _refusal(self, response: aiohttp.ClientResponse) -> Exception:
        """What a status other than 200 means for the caller."""
        with engine_errors(self.name):
            body = await read_at_most(response.content, MOST_ERROR_BYTES)
        if response.status in (429, 503):
            return (EngineOverloaded if response.status == 503 else BusyError)(
                f"{self.name} is overloaded: try again later."
            )
        if not 400 <= response.status < 500:
            return EngineAnsweredBadly(f"{self.name} failed with status {response.status}.")
        error = _read_error(body)
        message = str(error.get("message") or "The engine refused the request.")
        param = error.get("param")
        kind = ContextTooLong if "context length" in message else EngineRefused
        return kind(message, param if isinstance(param, str) else None)


async def _chain(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    if first:
        yield first
    async for frame in rest:
        yield frame


async def read_at_most(content: aiohttp.StreamReader, most: int) -> bytes:
    """The first `most` bytes, however many pieces they come in."""
    found = bytearray()
    async for piece in content.iter_any():
        found += piece
        if len(found) >= most:
            break
    return bytes(found[:most])


def _read_error(body: bytes) -> Json:
    try:
        error = orjson.loads(body)["error"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return {}
    return error if isinstance(error, dict) else {}
