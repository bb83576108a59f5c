import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from server.images.containers import read_container
from server.images.walking import MOST_ELEMENTS, Claims, Unreadable
from tests.containers import MP4, WEBM, block, box, element, mp4, webm


def claims(data: bytes) -> Claims:
    return read_container(data).claims


def fault(data: bytes) -> str:
    with pytest.raises(Unreadable) as caught:
        read_container(data)
    return str(caught.value)


@pytest.mark.parametrize(
    ("data", "media_type"), [(MP4, "video/mp4"), (WEBM, "video/webm"), (mp4(), "video/mp4"), (webm(), "video/webm")]
)
def test_a_video_says_how_long_and_how_large_it_is(data: bytes, media_type: str) -> None:
    container = read_container(data)
    assert container.media_type == media_type
    assert container.claims.duration_s == pytest.approx(3.0)
    assert container.claims.pixels == 96 * 96


@pytest.mark.parametrize("data", [MP4, WEBM])
def test_frames_are_counted(data: bytes) -> None:
    assert claims(data).frames == 24


@pytest.mark.parametrize(
    ("data", "seconds"),
    [
        (mp4(units=9000), 9),
        (mp4(media_units=9000), 9),
        (mp4(runs=((24, 125), (1, 6000))), 9),
        (mp4(scale=1, units=9), 9),
        (webm(duration=struct.pack(">f", 9000.0)), 9),
        (webm(scale=3_000_000), 9),
        (webm(blocks=(block(0), block(9000))), 9),
        (webm(began=8000, blocks=(block(1000),)), 9),
        (webm(began=9000, blocks=(block(-5),)), 9),
    ],
)
def test_the_longest_length_that_is_stated_anywhere_counts(data: bytes, seconds: float) -> None:
    assert claims(data).duration_s == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("data", "frames"),
    [
        (mp4(frames=5000), 5000),
        (mp4(runs=((5000, 0),)), 5000),
        (webm(blocks=(block(0, laced=256), block(0))), 257),
        (webm(blocks=(), behind=element(0x1F43B675, element(0xA0, element(0xA1, block(0))))), 1),
    ],
)
def test_the_most_frames_that_are_stated_anywhere_count(data: bytes, frames: int) -> None:
    assert claims(data).frames == frames


@pytest.mark.parametrize("data", [mp4(size=(7680, 4320)), webm(size=(7680, 4320))])
def test_the_size_is_the_largest_that_is_described(data: bytes) -> None:
    assert claims(data).pixels == 7680 * 4320


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (mp4(behind=box(b"moof")), "Fragmented"),
        (mp4(inside_movie=box(b"mvex")), "Fragmented"),
        (mp4(flags=0), "other files"),
        (mp4(edits=1000), "edit list"),
        (mp4(scale=0), "how long"),
        (mp4(handler=b"soun"), "how large"),
        (mp4(frames=0, runs=()), "how many"),
        (mp4(units=0, media_units=0, runs=((1, 0),)), "how long"),
        (mp4(behind=mp4()), "or several"),
        (mp4(inside_movie=box(b"mvhd", bytes(100))), "or several"),
        (box(b"ftyp", b"isom"), "no table of contents"),
        (box(b"ftyp", b"avif") + box(b"meta"), "no table of contents"),
        (mp4()[:-1], "cut short"),
        (mp4() + b"\0\0\0\4free", "broken"),
        (mp4(runs=((1, 1),)).replace(b"stts\0\0\0\0\0\0\0\1", b"stts\0\0\0\0\xff\xff\xff\xff"), "cut short"),
        (webm(duration=struct.pack(">d", float("nan"))), "how long"),
        (webm(duration=struct.pack(">d", float("inf"))), "how long"),
        (webm(duration=struct.pack(">d", -1.0)), "how long"),
        (webm(duration=b"abc"), "broken"),
        (webm(scale=0), "how long"),
        (webm(blocks=()), "how many"),
        (webm(size=(0, 96)), "how large"),
        (webm(behind=element(0x1F43B675, length=b"\xff")), "Live"),
        (webm() + webm()[webm().index(b"\x18\x53\x80\x67") :], "or several"),
        (webm()[:-1], "cut short"),
        (b"\x1a\x45\xdf\xa3\x00", "broken"),
        (b"#EXTM3U\nhttp://169.254.169.254/", "not MP4"),
        (b"ffconcat version 1.0\nfile /etc/passwd", "not MP4"),
        (b"RIFF\0\0\0\0AVI ", "not MP4"),
        (b"", "not MP4"),
    ],
)
def test_what_cannot_be_walked_is_refused(data: bytes, says: str) -> None:
    assert says in fault(data)


@pytest.mark.parametrize(
    "data",
    [
        box(b"ftyp", b"isom") + box(b"free") * (MOST_ELEMENTS + 1),
        b"\x1a\x45\xdf\xa3\x80" + b"\xec\x80" * (MOST_ELEMENTS + 1),
        mp4(runs=((1, 1),) * (MOST_ELEMENTS + 1)),
    ],
)
def test_a_walk_has_an_end(data: bytes) -> None:
    assert "too many parts" in fault(data)


@settings(deadline=None)
@given(st.sampled_from([MP4, WEBM, mp4(), webm()]), st.data())
def test_no_byte_makes_the_walk_fail_otherwise(whole: bytes, data: st.DataObject) -> None:
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 8))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(changed[: data.draw(st.integers(0, len(changed)))])
    try:
        found = claims(cut)
    except Unreadable:
        return
    assert found.duration_s > 0
    assert found.frames > 0
    assert found.pixels > 0


@settings(deadline=None)
@given(st.binary(max_size=200))
@example(b"")
def test_nor_does_any_content(content: bytes) -> None:
    for data in (b"\0\0\0\x08ftyp" + content, b"\x1a\x45\xdf\xa3" + content, content):
        with pytest.raises(Unreadable):
            read_container(data)
