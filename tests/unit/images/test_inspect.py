import struct
import zlib

import pytest

from server.errors import ImageError, ImageTooLarge, UnsupportedImage
from server.images.inspect import inspect_image
from tests.pictures import picture

PATH = "messages[0].content[0].image_url"


def png_claiming(width: int, height: int) -> bytes:
    """A PNG whose header promises a raster that its few bytes cannot hold."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("kind", "media_type"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")]
)
def test_supported_pictures_are_known_by_content(kind: str, media_type: str) -> None:
    seen = inspect_image(picture(kind, (40, 30)), 10_000, PATH)
    assert (seen.media_type, seen.width, seen.height) == (media_type, 40, 30)


@pytest.mark.parametrize(
    "data", [b"", b"not a picture", b"<svg/>", b"%PDF-1.7", picture("BMP"), picture("TIFF"), picture("GIF")]
)
def test_everything_else_is_unsupported(data: bytes) -> None:
    with pytest.raises(UnsupportedImage) as caught:
        inspect_image(data, 10_000, PATH)
    assert caught.value.param == PATH


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("part", [0.5, 0.9])
def test_a_picture_cut_short_is_refused(kind: str, part: float) -> None:
    from PIL import Image

    noise = Image.effect_noise((200, 200), 60).convert("RGB")
    import io

    buffer = io.BytesIO()
    noise.save(buffer, kind)
    data = buffer.getvalue()
    with pytest.raises(ImageError):
        inspect_image(data[: int(len(data) * part)], 10**6, PATH)


def test_the_pixel_cap_is_applied_to_the_header() -> None:
    with pytest.raises(ImageTooLarge, match="at most 1000000"):
        inspect_image(png_claiming(2000, 2000), 1_000_000, PATH)


def test_a_bomb_beyond_pillows_own_limit_is_too_large() -> None:
    with pytest.raises(ImageTooLarge):
        inspect_image(png_claiming(60_000, 60_000), 36_000_000, PATH)


def test_extreme_aspects_are_refused() -> None:
    with pytest.raises(ImageError, match="factor of 200"):
        inspect_image(picture("PNG", (2010, 10)), 10**6, PATH)


def test_animations_are_refused() -> None:
    from PIL import Image

    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = picture("WEBP", (8, 8), save_all=True, append_images=frames)
    with pytest.raises(UnsupportedImage, match="one frame"):
        inspect_image(data, 10**6, PATH)
