"""POST /v1/estimate: a request as it would be sent to another route; `?route=` says which, else its fields do."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Receive, Scope, Send

from server.api.messages.request import parse_messages_request
from server.api.parse import parse_json, parse_request
from server.api.problems import OpenAIWording
from server.api.surface import Surface
from server.domain import ParsedRequest, Raw, Route
from server.errors import CallerError

ESTIMATE = "/v1/estimate"
ANY = ""
MOST_QUERY = 200


def parse_any(raw: Raw) -> ParsedRequest:
    """By the field that holds the prompt; a conversation is a chat's."""
    body = parse_json(raw)
    route: Route = "chat"
    if "messages" not in body:
        route = "responses" if "input" in body else "completions" if "prompt" in body else "chat"
    return parse_request(route, raw)


PARSERS: Mapping[str, Callable[[Raw], ParsedRequest]] = {
    ANY: parse_any,
    "chat": partial(parse_request, "chat"),
    "completions": partial(parse_request, "completions"),
    "responses": partial(parse_request, "responses"),
    "messages": parse_messages_request,
}


def parse_to_estimate(parse: Callable[[Raw], ParsedRequest], raw: Raw) -> ParsedRequest:
    """An estimate comes in one piece, whatever the request would be answered with."""
    return replace(parse(raw), stream=False)


SURFACES: Mapping[str, Surface] = {
    route: Surface("estimate", partial(parse_to_estimate, parse), OpenAIWording())
    for route, parse in PARSERS.items()
}


class EstimateEndpoint:
    """One endpoint of each route, and the choice among them."""

    def __init__(self, endpoints: Mapping[str, ASGIApp]) -> None:
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._endpoints[read_route(scope["query_string"])](scope, receive, send)


def read_route(query: bytes) -> str:
    """Raises CallerError."""
    if len(query) > MOST_QUERY:
        raise CallerError("The query is too long.")
    asked = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("route", [ANY])
    if len(asked) != 1 or asked[0] not in SURFACES:
        raise CallerError("The parameter 'route' is chat, completions, responses or messages.", "route")
    return asked[0]
