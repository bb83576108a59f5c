"""How vLLM words an answer of /v1/responses, whole and as events."""

import json
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]
ECHOED = {
    "instructions": None,
    "max_tool_calls": None,
    "metadata": None,
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt": None,
    "reasoning": None,
    "service_tier": "auto",
    "text": None,
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}


def response_of(request: Json, status: str, output: list[Json], tokens: int | None) -> Json:
    """The response object. `tokens` None: no usage is known yet."""
    echoed = {name: request.get(name, default) for name, default in ECHOED.items()}
    return {
        "id": "resp_fake",
        "created_at": 1,
        "incomplete_details": None,
        "model": request["model"],
        "object": "response",
        "output": output,
        "temperature": request.get("temperature", 1.0),
        "tool_choice": request.get("tool_choice", "auto") if request.get("tools") else "none",
        "background": False,
        "max_output_tokens": request.get("max_output_tokens", 4096),
        "status": status,
        "top_logprobs": None,
        "usage": None if tokens is None else usage_of(tokens),
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "kv_transfer_params": None,
        "ec_transfer_params": None,
        "input_messages": None,
        "output_messages": None,
        **echoed,
        "tools": [{"strict": None, **tool} for tool in request.get("tools") or []],
    }


def usage_of(tokens: int) -> Json:
    return {
        "input_tokens": 20,
        "input_tokens_details": {
            "cached_tokens": 0,
            "cache_write_tokens": 0,
            "input_tokens_per_turn": [],
            "cached_tokens_per_turn": [],
        },
        "output_tokens": tokens,
        "output_tokens_details": {
            "reasoning_tokens": 0,
            "tool_output_tokens": 0,
            "output_tokens_per_turn": [],
            "tool_output_tokens_per_turn": [],
        },
        "total_tokens": 20 + tokens,
    }


def text_part(text: str) -> Json:
    return {"annotations": [], "text": text, "type": "output_text", "logprobs": None}


def message_of(content: list[Json], status: str) -> Json:
    return {"id": "msg_fake", "content": content, "role": "assistant", "status": status, "type": "message"}


def events_of(request: Json, words: tuple[str, ...]) -> Iterator[str]:
    """All events of a streamed answer, as they are written."""
    text = "".join(words)
    place = {"item_id": "msg_fake", "output_index": 0, "content_index": 0}
    told = message_of([text_part(text)], "completed")
    events: list[Json] = [
        {"type": "response.created", "response": response_of(request, "in_progress", [], None)},
        {"type": "response.in_progress", "response": response_of(request, "in_progress", [], None)},
        {"type": "response.output_item.added", "output_index": 0, "item": message_of([], "in_progress")},
        {"type": "response.content_part.added", **place, "part": text_part("")},
        *({"type": "response.output_text.delta", **place, "delta": word, "logprobs": []} for word in words),
        {"type": "response.output_text.done", **place, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": text_part(text)},
        {"type": "response.output_item.done", "output_index": 0, "item": told},
        {"type": "response.completed", "response": response_of(request, "completed", [told], len(words))},
    ]
    for number, event in enumerate(events):
        yield f"event: {event['type']}\ndata: {json.dumps({**event, 'sequence_number': number})}\n\n"
