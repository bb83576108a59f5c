"""Request bodies into `ParsedRequest`: types only what the gateway must understand, refuses what reaches inside.

Top-level fields are an allowlist: OpenAI's, and those sampling fields of vLLM that touch nothing but their own
request. Everything on it passes through untouched. What is not on it is refused by name. What each route takes
is said in its module of `server.api.parsing`.
"""

import orjson

from server.api.parsing import chat, completions
from server.api.parsing.fields import read_max_tokens, refuse_fields
from server.domain import Json, ParsedRequest, Route
from server.errors import CallerError, MalformedBody

ROUTES = {"chat": chat, "completions": completions}


def parse_request(route: Route, raw: bytes) -> ParsedRequest:
    """Parse and check one body. Raises MalformedBody, FieldRefused or CallerError, naming the part at fault."""
    body = parse_json(raw)
    parsing = ROUTES[route]
    refuse_fields(body, parsing.FIELDS, "")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise CallerError("The field 'model' must name a model.", "model")
    stream = body.get("stream") or False
    if not isinstance(stream, bool):
        raise CallerError("The field 'stream' must be true or false.", "stream")
    images, text_bytes = parsing.parse(body)
    return ParsedRequest(route, model, stream, read_max_tokens(body), text_bytes, tuple(images), body)


def parse_json(raw: bytes) -> Json:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as problem:
        # The error's own text quotes nothing of the body, only a position.
        raise MalformedBody(f"The body is not valid JSON: {problem.msg} (byte {problem.pos}).") from problem
    if not isinstance(body, dict):
        raise MalformedBody("The body must be a JSON object.")
    return body
