"""The same files in the words of Anthropic's API. The engine is a fake."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx2
import openai
import pytest

from tests.contract.conftest import PublishedOnly
from tests.contract.files.conftest import ANTHROPIC, RED
from tests.fakes.engine import FakeEngine
from tests.pictures import data_url, picture


@pytest.fixture
def messages(url: str) -> Iterator[httpx2.Client]:
    """A client of Anthropic's API; whatever it is answered has to be as published there."""
    with httpx2.Client(base_url=url, headers=ANTHROPIC, timeout=20, transport=PublishedOnly()) as http:
        yield http


def upload(messages: httpx2.Client, data: bytes = RED, **fields: str) -> Any:
    answer = messages.post("/v1/files", files={"file": ("a.png", data)}, data=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_anthropics_files_are_the_same_files_in_its_own_words(
    messages: httpx2.Client, ann: openai.OpenAI, engine: FakeEngine
) -> None:
    made = upload(messages, expires_in_seconds="7200")
    assert (made["type"], made["filename"], made["mime_type"]) == ("file", "a.png", "image/png")
    assert (made["size_bytes"], made["downloadable"]) == (len(RED), True)
    ours = ann.files.retrieve(made["id"])
    assert (ours.purpose, ours.expires_at) == ("vision", ours.created_at + 7200)
    assert made["created_at"] == datetime.fromtimestamp(ours.created_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert messages.get(f"/v1/files/{made['id']}").json() == made
    assert messages.get(f"/v1/files/{made['id']}/content").content == RED
    block = {"type": "image", "source": {"type": "file", "file_id": made["id"]}}
    body = {"model": "demo", "max_tokens": 8, "messages": [{"role": "user", "content": [block]}]}
    assert messages.post("/v1/messages", json=body).status_code == 200
    assert engine.chats[0]["messages"][0]["content"][0]["image_url"] == {"url": data_url(RED)}
    assert messages.delete(f"/v1/files/{made['id']}").json() == {"type": "file_deleted", "id": made["id"]}
    gone = messages.get(f"/v1/files/{made['id']}")
    assert (gone.status_code, gone.json()["error"]["type"]) == (404, "not_found_error")


def test_anthropics_lists_go_on_from_page_to_page(messages: httpx2.Client) -> None:
    made = [upload(messages, picture(size=(n + 1, 5)))["id"] for n in range(5)][::-1]

    def listed(**query: Any) -> tuple[list[str], dict[str, Any]]:
        page = messages.get("/v1/files", params=query).json()
        return [each["id"] for each in page["data"]], page

    assert listed()[0] == made
    first, page = listed(limit=2)
    assert (first, page["has_more"], page["first_id"], page["last_id"]) == (made[:2], True, made[0], made[1])
    second, page = listed(limit=2, page=page["next_page"])
    assert second == made[2:4]
    last, page = listed(limit=2, after_id=page["last_id"])
    assert (last, page["has_more"], page["next_page"]) == (made[4:], False, None)
    wanted = [made[3], "file-none", made[0], made[3]]
    assert listed(**{"ids[]": wanted})[0] == [made[3], made[0]]


@pytest.mark.parametrize(
    ("query", "status", "param"),
    [
        ("limit=0", 400, "limit"),
        ("limit=1001", 400, "limit"),
        ("limit=x", 400, "limit"),
        ("before_id=file-1", 400, "before_id"),
        ("scope_id=a", 400, "scope_id"),
        ("page=page_none", 404, "page"),
        ("after_id=none", 404, "after_id"),
        ("page=page_a&after_id=a", 400, "page"),
        ("ids[]=a&limit=3", 400, "ids"),
        ("ids[]=a&after_id=a", 400, "ids"),
        ("&".join(f"ids[]={n}" for n in range(101)), 400, "ids"),
    ],
)
def test_anthropics_list_that_cannot_be_is_refused(
    messages: httpx2.Client, query: str, status: int, param: str
) -> None:
    answer = messages.get(f"/v1/files?{query}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
    assert answer.json()["type"] == "error"


def test_anthropics_callers_are_refused_in_its_words(messages: httpx2.Client) -> None:
    no_picture = messages.post("/v1/files", files={"file": ("a.png", b"none")})
    assert (no_picture.status_code, no_picture.json()["error"]["code"]) == (415, "unsupported_image_format")
    foreign = messages.post("/v1/files", files={"file": ("a.png", RED)}, data={"purpose": "vision"})
    assert foreign.json()["error"]["code"] == "field_not_allowed"
    stranger = messages.get("/v1/files", headers={"x-api-key": "nobody"})
    assert (stranger.status_code, stranger.json()["error"]["type"]) == (401, "authentication_error")
    assert messages.get("/v1/files", headers={"x-api-key": "bob"}).json()["data"] == []
