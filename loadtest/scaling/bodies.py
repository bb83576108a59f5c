"""What the callers of the benchmark send: chats, and pictures of which any number differ."""

import base64
import json
import struct
import zlib
from collections.abc import Sequence
from typing import Any

# Of the shortest prompts from which a gateway learns what a token is, and longer.
QUESTION = (
    "What is in this picture, and what is it made of? Name all that you see from left to right, briefly. " * 2
)
SIDE = 32
PICTURES = b"/pictures/"


def make_picture(number: int) -> bytes:
    """A PNG of SIDE x SIDE; its pixels and so its digest are its number's alone."""
    row = b"\0" + struct.pack(">I", number) * (SIDE // 4)
    head = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(row * SIDE, 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def data_url(number: int) -> str:
    return f"data:image/png;base64,{base64.b64encode(make_picture(number)).decode()}"


def make_chat(urls: Sequence[str] = (), messages: int = 1, stream: bool = False, detail: str = "low") -> bytes:
    """The pictures are in the last of the messages."""
    parts: list[dict[str, Any]] = [{"type": "text", "text": QUESTION}]
    parts += [{"type": "image_url", "image_url": {"url": url, "detail": detail}} for url in urls]
    roles = ("assistant", "user")
    earlier = [{"role": roles[(number + messages) % 2], "content": QUESTION} for number in range(messages - 1)]
    body = {"model": "demo", "stream": stream, "messages": [*earlier, {"role": "user", "content": parts}]}
    return json.dumps({**body, "max_tokens": 64}, separators=(",", ":")).encode()
