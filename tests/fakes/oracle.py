"""An OpenAI-compatible endpoint that knows the sight suite's answers, and errs, refuses or dies when told to."""

import asyncio
import base64
import json
from collections.abc import Callable, Iterable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from quantize.evaluate.suite import Item


def right(item: Item) -> str:
    return item.truth.value


class Oracle:
    """`says` makes the reply to an item; `dies_after` is a number of answers; `hiccups` fail before it answers;
    `starting` looks at its models find an engine that is not up: 503, and then none listed."""

    def __init__(self, items: Iterable[Item], says: Callable[[Item], str] = right, models: int = 1) -> None:
        self.items = {(item.data, item.text): item for item in items}
        self.says, self.models = says, models
        self.dies_after: int | None = None
        self.hiccups = self.starting = 0
        self.refuses: int | None = None
        self.asked: list[str] = []
        self.keys: set[str] = set()
        self.most_at_once = 0
        self._now = 0
        self.app = Starlette(
            routes=[
                Route("/v1/models", self._list),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
            ]
        )

    async def _list(self, request: Request) -> Response:
        self.keys.add(request.headers["authorization"])
        if self.starting:
            self.starting -= 1
            return failure(503) if self.starting else JSONResponse({"object": "list", "data": []})
        return JSONResponse(
            {"object": "list", "data": [{"id": f"m{n}", "object": "model"} for n in range(self.models)]}
        )

    async def _chat(self, request: Request) -> Response:
        body = json.loads(await request.body())
        if self.dies_after is not None and len(self.asked) + self._now >= self.dies_after:
            return failure(503)
        if self.hiccups:
            self.hiccups -= 1
            return failure(503)
        if self.refuses:
            return failure(self.refuses)
        assert body["temperature"] == 0
        picture, text = body["messages"][0]["content"]
        data = base64.b64decode(picture["image_url"]["url"].partition(",")[2])
        item = self.items[data, text["text"]]
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        await asyncio.sleep(0.002)
        self._now -= 1
        self.asked.append(item.key)
        said = self.says(item)
        finish = "length" if len(said) > 200 else "stop"
        choice = {"index": 0, "message": {"role": "assistant", "content": said[:200]}, "finish_reason": finish}
        return JSONResponse(
            {"id": "c", "object": "chat.completion", "created": 0, "model": body["model"], "choices": [choice]}
        )


def failure(status: int) -> Response:
    error: dict[str, Any] = {"error": {"message": "no", "type": "x", "param": None, "code": None}}
    return JSONResponse(error, status, {"retry-after-ms": "1"})
