"""/v1/messages: Anthropic's request into a chat request, so that it goes the way of all chats.

Translated by us and not by vLLM's own /v1/messages, which drops the images' identity (docs/adr/0006). What becomes
of each field follows vllm/entrypoints/anthropic/serving.py; a path in an error is one of the body that was sent.
"""

from server.api.messages.conversation import Conversation
from server.api.messages.options import SAMPLING, translate_output_config, translate_sampling, translate_thinking
from server.api.messages.tools import translate_offer
from server.api.parse import parse_json
from server.api.parsing.bounds import check_bounds
from server.api.parsing.extras import measure_extras
from server.api.parsing.fields import read_max_tokens, read_model, read_stream, refuse_fields
from server.domain import Json, ParsedRequest, Raw
from server.errors import CallerError

# Of no meaning to an engine: who asks, what to cache, and which queue of Anthropic's to wait in.
IGNORED = frozenset({"metadata", "cache_control", "service_tier"})
TRANSLATED = frozenset(
    "model max_tokens messages system stop_sequences stream tools tool_choice thinking output_config".split()
)
FIELDS = TRANSLATED | SAMPLING | IGNORED


def parse_messages_request(raw: Raw) -> ParsedRequest:
    """Parse, check and translate one body. Raises MalformedBody, FieldRefused or CallerError."""
    body = parse_json(raw)
    refuse_fields(body, FIELDS, "")
    model, stream = read_model(body), read_stream(body)
    max_tokens = read_max_tokens(body, ("max_tokens",))
    if max_tokens is None:
        raise CallerError("The field 'max_tokens' must say how long the answer may be.", "max_tokens")
    conversation = Conversation()
    conversation.add_all(body.get("system"), body.get("messages"))
    chat: Json = {"model": model, **conversation.as_chat(), "max_tokens": max_tokens}
    chat |= translate_sampling(body) | translate_output_config(body.get("output_config"))
    chat |= translate_thinking(body.get("thinking"), max_tokens) | translate_offer(body)
    if stream:
        # Usage in every chunk, since a message's first event tells the input's tokens.
        chat |= {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}}
    check_bounds(chat)
    images = tuple(conversation.images)
    extra = measure_extras(chat)
    return ParsedRequest(
        "chat", model, stream, max_tokens, conversation.text_bytes, images, chat, extra_bytes=extra
    )
