"""What `fovea warm` talks to: an engine or a gateway, found out by asking it; and one request to it."""

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

import aiohttp
import orjson

from server.domain import IMAGE_CACHE, ImageCache
from server.warm.preparing import Prepared

Kind = Literal["engine", "gateway"]
CHAT = "/v1/chat/completions"
TELLS = "x-fovea-image-cache"
MOST_ANSWER_BYTES = 1024**2
CONNECT_S = 10
# One picture on a CPU takes a minute; a queue in front of it takes longer.
ANSWER_S = 900
# What is worth trying again, and after how long at most where the server says when.
BUSY = frozenset({429, 503})
TRIES = 6
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0


class TargetError(Exception):
    """There is no point in going on: one sentence that says why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`cache` where a picture was answered and the target told; `refused` or `failed` say why it was not."""

    cache: ImageCache | None = None
    refused: str = ""
    failed: str = ""


class Target:
    """Keeps connections to it; entered, it knows its `kind` and `model`. Raises TargetError on entering where there
    is neither."""

    def __init__(self, url: str, api_key: str, model: str, concurrency: int) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self.model = model
        self.kind: Kind = "engine"
        self._key = api_key
        self._concurrency = concurrency

    async def __aenter__(self) -> Self:
        headers = {"authorization": f"Bearer {self._key}"} if self._key else {}
        timeout = aiohttp.ClientTimeout(total=ANSWER_S, sock_connect=CONNECT_S)
        connector = aiohttp.TCPConnector(limit=self._concurrency)
        self._session = aiohttp.ClientSession(headers=headers, timeout=timeout, connector=connector)
        try:
            self.kind = await self._find_kind()
            await self._find_model()
        except BaseException:
            await self._session.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def warm(self, prepared: Prepared) -> Outcome:
        """Raises TargetError where every other picture would meet the same."""
        pause_s, last = FIRST_PAUSE_S, "no_answer"
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            try:
                status, code, cache, again_s = await self._ask(prepared)
            except (aiohttp.ClientError, TimeoutError):
                last = "unreachable"
                continue
            if status == 200:
                return Outcome(cache=cache)
            if status in (401, 403):
                raise TargetError(f"{self.url} refuses the API key ({code}): give --api-key.")
            if status < 500 and status not in BUSY:
                return Outcome(refused=code)
            last = code
            if again_s is not None:
                pause_s = min(again_s, LONGEST_PAUSE_S)
        return Outcome(failed=last)

    async def _ask(self, prepared: Prepared) -> tuple[int, str, ImageCache | None, float | None]:
        """Status, the error's code, what is told of the embedding, and when to ask again."""
        headers = {"content-type": "application/json", **prepared.headers}
        body = b"".join(prepared.payload)
        async with self._session.post(self.url + CHAT, data=body, headers=headers, allow_redirects=False) as answer:
            answered = await read_some(answer)
            told = answer.headers.get(TELLS, "")
            cache = next((each for each in IMAGE_CACHE if each == told), None)
            wait = answer.headers.get("retry-after", "")
            return answer.status, code_of(answer.status, answered), cache, float(wait) if wait.isdigit() else None

    async def _find_kind(self) -> Kind:
        """A gateway of ours says that it lives; vLLM has nothing there."""
        status, body = await self._get("/health/live")
        if status == 200 and read_object(body) == {"status": "live"}:
            return "gateway"
        return "engine"

    async def _find_model(self) -> None:
        status, body = await self._get("/v1/models")
        if status in (401, 403):
            raise TargetError(f"{self.url} asks for an API key: give --api-key.")
        cards = read_object(body).get("data")
        names = [str(each.get("id")) for each in cards if isinstance(each, dict)] if isinstance(cards, list) else []
        if status != 200 or not names:
            raise TargetError(f"{self.url} serves no model (yet): is it an engine or a gateway?")
        if self.model and self.model not in names:
            raise TargetError(f"{self.url} does not serve '{self.model}'. Served: {', '.join(names)}.")
        self.model = self.model or names[0]

    async def _get(self, path: str) -> tuple[int, bytes]:
        try:
            async with self._session.get(self.url + path, allow_redirects=False) as answer:
                return answer.status, await read_some(answer)
        except (aiohttp.ClientError, TimeoutError, ValueError) as problem:
            raise TargetError(f"{self.url} cannot be reached ({type(problem).__name__}).") from problem


async def read_some(answer: aiohttp.ClientResponse) -> bytes:
    """All of it, or the first MOST_ANSWER_BYTES and a little more."""
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > MOST_ANSWER_BYTES:
            break
    return bytes(body)


def code_of(status: int, body: bytes) -> str:
    """A gateway's own code; of vLLM the status alone, whose words may quote what was asked."""
    error = read_object(body).get("error")
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) and code.isidentifier() else f"status_{status}"


def read_object(body: bytes) -> dict[str, object]:
    try:
        parsed = orjson.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
