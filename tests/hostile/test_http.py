"""Requests as bytes: what proxies and servers read differently, what never ends, what comes too slowly."""

import contextlib
import json
import select
import socket
import time

import pytest

from tests.hostile.http_cases import (
    AMBIGUOUS,
    CHUNKED,
    MAX_BODY,
    MAX_HEAD,
    OTHER,
    PATHS,
    TOO_LARGE,
    WHOLE,
    Case,
    bare,
)
from tests.hostile.raw import BODY, CLOSE, LENGTH, head, talk
from tests.hostile.scene import Scene, check_error, wait_until
from tests.pictures import chat, text_part

SETTINGS = {
    "http": {
        "max_head": MAX_HEAD,
        "head_timeout_s": 0.5,
        "body_timeout_s": 0.5,
        "stall_timeout_s": 1,
        "max_connections": 64,
        "max_body": MAX_BODY,
    }
}


@pytest.mark.parametrize("case", [*AMBIGUOUS, *TOO_LARGE, *OTHER], ids=lambda case: case.name)
def test_a_request_that_is_none_is_refused(scene: Scene, case: Case) -> None:
    reply = talk(scene.address, [case.raw])
    assert reply.statuses == [case.status], reply.raw[:300]
    check_error(reply.body, case.code)
    assert reply.closed
    assert b"evil.example" not in reply.raw


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nothing_else_of_the_engine_can_be_reached(scene: Scene, path: str, method: str) -> None:
    scene.refused(scene.http.request(method, path, json={}), 404, "not_found")


def took(scene: Scene, raw: bytes, times: int = 1) -> bytes:
    reply = talk(scene.address, [raw])
    assert [status for status in reply.statuses if status != 100] == [200] * times, reply.raw[:300]
    assert [json.loads(body) for _, body in scene.engine.seen] == [json.loads(BODY)] * times
    scene.engine.seen.clear()
    return reply.raw


def test_odd_but_valid_requests_are_taken(scene: Scene) -> None:
    """So that the refusals above are not those of a server which refuses everything."""
    took(scene, b"\r\n\r\n" + head(LENGTH, CLOSE) + BODY)
    took(scene, head(b"transfer-encoding:chunked", CLOSE) + WHOLE)
    took(scene, head(CHUNKED, CLOSE) + WHOLE.replace(b"\r\n", b";name=value\r\n", 1))
    took(scene, head(*(b"X-%d: y" % i for i in range(120)), LENGTH, CLOSE) + BODY)
    took(scene, head(b"Content-Type: Application/JSON; charset=utf-8", LENGTH, CLOSE) + BODY)
    took(scene, head(LENGTH, start=b"POST /v1/chat/completions HTTP/1.0") + BODY)
    padded = BODY + b" " * (MAX_HEAD - len(head(b"Content-Length: 1000", CLOSE)) - len(BODY))
    took(scene, head(b"Content-Length: %d" % len(padded), CLOSE) + padded)  # in one read, as large as a head may be
    took(
        scene,
        b"POST /v1/chat/completions HTTP/1.0\r\nContent-Type: application/json\r\n" + LENGTH + b"\r\n\r\n" + BODY,
    )


@pytest.mark.parametrize(
    "path", [b"POST /v1/chat/completions", b"GET /v1/models", b"GET /metrics", b"GET /health/live"]
)
@pytest.mark.parametrize(
    "host",
    [b"rebound.example", b"rebound.example:80", b"127.0.0.1.example", b"10.0.0.1", b"2130706433", b"[::2]", b"*"],
)
def test_a_name_that_a_page_had_lead_here_is_not_ours(scene: Scene, host: bytes, path: bytes) -> None:
    """DNS rebinding: the browser believes that it talks to the page's own server."""
    reply = talk(scene.address, [head(b"Host: " + host, LENGTH, CLOSE, start=path + b" HTTP/1.1") + BODY])
    assert reply.statuses == [421]
    check_error(reply.body, "wrong_host")


@pytest.mark.parametrize("host", [b"localhost", b"LOCALHOST:1", b"127.0.0.1", b"[::1]:9", b"fovea.localhost"])
def test_the_machines_own_names_are(scene: Scene, host: bytes) -> None:
    took(scene, head(b"Host: " + host, LENGTH, CLOSE) + BODY)


def test_expect_100_continue_is_answered_before_the_body(scene: Scene) -> None:
    raw = took(scene, head(b"Expect: 100-continue", LENGTH, CLOSE) + BODY)
    assert raw.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200")


def test_a_refused_expectation_is_answered_without_the_body(scene: Scene) -> None:
    reply = talk(scene.address, [head(b"Expect: 100-continue", b"Content-Length: 1000000000", CLOSE)])
    assert reply.statuses == [413]


def test_pipelined_requests_are_answered_in_their_order(scene: Scene) -> None:
    took(scene, (head(LENGTH) + BODY) * 3 + head(LENGTH, CLOSE) + BODY, times=4)


def test_a_smuggled_request_behind_a_refused_one_is_not_read(scene: Scene) -> None:
    reply = talk(scene.address, [head(LENGTH, CHUNKED) + b"0\r\n\r\n" + head(LENGTH, CLOSE) + BODY])
    assert reply.statuses == [400]
    assert reply.closed


