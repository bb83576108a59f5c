import io
import struct
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from server.errors import ConfigError, ImageError, ImageTooLarge, UnsupportedImage
from server.images.inspect import Format, HeaderLimits, enable_formats, inspect_image
from tests.pictures import animation, noise, picture, png_claiming

ALL: frozenset[Format] = frozenset({"jpeg", "png", "webp", "gif", "avif", "tiff", "heic"})
DEFAULT: frozenset[Format] = frozenset({"jpeg", "png", "webp", "gif", "avif"})


def limits(formats: frozenset[Format] = DEFAULT, **changes: int) -> HeaderLimits:
    most = {"max_pixels": 1_000_000, "max_side": 5000, "max_aspect": 200, "max_frames": 5, **changes}
    return HeaderLimits(formats, **most)


@pytest.fixture(scope="module", autouse=True)
def _all_formats() -> None:
    enable_formats(ALL)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "AVIF", "TIFF", "HEIF"])
def test_pictures_are_known_by_content(kind: str) -> None:
    seen = inspect_image(picture(kind, (40, 30)), limits(ALL))
    expected = "heic" if kind == "HEIF" else kind.lower()
    assert (seen.format, seen.width, seen.height, seen.frames) == (expected, 40, 30, 1)


@pytest.mark.parametrize(
    "data", [b"", b"not a picture", b"<svg/>", b"%PDF-1.7", picture("BMP"), picture("TIFF"), picture("ICO")]
)
def test_everything_else_is_unsupported(data: bytes) -> None:
    with pytest.raises(UnsupportedImage, match="AVIF, GIF, JPEG, PNG, WEBP"):
        inspect_image(data, limits())


def test_heic_is_unsupported_where_it_is_not_asked_for() -> None:
    with pytest.raises(UnsupportedImage):
        inspect_image(picture("HEIF"), limits())


def test_a_format_that_is_switched_off_is_unsupported() -> None:
    with pytest.raises(UnsupportedImage):
        inspect_image(picture("WEBP"), limits(frozenset({"png"})))


def test_a_jpeg_with_a_second_picture_behind_it_is_a_jpeg() -> None:
    """Phones store gain maps this way."""
    data = picture("MPO", (40, 30), save_all=True, append_images=[Image.new("RGB", (20, 15))])
    seen = inspect_image(data, limits())
    assert (seen.format, seen.width, seen.height, seen.frames) == ("jpeg", 40, 30, 1)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_png_pixel_is_taken(mode: str) -> None:
    out = io.BytesIO()
    Image.new(mode, (40, 30)).save(out, "PNG")
    assert inspect_image(out.getvalue(), limits()).format == "png"


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_every_kind_of_jpeg_pixel_is_taken(mode: str) -> None:
    out = io.BytesIO()
    Image.new(mode, (40, 30)).save(out, "JPEG")
    assert inspect_image(out.getvalue(), limits()).format == "jpeg"


def test_the_pixel_cap_is_applied_to_the_header() -> None:
    with pytest.raises(ImageTooLarge, match="2000 x 2000 pixels; at most 1000000"):
        inspect_image(png_claiming(2000, 2000), limits())


def test_a_bomb_beyond_pillows_own_limit_is_too_large_and_says_nothing_to_the_log() -> None:
    with warnings.catch_warnings(record=True) as said:
        enable_formats(DEFAULT)
        for side in (10_000, 60_000):
            with pytest.raises(ImageTooLarge):
                inspect_image(png_claiming(side, side), limits())
    assert not said


def test_the_longest_side_is_capped() -> None:
    with pytest.raises(ImageTooLarge, match="5000 a side"):
        inspect_image(picture("PNG", (5001, 100)), limits())


def test_extreme_aspects_are_refused() -> None:
    with pytest.raises(ImageError, match="factor of 200"):
        inspect_image(picture("PNG", (2010, 10)), limits())


@pytest.mark.parametrize("kind", ["WEBP", "PNG", "GIF", "AVIF"])
def test_frames_are_counted_and_capped(kind: str) -> None:
    assert inspect_image(animation(kind, 3), limits()).frames == 3
    with pytest.raises(ImageError, match="more than 2 frames"):
        inspect_image(animation(kind, 3), limits(max_frames=2))


def test_pages_of_a_tiff_are_seen_but_not_counted() -> None:
    assert inspect_image(animation("TIFF", 4), limits(ALL)).frames == 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(10))
def test_sizes_are_those_that_a_viewer_sees(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    seen = inspect_image(picture(kind, (40, 30), exif=exif), limits())
    assert (seen.width, seen.height) == ((30, 40) if orientation in (5, 6, 7, 8) else (40, 30))


def test_exif_that_is_garbage_changes_nothing() -> None:
    seen = inspect_image(picture("JPEG", (40, 30), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + b"\xff" * 99), limits())
    assert (seen.width, seen.height) == (40, 30)


@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "AVIF", "TIFF", "HEIF"]),
    at=st.floats(0, 1),
    junk=st.binary(min_size=1, max_size=40),
    keep=st.floats(0.1, 1),
)
def test_damaged_files_are_understood_or_refused_and_never_a_bug(
    kind: str, at: float, junk: bytes, keep: float
) -> None:
    data = bytearray(noise(kind, (24, 24)))
    place = int(at * (len(data) - 1))
    data[place : place + len(junk)] = junk
    try:
        seen = inspect_image(bytes(data[: max(4, int(keep * len(data)))]), limits(ALL))
    except ImageError:
        return
    assert seen.width * seen.height <= 1_000_000


def test_a_tiff_whose_pages_go_round_in_a_circle_is_read_once() -> None:
    data = bytearray(animation("TIFF", 2))
    first = struct.unpack_from("<I", data, 4)[0]
    entries = struct.unpack_from("<H", data, first)[0]
    struct.pack_into("<I", data, first + 2 + 12 * entries, first)
    assert inspect_image(bytes(data), limits(ALL)).format == "tiff"


def test_formats_that_cannot_be_read_stop_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.images.inspect.features.check", lambda name: name != "avif")
    with pytest.raises(ConfigError, match="avif"):
        enable_formats(DEFAULT)
    enable_formats(frozenset({"jpeg", "png"}))
