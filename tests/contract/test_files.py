"""/v1/files by OpenAI's own SDK, and when processes, disks or catalogues fail. The engine is a fake."""

import hashlib
import http.client
import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai
import pytest

from demo.processes import Running
from server.together import free_port
from tests.contract.conftest import PublishedOnly
from tests.contract.test_faults import metric, wait_until
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway
from tests.fakes.serve import serving
from tests.pictures import chat, data_url, image_part, picture, text_part

CHAT = "/v1/chat/completions"
RED = picture(colour="red")
ANTHROPIC = {"x-api-key": "ann", "anthropic-version": "2023-06-01"}
KEYS = {hashlib.sha256(name.encode()).hexdigest(): name for name in ("ann", "bob")}


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def engine_url(engine: FakeEngine) -> Iterator[str]:
    with serving(engine.app) as url:
        yield url


@pytest.fixture
def url(engine_url: str, tmp_path: Path) -> Iterator[str]:
    files = {"path": tmp_path / "files", "tenant_files": 5, "tenant_bytes": 100_000}
    with gateway(engine_url, auth={"key_hashes": KEYS}, files=files) as made:
        yield made


def sdk(url: str, key: str = "ann") -> openai.OpenAI:
    """OpenAI's own; whatever it is answered has to be as published."""
    http = httpx2.Client(transport=PublishedOnly(), timeout=20)
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, http_client=http)


@pytest.fixture
def ann(url: str) -> Iterator[openai.OpenAI]:
    with sdk(url) as client:
        yield client


@pytest.fixture
def bob(url: str) -> Iterator[openai.OpenAI]:
    with sdk(url, "bob") as client:
        yield client


def put(client: openai.OpenAI, data: bytes = RED, **options: Any) -> Any:
    return client.files.create(**{"file": ("a.png", data), "purpose": "vision", **options})


def parts(folder: Path) -> list[Path]:
    return list(folder.glob("incoming/*/*.part"))


def blobs(folder: Path) -> list[Path]:
    return list(folder.glob("blobs/*/*"))


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
    assert [data_url(RED) in each for each in seen] == [True, True]
    assert all(file.id not in each for each in seen)


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


@contextmanager
def half_an_upload(url: str, length: int = 100_000) -> Iterator[http.client.HTTPConnection]:
    """A caller that has sent half of a file."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port)
    head = b'--XX\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    connection.putrequest("POST", "/v1/files")
    connection.putheader("content-type", "multipart/form-data; boundary=XX")
    connection.putheader("content-length", str(length))
    connection.putheader("authorization", "Bearer ann")
    connection.endheaders(head + RED)
    connection.send(b"\x00" * (length // 2))
    try:
        yield connection
    finally:
        connection.close()


def test_a_caller_that_leaves_half_way_leaves_nothing_behind(url: str, tmp_path: Path) -> None:
    with half_an_upload(url):
        wait_until(lambda: parts(tmp_path / "files"))
        assert metric(url, "fovea_bytes_in_flight") > 0
    wait_until(lambda: not parts(tmp_path / "files"))
    wait_until(lambda: metric(url, 'fovea_files_uploads_total{outcome="left"}') == 1)
    assert metric(url, "fovea_bytes_in_flight") == 0
    assert blobs(tmp_path / "files") == []


def test_a_slow_upload_has_a_deadline(engine_url: str, tmp_path: Path) -> None:
    with (
        gateway(engine_url, files={"path": tmp_path, "upload_timeout_s": 0.3}) as url,
        half_an_upload(url) as connection,
    ):
        answer = connection.getresponse()
        assert (answer.status, b"did not arrive within 0.3 s" in answer.read()) == (400, True)
        assert parts(tmp_path) == []
        assert metric(url, "fovea_bytes_in_flight") == 0


def test_no_more_than_a_bounded_share_of_any_upload_is_in_memory(engine_url: str, tmp_path: Path) -> None:
    """Sixteen uploads under way hold sixteen times half a megabyte, whatever they say that they will send."""
    with gateway(engine_url, files={"path": tmp_path, "max_uploads": 16}) as url:
        uploads = [half_an_upload(url, 10_000_000) for _ in range(16)]
        for each in uploads:
            each.__enter__()
        wait_until(lambda: len(parts(tmp_path)) == 16)
        assert metric(url, "fovea_bytes_in_flight") == 16 * 512 * 1024
        with sdk(url) as client, pytest.raises(openai.RateLimitError):
            put(client)
        for each in uploads:
            each.__exit__(None, None, None)
        wait_until(lambda: metric(url, "fovea_bytes_in_flight") == 0)


def start_gateway(engine_url: str, folder: Path, **environ: str) -> tuple[Running, str]:
    port = free_port()
    process = Running(
        "server", "gateway", "--engine", engine_url, "--port", str(port), FOVEA_FILES__PATH=str(folder), **environ
    )
    url = f"http://127.0.0.1:{port}"

    def is_ready() -> bool:
        assert process.process.poll() is None, process.tail()
        try:
            return httpx2.get(f"{url}/health/ready").status_code == 200
        except httpx2.TransportError:
            return False

    wait_until(is_ready, 60)
    return process, url


def test_a_gateway_killed_in_mid_upload_leaves_nothing_once_it_is_back(engine_url: str, tmp_path: Path) -> None:
    process, url = start_gateway(engine_url, tmp_path)
    with sdk(url) as client:
        kept = put(client)
    with half_an_upload(url):
        wait_until(lambda: parts(tmp_path))
        process.stop(signal.SIGKILL)
    assert len(parts(tmp_path)) == 1
    process, url = start_gateway(engine_url, tmp_path)
    try:
        assert parts(tmp_path) == []
        with sdk(url) as client:
            assert [each.id for each in client.files.list()] == [kept.id]
            assert client.files.content(kept.id).read() == RED
    finally:
        process.stop()
    assert list(tmp_path.glob("incoming/*/")) == []


def test_several_gateways_serve_one_folder_with_one_quota(engine_url: str, tmp_path: Path) -> None:
    """Three processes, thirty uploads of ten pictures at once, twenty places: twenty files, ten times bytes."""
    started = [start_gateway(engine_url, tmp_path, FOVEA_FILES__TENANT_FILES="20") for _ in range(3)]
    clients = [sdk(url) for _, url in started]

    def upload(n: int) -> str | None:
        try:
            return str(put(clients[n % 3], picture(size=(n % 10 + 1, 7))).id)
        except openai.PermissionDeniedError:
            return None

    try:
        with ThreadPoolExecutor(6) as pool:
            made = [each for each in pool.map(upload, range(30)) if each]
        assert len(made) == 20
        assert {len(list(client.files.list())) for client in clients} == {20}
        assert 1 <= len(blobs(tmp_path)) <= 10
        assert clients[1].files.content(made[0]).read() == clients[2].files.content(made[0]).read()
        part = {"type": "file", "file": {"file_id": made[0]}}
        assert {httpx2.post(url + CHAT, json=chat(part)).status_code for _, url in started} == {200}
        with ThreadPoolExecutor(6) as pool:
            assert all(
                each.deleted
                for each in pool.map(lambda pair: clients[pair[0] % 3].files.delete(pair[1]), enumerate(made))
            )
        assert {len(list(client.files.list())) for client in clients} == {0}
        assert blobs(tmp_path) == []
    finally:
        for process, _ in started:
            process.stop()


# A gateway whose files may not grow beyond what is said: what a full disk is to it.
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
sys.argv = ["fovea", *sys.argv[1:]]
from server.cli import main
main()
"""


