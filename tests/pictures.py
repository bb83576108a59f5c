"""Small pictures and requests for tests."""

import base64
import io
import struct
import zlib
from functools import cache
from typing import Any

from PIL import Image


def picture(kind: str = "PNG", size: tuple[int, int] = (64, 48), colour: str = "red", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind, **options)
    return buffer.getvalue()


@cache
def _noise(kind: str, size: tuple[int, int], options: tuple[tuple[str, Any], ...]) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise(size, 60).convert("RGB").save(buffer, kind, **dict(options))
    return buffer.getvalue()


def noise(kind: str = "PNG", size: tuple[int, int] = (120, 100), **options: Any) -> bytes:
    """A picture that does not compress."""
    return _noise(kind, size, tuple(options.items()))


def animation(kind: str, frames: int, size: tuple[int, int] = (40, 30)) -> bytes:
    """Frames of different noise, the first one red."""
    rest = [Image.effect_noise(size, 20 + n).convert("RGB") for n in range(frames - 1)]
    return picture(kind, size, save_all=True, append_images=rest)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_claiming(width: int, height: int) -> bytes:
    """A PNG whose header promises a raster that its few bytes cannot hold."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(b"")) + png_chunk(b"IEND", b"")


def data_url(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def image_part(data: bytes | None = None) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_url(picture() if data is None else data)}}


def text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def chat(*parts: dict[str, Any], model: str = "demo", **fields: Any) -> dict[str, Any]:
    content = list(parts) or [text_part("What is in this picture?")]
    messages = [{"role": "user", "content": content}]
    return {"model": model, "messages": messages, "max_tokens": 8, "temperature": 0, **fields}
