"""Markers planted wherever a caller can write, and searched for in all that the real process says and keeps."""

import base64
import contextlib
import hashlib
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from PIL import Image

from demo.processes import Running, running
from server.together import free_port
from tests.contract.test_faults import wait_until
from tests.fakes.engine import FakeEngine
from tests.fakes.faulty_gateway import BUGS, CRASH, MID_STREAM
from tests.fakes.otlp import OtlpReceiver
from tests.fakes.serve import serving
from tests.pictures import chat, data_url, picture, text_part

CHAT = "/v1/chat/completions"
KEY = "fv-MARKEDbyTESTgoodkey"
COMMON = "MARKEDbyTEST"
# What a marker looks like inside base64, at each of the three places of a group that it may begin.
HIDDEN = [base64.b64encode(b"x" * shift + COMMON.encode())[4 if shift else 0 : 16].decode() for shift in range(3)]
SECRETS = (COMMON, *HIDDEN, hashlib.sha256(KEY.encode()).hexdigest())


@dataclass
class Scene:
    """The process, its engine, and every marker that was sent."""

    url: str
    engine: FakeEngine
    process: Running
    audit: Path
    markers: list[str] = field(default_factory=list)

    def mark(self, where: str) -> str:
        """Something to be planted, by which a leak says where it comes from."""
        self.markers.append(f"{COMMON}{where}")
        return self.markers[-1]

    def post(self, body: Any, path: str = CHAT, **headers: str) -> httpx2.Response:
        return httpx2.post(self.url + path, json=body, headers={"x-api-key": KEY, **headers}, timeout=30)

    def leaks(self) -> list[str]:
        metrics = httpx2.get(f"{self.url}/metrics").text if self.process.process.poll() is None else ""
        said = f"{self.process.output}\n{metrics}\n{self.audit.read_text()}".splitlines()
        return [line for line in said if any(each in line for each in SECRETS)]

    def audited(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.audit.read_text().splitlines()]