def test_a_disk_without_room_is_a_507_and_nothing_is_half_there(engine_url: str, tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-c", LIMITED, "gateway", "--engine", engine_url, "--port", str(port)]
    process = subprocess.Popen(
        command, env={**os.environ, "FOVEA_FILES__PATH": str(tmp_path)}, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: answers(url), 60)
        with sdk(url) as client:
            kept = put(client)
            with pytest.raises(openai.APIStatusError) as caught:
                put(client, RED + b"\x00" * 400_000)
            assert (caught.value.status_code, caught.value.code) == (507, "file_store_full")
            assert parts(tmp_path) == []
            assert len(blobs(tmp_path)) == 1
            assert [each.id for each in client.files.list()] == [kept.id]
        assert metric(url, 'fovea_files_failures_total{kind="full",place="disk"}') >= 1
        assert metric(url, 'fovea_files_uploads_total{outcome="failed"}') == 1
    finally:
        process.terminate()
        process.wait()


def answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/health/live").status_code == 200
    except httpx2.TransportError:
        return False


def test_a_catalogue_that_breaks_under_way_is_a_503_and_chat_goes_on(
    ann: openai.OpenAI, url: str, tmp_path: Path, engine: FakeEngine
) -> None:
    file = put(ann)
    catalogue = sqlite3.connect(tmp_path / "files" / "catalogue.sqlite")
    catalogue.execute("DROP TABLE files")
    catalogue.close()
    for act in (ann.files.list, lambda: put(ann), lambda: ann.files.delete(file.id)):
        with pytest.raises(openai.InternalServerError) as caught:
            act()
        assert (caught.value.status_code, caught.value.code) == (503, "file_store_failed")
        assert str(tmp_path) not in caught.value.message
    assert metric(url, 'fovea_files_failures_total{kind="failed",place="catalogue"}') == 3
    assert parts(tmp_path / "files") == []
    headers = {"authorization": "Bearer ann"}
    assert httpx2.post(url + CHAT, json=chat(text_part("hi")), headers=headers).status_code == 200


def test_a_broken_catalogue_or_folder_stops_the_start_in_one_line(engine_url: str, tmp_path: Path) -> None:
    (tmp_path / "catalogue.sqlite").write_bytes(b"broken" * 4096)
    (tmp_path / "file").touch()
    for folder in (tmp_path, tmp_path / "file", tmp_path / "file" / "below"):
        command = [sys.executable, "-m", "server", "gateway", "--engine", engine_url, "--port", str(free_port())]
        environ = {**os.environ, "FOVEA_FILES__PATH": str(folder)}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith("fovea: files.path: cannot use ")


def test_nothing_of_an_upload_is_logged_or_counted_by_name(
    ann: openai.OpenAI, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    put(ann, file=("MARKER.png", RED))
    for options in ({"file": ("MARKER.png", b"MARKER")}, {"purpose": "MARKER"}, {"extra_body": {"MARKER": "x"}}):
        with pytest.raises(openai.APIStatusError):
            put(ann, **options)
    broken = b'--XX\r\nContent-Disposition: form-data; name="MARKER"\r\nMARKER\rMARKER'
    headers = {"authorization": "Bearer ann", "content-type": "multipart/form-data; boundary=XX"}
    assert httpx2.post(f"{url}/v1/files?MARKER=1", content=broken, headers=headers).status_code == 400
    assert httpx2.get(f"{url}/v1/files/MARKER", headers=headers).status_code == 404
    ours = [record for record in caplog.records if record.name.startswith(("fovea", "python_multipart"))]
    assert any("/v1/files" in record.getMessage() or "/v1/files" in str(record.__dict__) for record in ours)
    assert all("MARKER" not in str(record.__dict__) for record in ours)
    assert "MARKER" not in httpx2.get(f"{url}/metrics").text
