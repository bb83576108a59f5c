"""Request bodies into `ParsedRequest`: types only what the gateway must understand, refuses what reaches inside.

Top-level fields are an allowlist: OpenAI's, and those sampling fields of vLLM that touch nothing but their own
request. Everything on it passes through untouched. What is not on it is refused by name. What each route takes
is said in its module of `server.api.parsing`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import orjson

from server.api.parsing import chat, completions, responses, tokenize
from server.api.parsing.bounds import check_bounds
from server.api.parsing.extras import measure_extras
from server.api.parsing.fields import read_max_tokens, read_model, read_stream, refuse_fields
from server.domain import ImageSource, Json, ParsedRequest, Raw, Route
from server.errors import MalformedBody

# Three bytes of a body ("[],") become sixty of Python's: 32 MiB could take 20 times as much before a field is read.
MOST_VALUES = 1_250_000


@dataclass(frozen=True, slots=True)
class Shape:
    """What one route's body is. `parse` gives its images and videos in order and the bytes of its text;
    `max_tokens` are the fields that bound an answer, the first that is set counts."""

    fields: frozenset[str]
    parse: Callable[[Json], tuple[list[ImageSource], int]]
    max_tokens: tuple[str, ...] = ()


SHAPES: dict[Route, Shape] = {
    "chat": Shape(chat.FIELDS, chat.parse, ("max_completion_tokens", "max_tokens")),
    "completions": Shape(completions.FIELDS, completions.parse, ("max_tokens",)),
    "responses": Shape(responses.FIELDS, responses.parse, ("max_output_tokens",)),
    "tokenize": Shape(tokenize.FIELDS, tokenize.parse),
    "detokenize": Shape(tokenize.DETOKENIZE_FIELDS, tokenize.parse_detokenize),
}


def parse_request(route: Route, raw: Raw) -> ParsedRequest:
    """Parse and check one body. Raises MalformedBody, FieldRefused or CallerError, naming the part at fault."""
    body = parse_json(raw)
    shape = SHAPES[route]
    refuse_fields(body, shape.fields, "")
    model, stream = read_model(body), read_stream(body)
    check_bounds(body)
    sources, text_bytes = shape.parse(body)
    images = tuple(source for source in sources if source.shape != "video")
    videos = tuple(source for source in sources if source.shape == "video")
    max_tokens = read_max_tokens(body, shape.max_tokens)
    prompts = completions.count_prompts(body["prompt"]) if route == "completions" else 1
    answers = prompts * (body.get("n") or 1)
    extra = measure_extras(body)
    return ParsedRequest(
        route, model, stream, max_tokens, text_bytes, images, body, videos, extra, prompts, answers
    )


def parse_json(raw: Raw) -> Json:
    """One JSON object. Raises MalformedBody."""
    # No body has more values than bytes.
    if len(raw) > MOST_VALUES and sum(raw.count(sign) for sign in b",[{") > MOST_VALUES:
        raise MalformedBody(f"The body holds more than {MOST_VALUES} values.")
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as problem:
        # The error's own text quotes nothing of the body, only a position.
        raise MalformedBody(f"The body is not valid JSON: {problem.msg} (byte {problem.pos}).") from problem
    if not isinstance(body, dict):
        raise MalformedBody("The body must be a JSON object.")
    return body