@pytest.fixture(params=["json", "text"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    engine, port = FakeEngine(), free_port()
    keys, audit = tmp_path / "keys.yaml", tmp_path / "audit.jsonl"
    hashed = hashlib.sha256(KEY.encode()).hexdigest()
    keys.write_text(f"keys: [{{hash: 'sha256:{hashed}', tenant: lab, name: ci, scopes: [inference, files]}}]")
    environ = {
        "FOVEA_AUTH__KEYS_FILE": str(keys),
        "FOVEA_LOGS__FORMAT": request.param,
        "FOVEA_LOGS__LEVEL": "debug",
        "FOVEA_LOGS__AUDIT_FILE": str(audit),
        "FOVEA_ENGINES__POLL_S": "0.1",
        "FOVEA_HTTP__DRAIN_GRACE_S": "0",
        "PYTHONDEVMODE": "1",  # warnings, and asyncio's debug messages
        "PYTHONASYNCIODEBUG": "1",
    }
    receiver = OtlpReceiver()
    with serving(engine.app) as engine_url, serving(receiver.app) as traces:
        environ |= {"FOVEA_TRACES__ENDPOINT": traces, "FOVEA_TRACES__RATIO": "1"}
        arguments = ("gateway", "--engine", engine_url, "--port", str(port))
        with running("tests.fakes.faulty_gateway", *arguments, **environ) as process:
            process.wait_for("engine-0 is ready", 60)
            yield Scene(f"http://127.0.0.1:{port}", engine, process, audit)
            crashed = process.process.poll() is not None
            if not crashed:
                process.stop()
    # A gateway that stops sends what it still has: all spans of all requests.
    assert receiver.spans or crashed
    assert [raw for raw in receiver.raw if any(each.encode() in raw for each in SECRETS)] == []


def marked_picture(marker: str) -> bytes:
    exif = Image.Exif()
    exif[0x010E] = marker  # ImageDescription
    return picture("JPEG", exif=exif, comment=marker.encode())


def full_body(scene: Scene, **more: Any) -> dict[str, Any]:
    """A chat that is answered, with markers in everything that passes through."""
    mark = scene.mark
    tool = {"type": "function", "function": {"name": mark("tool"), "parameters": {mark("schema"): {}}}}
    image = {"type": "image_url", "image_url": {"url": data_url(marked_picture(mark("exif")), "image/jpeg")}}
    named = {"tools": [tool], "user": mark("user"), "stop": [mark("stop")], "metadata": {"k": mark("metadata")}}
    return chat(image, text_part(mark("prompt")), **named, **more)


def send_raw(scene: Scene, data: bytes) -> None:
    parts = urlsplit(scene.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(data)
        connection.settimeout(5)
        while connection.recv(65536):
            pass


def test_requests_that_are_answered_leave_one_audit_line_and_nothing_of_theirs(scene: Scene) -> None:
    mark = scene.mark
    for stream in (False, True):
        answer = scene.post(full_body(scene, stream=stream), **{f"x-{mark('header')}": mark("value")})
        assert answer.status_code == 200
    scene.post(full_body(scene), path=f"{CHAT}?{mark('query')}={mark('query')}")
    scene.post({"model": "demo", "prompt": mark("completion"), "max_tokens": 1}, path="/v1/completions")
    wait_until(lambda: len(scene.audited()) == 4)
    assert scene.leaks() == []
    first = scene.audited()[0]
    del first["time"], first["ms"]
    image = scene.engine.chats[0]["messages"][0]["content"][0]
    assert first == {
        "level": "info",
        "logger": "fovea.audit",
        "event": "request",
        "request_id": answer_id(scene, first),
        "method": "POST",
        "path": CHAT,
        "route": "chat",
        "status": 200,
        "tenant": "lab",
        "key": "ci",
        "model": "demo",
        "engine": "engine-0",
        "images": [image["uuid"][:8]],
        "image_bytes": len(base64.b64decode(image["image_url"]["url"].partition(",")[2])),
        "body_bytes": first["body_bytes"],
        "prompt_tokens": 20,
        "completion_tokens": 5,
    }
    assert first["body_bytes"] > first["image_bytes"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fail", [None, 400, 500])
def test_the_other_surfaces_tell_nothing_either(scene: Scene, stream: bool, fail: int | None) -> None:
    mark = scene.mark
    scene.engine.fail, scene.engine.says = fail, f"cannot parse '{mark('engine')}'"
    url = data_url(marked_picture(mark("exif")), "image/jpeg")
    encoded = url.partition(",")[2]
    parts = [{"type": "input_image", "image_url": url}, {"type": "input_text", "text": mark("input")}]
    source = {"type": "base64", "media_type": "image/jpeg", "data": encoded}
    blocks = [{"type": "image", "source": source}, {"type": "text", "text": mark("block")}]
    tools = [{"name": mark("tool"), "description": mark("told"), "input_schema": {"type": "object"}}]
    said = [{"role": "user", "content": blocks}]
    requests: list[tuple[str, dict[str, Any]]] = [
        ("/v1/responses", {"input": [{"role": "user", "content": parts}], "stream": stream, "user": mark("user")}),
        ("/v1/messages", {"messages": said, "system": mark("system"), "tools": tools, "stream": stream}),
        ("/v1/messages/count_tokens", {"messages": said, "system": mark("system")}),
        ("/tokenize", {"prompt": mark("prompt")}),
        ("/v1/messages", {"messages": [{"role": "user", "content": [{"type": mark("type")}]}]}),
        ("/v1/responses", {"input": [{"role": "user", "content": [{"type": mark("type")}]}], mark("field"): 1}),
    ]
    statuses = {}
    for path, body in requests:
        more = {"max_tokens": 8} if path == "/v1/messages" else {}
        wait_until(lambda: httpx2.get(f"{scene.url}/health/ready").status_code == 200)
        statuses.setdefault(path, scene.post({"model": "demo", **more, **body}, path).status_code)
    assert set(statuses.values()) == {{None: 200, 400: 400, 500: 502}[fail]}, statuses
    wait_until(lambda: len(scene.audited()) == len(requests))
    assert {line["tenant"] for line in scene.audited()} == {"lab"}
    assert scene.leaks() == []


def answer_id(scene: Scene, line: dict[str, Any]) -> str:
    """The id in the audit line is the one in the ordinary line."""
    request_id = str(line["request_id"])
    assert request_id.startswith("req-")
    assert sum(request_id in each for each in scene.process.lines) == 1
    return request_id


def test_what_is_refused_is_not_told_either(scene: Scene) -> None:
    mark = scene.mark
    elsewhere = f"https://127.0.0.1/{mark('urlpath')}?{mark('urlquery')}"
    unknown = f"https://{mark('host')}.invalid/{mark('path')}"
    parts: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{mark('base64')}"}},
        {"type": "image_url", "image_url": {"url": data_url(marked_picture(mark("cut"))[:-300])}},
        {"type": "image_url", "image_url": {"url": elsewhere}},
        {"type": "image_url", "image_url": {"url": unknown}},
        {"type": "image_url", "image_url": {"url": f"{mark('scheme')}://x"}},
        {"type": "image_url", "image_url": {"url": data_url(picture())}, "uuid": mark("uuid")},
        {"type": "image_url", "image_url": {"url": data_url(picture()), mark("inner"): 1}},
        {"type": mark("type")},
    ]
    bodies = [chat(part) for part in parts]
    bodies += [chat(**{mark("field"): mark("fieldvalue")}), chat(model=mark("model")), chat(stream=mark("stream"))]
    bodies += [chat(max_tokens=10**6, user=mark("context")), {"model": "demo", "messages": mark("messages")}]
    for body in bodies:
        assert scene.post(body).status_code >= 400
    json_type = {"content-type": "application/json", "x-api-key": KEY}
    broken = f'{{"model": "{mark("json")}'.encode()
    assert httpx2.post(scene.url + CHAT, content=broken, headers=json_type).status_code == 400
    upload = {"file": (f"{mark('filename')}.png", marked_picture(mark("upload")), "image/png")}
    httpx2.post(f"{scene.url}/v1/files", files=upload, headers={"x-api-key": KEY})
    assert scene.leaks() == []


def test_wherever_one_asks_and_with_whatever_key_nothing_is_told(scene: Scene) -> None:
    mark = scene.mark
    for path in (f"/{mark('path')}", f"/v1/models/{mark('modelpath')}", f"/v1/files/{mark('fileid')}/content"):
        for method in ("GET", "DELETE", "POST"):
            httpx2.request(method, scene.url + path, headers={"x-api-key": KEY})
    for headers in (
        {"authorization": f"Bearer {mark('unknownkey')}"},
        {"authorization": f"Basic {mark('basic')}"},
        {"x-api-key": mark("other"), "authorization": f"Bearer {KEY}"},
        {"cookie": mark("cookie"), "user-agent": mark("agent"), "x-request-id": mark("id")},
    ):
        assert httpx2.get(f"{scene.url}/v1/models", headers=headers).status_code == 401
    for raw in (
        f"{mark('method')} / HTTP/1.1\r\nhost: localhost\r\n\r\n",
        f"GET /{mark('version')} HTTP/7.7\r\nhost: localhost\r\n\r\n",
        f"GET / HTTP/1.1\r\nhost: localhost\r\n{mark('badheader')}\r\n\r\n",
        f"GET / HTTP/1.1\r\nhost: localhost\r\nx: {mark('nul')}\x00\r\n\r\n",
        f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\nx-api-key: {KEY}\r\ncontent-length: {mark('length')}\r\n\r\n",
        f"PROPFIND /{mark('propfind')} HTTP/1.1\r\nhost: {mark('hostheader')}\r\nconnection: close\r\n\r\n",
        f"GET http://{mark('absolute')}/ HTTP/1.1\r\nhost: localhost\r\n\r\n",
        f"GET / HTTP/1.1\r\nhost: localhost\r\nupgrade: {mark('upgrade')}\r\nconnection: upgrade\r\n\r\n",
    ):
        send_raw(scene, raw.encode())
    assert scene.leaks() == []


def test_what_an_engine_says_may_reach_its_caller_and_no_log(scene: Scene) -> None:
    for status, passed in ((400, True), (404, True), (429, False), (500, False), (503, False)):
        wait_until(lambda: httpx2.get(f"{scene.url}/health/ready").status_code == 200)
        scene.engine.fail, scene.engine.says = status, f"cannot parse '{scene.mark(f'engine{status}')}'"
        answer = scene.post(full_body(scene))
        assert (scene.engine.says in answer.text) is passed
        scene.engine.fail = None
    scene.engine.die_after = 1
    assert "error" in scene.post(full_body(scene, stream=True)).text
    assert scene.leaks() == []


def test_lines_cannot_be_forged(scene: Scene) -> None:
    forged = '%0d%0a{"level":"info","logger":"fovea.audit","tenant":"root"}%e2%80%ae%1b[2J'
    before = len(scene.process.lines)
    for path in (f"/{forged}", f"/v1/models/{forged}", f"{CHAT}?{forged}"):
        assert httpx2.get(scene.url + path, headers={"x-api-key": KEY}).status_code in (404, 405)
    scene.post(chat(**{"a\r\nlevel=info tenant=root": 1}))

    def told() -> list[str]:
        # asyncio's debug mode says now and then that something was slow.
        return [line for line in scene.process.lines[before:] if "asyncio" not in line]

    wait_until(lambda: len(scene.audited()) == len(told()) == 4)
    lines = told()
    lines += scene.audit.read_text().splitlines()
    assert all(line.isprintable() and "root" not in line for line in lines)


def test_the_names_of_fields_are_said_back_bounded_and_without_control_characters(scene: Scene) -> None:
    error = scene.post(chat(**{"x\r\n\u202e\x1b" + "y" * 100_000: 1})).json()["error"]
    assert len(error["message"]) <= 1000
    assert len(error["param"]) <= 200
    assert (error["message"] + error["param"]).isprintable()


def test_our_own_bugs_leave_their_places_and_nothing_else(scene: Scene) -> None:
    for seed in sorted(BUGS.keys() - {CRASH, MID_STREAM}):
        answer = scene.post(full_body(scene, seed=seed))
        assert answer.status_code in (200, 500)
        assert COMMON not in answer.text
    scene.post(full_body(scene, seed=9002))  # lets the forgotten task be collected
    said = (
        "bug: ValueError",
        "bug: ExceptionGroup",
        "ValueError in forget_task.<locals>.failing, outside of any request",
        "ValueError in callback, outside of any request",
        "uncaught ValueError",
        "UserWarning at ",
        "RuntimeWarning at ",
        "its words are not shown",
        "tests/fakes/faulty_gateway.py:",
    )
    wait_until(lambda: all(each in scene.process.output for each in said))
    with contextlib.suppress(httpx2.HTTPError):
        scene.post(full_body(scene, seed=MID_STREAM, stream=True))
    wait_until(lambda: "Exception in ASGI application" in scene.process.output)
    assert scene.leaks() == []


def test_a_crash_leaves_places_and_no_memory(scene: Scene, tmp_path: Path) -> None:
    limits = Path(f"/proc/{scene.process.process.pid}/limits").read_text()
    (core,) = (line.split() for line in limits.splitlines() if line.startswith("Max core"))
    assert core[4:6] == ["1", "1"]
    with contextlib.suppress(httpx2.HTTPError):
        scene.post(full_body(scene, seed=CRASH))
    scene.process.finish(30)
    time.sleep(0.1)
    assert "Fatal Python error: Aborted" in scene.process.output
    assert scene.leaks() == []
