"""Images: bombs, lies in headers, files cut short, things that are no images; and odd ones that must work."""

# ruff: noqa: RUF001 - letters that look like others are the point

import base64
import resource

import pytest

from tests.hostile.image_cases import JPEG, LIES, ODD, PNG, STATUS, Case
from tests.hostile.scene import CHAT, Scene
from tests.pictures import chat, data_url, text_part

# Pillow's doubts; the gateway's own process does not listen to them.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def part(data: bytes, media_type: str = "image/png") -> dict[str, object]:
    return {"type": "image_url", "image_url": {"url": data_url(data, media_type)}}


@pytest.mark.parametrize("case", LIES, ids=lambda case: case.name)
def test_an_image_that_lies_is_refused(scene: Scene, case: Case) -> None:
    error = scene.refused(scene.post(CHAT, chat(text_part("a"), part(case.data))), STATUS[case.code], case.code)
    assert error["param"] == "messages[0].content[1].image_url"


@pytest.mark.parametrize("name", ODD)
def test_an_odd_image_is_taken_as_what_it_is_and_under_our_identity(scene: Scene, name: str) -> None:
    data, media_type = ODD[name]
    answer = scene.post(CHAT, chat(part(data, "text/html")))
    assert answer.status_code == 200, answer.text
    sent = scene.engine.chats()[0]["messages"][0]["content"][0]
    assert sent["image_url"]["url"].startswith(f"data:{media_type};base64,")
    assert sent.keys() == {"type", "image_url", "uuid"}
    assert len(sent["uuid"]) == 64
    scene.engine.seen.clear()


