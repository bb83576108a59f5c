"""/v1/files by OpenAI's own SDK. The engine is a fake."""

import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from tests.contract.files.conftest import CHAT, RED, blobs, parts, put, sdk
from tests.contract.test_faults import metric, wait_until
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway
from tests.pictures import chat, data_url, image_part, picture


def test_the_sdk_creates_finds_lists_reads_and_deletes_a_file(ann: openai.OpenAI, tmp_path: Path) -> None:
    file = put(ann, expires_after={"anchor": "created_at", "seconds": 7200})
    assert (file.object, file.bytes, file.filename) == ("file", len(RED), "a.png")
    assert (file.purpose, file.status) == ("vision", "processed")
    assert file.expires_at == file.created_at + 7200
    assert file.id.startswith("file-")
    assert ann.files.retrieve(file.id) == file
    assert ann.files.content(file.id).read() == RED
    assert [each.id for each in ann.files.list()] == [file.id]
    assert ann.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError) as caught:
        ann.files.retrieve(file.id)
    assert (caught.value.code, caught.value.param) == ("file_not_found", "id")
    assert blobs(tmp_path / "files") == []


def test_content_is_a_download_and_never_a_page(ann: openai.OpenAI) -> None:
    file = put(ann, file=("../x; set-cookie: ü=b.png", RED))
    headers = ann.files.content(file.id).response.headers
    assert headers["content-type"] == "image/png"
    told = "attachment; filename*=UTF-8''x%3B%20set-cookie%3A%20%C3%BC%3Db.png"
    assert headers["content-disposition"] == told
    assert headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in headers


def test_the_sdk_pages_through_files_while_it_deletes_them(ann: openai.OpenAI) -> None:
    made = [put(ann, picture(size=(n + 1, 5)), purpose=("vision", "user_data")[n % 2]).id for n in range(5)]
    assert [each.id for each in ann.files.list(limit=2)] == made[::-1]
    assert [each.id for each in ann.files.list(limit=2, order="asc")] == made
    assert [each.id for each in ann.files.list(purpose="user_data", limit=1)] == [made[3], made[1]]
    first = ann.files.list(limit=2)
    assert first.has_more
    for each in first:
        ann.files.delete(each.id)
    assert list(ann.files.list()) == []


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("limit=x", "limit"),
        ("order=up", "order"),
        ("after=x", "after"),
    ],
)
def test_a_listing_that_cannot_be_is_refused(url: str, query: str, param: str) -> None:
    answer = httpx2.get(f"{url}/v1/files?{query}", headers={"authorization": "Bearer ann"})
    assert 400 <= answer.status_code <= 404
    assert answer.json()["error"]["param"] == param


def test_chat_takes_files_by_id_in_each_way_there_is(ann: openai.OpenAI, engine: FakeEngine) -> None:
    file = put(ann)
    messages = [
        {"type": "image_url", "image_url": {"url": file.id}},
        {"type": "file", "file": {"file_id": file.id}},
        {"type": "file", "file": {"file_data": data_url(RED), "filename": "a.png"}},
        image_part(RED),
    ]
    body: Any = [{"role": "user", "content": messages}]
    ann.chat.completions.create(model="demo", messages=body)
    seen = engine.chats[0]["messages"][0]["content"]
    assert all(part == seen[0] for part in seen)
    assert (seen[0]["type"], seen[0]["image_url"]) == ("image_url", {"url": data_url(RED)})
    assert len(seen[0]["uuid"]) == 64


def test_responses_and_messages_take_files_by_id_too(ann: openai.OpenAI, url: str, engine: FakeEngine) -> None:
    file, headers = put(ann), {"authorization": "Bearer ann"}
    shown = {"type": "input_image", "file_id": file.id}
    asked = {"model": "demo", "input": [{"role": "user", "content": [shown]}]}
    assert httpx2.post(f"{url}/v1/responses", json=asked, headers=headers).status_code == 200
    block = {"type": "image", "source": {"type": "file", "file_id": file.id}}
    body = {"model": "demo", "max_tokens": 8, "messages": [{"role": "user", "content": [block]}]}
    assert httpx2.post(f"{url}/v1/messages", json=body, headers=headers).status_code == 200
    ann.files.delete(file.id)
    told = httpx2.post(f"{url}/v1/responses", json=asked, headers=headers).json()["error"]
    assert (told["code"], told["param"]) == ("file_not_found", "input[0].content[0].file_id")
    seen = [json.dumps(each) for each in (*engine.responses, *engine.chats)]
    # The second by the name of the first: the engine holds it already.
    (named,) = {part["uuid"] for part in engine.responses[0]["input"][0]["content"]}
    assert [data_url(RED) in each for each in seen] == [True, False]
    assert all(named in each for each in seen)
    assert all(file.id not in each for each in seen)


