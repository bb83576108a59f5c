"""Makes the request that warms one picture: for an engine as the gateway would, for a gateway as callers do.

What an engine is sent passes through the gateway's own modules (`server.images`, `server.engines.payload`): the
same checks, the same renditions, the same identity.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import orjson
import pybase64
from blake3 import blake3

from server.domain import ImageSource, InlineImage, Json, ParsedRequest, Payload, Tenant
from server.engines.image_cache import ASKS
from server.engines.payload import make_payload
from server.errors import ImageError, ImageTooLarge
from server.images.data_url import decode_data_url
from server.images.resolve import ImageResolver
from server.memory import ByteBudget
from server.warm.pictures import Picture, images_of, read_line

# Gateways look at the bytes, whatever stands here.
ANY_IMAGE = "data:image/png;base64,"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A picture's bytes (None: they are at its URL), and a `key` for what is asked for: equal ones are the same."""

    picture: Picture
    data: bytes | None
    key: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """`identity` is what the engine will know the picture by; empty where only a gateway can tell."""

    payload: Payload
    headers: dict[str, str]
    identity: str = ""


class Preparing(Protocol):
    async def prepare(self, wanted: Wanted) -> Prepared:
        """Raises GatewayError for a picture that no request could hold, or that cannot be had."""

    async def close(self) -> None: ...


async def read(picture: Picture, max_bytes: int) -> Wanted:
    """Raises OSError, CallerError."""
    if picture.path is None:
        return Wanted(picture, None, f"url {blake3(picture.url.encode()).hexdigest()} {picture.detail}")
    data = await asyncio.to_thread(read_bytes, picture, picture.path, max_bytes)
    return Wanted(picture, data, f"{blake3(data).hexdigest()} {picture.detail}")


def read_bytes(picture: Picture, path: Path, max_bytes: int) -> bytes:
    if picture.offset is None:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise ImageTooLarge(f"The image is larger than {max_bytes} bytes.")
        return data
    try:
        url, _ = images_of(read_line(path, picture.offset))[picture.index]
    except (ValueError, IndexError) as problem:
        raise ImageError("The line has changed since it was found.") from problem
    return decode_data_url(url, max_bytes)


class ForEngine:
    """As the gateway with this `resolver` would send it for `tenant`."""

    def __init__(self, resolver: ImageResolver, budget: ByteBudget, tenant: Tenant, model: str) -> None:
        self._resolver = resolver
        self._budget = budget
        self._tenant = tenant
        self._model = model

    async def prepare(self, wanted: Wanted) -> Prepared:
        part: Json = {"type": "image_url", "image_url": {}}
        inline = None
        if wanted.data is not None:
            inline = InlineImage(memoryview(pybase64.b64encode(wanted.data)), wanted.data)
        source = ImageSource(wanted.picture.where, wanted.picture.url, part, wanted.picture.detail, inline=inline)
        with self._budget.hold() as holding:
            images = await self._resolver.resolve((source,), self._tenant, holding)
            body = chat_of(self._model, part)
            request = ParsedRequest("chat", self._model, False, 1, 0, (source,), body)
            payload, _ = make_payload(request, images)
        identity = images[0].digest
        return Prepared(payload, {ASKS: identity}, identity)

    async def close(self) -> None:
        await self._resolver.close()


class ForGateway:
    """As any caller would send it; the gateway checks, fetches and names it."""

    def __init__(self, model: str) -> None:
        self._model = model

    async def prepare(self, wanted: Wanted) -> Prepared:
        url = wanted.picture.url
        if wanted.data is not None:
            url = ANY_IMAGE + pybase64.b64encode(wanted.data).decode()
        image = {"url": url} if wanted.picture.detail == "auto" else {"url": url, "detail": wanted.picture.detail}
        return Prepared((orjson.dumps(chat_of(self._model, {"type": "image_url", "image_url": image})),), {})

    async def close(self) -> None:
        pass


def chat_of(model: str, part: Json) -> Json:
    messages = [{"role": "user", "content": [part]}]
    return {"model": model, "messages": messages, "max_tokens": 1, "temperature": 0, "stream": False}
