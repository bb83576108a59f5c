"""Whether an image file is all there, told from its outline without decoding anything.

An engine that decodes a broken file answers with an error at best, after work; what can be seen to be cut short or
damaged is refused before. Every walk is bounded, and comes before Pillow's own, whose are not.
"""

import re
import zlib
from itertools import islice

from server.errors import ImageError

CUT_SHORT = "The image is broken or cut short."
TOO_MANY_BLOCKS = "The image is made of too many blocks."
# Writers make one a metadata block, one an 8 KB of pixels, and one a 255 bytes of pixels, in this order.
MOST_SEGMENTS = 2_000
MOST_CHUNKS = 100_000
MOST_SUB_BLOCKS = 500_000
# Writers make ten, of a progressive JPEG. Each walks over every pixel, however few bytes it has: 200 KB of them
# took a minute to decode.
MOST_SCANS = 64
# Between the markers of frames, in numbers: Huffman's and arithmetic tables, and one that is reserved.
TABLES = frozenset({0xC4, 0xC8, 0xCC})
# Of a JPEG that costs next to nothing to look at: some tenths of a millisecond, its digest included.
MOST_QUICK_BYTES = 768 * 1024
MOST_QUICK_HEAD_BYTES = 4096
MOST_QUICK_SEGMENTS = 32
SCAN = re.compile(b"\xff\xda")


def check_outline(data: bytes, most_frames: int) -> int | None:
    """Frames of a file of a kind that is known here, counted no further than `most_frames` + 1; None of another.

    Animated PNG and WebP count as one: their headers tell. Raises ImageError.
    """
    if data[:3] == b"\xff\xd8\xff":
        check_jpeg(data)
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        check_png(data)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        check_webp(data)
    elif data[:4] == b"GIF8":
        return count_gif_frames(data, most_frames)
    else:
        return None
    return 1


def is_looked_at_in_no_time(data: bytes) -> bool:
    """Whether it is a JPEG of which little is read and nothing searched to say what it is: few and short segments
    before one sequential scan with all colours."""
    if len(data) > MOST_QUICK_BYTES or data[:3] != b"\xff\xd8\xff":
        return False
    at, colours = 2, -1
    for _ in range(MOST_QUICK_SEGMENTS):
        head = data[at : at + 10]
        if at > MOST_QUICK_HEAD_BYTES or len(head) < 10 or head[0] != 0xFF:
            return False
        kind = head[1]
        if kind == 0xDA:
            return head[4] == colours
        if kind in (0xC0, 0xC1):
            colours = head[9]
        elif 0xC0 <= kind <= 0xCF and kind not in TABLES:
            return False
        at += 2 + int.from_bytes(head[2:4], "big")
    return False


def check_jpeg(data: bytes) -> None:
    """Segments up to the first scan, an end of image and not too many scans behind it (ITU T.81 B.2).

    Raises ImageError.
    """
    at = 2
    frames: list[bytes] = []
    for _ in range(MOST_SEGMENTS):
        marker = data.find(b"\xff", at)
        if marker == -1 or marker + 4 > len(data):
            raise ImageError(CUT_SHORT)
        kind = data[marker + 1]
        at = marker + 1
        if kind in (0x00, 0x01, 0xFF) or 0xD0 <= kind <= 0xD8:  # stuffing, fill bytes, and markers without a length
            continue
        if kind == 0xD9:
            raise ImageError(CUT_SHORT)
        at += 1 + int.from_bytes(data[marker + 2 : marker + 4], "big")
        if 0xC0 <= kind <= 0xCF and kind not in TABLES:
            frames.append(data[marker + 1 : marker + 2] + data[marker + 9 : marker + 10])
        if kind == 0xDA:
            colours = data[marker + 4 : marker + 5]
            break
    else:
        raise ImageError(TOO_MANY_BLOCKS)
    # Coded data never holds these pairs: a 0xFF in it is followed by a stuffed zero.
    if data.rfind(b"\xff\xd9", at) == -1:
        raise ImageError(CUT_SHORT)
    # All colours in one sequential scan: libjpeg decodes nothing behind it (`has_multiple_scans` in jdinput.c), and
    # most photographs are not searched to their end.
    if frames in ([b"\xc0" + colours], [b"\xc1" + colours]):
        return
    # By `re`, which looks for a pair's first byte with memchr: `bytes.count` takes twice as long.
    if sum(1 for _ in islice(SCAN.finditer(data, at), MOST_SCANS)) == MOST_SCANS:
        raise ImageError(f"The image is a JPEG of more than {MOST_SCANS} scans.")


def check_png(data: bytes) -> None:
    """Every chunk whole, with the checksum that it names, up to IEND (PNG 5.3). Raises ImageError."""
    at = 8
    view = memoryview(data)
    pixels = False
    for _ in range(MOST_CHUNKS):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if end > len(data) or zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise ImageError(CUT_SHORT)
        pixels = pixels or kind == b"IDAT"
        at = end
        if kind == b"IEND":
            break
    else:
        raise ImageError(TOO_MANY_BLOCKS)
    if not pixels:
        raise ImageError(CUT_SHORT)


def check_webp(data: bytes) -> None:
    """As many bytes as the RIFF header announces. Raises ImageError."""
    if int.from_bytes(data[4:8], "little") + 8 > len(data):
        raise ImageError(CUT_SHORT)


def count_gif_frames(data: bytes, most: int) -> int:
    """Image blocks of a GIF (GIF89a, appendix A), up to `most` + 1; one that is cut short ends the count.

    Raises ImageError where there is none at all, or too many blocks to look for one.
    """
    walk = Blocks(data)
    frames = 0
    try:
        walk.skip(13 + color_table_bytes(walk.byte(10)))
        while frames <= most:
            introducer = walk.byte()
            if introducer == 0x2C:
                walk.skip(10 + color_table_bytes(walk.byte(9)) + 1)
            elif introducer == 0x21:
                walk.skip(2)
            else:
                break
            walk.skip_sub_blocks()
            frames += introducer == 0x2C
    except IndexError:
        pass
    if not frames:
        raise ImageError(CUT_SHORT)
    return frames


class Blocks:
    """A place in a GIF; IndexError at its end, and ImageError after more sub-blocks than any writer makes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._sub_blocks = 0

    def byte(self, ahead: int = 0) -> int:
        return self._data[self._at + ahead]

    def skip(self, count: int) -> None:
        self._at += count

    def skip_sub_blocks(self) -> None:
        while size := self.byte():
            self._at += size + 1
            self._sub_blocks += 1
            if self._sub_blocks > MOST_SUB_BLOCKS:
                raise ImageError(TOO_MANY_BLOCKS)
        self._at += 1


def color_table_bytes(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0
