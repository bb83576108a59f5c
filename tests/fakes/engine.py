"""A stand-in for vLLM's OpenAI server: answers instantly, fails on request, remembers what it was sent.

The contract suite holds it to what real vLLM does.
"""

import asyncio
import json
import threading
import time
from collections.abc import AsyncGenerator, Iterable, Iterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.fakes.responses import events_of, message_of, response_of, text_part

WORDS = ("3", " objects", ": ", "red", " circle")
# As vLLM tells it of the demo's model, what is read of it: 2730 blocks of 256 tokens, a tenth of them in use.
METRICS = """\
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="demo"} 2.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="demo"} 1.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="demo"} 0.1
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{block_size="256",cache_dtype="auto",engine="0",kv_cache_max_concurrency="151.66666666666666",\
kv_cache_memory_bytes="1073741824",kv_cache_size_tokens="621226",mamba_cache_mode="align",num_gpu_blocks="2730"} 1.0
"""


# Nobody reads it.
LEFT = Response(status_code=499)


class FakeEngine:
    """Knobs: `fail` is a status, told with the words `says` (of a whole chat, once its work is done, where it
    `fails_late`), `die_after` a number of frames, `says_in_stream` the code of an error that is told there
    instead, as vLLM does, `pause_s` the time a token takes, `endless` a stream of large frames without end,
    `tells` what /metrics says, `cards` what /v1/models does; while `go` is not set, whole answers wait, and
    streams behind their first event. `processed` are the names of pictures that may come without bytes, which
    it learns where it `keeps` them."""

    def __init__(self, model: str = "demo", context: int = 4096) -> None:
        self.model = model
        self.context = context
        self.cards: Any = [{"id": model, "object": "model", "max_model_len": context}]
        self.healthy = True
        self.answers = True
        self.fail: int | None = None
        self.fails_late = False
        self.says = "the engine says no"
        self.die_after: int | None = None
        self.says_in_stream: int | None = None
        self.pause_s = 0.0
        self.endless = False
        self.endless_frames = 0
        self.go = threading.Event()
        self.go.set()
        self.tells = METRICS
        self.processed: set[str] = set()
        self.keeps = True
        self.breaks_at_names = False
        self.chats: list[dict[str, Any]] = []
        self.heads: list[dict[str, str]] = []
        self.responses: list[dict[str, Any]] = []
        self.tokenized: list[dict[str, Any]] = []
        self.cancelled = 0
        self.finished = 0
        self.app = Starlette(
            routes=[
                Route("/health", self._health),
                Route("/metrics", self._metrics),
                Route("/v1/models", self._models),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/v1/completions", self._complete, methods=["POST"]),
                Route("/v1/responses", self._respond, methods=["POST"]),
                Route("/tokenize", self._tokenize, methods=["POST"]),
                Route("/detokenize", self._detokenize, methods=["POST"]),
            ]
        )

    async def _health(self, _: Request) -> Response:
        return Response(status_code=200 if self.healthy else 503)

    async def _models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": self.cards})

    async def _metrics(self, _: Request) -> Response:
        return PlainTextResponse(self.tells)

    async def _complete(self, request: Request) -> Response:
        body = json.loads(await request.body())
        if not self.answers:
            return error(500, "EngineDeadError")
        choice = {"index": 0, "text": WORDS[0], "logprobs": None, "finish_reason": "length"}
        return JSONResponse(self._envelope(body, "text_completion", choice))

    async def _chat(self, request: Request) -> Response:
        self.heads.append(dict(request.headers))
        body = json.loads(await request.body())
        self.chats.append(body)
        if refused := self._refusal(body.get("max_tokens") or 0) or self._miss(body["messages"]):
            return refused
        if body.get("stream"):
            return self._streaming(self._events(body))
        if not await self._work(request):
            return LEFT
        if refused := self._refusal(0, late=True):
            return refused
        said = {"role": "assistant", "content": "".join(WORDS), "refusal": None, "function_call": None}
        message = {**said, **called(body)}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return JSONResponse(self._envelope(body, "chat.completion", choice))

    async def _respond(self, request: Request) -> Response:
        body = json.loads(await request.body())
        self.responses.append(body)
        if refused := self._refusal(body.get("max_output_tokens") or 0) or self._miss(body["input"]):
            return refused
        if body.get("stream"):
            return self._streaming(events_of(body, WORDS))
        if not await self._work(request):
            return LEFT
        output = [message_of([text_part("".join(WORDS))], "completed")]
        return JSONResponse(response_of(body, "completed", output, len(WORDS)))

    async def _tokenize(self, request: Request) -> Response:
        body = json.loads(await request.body())
        self.tokenized.append(body)
        if refused := self._refusal(0):
            return refused
        tokens = list(range(len(WORDS)))
        strings = list(WORDS) if body.get("return_token_strs") else None
        answer = {"count": len(tokens), "max_model_len": self.context, "tokens": tokens, "token_strs": strings}
        return JSONResponse(answer)

    async def _detokenize(self, request: Request) -> Response:
        body = json.loads(await request.body())
        self.tokenized.append(body)
        return self._refusal(0) or JSONResponse({"prompt": "".join(WORDS)[: len(body["tokens"])]})

    def _refusal(self, max_tokens: int, late: bool = False) -> Response | None:
        if self.fail is not None and late is self.fails_late:
            return error(self.fail, self.says)
        if max_tokens > self.context:
            return error(400, f"This model's maximum context length is {self.context} tokens.")
        return None

    def _miss(self, asked: Any) -> Response | None:
        """vLLM's answer where a picture comes by a name that its processor's cache does not hold."""
        for index, part in enumerate(list(images_in(asked))):
            if part["image_url"] is None and self.breaks_at_names:
                return error(500, "Expected a cached item for mm_hash")
            if part["image_url"] is None and part.get("uuid") not in self.processed:
                return error(400, f"Cache miss for image at index {index} but data is not provided.")
        if self.keeps:
            self.processed.update(part["uuid"] for part in images_in(asked) if "uuid" in part)
        return None

    async def _work(self, request: Request) -> bool:
        """Take as long as the tokens take. False where the caller has left, which is seen at once."""
        until = time.monotonic() + self.pause_s * len(WORDS)
        while not await request.is_disconnected():
            if self.go.is_set() and time.monotonic() >= until:
                self.finished += 1
                return True
            await asyncio.sleep(0.01)
        self.cancelled += 1
        return False

    async def _go(self) -> None:
        while not self.go.is_set():
            await asyncio.sleep(0.01)

    def _streaming(self, events: Iterable[str]) -> Response:
        return StreamingResponse(self._paced(events), media_type="text/event-stream")

    async def _paced(self, events: Iterable[str]) -> AsyncGenerator[str, None]:
        try:
            while self.endless:
                self.endless_frames += 1
                await asyncio.sleep(0)  # sending to who has left never waits: nobody would be told
                yield f": {'x' * 50_000}\n\n"
            for count, event in enumerate(events):
                if self.die_after is not None and count >= self.die_after:
                    if self.says_in_stream is None:
                        raise RuntimeError("the fake engine dies as it was told to")
                    told = {"message": self.says, "type": "Error", "param": None, "code": self.says_in_stream}
                    yield f"data: {json.dumps({'error': told})}\n\n"
                    yield "data: [DONE]\n\n"
                    return
                await asyncio.sleep(self.pause_s)
                yield event
                await self._go()
            self.finished += 1
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise

    def _events(self, body: dict[str, Any]) -> Iterator[str]:
        for word in WORDS:
            yield self._event(body, {"content": word}, None)
        yield self._event(body, called(body), "stop")
        if (body.get("stream_options") or {}).get("include_usage"):
            envelope = self._envelope(body, "chat.completion.chunk", None)
            yield f"data: {json.dumps(envelope)}\n\n"
        yield "data: [DONE]\n\n"

    def _event(self, body: dict[str, Any], delta: dict[str, Any], finish: str | None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        envelope = self._envelope(body, "chat.completion.chunk", choice)
        if (body.get("stream_options") or {}).get("continuous_usage_stats"):
            envelope["usage"]["completion_tokens"] = 0
        else:
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


def images_in(asked: Any) -> Iterator[dict[str, Any]]:
    """The parts with pictures, wherever they are."""
    if isinstance(asked, list):
        for each in asked:
            yield from images_in(each)
    elif isinstance(asked, dict):
        if "image_url" in asked and "type" in asked:
            yield asked
        else:
            yield from images_in([*asked.values()])


def called(body: dict[str, Any]) -> dict[str, Any]:
    """A call of the tool that the request names."""
    choice = body.get("tool_choice")
    if not isinstance(choice, dict):
        return {}
    function = {"name": choice["function"]["name"], "arguments": '{"count": 3}'}
    call = {"id": "call-fake", "type": "function", "index": 0, "function": function}
    return {"content": "", "tool_calls": [call]}


def error(status: int, message: str) -> Response:
    """An error in vLLM's words: `code` is a number there."""
    body = {"error": {"message": message, "type": "BadRequestError", "param": None, "code": status}}
    return JSONResponse(body, status)
