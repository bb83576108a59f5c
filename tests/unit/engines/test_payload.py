import asyncio
import gc
import weakref
from dataclasses import replace
from typing import Any

import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from server.domain import Cost, LoadedImage, Payload, ReadyRequest
from server.engines.client import EngineClient, EngineTimeouts
from server.engines.payload import make_payload, name_instead
from server.loop_turns import LoopTurns
from server.marks import make_nonce
from server.permit import issue
from tests.fakes.serve import serving
from tests.unit.engines.parsed import parsed


def test_base64_is_sent_as_the_very_bytes_that_came() -> None:
    encoded = memoryview(b"{" + b"QUJD" * 1000)[1:]
    images = [LoadedImage("d" * 64, "image/png", 1, 1, each) for each in (encoded, b"RUZH")]
    payload, _ = make_payload(parsed("https://a.example/1", "https://a.example/2"), images)
    assert payload[1] is encoded
    urls = [part["image_url"]["url"] for part in orjson.loads(b"".join(payload))["messages"][0]["content"]]
    assert urls == [f"data:image/png;base64,{'QUJD' * 1000}", "data:image/png;base64,RUZH"]


def test_the_engines_address_of_an_image_is_ours_even_where_the_caller_writes_a_mark() -> None:
    request = parsed("https://a.example/1")
    request = replace(request, nonce=make_nonce())
    request.body["user"] = request.nonce + "000000"
    with pytest.raises(RuntimeError, match="marks"):
        make_payload(request, [LoadedImage("d" * 64, "image/png", 1, 1, b"QUJD")])


class Buffer(bytearray):
    """Bytes whose end can be watched."""


async def test_once_the_answer_begins_nothing_of_the_body_is_held() -> None:
    got: list[bytes] = []

    async def answer(request: Request) -> Response:
        got.append(await request.body())
        return JSONResponse({"choices": []})

    buffer = Buffer(b"QUJD" * 500_000)
    gone = weakref.ref(buffer)
    payload: Payload = (b'{"a":"', memoryview(buffer), b'"}')
    ready = ReadyRequest("chat", "demo", False, Cost(0, 0, 0), "a", payload, {"content-type": "application/json"})
    del buffer, payload
    with serving(Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])) as url:
        permit = issue(ready.cost)
        permit.use()
        client = EngineClient("engine-0", url, EngineTimeouts(5, 30, 30), LoopTurns(4))
        async with client.send(ready, permit):
            ready.forget()
            await asyncio.sleep(0)
            gc.collect()
            assert gone() is None
        await client.close()
    assert got == [b'{"a":"' + b"QUJD" * 500_000 + b'"}']


@pytest.mark.parametrize("detail", ["auto", "low", "high"])
@pytest.mark.parametrize("shape", ["chat", "responses"])
@pytest.mark.parametrize("held", ["", "0", "1", "2", "02", "12", "012"])
def test_a_name_stands_instead_of_exactly_its_picture(shape: Any, detail: Any, held: str) -> None:
    request = parsed(*(f"https://a.example/{n}" for n in range(3)))
    for source in request.images:
        source.shape, source.detail = shape, detail
    images = [LoadedImage(str(n) * 64, "image/png", 8, 4, b"QUJD" * n) for n in range(3)]
    if shape == "responses":
        request = replace(request, route="responses")
    payload, slots = make_payload(request, images)
    assert [(slot.digest[0], slot.size) for slot in slots] == [(str(n), 8 * 4 * 12) for n in range(3)]
    named = orjson.loads(b"".join(name_instead(payload, slots, {digit * 64 for digit in held})))
    whole = orjson.loads(b"".join(payload))
    for part in whole["messages"][0]["content"]:
        assert part["image_url"]
        if part["uuid"][0] in held:
            part["image_url"] = None
    assert named == whole


def test_pictures_are_named_only_where_engines_have_been_seen_to_take_that() -> None:
    request = replace(parsed("https://a.example/1"), route="tokenize")
    assert make_payload(request, [LoadedImage("d" * 64, "image/png", 1, 1, b"QUJD")])[1] == ()
