"""The routes that reach engines, and in whose words errors are told."""

from functools import partial

from starlette.types import Scope

from server.api.files.routes import is_anthropic
from server.api.messages.answer import tell_message
from server.api.messages.count_tokens import parse_count_request, tell_count
from server.api.messages.events import MESSAGE_STOP, PING
from server.api.messages.problems import AnthropicWording
from server.api.messages.request import parse_messages_request
from server.api.parse import parse_request
from server.api.problems import OpenAIWording, ResponsesWording
from server.api.surface import Surface, Wording

OPENAI, ANTHROPIC = OpenAIWording(), AnthropicWording()
SURFACES = {
    "/v1/chat/completions": Surface("chat", partial(parse_request, "chat"), OPENAI),
    "/v1/completions": Surface("completions", partial(parse_request, "completions"), OPENAI),
    "/v1/responses": Surface(
        "responses", partial(parse_request, "responses"), ResponsesWording(), b"event: response.completed\n"
    ),
    "/tokenize": Surface("tokenize", partial(parse_request, "tokenize"), OPENAI),
    "/v1/messages": Surface("messages", parse_messages_request, ANTHROPIC, MESSAGE_STOP, tell_message, PING),
    "/v1/messages/count_tokens": Surface("count_tokens", parse_count_request, ANTHROPIC, tell=tell_count),
    "/detokenize": Surface("detokenize", partial(parse_request, "detokenize"), OPENAI),
}


def wording_of(scope: Scope) -> Wording:
    """How errors are told at a path, whether or not there is anything at it."""
    path = f"{scope['path']}/"
    anthropic = path.startswith("/v1/messages/") or (path.startswith("/v1/files/") and is_anthropic(scope))
    return ANTHROPIC if anthropic else OPENAI
