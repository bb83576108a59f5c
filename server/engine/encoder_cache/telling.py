"""Says in an answer's head where the embeddings of its pictures came from: ASGI around vLLM's API server.

The gateway names the pictures of a request in `x-fovea-images`; the answer gets `x-fovea-image-cache`, an outcome
for each in the same order. They are known once the step has run that the first bytes come from, for which the head
waits.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from server.engine.encoder_cache import outcomes

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
# What is known of identifiers since a moment (of time.monotonic); `outcomes.of`.
Of = Callable[[Iterable[str], float], list[outcomes.Outcome] | None]

ASKS, TELLS = b"x-fovea-images", b"x-fovea-image-cache"
MOST_PICTURES = 64
WORDS: dict[outcomes.Outcome, bytes] = {each: f"hit-{each}".encode() for each in outcomes.OUTCOMES}
WORDS["miss"] = b"miss"


class TellsOutcomes:
    """Requests that name no pictures, and whatever is no HTTP, pass through untouched."""

    def __init__(self, app: App, of: Of = outcomes.of, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._of = of
        self._clock = clock

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (names := names_in(scope["headers"])):
            send = HeldHead(send, names, self._of, self._clock()).send
        await self._app(scope, receive, send)


class HeldHead:
    """One answer's messages. Only the head waits, and only until the next message; then it goes out first.

    An answer of which nothing but a head was made gets none: whoever is outside may still say what went wrong.
    """

    __slots__ = ("_head", "_names", "_of", "_send", "_since")

    def __init__(self, send: Send, names: list[str], of: Of, since: float) -> None:
        self._send = send
        self._names = names
        self._of = of
        self._since = since
        self._head: Message | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._head = message
            return
        if self._head is not None:
            head, self._head = self._head, None
            await self._send(self._told(head))
        await self._send(message)

    def _told(self, head: Message) -> Message:
        if head["status"] != 200:
            return head
        found = self._of(self._names, self._since)
        if found is None:
            return head
        told = (TELLS, b",".join(WORDS[each] for each in found))
        return {**head, "headers": [*head.get("headers", ()), told]}


def names_in(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """The pictures that a request is told to be about; none where that is more than are told of."""
    for name, value in headers:
        if name == ASKS:
            names = [each.strip() for each in value.decode("latin-1").split(",")]
            return names if len(names) <= MOST_PICTURES and all(names) else []
    return []
