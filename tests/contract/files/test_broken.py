"""/v1/files when callers, processes, disks or catalogues fail. The engine is a fake."""

import http.client
import logging
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import openai
import pytest

from demo.processes import Running
from server.line_writer import LineWriter
from server.request_lines import RequestLines, encode_json
from server.together import free_port
from tests.contract.files.conftest import CHAT, RED, blobs, parts, put, sdk
from tests.contract.test_faults import metric, wait_until
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway
from tests.pictures import chat, picture, text_part


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
    ann: openai.OpenAI, url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[bytes] = []  # whole lines, some at a time
    writer = LineWriter("test", told.extend, lambda _: b"", lambda _: None)
    monkeypatch.setattr(RequestLines, "of_process", RequestLines(writer, encode_json))
    put(ann, file=("MARKER.png", RED))
    for options in ({"file": ("MARKER.png", b"MARKER")}, {"purpose": "MARKER"}, {"extra_body": {"MARKER": "x"}}):
        with pytest.raises(openai.APIStatusError):
            put(ann, **options)
    broken = b'--XX\r\nContent-Disposition: form-data; name="MARKER"\r\nMARKER\rMARKER'
    headers = {"authorization": "Bearer ann", "content-type": "multipart/form-data; boundary=XX"}
    assert httpx2.post(f"{url}/v1/files?MARKER=1", content=broken, headers=headers).status_code == 400
    assert httpx2.get(f"{url}/v1/files/MARKER", headers=headers).status_code == 404
    ours = [record for record in caplog.records if record.name.startswith(("fovea", "python_multipart"))]
    writer.close()
    lines = b"".join(told)
    assert lines.count(b'"/v1/files') == lines.count(b"\n") == 6
    assert all("MARKER" not in str(record.__dict__) for record in ours)
    assert b"MARKER" not in lines
    assert "MARKER" not in httpx2.get(f"{url}/metrics").text
