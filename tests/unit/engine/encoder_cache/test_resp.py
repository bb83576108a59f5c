"""The parser on bytes that come in any pieces."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import InvalidResponse, ResponseError

from server.engine.encoder_cache.redis_line import line_errors
from server.engine.encoder_cache.resp import LONGEST_LINE, BoundedParser, LineLost, TooLarge, packed

MOST = 1000


class Wire:
    """A socket whose other end has sent these pieces and gone."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.asked = 0

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0

    def recv(self, size: int) -> bytes:
        self.asked += 1
        if not self.pieces:
            return b""
        piece = self.pieces.pop(0)
        if len(piece) > size:
            self.pieces.insert(0, piece[size:])
        return piece[:size]

    def recv_into(self, view: memoryview) -> int:
        received = self.recv(len(view))
        view[: len(received)] = received
        return len(received)


class Connected:
    def __init__(self, wire: Wire) -> None:
        self._sock = wire


def parser_on(*pieces: bytes) -> BoundedParser:
    parser = BoundedParser(MOST)
    parser.on_connect(Connected(Wire([piece for piece in pieces if piece])))  # type: ignore[arg-type]
    parser.give(60)
    return parser


def plain(reply: Any) -> Any:
    if isinstance(reply, list):
        return [plain(item) for item in reply]
    if isinstance(reply, ResponseError):
        return str(reply)
    return bytes(reply) if isinstance(reply, memoryview) else reply


REPLIES = (
    (b"+OK\r\n", b"OK"),
    (b":-5\r\n", -5),
    (b"$-1\r\n", None),
    (b"$0\r\n\r\n", b""),
    (b"$4\r\n\r\n\r\n\r\n", b"\r\n\r\n"),
    (b"-OOM no\r\n", "OOM no"),
    (b"*3\r\n:1\r\n$2\r\nab\r\n+x\r\n", [1, b"ab", b"x"]),
    (b"*0\r\n", []),
)


@given(st.lists(st.sampled_from(REPLIES), min_size=1, max_size=6), st.lists(st.integers(0, 60), max_size=8))
def test_replies_are_read_however_they_are_cut(replies: list[tuple[bytes, Any]], cuts: list[int]) -> None:
    whole = b"".join(raw for raw, _ in replies)
    ends = sorted({min(cut, len(whole)) for cut in cuts})
    pieces = [whole[a:b] for a, b in zip([0, *ends], [*ends, len(whole)], strict=True)]
    parser = parser_on(*pieces)
    assert [plain(parser.read_response()) for _ in replies] == [wanted for _, wanted in replies]


@pytest.mark.parametrize(
    "lie",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\r\n",
        b"$ 5\r\nabcde\r\n",
        b"$5_0\r\n",
        b"$-2\r\n",
        b"$3\r\nabcde\r\n",
        b"*-1\r\n",
        b"*1\r\n*1\r\n:1\r\n",
        b"*99999999\r\n",
        b":\r\n",
        b":" + b"9" * 5000 + b"\r\n",
        b"%1\r\n+a\r\n+b\r\n",
        b"_\r\n",
    ],
)
def test_what_is_not_resp2_is_refused(lie: bytes) -> None:
    with pytest.raises(InvalidResponse):
        parser_on(lie).read_response()


def test_a_line_without_an_end_is_not_read_for_ever() -> None:
    parser = parser_on(*[b"a" * 4096] * 1000)
    with pytest.raises(InvalidResponse):
        parser.read_response()
    assert parser._socket.asked <= LONGEST_LINE // 4096 + 2


def test_a_value_over_the_most_is_refused_before_any_of_it_is_taken() -> None:
    parser = parser_on(b"$%d\r\n" % (MOST + 1), b"x" * (MOST + 1))
    with pytest.raises(TooLarge):
        parser.read_response()
    assert parser._socket.asked == 1


def test_a_value_that_ends_early_is_a_lost_connection() -> None:
    with pytest.raises(LineLost) as caught, line_errors():
        parser_on(b"$10\r\nabc").read_response()
    assert caught.value.reason == "connection"


def test_past_the_deadline_nothing_is_waited_for() -> None:
    parser = parser_on(b"+OK\r\n")
    parser.give(0)
    with pytest.raises(LineLost) as caught, line_errors():
        parser.read_response()
    assert caught.value.reason == "timeout"
    assert parser._socket.asked == 0


@given(st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=4), min_size=1, max_size=3))
def test_commands_are_packed_as_arrays_of_values(commands: list[list[bytes]]) -> None:
    parser = parser_on(b"".join(bytes(piece) for piece in packed(commands)))
    assert [plain(parser.read_response()) for _ in commands] == commands


def test_pieces_of_one_argument_are_one_value_and_large_ones_are_not_copied() -> None:
    large = memoryview(bytes(range(256)) * 1024)
    pieces = list(packed([(b"SET", b"k", (b"head", large)), (b"GET", b"k")]))
    assert [piece for piece in pieces if piece is large]
    assert b"".join(bytes(piece) for piece in pieces) == (
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$262148\r\nhead" + bytes(large) + b"\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"
    )
