"""Video parts: fetched and limited as pictures are, walked and never decoded here, off by default."""

import struct
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tests.containers import MP4, WEBM, mp4, webm
from tests.contract.test_faults import metric
from tests.contract.test_surface import error_of
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway
from tests.fakes.serve import serving
from tests.pictures import chat, data_url, text_part

CHAT = "/v1/chat/completions"
LIMITS = {"max_count": 2, "max_bytes": 4096, "max_duration_s": 10, "max_frames": 100, "max_pixels": 10_000}


def video_part(url: str) -> dict[str, Any]:
    return {"type": "video_url", "video_url": {"url": url}}


def video(data: bytes) -> dict[str, Any]:
    return video_part(data_url(data, "video/anything"))


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def url(engine: FakeEngine) -> Iterator[str]:
    with serving(engine.app) as engine_url, gateway(engine_url, video=LIMITS) as gateway_url:
        yield gateway_url


def ask(url: str, *parts: dict[str, Any]) -> Any:
    return httpx2.post(url + CHAT, json=chat(*parts, text_part("What happens?")), timeout=20)


def test_videos_are_not_taken_unless_set_so(engine: FakeEngine) -> None:
    with serving(engine.app) as engine_url, gateway(engine_url) as url:
        error = error_of(ask(url, video(MP4)), 400)
    assert (error["code"], error["param"]) == ("videos_not_taken", "messages[0].content[0].video_url")
    assert engine.chats == []


@pytest.mark.parametrize(("data", "media_type"), [(MP4, "video/mp4"), (WEBM, "video/webm")])
def test_the_engine_gets_the_bytes_under_our_identity(
    engine: FakeEngine, url: str, data: bytes, media_type: str
) -> None:
    for _ in range(2):
        assert ask(url, video(data)).status_code == 200
    parts = [body["messages"][0]["content"][0] for body in engine.chats]
    assert parts[0] == parts[1]
    assert parts[0].keys() == {"type", "video_url", "uuid"}
    assert parts[0]["video_url"] == {"url": data_url(data, media_type)}
    assert len(parts[0]["uuid"]) == 64
    assert metric(url, f'fovea_videos_total{{format="{media_type}",source="data"}}') == 2


def test_tokenize_takes_them_too(engine: FakeEngine, url: str) -> None:
    body = {"model": "demo", "messages": [{"role": "user", "content": [video(MP4)]}]}
    assert httpx2.post(f"{url}/tokenize", json=body).status_code == 200
    assert engine.tokenized[0]["messages"][0]["content"][0]["uuid"]


@pytest.mark.parametrize(
    ("parts", "status", "code"),
    [
        ([video(MP4)] * 3, 400, "too_many_videos"),
        ([video(mp4() + b"\0\0\x10\0free" + bytes(4088))], 413, "video_too_large"),
        ([video(mp4(units=11_000))], 400, "video_too_long"),
        ([video(webm(duration=struct.pack(">d", 11_000)))], 400, "video_too_long"),
        ([video(mp4(frames=101))], 400, "video_too_long"),
        ([video(mp4(size=(101, 100)))], 413, "video_too_large"),
        ([video(b"#EXTM3U\nhttp://127.0.0.1/")], 400, "invalid_video"),
        ([video(b"")], 400, "invalid_video"),
        ([video_part("data:video/mp4;base64,!!!!")], 400, "invalid_video"),
        ([video_part("data:video/jpeg;base64,AAAA,AAAA")], 400, "invalid_video"),
        ([video_part("https://127.0.0.1/v.mp4")], 400, "video_url_refused"),
        ([video_part("https://[::ffff:169.254.169.254]/")], 400, "video_url_refused"),
        ([video_part("file:///etc/passwd")], 400, "video_url_refused"),
        ([video_part("http://example.com/v.mp4")], 400, "video_url_refused"),
        ([{**video(MP4), "uuid": "mine"}], 400, "field_not_allowed"),
        ([{"type": "video_url", "video_url": {"url": "x", "fps": 1000}}], 400, "field_not_allowed"),
        ([{"type": "video_url"}], 400, "invalid_request"),
        ([{"type": "video_url", "video_url": 3}], 400, "invalid_request"),
    ],
)
def test_bad_videos_are_refused_before_any_engine_sees_them(
    engine: FakeEngine, url: str, parts: list[dict[str, Any]], status: int, code: str
) -> None:
    error = error_of(ask(url, *parts), status)
    assert error["code"] == code
    assert error["param"].startswith(f"messages[0].content[{len(parts) - 1}]")
    assert "mage" not in error["message"]
    assert engine.chats == []


def test_a_url_is_fetched_by_the_gateway_and_never_shown_to_the_engine(engine: FakeEngine) -> None:
    async def give(request: Request) -> Response:
        if request.path_params["name"] == "inside":
            return RedirectResponse("file:///etc/passwd")
        return Response(MP4 if request.path_params["name"] == "small" else bytes(5000))

    network = {"allow_http": True, "allow_private_addresses": True}
    with (
        serving(Starlette(routes=[Route("/{name}", give)])) as host,
        serving(engine.app) as engine_url,
        gateway(engine_url, video=LIMITS, images=network) as url,
    ):
        assert ask(url, video_part(f"{host}/small")).status_code == 200
        assert error_of(ask(url, video_part(f"{host}/large")), 413)["code"] == "video_too_large"
        assert error_of(ask(url, video_part(f"{host}/inside")), 400)["code"] == "video_url_refused"
        held = metric(url, "fovea_bytes_in_flight")
    assert [body["messages"][0]["content"][0]["video_url"] for body in engine.chats] == [
        {"url": data_url(MP4, "video/mp4")}
    ]
    assert held == 0
