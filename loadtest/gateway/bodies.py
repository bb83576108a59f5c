"""The request bodies: one photograph-like JPEG in a data URL, at the size that is asked for."""

import base64
import io
import json

import numpy as np
from PIL import Image

from loadtest.gateway.stub import HOLD

QUALITY = 92
ASPECT = 4 / 3
# A JPEG of this noise at QUALITY, measured; the picture is grown or shrunk from there.
FIRST_BYTES_PER_PIXEL = 0.5


def make_jpeg(size_bytes: int) -> bytes:
    """A JPEG within 2 % of `size_bytes`, the same in every run."""
    pixels = size_bytes / FIRST_BYTES_PER_PIXEL
    for _ in range(8):
        data = draw(round((pixels * ASPECT) ** 0.5), round((pixels / ASPECT) ** 0.5))
        if abs(len(data) - size_bytes) < 0.02 * size_bytes:
            return data
        pixels *= size_bytes / len(data)
    raise RuntimeError(f"no picture of {size_bytes} bytes was found")


def draw(width: int, height: int) -> bytes:
    """Coarse shapes with grain, so that it takes about the half byte a pixel of a camera's picture."""
    random = np.random.default_rng(5)
    coarse = random.integers(0, 256, (height // 64 + 1, width // 64 + 1, 3), dtype=np.uint8)
    shapes = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    grain = random.integers(-9, 10, (height, width, 1), dtype=np.int16)
    picture = Image.fromarray(np.clip(shapes + grain, 0, 255).astype(np.uint8))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def make_body(picture: bytes | None, stream: bool = False, detail: str = "auto", held: bool = False) -> bytes:
    """What the OpenAI SDK sends: compact JSON."""
    question = "What is in this picture?\nAnswer briefly." + (f" {HOLD.decode()}" if held else "")
    content: list[dict[str, object]] = [{"type": "text", "text": question}]
    if picture is not None:
        url = f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
        image = {"url": url} if detail == "auto" else {"url": url, "detail": detail}
        content.append({"type": "image_url", "image_url": image})
    messages = [{"role": "user", "content": content}]
    body = {"model": "demo", "stream": stream, "messages": messages, "max_tokens": 64}
    return json.dumps(body, separators=(",", ":")).encode()
