"""One engine over HTTP: probes, the model list, and completions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from time import monotonic
from typing import Literal

import orjson

from server.domain import ReadyRequest, Route
from server.engines.asking import EngineHttp
from server.engines.capacity import MOST_METRICS_BYTES, EngineReport, read_report
from server.engines.cards import Card, read_cards
from server.engines.http.address import EngineAddress
from server.engines.http.connection import Deadlines
from server.engines.http.failures import Phase
from server.engines.lending import Sending
from server.engines.tracing import UNTRACED, Traced
from server.errors import EngineError
from server.loop_turns import LoopTurns
from server.permit import Permit

# What /health says, or that nothing does.
Reached = Literal["healthy", "unhealthy", "unreachable"]
PATHS: Mapping[Route, str] = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
    "tokenize": "/tokenize",
    "detokenize": "/detokenize",
}
PROBE_TIMEOUT_S = 60
# Of `fovea engine` (server/engine/encoder_cache/forgetting.py); thousands of files may be deleted.
FORGET = "/fovea/embeddings/forget"
FORGET_TIMEOUT_S = 60
# Several tokens: of a prompt of one, vLLM 0.32 dies with Qwen3.5 on some CPUs (we mend only those that we start).
PROBE = "one two three four"
MOST_PROBE_BYTES = 64 * 1024
MOST_CARDS_BYTES = 4 * 1024**2
# Of an answer that is not streamed: text is far below it, log probabilities of long answers may be above.
MOST_ANSWER_BYTES = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class EngineTimeouts:
    """`first_byte_s` includes the engine's own queue; `idle_s` is the longest silence inside an answer; `total_s`
    is for all of it, from the moment that the engine is asked."""

    connect_s: float
    first_byte_s: float
    idle_s: float
    total_s: float = inf


class EngineClient:
    """Keeps connections to one engine. `name` is what callers and metrics see; the URL stays inside."""

    def __init__(
        self, name: str, url: str, timeouts: EngineTimeouts, turns: LoopTurns, ca_file: Path | None = None
    ) -> None:
        self.name = name
        self._timeouts = timeouts
        self._address = EngineAddress.of(url, ca_file)
        self._http = EngineHttp(name, self._address, timeouts.connect_s, turns)
        self._begins = {route: self._address.begin("POST", path) for route, path in PATHS.items()}

    async def close(self) -> None:
        self._http.close()

    async def health(self) -> Reached:
        try:
            status, _ = await self.get("/health", self._timeouts.connect_s, MOST_PROBE_BYTES)
        except EngineError:
            return "unreachable"
        return "healthy" if status == 200 else "unhealthy"

    async def models(self) -> dict[str, Card]:
        """What it says that it serves, bases before adapters. Raises EngineError."""
        _, body = await self.get("/v1/models", self._timeouts.connect_s, MOST_CARDS_BYTES)
        try:
            return read_cards(body)
        except ValueError as problem:
            raise EngineError(f"{self.name} lists no models.") from problem

    async def report(self) -> EngineReport:
        """What the engine's own metrics tell of its memory and its queue. Raises EngineError."""
        status, body = await self.get("/metrics", self._timeouts.connect_s, MOST_METRICS_BYTES)
        if status != 200:
            raise EngineError(f"{self.name} tells no metrics.")
        return read_report(body)

    async def can_answer(self, model: str) -> bool:
        """Whether a generation of one token comes back: listening is not answering."""
        payload = orjson.dumps({"model": model, "prompt": PROBE, "max_tokens": 1})
        lines = self._begins["completions"] + "content-type: application/json\r\n"
        try:
            status, _ = await self._http.exchange(lines, (payload,), PROBE_TIMEOUT_S, MOST_PROBE_BYTES)
        except EngineError:
            return False
        return status == 200

    async def forget(self, digests: Sequence[str]) -> int:
        """The status of its answer: 200 once it keeps none of these pictures' embeddings. Raises EngineError."""
        lines = self._address.begin("POST", FORGET) + "content-type: application/json\r\n"
        payload = orjson.dumps({"digests": digests})
        status, _ = await self._http.exchange(lines, (payload,), FORGET_TIMEOUT_S, MOST_PROBE_BYTES)
        return status

    async def get(self, path: str, within_s: float, most: int) -> tuple[int, bytes]:
        """Status and body of what the engine says at `path`. Raises EngineError, also where that is more than
        `most` bytes."""
        return await self._http.exchange(self._address.begin("GET", path), (), within_s, most)

    def send(self, request: ReadyRequest, permit: Permit, traced: Traced = UNTRACED) -> Sending:
        """Send, wait for the answer's first bytes, and lend it; leaving the block early cancels the engine.

        `permit` is the proof of admission: no permit, no call. Entering raises EngineError, BusyError,
        EngineRefused, DeadlineExceeded or AnswerTooLarge.
        """
        permit.check()
        lines = "".join([f"{name}: {printed(value)}\r\n" for name, value in request.headers.items()])
        timeouts, deadline = self._timeouts, request.terms.deadline
        if traced.traceparent:
            lines += f"traceparent: {traced.traceparent}\r\n"
        end, whose = monotonic() + timeouts.total_s, Phase.TOTAL
        if deadline is not None and deadline < end:
            end, whose = deadline, Phase.REQUEST
        deadlines = Deadlines(timeouts.first_byte_s, timeouts.idle_s, end, whose, traced.when_sent)
        return Sending(self._http, self._begins[request.route] + lines, request, deadlines, MOST_ANSWER_BYTES)


def printed(value: str) -> str:
    """A header's value. Raises ValueError where it would end the line."""
    if not (value.isascii() and value.isprintable()):
        raise ValueError("a header for an engine must be printable ASCII")
    return value
