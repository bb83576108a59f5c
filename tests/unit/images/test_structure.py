"""Outlines of image files, whole and damaged."""

import io
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from server.errors import ImageError
from server.images.structure import (
    MOST_CHUNKS,
    MOST_QUICK_BYTES,
    MOST_SEGMENTS,
    MOST_SUB_BLOCKS,
    check_outline,
    color_table_bytes,
    is_looked_at_in_no_time,
)
from tests.pictures import noise, picture, png_chunk

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def gif(frames: int) -> bytes:
    images = [Image.effect_noise((20, 20), 10 + n).convert("P") for n in range(frames)]
    out = io.BytesIO()
    images[0].save(out, "GIF", save_all=True, append_images=images[1:], comment=b"hello" * 200)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_whole_files_pass(kind: str) -> None:
    assert check_outline(noise(kind), 10) == 1


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@given(part=st.floats(0.02, 0.99))
def test_a_file_cut_anywhere_is_refused(kind: str, part: float) -> None:
    data = noise(kind)
    with pytest.raises(ImageError):
        check_outline(data[: max(12, int(len(data) * part))], 10)


@pytest.mark.parametrize("options", [{"progressive": True}, {"exif": b"Exif\0\0" + b"\xff\xd9" * 50}])
def test_a_jpeg_with_several_scans_or_an_end_marker_in_its_thumbnail_is_whole(options: dict[str, object]) -> None:
    data = noise("JPEG", **options)
    assert check_outline(data, 10) == 1
    with pytest.raises(ImageError):
        check_outline(data[: len(data) // 2], 10)


def test_bytes_after_a_jpegs_end_are_no_matter() -> None:
    assert check_outline(noise("JPEG") + b"trailer" * 100, 10) == 1


@given(at=st.integers(8, 2000), bit=st.integers(0, 7))
def test_a_flipped_bit_in_a_png_is_seen(at: int, bit: int) -> None:
    data = bytearray(noise("PNG"))
    data[at] ^= 1 << bit
    with pytest.raises(ImageError):
        check_outline(bytes(data), 10)


def test_a_png_without_pixels_is_refused() -> None:
    with pytest.raises(ImageError):
        check_outline(SIGNATURE + png_chunk(b"IHDR", b"\0" * 13) + png_chunk(b"IEND", b""), 10)


def test_walks_are_bounded() -> None:
    segments = b"\xff\xd8" + b"\xff\xe0\x00\x02" * (MOST_SEGMENTS + 1)
    chunks = SIGNATURE + png_chunk(b"tEXt", b"") * (MOST_CHUNKS + 1)
    header = gif(1)[: 13 + color_table_bytes(gif(1)[10])]
    comment = b"\x21\xfe" + b"\x01x" * (MOST_SUB_BLOCKS + 1)
    for data in (segments, chunks, header + comment):
        with pytest.raises(ImageError, match="too many blocks"):
            check_outline(data, 10)


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_frames_of_a_gif_are_counted_as_pillow_counts_them(frames: int) -> None:
    data = gif(frames)
    assert check_outline(data, 10) == frames == Image.open(io.BytesIO(data)).n_frames  # type: ignore[attr-defined]


def test_counting_stops_one_frame_beyond_the_cap() -> None:
    assert check_outline(gif(9), 3) == 4


def test_a_gif_whose_second_frame_is_cut_short_has_one() -> None:
    one, two = gif(1), gif(2)
    assert check_outline(two[: len(one) + 20], 10) == 1


def test_a_gif_that_ends_before_its_first_frame_is_refused() -> None:
    for end in (6, 13, 30):
        with pytest.raises(ImageError):
            check_outline(gif(1)[:end], 10)


@pytest.mark.parametrize("data", [b"", b"BM", picture("BMP"), picture("TIFF"), zlib.compress(b"x")])
def test_other_kinds_are_left_to_pillow(data: bytes) -> None:
    assert check_outline(data, 10) is None


def test_scans_are_counted_where_libjpeg_would_decode_them() -> None:
    """Behind one sequential scan of all colours it decodes nothing; in any other case every scan."""
    plain, progressive = picture("JPEG"), picture("JPEG", progressive=True)
    frame = plain.index(b"\xff\xc0")
    length = 2 + int.from_bytes(plain[frame + 2 : frame + 4], "big")
    scans = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" * 65
    check_outline(plain[:-2] + scans + plain[-2:], 1)
    for other in (
        progressive,
        plain.replace(b"\xff\xc0", b"\xff\xc2"),
        plain[: frame + 9] + b"\x04" + plain[frame + 10 :],
        plain[:frame] + plain[frame : frame + length] + plain[frame:],
    ):
        with pytest.raises(ImageError, match="scans"):
            check_outline(other[:-2] + scans + other[-2:], 1)


def test_only_a_plain_jpeg_with_a_short_head_is_looked_at_in_no_time() -> None:
    plain = noise("JPEG", (300, 200))
    assert is_looked_at_in_no_time(plain)
    filler = b"\xff\xe1\xff\xff" + b"\xff\xc0" * 32766 + b"x"  # one that claims what it holds, and is long
    many = b"\xff\xfe\x00\x04ab" * 40
    progressive = io.BytesIO()
    Image.open(io.BytesIO(plain)).save(progressive, "JPEG", progressive=True)
    others = [
        plain[:2] + filler + plain[2:],
        plain[:2] + many + plain[2:],
        plain + bytes(MOST_QUICK_BYTES),
        plain[:30],
        progressive.getvalue(),
        noise("PNG", (30, 20)),
        plain.replace(b"\xff\xda\x00\x0c\x03", b"\xff\xda\x00\x0c\x01"),
        b"",
    ]
    assert [is_looked_at_in_no_time(data) for data in others] == [False] * len(others)