def test_all_lies_together_took_no_memory_to_speak_of(scene: Scene) -> None:
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for case in LIES:
        scene.post(CHAT, chat(part(case.data)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 200_000


DATA_URLS = {
    "no comma": "data:image/png;base64",
    "no base64": "data:image/png," + base64.b64encode(PNG).decode(),
    "no base64, percent-encoded": "data:image/png,%89PNG%0D%0A",
    "nothing": "data:",
    "nothing but a comma": "data:,",
    "no bytes": "data:image/png;base64,",
    "spaces": "data:image/png;base64,   \n\t ",
    "garbage": "data:image/png;base64,!!!!",
    "words": "data:image/png;base64,not base64 at all.",
    "one letter": "data:image/png;base64,A",
    "five letters": "data:image/png;base64,AAAAA",
    "padding alone": "data:image/png;base64,====",
    "padding missing": "data:image/png;base64,iVBORw0KGg",
    "padding in the middle": "data:image/png;base64,iVBO==Rw0KGgo=",
    "padding too long": "data:image/png;base64,iVBORw0KGgo====",
    "the alphabet of URLs": "data:image/png;base64,_-_-_-_-",
    "percent-encoded padding": "data:image/png;base64,iVBORw0KGgo%3D",
    "percent-encoded plus": "data:image/png;base64,iVBO%2Bw0KGgo=",
    "NUL within": "data:image/png;base64,iVBO\x00Rw0KGgo=",
    "letters that look alike": "data:image/png;base64,іVВОRw0KGgo=",
    "a no-break space": "data:image/png;base64,iVBO\u00a0Rw0KGgo=",
    "a vertical tab": "data:image/png;base64,iVBO\x0bRw0KGgo=",
    "two commas": "data:image/png;base64,,iVBORw0KGgo=",
    "a URL within": "data:image/png;base64,https://127.0.0.1/a.png",
    "a data URL within": "data:image/png;base64,data:image/png;base64,iVBORw0KGgo=",
    "good, and a tail of garbage": data_url(PNG) + "!!",
    "good, and a second picture": data_url(PNG) + "," + data_url(PNG),
    "good, and a fragment": data_url(PNG) + "#a",
    "another encoding": "data:image/png;base32,NBSWY3DP",
    "base64 before the type": "data:;base64;image/png,iVBORw0KGgo=",
    "base64 with a value": "data:image/png;base64=1,iVBORw0KGgo=",
}
GOOD_DATA_URLS = {
    "capitals": "DATA:IMAGE/PNG;BASE64," + base64.b64encode(PNG).decode(),
    "no type": "data:;base64," + base64.b64encode(PNG).decode(),
    "a type that is wrong": "data:text/html;base64," + base64.b64encode(PNG).decode(),
    "a charset": "data:image/png;charset=utf-8;base64," + base64.b64encode(PNG).decode(),
    "lines": "data:image/png;base64,\r\n" + base64.encodebytes(PNG).decode().replace("\n", "\r\n\t "),
}


@pytest.mark.parametrize("name", DATA_URLS)
def test_a_data_url_that_is_none_is_refused(scene: Scene, name: str) -> None:
    body = chat({"type": "image_url", "image_url": {"url": DATA_URLS[name]}})
    scene.refused(scene.post(CHAT, body), 400, "invalid_image")


@pytest.mark.parametrize("name", GOOD_DATA_URLS)
def test_a_data_url_that_is_only_written_oddly_is_taken(scene: Scene, name: str) -> None:
    assert (
        scene.post(CHAT, chat({"type": "image_url", "image_url": {"url": GOOD_DATA_URLS[name]}})).status_code == 200
    )
    sent = scene.engine.chats()[0]["messages"][0]["content"][0]["image_url"]
    assert sent == {"url": data_url(PNG)}
    scene.engine.seen.clear()


# --- base64 that is cut out of a body before it is parsed


LARGE = JPEG + bytes(6000)


def test_what_is_cut_out_of_a_body_is_not_mistaken_for_something_else(scene: Scene) -> None:
    """The same long base64 where it is no image: in a text, in a name, in a value that is given twice."""
    url = data_url(LARGE, "image/jpeg")
    whole = chat(text_part(url), metadata={"a": url})
    assert scene.post(CHAT, whole).status_code == 200
    assert scene.engine.chats() == [whole]
    scene.engine.seen.clear()
    scene.refused(scene.post(CHAT, chat(text_part("a"), **{url: 1})), 400, "field_not_allowed")
    twice = (
        b'{"model":"demo","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"%s","url":"%s"}}]}]}'
        % (url.encode(), data_url(PNG).encode())
    )
    assert scene.post(CHAT, twice).status_code == 200
    assert scene.engine.chats()[0]["messages"][0]["content"][0]["image_url"] == {"url": data_url(PNG)}
    scene.engine.seen.clear()


@pytest.mark.parametrize(
    "tail", [b"", b",", b'"', b"\\", b'\\"', b"}", b'"}]', b'"}}]}]} x', b'"}}]}],"uuid":"a"}', b"\xff"]
)
def test_a_body_that_is_broken_behind_a_long_picture_is_still_broken(scene: Scene, tail: bytes) -> None:
    start = b'{"model":"demo","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"'
    answer = scene.post(CHAT, start + data_url(LARGE, "image/jpeg").encode() + tail)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] in ("invalid_json", "field_not_allowed")


def test_long_pictures_in_one_body_are_not_exchanged(scene: Scene) -> None:
    pictures = [JPEG + bytes([n]) * 6000 for n in range(16)]
    assert scene.post(CHAT, chat(*(part(each, "image/jpeg") for each in pictures))).status_code == 200
    sent = scene.engine.chats()[0]["messages"][0]["content"]
    assert [each["image_url"]["url"] for each in sent] == [data_url(each, "image/jpeg") for each in pictures]
    assert len({each["uuid"] for each in sent}) == 16
    scene.engine.seen.clear()


def test_a_picture_one_byte_over_the_cap_is_too_large(scene: Scene) -> None:
    scene.refused(scene.post(CHAT, chat(part(PNG + bytes(20 * 1024**2 + 1 - len(PNG))))), 413, "image_too_large")
