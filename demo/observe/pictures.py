"""Pictures for the demonstration's load: drawn anew, sent again, in albums, and behind a URL on this machine."""

import base64
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image

from quantize.evaluate.questions import Skill
from quantize.evaluate.suite import Item, item

NAME = "127.0.0.1"
SKILLS: tuple[Skill, ...] = ("attribute", "count", "spatial", "grid")


def drawn(number: int, seed: int) -> Item:
    """A question about a picture that nobody has seen."""
    return item(SKILLS[number % len(SKILLS)], "easy", number, seed)


def noise(number: int, side: int = 96) -> str:
    """A PNG's data URL, small and unlike any of another number."""
    shade = Image.effect_noise((side, side), 40 + number % 64)
    return data_url(
        encoded(Image.merge("RGB", [shade, shade.rotate(90), Image.new("L", shade.size, number % 256)]))
    )


def animation(number: int) -> str:
    frames = [Image.new("RGB", (64, 64), (number % 256, shade, 90)) for shade in (0, 120, 240)]
    return data_url(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), "image/gif")


def large(number: int) -> str:
    """More than `detail: low` lets through."""
    return data_url(encoded(Image.new("RGB", (1024, 768), (number % 256, 40, 160)), "JPEG"), "image/jpeg")


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def data_url(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


@dataclass(frozen=True, slots=True)
class PictureHost:
    """A web server on loopback with a picture under every number, and none under `/gone`."""

    port: int
    name: str = NAME

    def url(self, number: int) -> str:
        return f"http://{self.name}:{self.port}/{number}.png"

    @property
    def gone(self) -> str:
        return f"http://{self.name}:{self.port}/gone"


class Pages(BaseHTTPRequestHandler):
    """Says how long a picture may be kept, so that the gateway's cache of fetches has work."""

    def do_GET(self) -> None:
        number = self.path.strip("/").removesuffix(".png")
        if not number.isdigit():
            self.send_error(404)
            return
        data = encoded(Image.effect_noise((80, 80), 20 + int(number) % 100).convert("RGB"))
        self.send_response(200)
        self.send_header("content-type", "image/png")
        self.send_header("content-length", str(len(data)))
        self.send_header("cache-control", "max-age=60")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what is asked for shows on the dashboards."""


@contextmanager
def picture_host() -> Iterator[PictureHost]:
    server = ThreadingHTTPServer((NAME, 0), Pages)
    thread = threading.Thread(target=partial(server.serve_forever, 0.1), daemon=True)
    thread.start()
    try:
        yield PictureHost(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
