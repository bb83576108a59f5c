"""vLLM's own translation of messages, without a model: JSON in, JSON out. Runs in the engine environment."""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from typing import Any

from vllm.entrypoints.anthropic.protocol import AnthropicMessagesRequest
from vllm.entrypoints.anthropic.serving import AnthropicServingMessages
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest, ChatCompletionResponse


def chat_of(message: dict[str, Any]) -> dict[str, Any]:
    """The chat that vLLM makes of a message, for a template that takes a system prompt at the beginning alone."""
    request = AnthropicMessagesRequest.model_validate(message)
    chat = AnthropicServingMessages.to_chat_completion_request(request, merge_inline_system=True)
    return json.loads(chat.model_dump_json())


def as_read(chat: dict[str, Any]) -> dict[str, Any]:
    """A chat of ours as vLLM reads it: every default set."""
    return json.loads(ChatCompletionRequest.model_validate(chat).model_dump_json())


def message_of(answer: dict[str, Any]) -> dict[str, Any]:
    chat = ChatCompletionResponse.model_validate(answer)
    return AnthropicServingMessages.messages_full_converter(None, chat).model_dump(exclude_none=True)


def events_of(stream: str) -> str:
    async def give() -> AsyncGenerator[str, None]:
        for event in stream.split("\n\n")[:-1]:
            yield f"{event}\n\n"

    async def take() -> str:
        return "".join([event async for event in AnthropicServingMessages.message_stream_converter(None, give())])

    return asyncio.run(take())


given = json.load(sys.stdin)
answer = {
    "chats": [(chat_of(message), as_read(chat)) for message, chat in given["requests"]],
    "messages": [message_of(each) for each in given["answers"]],
    "streams": [events_of(each) for each in given["streams"]],
}
print(f"RESULT {json.dumps(answer)}")
