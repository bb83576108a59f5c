import base64
from typing import Any

import orjson
import pytest

from server.api.parse import parse_request
from server.domain import Cost, LoadedImage, LoadedVideo, Route, Tenant, Terms
from server.pipeline import make_ready
from tests.pictures import data_url, picture

DATA = picture()
IMAGE = LoadedImage("d" * 64, "image/png", 64, 48, base64.b64encode(DATA))
VIDEO = LoadedVideo("e" * 64, "video/mp4", base64.b64encode(b"video"), 5)
CHAT: dict[str, Any] = {"type": "image_url", "image_url": {"url": "https://a.example/x"}}
RESPONSES: dict[str, Any] = {"type": "input_image", "image_url": "https://a.example/x"}


def sent(route: Route, body: dict[str, Any]) -> Any:
    """The body that an engine gets."""
    parsed = parse_request(route, orjson.dumps({"model": "demo", **body}))
    made = make_ready(
        parsed,
        [IMAGE] * len(parsed.images),
        [VIDEO] * len(parsed.videos),
        Cost(0, 0, 0),
        Tenant("ann"),
        Terms(),
        "req-1",
    )
    return orjson.loads(b"".join(made.payload))


@pytest.mark.parametrize("route", ["chat", "tokenize"])
@pytest.mark.parametrize("detail", [{}, {"detail": "low"}])
def test_a_chats_image_is_written_as_checked_bytes_under_our_identity(route: Route, detail: dict[str, str]) -> None:
    part = {"type": "image_url", "image_url": {**CHAT["image_url"], **detail}}
    body = sent(route, {"messages": [{"role": "user", "content": [part]}]})
    assert body["messages"][0]["content"] == [
        {"type": "image_url", "image_url": {"url": data_url(DATA), **detail}, "uuid": IMAGE.digest}
    ]


@pytest.mark.parametrize("given", [RESPONSES, {"type": "input_image", "file_id": "file-1", "image_url": None}])
def test_an_image_of_an_input_is_written_the_same_however_it_was_given(given: dict[str, Any]) -> None:
    call = {"type": "function_call_output", "call_id": "c", "output": [given]}
    body = sent("responses", {"input": [{"role": "user", "content": [given]}, call]})
    written = {"type": "input_image", "image_url": data_url(DATA), "detail": "auto", "uuid": IMAGE.digest}
    assert body["input"][0]["content"] == body["input"][1]["output"] == [written]


@pytest.mark.parametrize("video", ["https://a.example/v.mp4", {"url": "https://a.example/v.mp4"}])
def test_a_video_is_written_under_our_identity(video: object) -> None:
    content = [{"type": "video_url", "video_url": video}, CHAT]
    body = sent("chat", {"messages": [{"role": "user", "content": content}]})
    url = data_url(b"video", "video/mp4")
    written, image = body["messages"][0]["content"]
    assert written == {"type": "video_url", "video_url": {"url": url}, "uuid": VIDEO.digest}
    assert image["uuid"] == IMAGE.digest
