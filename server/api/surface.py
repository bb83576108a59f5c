"""What each route of the API does in its own way; the rest is `CompletionEndpoint`'s, and the same for all."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from starlette.responses import Response

from server.domain import Answer, ParsedRequest, Raw
from server.errors import GatewayError


class Wording(Protocol):
    """How errors are told: as an answer of their own, and inside a stream of which `events` have been sent."""

    def response(self, error: GatewayError, request_id: str) -> Response: ...

    def event(self, error: GatewayError, request_id: str, events: int) -> bytes: ...


async def as_it_is(answer: Answer) -> Answer:
    return answer


@dataclass(frozen=True, slots=True)
class Surface:
    """One route. `label` names it in metrics; `last_event` is in what callers of a stream may hang up after, and
    `keepalive` is what means nothing to them.

    `parse` may translate the body into another route's; `tell` then translates the answer back. What `tell`
    raises before it returns keeps its status.
    """

    label: str
    parse: Callable[[Raw], ParsedRequest]
    wording: Wording
    last_event: bytes = b"data: [DONE]\n\n"
    tell: Callable[[Answer], Awaitable[Answer]] = as_it_is
    keepalive: bytes = b": keepalive\n\n"