def test_thousands_of_pipelined_requests_are_not_kept(scene: Scene) -> None:
    """One read may hold thousands of them: the connection is closed, and only those before are worked on."""
    reply = talk(scene.address, [b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20_000])
    assert reply.closed
    assert len(reply.statuses) <= 32


def test_a_caller_that_closes_its_half_has_left(scene: Scene) -> None:
    """Nothing more can come from it but the end: the engine's work is not started, or cancelled."""
    scene.engine.fake.pause_s = 0.2
    try:
        reply = talk(scene.address, [head(LENGTH) + BODY], half_close=True)
        assert reply.raw == b""
        wait_until(lambda: scene.metric("fovea_requests_in_flight") == 0, "the request goes on")
    finally:
        scene.engine.fake.pause_s = 0
        scene.engine.seen.clear()


@pytest.mark.parametrize(
    ("name", "raw", "status", "code"),
    [
        ("nothing", b"", 408, "head_too_slow"),
        ("half a method", b"PO", 408, "head_too_slow"),
        ("a head without end", head(LENGTH)[:-2], 408, "head_too_slow"),
        ("empty lines", b"\r\n\r\n", 408, "head_too_slow"),
        ("a body without end", head(LENGTH) + BODY[:-1], 400, "invalid_request"),
        ("a chunk without end", head(CHUNKED) + b"3f\r\n{", 400, "invalid_request"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_who_sends_too_slowly_is_sent_away(scene: Scene, name: str, raw: bytes, status: int, code: str) -> None:
    with socket.create_connection(scene.address, timeout=12) as connection:
        connection.sendall(raw)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 %d " % status), name
    check_error(answer.partition(b"\r\n\r\n")[2], code)


def dribble(connection: socket.socket, piece: bytes) -> int:
    """How often it can be sent, every tenth of a second, until the other side has closed; 60 if it does not."""
    for sent in range(60):
        try:
            connection.sendall(piece)
        except OSError:
            return sent
        time.sleep(0.1)
    return 60


def test_dribbling_a_head_gains_no_time(scene: Scene) -> None:
    with socket.create_connection(scene.address, timeout=12) as connection:
        connection.sendall(b"GET /v1/models HTTP/1.1\r\n")
        assert dribble(connection, b"X: y\r\n") < 60


def test_nor_does_a_line_break_now_and_then_between_two_requests(scene: Scene) -> None:
    with socket.create_connection(scene.address, timeout=12) as connection:
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.recv(65536)
        assert dribble(connection, b"\r\n") < 60


def test_who_does_not_read_its_answer_is_cut_off(scene: Scene) -> None:
    """Its place at the engine and its connection come back."""
    cancelled, scene.engine.fake.endless = scene.engine.fake.cancelled, True
    body = json.dumps(chat(text_part("hi"), stream=True)).encode()
    try:
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(scene.address)
            connection.sendall(head(b"Content-Length: %d" % len(body)) + body)
            wait_until(lambda: len(scene.engine.seen) == 1, "the engine was not asked")
            wait_until(lambda: scene.metric("fovea_requests_in_flight") == 0, "the request holds on", 20)
        running = 'fovea_engine_requests_running{engine="engine-0"}'
        wait_until(lambda: scene.metric(running) == 0, "the engine goes on")
        wait_until(lambda: scene.engine.fake.cancelled > cancelled, "the engine's stream goes on")
        sent = scene.engine.fake.endless_frames
        time.sleep(0.3)
        assert scene.engine.fake.endless_frames == sent > 0
    finally:
        scene.engine.fake.endless = False
        scene.engine.seen.clear()


def test_connections_are_bounded_and_the_next_is_told_so(scene: Scene) -> None:
    held = [socket.create_connection(scene.address) for _ in range(70)]
    try:
        refused, _, _ = select.select(held, [], [], 5)
        for connection in refused:
            answer = connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 503 ")
            check_error(answer.partition(b"\r\n\r\n")[2], "too_many_connections")
        assert 1 <= len(refused) <= 10  # the client of this suite has a connection or two
    finally:
        for connection in held:
            connection.close()
    wait_until(lambda: talk(scene.address, [bare(b"GET /v1/models")]).status == 200, "no place")


def test_a_refused_upload_is_closed_soon_however_much_is_still_sent(scene: Scene) -> None:
    with socket.create_connection(scene.address, timeout=20) as connection:
        connection.sendall(head(CHUNKED, start=b"POST /nowhere HTTP/1.1"))
        answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 404 ")
        assert dribble(connection, b"1\r\na\r\n") < 60


def test_who_is_answered_before_its_body_has_come_keeps_its_connection_no_longer_than_others(scene: Scene) -> None:
    with socket.create_connection(scene.address, timeout=12) as connection:
        connection.sendall(head(LENGTH, start=b"POST /nowhere HTTP/1.1"))
        assert connection.recv(65536).startswith(b"HTTP/1.1 404 ")
        connection.sendall(BODY)
        assert connection.recv(65536) == b""


def test_nothing_behind_a_body_that_was_given_up_is_taken_for_a_request(scene: Scene) -> None:
    length = 800_000
    with socket.create_connection(scene.address, timeout=12) as connection:
        connection.sendall(head(b"Content-Length: %d" % length) + b" " * 500_000)
        answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 400 ")
        with contextlib.suppress(ConnectionError):
            connection.sendall(b" " * (length - 500_000) + bare(b"GET /v1/models") * 20_000)
            answer += b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.count(b"HTTP/1.1 ") == 1
