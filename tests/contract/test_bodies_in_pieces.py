"""Bodies arrive as networks please; engines get them whole."""

import socket
import time

import orjson
import pytest

from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway
from tests.fakes.serve import serving
from tests.pictures import chat, image_part, noise, text_part

BODY = chat(text_part("\u00e9" * 3000), image_part(noise("JPEG", (700, 500))))
RAW = orjson.dumps(BODY)


@pytest.mark.parametrize("piece", [len(RAW), 65_537, 4096, 700])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_in_pieces_is_the_body(piece: int, chunked: bool) -> None:
    engine = FakeEngine()
    length = "transfer-encoding: chunked" if chunked else f"content-length: {len(RAW)}"
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json"
    head += "\r\nconnection: close\r\n"
    pieces = [RAW[start : start + piece] for start in range(0, len(RAW), piece)]
    with serving(engine.app) as engine_url, gateway(engine_url) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as caller:
            caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            caller.sendall(f"{head}{length}\r\n\r\n".encode())
            for number, each in enumerate(pieces):
                caller.sendall(b"%x\r\n%s\r\n" % (len(each), each) if chunked else each)
                if number % 50 == 1:
                    time.sleep(0.005)
            caller.sendall(b"0\r\n\r\n" if chunked else b"")
            assert caller.recv(100).startswith(b"HTTP/1.1 200")
    got = engine.chats[-1]["messages"][0]["content"]
    assert got[0] == BODY["messages"][0]["content"][0]
    assert got[1]["image_url"] == {
        "url": BODY["messages"][0]["content"][1]["image_url"]["url"].replace("image/png", "image/jpeg")
    }
