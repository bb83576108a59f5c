"""A stand-in for vLLM's OpenAI server: answers instantly, fails on request, remembers what it was sent.

The contract suite holds it to what real vLLM does.
"""

import asyncio
import json
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

WORDS = ("3", " objects", ": ", "red", " circle")


class FakeEngine:
    """Knobs: `fail` is a status, `die_after` a number of frames, `pause_s` the time a token takes."""

    def __init__(self, model: str = "demo", context: int = 4096) -> None:
        self.model = model
        self.context = context
        self.healthy = True
        self.answers = True
        self.fail: int | None = None
        self.die_after: int | None = None
        self.pause_s = 0.0
        self.chats: list[dict[str, Any]] = []
        self.cancelled = 0
        self.finished = 0
        self.app = Starlette(
            routes=[
                Route("/health", self._health),
                Route("/v1/models", self._models),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/v1/completions", self._complete, methods=["POST"]),
            ]
        )

    async def _health(self, _: Request) -> Response:
        return Response(status_code=200 if self.healthy else 503)

    async def _models(self, _: Request) -> Response:
        card = {"id": self.model, "object": "model", "max_model_len": self.context}
        return JSONResponse({"object": "list", "data": [card]})

    async def _complete(self, request: Request) -> Response:
        body = json.loads(await request.body())
        if not self.answers:
            return error(500, "EngineDeadError")
        choice = {"index": 0, "text": WORDS[0], "logprobs": None, "finish_reason": "length"}
        return JSONResponse(self._envelope(body, "text_completion", choice))

    async def _chat(self, request: Request) -> Response:
        body = json.loads(await request.body())
        self.chats.append(body)
        if self.fail is not None:
            return error(self.fail, "the engine says no")
        if body.get("max_tokens", 0) > self.context:
            return error(400, f"This model's maximum context length is {self.context} tokens.")
        if body.get("stream"):
            return StreamingResponse(self._stream(body), media_type="text/event-stream")
        try:
            await asyncio.sleep(self.pause_s * len(WORDS))
            while await asyncio.wait_for(asyncio.shield(self._left(request)), 0.001):
                raise asyncio.CancelledError
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.finished += 1
        message = {"role": "assistant", "content": "".join(WORDS)}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return JSONResponse(self._envelope(body, "chat.completion", choice))

    async def _left(self, request: Request) -> bool:
        return await request.is_disconnected()

    async def _stream(self, body: dict[str, Any]) -> Any:
        try:
            for count, word in enumerate(WORDS):
                if self.die_after is not None and count >= self.die_after:
                    raise RuntimeError("the fake engine dies as it was told to")
                await asyncio.sleep(self.pause_s)
                yield self._event(body, {"content": word}, None)
            yield self._event(body, {}, "stop")
            if (body.get("stream_options") or {}).get("include_usage"):
                envelope = self._envelope(body, "chat.completion.chunk", None)
                yield f"data: {json.dumps(envelope)}\n\n"
            yield "data: [DONE]\n\n"
            self.finished += 1
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise

    def _event(self, body: dict[str, Any], delta: dict[str, Any], finish: str | None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        envelope = self._envelope(body, "chat.completion.chunk", choice)
        del envelope["usage"]
        return f"data: {json.dumps(envelope)}\n\n"

    def _envelope(self, body: dict[str, Any], kind: str, choice: dict[str, Any] | None) -> dict[str, Any]:
        return {
            "id": "chatcmpl-fake",
            "object": kind,
            "created": 1,
            "model": body["model"],
            "choices": [] if choice is None else [choice],
            "usage": {"prompt_tokens": 20, "completion_tokens": len(WORDS), "total_tokens": 20 + len(WORDS)},
        }


def error(status: int, message: str) -> Response:
    """An error in vLLM's words: `code` is a number there."""
    body = {"error": {"message": message, "type": "BadRequestError", "param": None, "code": status}}
    return JSONResponse(body, status)
