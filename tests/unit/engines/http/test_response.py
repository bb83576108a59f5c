"""What comes from an engine is cut anywhere, mutated, made up: it is read as one response only, or not at all."""

import re
from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.engines.http.response import MOST_HEAD_BYTES, MOST_HEADERS, Response

OK = b"HTTP/1.1 200 OK\r\n"
SSE = b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
# Name -> the bytes, the body in them.
WHOLE = {
    "length": (OK + b"content-type: application/json\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
    "no body": (OK + b"content-length: 0\r\n\r\n", b""),
    "chunked": (OK + SSE + b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", b"hello"),
    "extension": (OK + SSE + b'5;a=b;c="d"\r\nhello\r\n0;e\r\n\r\n', b"hello"),
    "trailers": (OK + SSE + b"5\r\nhello\r\n0\r\nx-a: b\r\ncontent-type: a\r\n\r\n", b"hello"),
    "interim": (b"HTTP/1.1 100 Continue\r\nx: y\r\n\r\n" * 3 + OK + b"content-length: 5\r\n\r\nhello", b"hello"),
    "error": (b"HTTP/1.1 500 Oh\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
    "nothing": (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
}
ONCE = {
    "close": (OK + b"connection: close\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
    "1.0": (b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
    "garbage": (OK + b"content-length: 5\r\n\r\nhellogarbage", b"hello"),
    "another": (WHOLE["length"][0] + WHOLE["error"][0], b"hello"),
    "behind chunks": (WHOLE["chunked"][0] + OK, b"hello"),
    "behind nothing": (WHOLE["nothing"][0] + b"hello", b""),
}
REFUSED = {
    "two lengths": OK + b"content-length: 5\r\ncontent-length: 5\r\n\r\nhello",
    "differing lengths": OK + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
    "listed lengths": OK + b"content-length: 5, 5\r\n\r\nhello",
    "length and chunks": OK + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "chunks and length": OK + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "negative length": OK + b"content-length: -5\r\n\r\nhello",
    "huge length": OK + b"content-length: 99999999999999999999999\r\n\r\nhello",
    "huge chunk": OK + SSE + b"ffffffffffffffffffff\r\nhello",
    "length in trailers": OK + SSE + b"5\r\nhello\r\n0\r\ncontent-length: 5\r\n\r\n",
    "an empty line first": b"\r\n" + OK + b"content-length: 5\r\n\r\nhello",
    "no chunk": OK + SSE + b"g\r\nhello",
    "bare line feeds": OK.replace(b"\r", b"") + b"content-length: 5\n\nhello",
    "folded": OK + b"a: b\r\n c\r\ncontent-length: 5\r\n\r\nhello",
    "gzip coding": OK + b"transfer-encoding: gzip\r\n\r\nhello",
    "gzip, chunked": OK + b"transfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "chunked twice": OK + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "compressed": OK + b"content-encoding: gzip\r\ncontent-length: 5\r\n\r\nhello",
    "upgrade": b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nhello",
    "101": b"HTTP/1.1 101 Switching\r\n\r\nhello",
    "99": b"HTTP/1.1 099 OK\r\ncontent-length: 5\r\n\r\nhello",
    "600": b"HTTP/1.1 600 OK\r\ncontent-length: 5\r\n\r\nhello",
    "HTTP/2": b"HTTP/2.0 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    "another protocol": b"220 mail.example.com ESMTP\r\n",
    "a request": b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x50",
    "many headers": OK + b"a: b\r\n" * (MOST_HEADERS + 1) + b"content-length: 5\r\n\r\nhello",
    "a long header": OK + b"a: " + b"b" * MOST_HEAD_BYTES + b"\r\ncontent-length: 5\r\n\r\nhello",
    "an endless header": OK + b"a: " + b"b" * MOST_HEAD_BYTES,
    "an endless line": b"HTTP/1.1 200 " + b"O" * MOST_HEAD_BYTES,
    "endless interim": b"HTTP/1.1 102 Processing\r\n\r\n" * 2000,
    "an endless extension": OK + SSE + b"5;" + b"a" * MOST_HEAD_BYTES,
    "endless trailers": OK + SSE + b"0\r\n" + b"a: b\r\n" * 10_000,
}


def read(*pieces: bytes) -> Response:
    response = Response()
    for piece in pieces:
        response.feed(piece)
    return response


def body_of(response: Response) -> bytes:
    return b"".join(response.pieces)


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges) if start < end]


@pytest.mark.parametrize("name", WHOLE)
def test_a_response_cut_at_any_byte_is_the_same_response(name: str) -> None:
    data, body = WHOLE[name]
    for cut in range(len(data) + 1):
        response = read(data[:cut], data[cut:]) if 0 < cut < len(data) else read(data)
        assert (response.complete, response.reusable, response.fault) == (True, True, None), cut
        assert body_of(response) == body
        assert response.held == len(body)
    assert body_of(read(*(data[at : at + 1] for at in range(len(data))))) == body


@pytest.mark.parametrize("name", WHOLE)
def test_a_response_is_not_complete_before_its_last_byte(name: str) -> None:
    data, body = WHOLE[name]
    for end in range(1, len(data)):
        response = read(data[:end])
        assert (response.complete, response.end(), response.fault) == (False, False, None), end
        assert body.startswith(body_of(response))


@pytest.mark.parametrize("name", ONCE)
def test_behind_anything_odd_nothing_else_is_read_however_it_is_cut(name: str) -> None:
    data, body = ONCE[name]
    for cut in range(1, len(data)):
        response = read(data[:cut], data[cut:])
        assert (response.complete, body_of(response)) == (True, body)
        assert not response.reusable


@pytest.mark.parametrize("name", REFUSED)
def test_what_two_readers_could_take_for_different_things_is_refused(name: str) -> None:
    data = REFUSED[name]
    for pieces in ([data], in_pieces(data, list(range(0, len(data), max(1, len(data) // 50))))):
        response = read(*pieces)
        assert response.fault is not None
        assert not response.complete
        assert not response.end()


def test_a_body_may_end_with_its_connection() -> None:
    response = read(OK + b"content-type: text/plain\r\n\r\nhel", b"lo")
    assert not response.complete
    assert response.end()
    assert (body_of(response), response.media_type, response.reusable) == (b"hello", "text/plain", False)


def test_responses_follow_one_another() -> None:
    response = Response()
    for _ in range(2):
        for name, (data, body) in WHOLE.items():
            response.begin()
            response.feed(data)
            assert (response.complete, response.reusable, body_of(response)) == (True, True, body), name
    response.begin()
    assert (response.status, response.complete, response.media_type) == (0, False, "")


def test_what_an_interim_response_says_is_not_said_of_the_final_one() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\ncontent-type: text/html\r\nlink: </a>\r\n\r\n"
    response = read(early + WHOLE["no body"][0])
    assert (response.status, response.media_type) == (200, "")


ODD = st.sampled_from(
    [
        b"\r\n", b"\n", b"\r", b" ", b"\x00", b"\t", b",", b"0", b"5\r\nhello\r\n", b"0\r\n\r\n",
        b"content-length: 3\r\n", b"transfer-encoding: chunked\r\n", b"Content-Length : 1\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"connection: close\r\n", b"content-length: 5\r\n\r\nhello", b"HTTP/1.1 100 Continue\r\n\r\n", b"\xff",
    ]
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from([data for data, _ in (*WHOLE.values(), *ONCE.values())])))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        what = draw(st.sampled_from(["insert", "delete", "replace"]))
        if what != "insert":
            del data[at : at + draw(st.integers(1, 8))]
        if what != "delete":
            data[at:at] = draw(st.one_of(ODD, st.binary(min_size=1, max_size=4)))
    return bytes(data)


INTERIM = re.compile(rb"\A(?:HTTP/1\.\d 1\d\d[\s\S]*?\r\n\r\n[\r\n]*)+")


def as_h11_reads(data: bytes) -> tuple[int, bytes]:
    """Status and body of the one response that there is. Raises where there is another, or half of one."""
    other = h11.Connection(h11.CLIENT)
    other.send(h11.Request(method="POST", target="/", headers=[("host", "a"), ("content-length", "0")]))
    other.send(h11.EndOfMessage())
    # Empty lines mean nothing behind an interim response either; h11 would stumble over them.
    data = INTERIM.sub(lambda found: re.sub(rb"\r\n\r\n[\r\n]+", b"\r\n\r\n", found[0]), data)
    # It reads what a status is called, which says nothing, and may be anything.
    other.receive_data(re.sub(rb"(HTTP/1\.\d \d{3})[^\r\n]*", rb"\1 OK", data))
    status, body = 0, b""
    while not isinstance(event := other.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
        assert event is not h11.NEED_DATA
    # Empty lines before the next response mean nothing.
    assert not other.trailing_data[0].strip(b"\r\n")
    return status, body


@given(mutated(), st.lists(st.integers(0, 400), max_size=6))
def test_what_leaves_its_connection_usable_is_read_alike_by_another_parser(data: bytes, cuts: list[int]) -> None:
    response = read(*in_pieces(data, cuts))
    assert not (response.fault and response.complete)
    if response.reusable:
        assert as_h11_reads(data) == (response.status, body_of(response))


@given(mutated(), st.lists(st.integers(0, 400), max_size=6))
def test_how_it_is_cut_changes_nothing(data: bytes, cuts: list[int]) -> None:
    one, other = read(data), read(*in_pieces(data, cuts))
    assert (one.complete, one.reusable, one.status) == (other.complete, other.reusable, other.status)
    if one.complete:
        assert body_of(one) == body_of(other)


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_noise_is_no_response(pieces: list[bytes]) -> None:
    response = read(*pieces)
    assert not response.complete
    assert not response.end()