@pytest.mark.parametrize(
    ("part", "path"),
    [
        ({"type": "image_url", "image_url": {"url": "ID"}}, "image_url"),
        ({"type": "file", "file": {"file_id": "ID"}}, "file.file_id"),
    ],
)
def test_another_tenants_file_an_unknown_and_a_deleted_one_are_not_found_in_the_same_words(
    ann: openai.OpenAI, bob: openai.OpenAI, engine: FakeEngine, part: Any, path: str
) -> None:
    theirs, gone = put(bob), put(ann)
    ann.files.delete(gone.id)
    told = []
    for file_id in (theirs.id, gone.id, "file-" + "0" * 44, "file-../../etc/passwd"):
        asked = eval(repr(part).replace("ID", file_id))
        with pytest.raises(openai.NotFoundError) as caught:
            ann.chat.completions.create(model="demo", messages=[{"role": "user", "content": [asked]}])
        told.append(caught.value.body)
        for act in (ann.files.retrieve, ann.files.content, ann.files.delete):
            if "/" not in file_id:
                with pytest.raises(openai.NotFoundError):
                    act(file_id)
    assert all(each == told[0] for each in told)
    assert (told[0]["code"], told[0]["param"]) == ("file_not_found", f"messages[0].content[0].{path}")  # type: ignore[index]
    assert engine.chats == []
    assert bob.files.content(theirs.id).read() == RED


def test_tenants_see_their_own_files_alone_and_have_quotas_of_their_own(
    ann: openai.OpenAI, bob: openai.OpenAI
) -> None:
    for _ in range(5):
        put(ann)
    with pytest.raises(openai.PermissionDeniedError) as caught:
        put(ann)
    assert caught.value.code == "file_quota_exceeded"
    assert list(bob.files.list()) == []
    put(bob)
    assert len(list(ann.files.list())) == 5


@pytest.mark.parametrize(
    ("part", "status"),
    [
        ({"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0="}}, 400),
        ({"type": "file", "file": {"file_data": "JVBERi0="}}, 400),
        ({"type": "file", "file": {"file_data": data_url(b"no picture")}}, 415),
        ({"type": "file", "file": {"file_data": 5}}, 400),
        ({"type": "file", "file": {}}, 400),
        ({"type": "file", "file": {"file_id": "file-1", "file_data": data_url(RED)}}, 400),
        ({"type": "file", "file": {"file_id": ["file-1"]}}, 404),
        ({"type": "file", "file": {"file_id": "https://127.0.0.1/a.png"}}, 404),
        ({"type": "file", "file": {"file_id": "file-1"}, "uuid": "mine"}, 400),
        ({"type": "file", "file": {"file_id": "file-1", "url": "x"}}, 400),
        ({"type": "file"}, 400),
    ],
)
def test_a_file_part_that_is_no_image_never_reaches_the_engine(
    url: str, engine: FakeEngine, part: Any, status: int
) -> None:
    answer = httpx2.post(url + CHAT, json=chat(part), headers={"authorization": "Bearer ann"})
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["param"].startswith("messages[0].content[0]")
    assert engine.chats == []


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"%PDF-1.4", "unsupported_image_format"), (RED[:60], "invalid_image"), (b"", "unsupported_image_format")],
)
def test_what_is_no_image_gets_no_id(ann: openai.OpenAI, tmp_path: Path, data: bytes, code: str) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        put(ann, data)
    assert (caught.value.code, caught.value.param) == (code, "file")
    assert parts(tmp_path / "files") == blobs(tmp_path / "files") == []


def test_an_expired_file_is_not_found_before_any_sweep_and_its_bytes_go_with_the_sweep(
    engine_url: str, tmp_path: Path
) -> None:
    files = {"path": tmp_path, "sweep_s": 0.2}
    with gateway(engine_url, files={**files, "sweep_s": 600}) as url, sdk(url) as client:
        file = put(client)
        catalogue = sqlite3.connect(tmp_path / "catalogue.sqlite", isolation_level=None)
        catalogue.execute("UPDATE files SET expires_at = ?", (int(time.time()) - 1,))
        with pytest.raises(openai.NotFoundError):
            client.files.retrieve(file.id)
        with pytest.raises(openai.NotFoundError):
            client.files.content(file.id)
        assert list(client.files.list()) == []
        assert len(blobs(tmp_path)) == 1
    with gateway(engine_url, files=files) as url:
        wait_until(lambda: not blobs(tmp_path))
        assert metric(url, 'fovea_files_removed_total{reason="expired"}') == 1
    assert catalogue.execute("SELECT count(*) FROM files").fetchone() == (0,)
    catalogue.close()


def test_without_a_folder_the_api_says_how_to_turn_it_on(engine_url: str, engine: FakeEngine) -> None:
    with gateway(engine_url) as url, sdk(url) as client:
        for act in (client.files.list, lambda: put(client), lambda: client.files.delete("file-1")):
            with pytest.raises(openai.NotFoundError, match=r"files\.path") as caught:
                act()
            assert caught.value.code == "files_not_enabled"
        part = {"type": "file", "file": {"file_id": "file-1"}}
        error = httpx2.post(url + CHAT, json=chat(part)).json()["error"]
        assert (error["code"], error["param"]) == ("files_not_enabled", "messages[0].content[0].file.file_id")
    assert engine.chats == []


def test_files_want_a_key_with_their_scope(url: str) -> None:
    for method, path in (
        ("GET", ""),
        ("POST", ""),
        ("GET", "/file-1"),
        ("DELETE", "/file-1"),
        ("GET", "/file-1/content"),
    ):
        assert httpx2.request(method, f"{url}/v1/files{path}").status_code == 401
    answer = httpx2.put(f"{url}/v1/files", headers={"authorization": "Bearer ann"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
