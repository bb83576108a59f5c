"""Videos, where they are taken: their URLs, containers and parts, each of which must stop before an engine."""

import struct
from dataclasses import dataclass
from typing import Any

import pytest

from server.images.addresses import Network
from server.images.walking import MOST_ELEMENTS
from tests.containers import MP4, WEBM, block, box, element, mp4, webm
from tests.hostile.scene import CHAT, Scene
from tests.hostile.url_cases import HOSTS, NAMES, REFUSED
from tests.pictures import chat, data_url, image_part, text_part

MAX_BYTES = 1_000_000
NETWORK = Network(make_resolver=lambda: NAMES)
SETTINGS = {
    "images": {"allow_http": True, "deny_domains": ["denied.example"], "fetch_timeout_s": 5},
    "video": {
        "max_count": 2,
        "max_bytes": MAX_BYTES,
        "max_duration_s": 60,
        "max_frames": 3600,
        "max_pixels": 10_000,
    },
}
TOKENIZE = "/tokenize"
BROKEN, LONG, LARGE = (400, "invalid_video"), (400, "video_too_long"), (413, "video_too_large")


@dataclass(frozen=True)
class Case:
    name: str
    data: bytes
    refusal: tuple[int, str] = BROKEN


CONTAINERS = [
    Case("nothing", b""),
    Case("a playlist", b"#EXTM3U\n#EXTINF:1,\nhttp://169.254.169.254/latest/meta-data/\n"),
    Case("a playlist of byte ranges", b'#EXTM3U\n#EXT-X-MAP:URI="file:///etc/passwd"\n'),
    Case("a list of files", b"ffconcat version 1.0\nfile '/etc/passwd'\n"),
    Case("a manifest", b'<?xml version="1.0"?><MPD><BaseURL>http://127.0.0.1/</BaseURL></MPD>'),
    Case("subtitles that read files", b"[Script Info]\n[Fonts]\nfontname: /etc/passwd\n"),
    Case("SDP", b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=video 1 RTP/AVP 96\r\n"),
    Case("an AVI", b"RIFF\x00\x10\x00\x00AVI LIST"),
    Case("a FLV", b"FLV\x01\x05\x00\x00\x00\x09"),
    Case("a transport stream", b"\x47" + bytes(187)),
    Case("an Ogg", b"OggS" + bytes(100)),
    Case("a picture", b"\x89PNG\r\n\x1a\n" + bytes(50)),
    Case("an AVIF", box(b"ftyp", b"avif") + box(b"meta", bytes(8))),
    Case("an MP4 without contents", box(b"ftyp", b"isom") + box(b"mdat", bytes(100))),
    Case("an MP4 with two tables of contents", mp4(behind=mp4())),
    Case("an MP4 in fragments", mp4(behind=box(b"moof"))),
    Case("an MP4 that announces fragments", mp4(inside_movie=box(b"mvex"))),
    Case("an MP4 whose pictures are in another file", mp4(flags=0)),
    Case("an MP4 of a thousand edits", mp4(edits=1000)),
    Case("an MP4 of no time scale", mp4(scale=0)),
    Case("an MP4 of sound", mp4(handler=b"soun")),
    Case("an MP4 of no pictures", mp4(frames=0, runs=())),
    Case("an MP4, cut short", mp4()[:-1]),
    Case("half an MP4 of FFmpeg's", MP4[: len(MP4) // 2]),
    Case("an MP4 with a box of no length", mp4() + b"\0\0\0\4free"),
    Case("an MP4 with a box of 4 GiB", mp4() + b"\xff\xff\xff\xfffree"),
    Case("an MP4 with a box of 16 EiB", mp4() + b"\0\0\0\1free" + b"\xff" * 8),
    Case("an MP4 of more boxes than are walked", box(b"ftyp", b"isom") + box(b"free") * (MOST_ELEMENTS + 1)),
    Case("an MP4 of more runs than are walked", mp4(runs=((1, 1),) * (MOST_ELEMENTS + 1))),
    Case("an MP4 of boxes within boxes", mp4(inside_movie=box(b"trak") * (MOST_ELEMENTS + 1))),
    Case("an MP4 of 49 days", mp4(units=0xFFFFFFFF), LONG),
    Case("an MP4 whose track is longer than it says", mp4(media_units=61_000), LONG),
    Case("an MP4 whose pictures stay for longer than it says", mp4(runs=((24, 125), (1, 61_000))), LONG),
    Case("an MP4 of 3,601 pictures", mp4(frames=3601), LONG),
    Case("an MP4 of four billion pictures", mp4(frames=0xFFFFFFFF), LONG),
    Case("an MP4 of four billion pictures in no time", mp4(runs=((0xFFFFFFFF, 0),)), LONG),
    Case("an MP4 of 65,535 by 65,535", mp4(size=(65_535, 65_535)), LARGE),
    Case("an MP4 of one row too many", mp4(size=(100, 101)), LARGE),
    Case("an MP4 one byte too large", mp4(behind=box(b"free", bytes(MAX_BYTES + 1 - len(mp4()) - 8))), LARGE),
    Case("a WebM, cut short", webm()[:-1]),
    Case("half a WebM of FFmpeg's", WEBM[: len(WEBM) // 2]),
    Case("a WebM of two segments", webm() + webm()[webm().index(b"\x18\x53\x80\x67") :]),
    Case("a WebM that is broadcast", webm(behind=element(0x1F43B675, length=b"\xff"))),
    Case("a WebM that is not a number long", webm(duration=struct.pack(">d", float("nan")))),
    Case("a WebM that is endless", webm(duration=struct.pack(">d", float("inf")))),
    Case("a WebM that ends before it begins", webm(duration=struct.pack(">d", -1.0))),
    Case("a WebM of no pictures", webm(blocks=())),
    Case("a WebM of no width", webm(size=(0, 96))),
    Case("a WebM of nothing but filling", b"\x1a\x45\xdf\xa3\x80" + b"\xec\x80" * (MOST_ELEMENTS + 1)),
    Case("a WebM whose head is nothing", b"\x1a\x45\xdf\xa3\x00"),
    Case("a WebM of 61 s", webm(duration=struct.pack(">d", 61_000.0)), LONG),
    Case("a WebM whose last picture is later than it says", webm(began=60_000, blocks=(block(1000),)), LONG),
    Case("a WebM of laced pictures", webm(blocks=(block(0, laced=256),) * 15), LONG),
    Case("a WebM of 65,535 by 65,535", webm(size=(65_535, 65_535)), LARGE),
]


def video(url: str) -> dict[str, Any]:
    return {"type": "video_url", "video_url": {"url": url}}


def held(data: bytes, media_type: str = "video/mp4") -> dict[str, Any]:
    return video(data_url(data, media_type))


def refused(scene: Scene, path: str, parts: list[dict[str, Any]], status: int, code: str, param: str) -> None:
    body = {"model": "demo", "messages": [{"role": "user", "content": parts}]}
    error = scene.refused(scene.post(path, body), status, code)
    assert error["param"] == param
    assert "mage" not in error["message"]
    assert "good.example" not in error["message"]


@pytest.mark.parametrize("path", [CHAT, TOKENIZE])
@pytest.mark.parametrize("name", HOSTS)
def test_a_host_that_is_not_to_be_reached_is_not(scene: Scene, name: str, path: str) -> None:
    url = f"https://{HOSTS[name]}:{scene.trap.port}/a.mp4"
    refused(scene, path, [video(url)], 400, "video_url_refused", "messages[0].content[0].video_url")


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_video_url_is_refused(scene: Scene, name: str) -> None:
    url = REFUSED[name].replace("{port}", str(scene.trap.port))
    refused(scene, CHAT, [video(url)], 400, "video_url_refused", "messages[0].content[0].video_url")


@pytest.mark.parametrize("path", [CHAT, TOKENIZE])
@pytest.mark.parametrize("case", CONTAINERS, ids=lambda case: case.name)
def test_a_container_that_lies_is_refused(scene: Scene, case: Case, path: str) -> None:
    refused(scene, path, [held(case.data)], *case.refusal, "messages[0].content[0].video_url")


@pytest.mark.parametrize(
    "url",
    [
        "data:video/mp4;base64,!!!!",
        "data:video/mp4;base64,AAAA,AAAA",
        "data:video/mp4,AAAA",
        "data:video/mp4;base64;base64,AAAA",
        "data:video/mp4;base64,AAA",
        "data:video/jpeg;base64,AAAA,AAAA",  # what vLLM takes for frames
        data_url(MP4, "video/mp4") + "\u00e9",
        data_url(MP4, "video/mp4") + "!",
    ],
)
def test_base64_that_is_none_is_refused(scene: Scene, url: str) -> None:
    refused(scene, CHAT, [video(url)], 400, "invalid_video", "messages[0].content[0].video_url")


@pytest.mark.parametrize(
    ("part", "status", "code", "param"),
    [
        ({**held(MP4), "uuid": "mine"}, 400, "field_not_allowed", ".uuid"),
        ({**held(MP4), "media_io_kwargs": {"num_frames": -1}}, 400, "field_not_allowed", ".media_io_kwargs"),
        ({**held(MP4), "image_url": {"url": "https://127.0.0.1/"}}, 400, "field_not_allowed", ".image_url"),
        (
            {"type": "video_url", "video_url": {"url": "x", "uuid": "a"}},
            400,
            "field_not_allowed",
            ".video_url.uuid",
        ),
        ({"type": "video_url", "video_url": {"url": "x", "fps": 9}}, 400, "field_not_allowed", ".video_url.fps"),
        ({"type": "video_url", "video_url": {"url": ["x"]}}, 400, "invalid_request", ".video_url"),
        ({"type": "video_url", "video_url": {"url": ""}}, 400, "invalid_request", ".video_url"),
        ({"type": "video_url", "video_url": None}, 400, "invalid_request", ".video_url"),
        ({"type": "video_url"}, 400, "invalid_request", ".video_url"),
        ({"type": "video", "video": [data_url(MP4, "video/mp4")]}, 400, "invalid_request", ".type"),
        ({"type": "input_video", "video_url": "x"}, 400, "invalid_request", ".type"),
        ({"type": "audio_url", "audio_url": {"url": "x"}}, 400, "invalid_request", ".type"),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            400,
            "invalid_request",
            ".type",
        ),
        ({"type": "image_embeds", "image_embeds": "AAAA"}, 400, "invalid_request", ".type"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_part_that_is_not_as_it_should_be_is_refused(
    scene: Scene, part: dict[str, Any], status: int, code: str, param: str
) -> None:
    body = chat(text_part("a"), part)
    error = scene.refused(scene.post(CHAT, body), status, code)
    assert error["param"] == f"messages[0].content[1]{param}"


@pytest.mark.parametrize("path", [CHAT, TOKENIZE])
def test_one_video_more_than_are_taken_is_refused(scene: Scene, path: str) -> None:
    refused(scene, path, [held(MP4)] * 3, 400, "too_many_videos", "messages[0].content[2].video_url")


def test_a_bad_video_behind_good_ones_stops_them_all(scene: Scene) -> None:
    parts = [image_part(), held(MP4), held(mp4()[:-1])]
    refused(scene, CHAT, parts, 400, "invalid_video", "messages[0].content[2].video_url")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/responses", {"input": [{"role": "user", "content": [{"type": "input_video", "video_url": "x"}]}]}),
        ("/v1/responses", {"input": [{"role": "user", "content": [held(MP4)]}]}),
        ("/v1/messages", {"max_tokens": 8, "messages": [{"role": "user", "content": [held(MP4)]}]}),
        ("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": [held(MP4)]}]}),
        ("/v1/chat/completions", {"messages": [{"role": "system", "content": [video("https://127.0.0.1/")]}]}),
        ("/v1/chat/completions", {"messages": [{"role": "tool", "tool_call_id": "a", "content": [video("x")]}]}),
    ],
)
def test_elsewhere_than_in_a_users_chat_none_is_taken(scene: Scene, path: str, body: dict[str, Any]) -> None:
    answer = scene.post(path, {"model": "demo", **body})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] in ("invalid_request", "video_url_refused"), answer.text


@pytest.mark.parametrize(("data", "media_type"), [(MP4, "video/mp4"), (WEBM, "video/webm")])
def test_a_good_one_is_taken_as_what_it_is_under_our_identity(scene: Scene, data: bytes, media_type: str) -> None:
    answer = scene.post(CHAT, chat(held(data, "text/html")))
    assert answer.status_code == 200, answer.text
    ((part,),) = [body["messages"][0]["content"] for body in scene.engine.chats()]
    assert part["video_url"] == {"url": data_url(data, media_type)}
    assert len(part["uuid"]) == 64
    scene.engine.seen.clear()
