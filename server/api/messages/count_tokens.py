"""/v1/messages/count_tokens: the tokens of a message's input, which the engine's /tokenize counts."""

from dataclasses import replace

import orjson

from server.api.messages.answer import once
from server.api.messages.conversation import Conversation
from server.api.messages.options import translate_output_config, translate_thinking
from server.api.messages.tools import translate_offer
from server.api.messages.words import parse_object
from server.api.parse import parse_json
from server.api.parsing.bounds import check_bounds
from server.api.parsing.fields import read_model, refuse_fields
from server.domain import Answer, Json, ParsedRequest, Raw
from server.errors import EngineError

FIELDS = frozenset("model messages system tools tool_choice thinking output_config cache_control".split())


def parse_count_request(raw: Raw) -> ParsedRequest:
    """Parse, check and translate one body. Raises MalformedBody, FieldRefused or CallerError."""
    body = parse_json(raw)
    refuse_fields(body, FIELDS, "")
    model = read_model(body)
    conversation = Conversation()
    conversation.add_all(body.get("system"), body.get("messages"))
    asked: Json = {"model": model, **conversation.as_chat()}
    if tools := translate_offer(body).get("tools"):
        asked["tools"] = tools
    told = translate_output_config(body.get("output_config")) | translate_thinking(body.get("thinking"), None)
    if (effort := told.get("reasoning_effort")) is not None:
        # What vLLM makes of it for a chat.
        asked["chat_template_kwargs"] = {"reasoning_effort": effort, "enable_thinking": effort != "none"}
    check_bounds(asked)
    images = tuple(conversation.images)
    return ParsedRequest("tokenize", model, False, None, conversation.text_bytes, images, asked)


async def tell_count(answer: Answer) -> Answer:
    """Raises EngineError."""
    whole = answer.whole
    if whole is None:
        whole = b"".join([frame async for frame in answer.frames])
    told = parse_object(whole, answer.engine).get("count")
    if not isinstance(told, int):
        raise EngineError(f"{answer.engine} counted no tokens.")
    counted = orjson.dumps({"input_tokens": told})
    return replace(answer, frames=once(counted), whole=counted)
