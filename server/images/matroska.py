"""WebM and Matroska: elements of an id, a length and what is in them (EBML, RFC 8794; Matroska, RFC 9559)."""

import struct
from collections.abc import Iterator

from server.images.walking import Claims, Cursor, Unreadable

SEGMENT, INFO, TRACKS, TRACK, VIDEO, CLUSTER = 0x18538067, 0x1549A966, 0x1654AE6B, 0xAE, 0xE0, 0x1F43B675
SCALE, DURATION, TRACK_TYPE, WIDTH, HEIGHT = 0x2AD7B1, 0x4489, 0x83, 0xB0, 0xBA
TIMESTAMP, SIMPLE_BLOCK, BLOCK_GROUP, BLOCK = 0xE7, 0xA3, 0xA0, 0xA1
LIVE = "Live WebM does not say how long it is: send it as a file (ffmpeg -c copy)."
LACING = 0x06
Element = tuple[int, int]


def read_matroska(data: memoryview) -> Claims:
    """Raises Unreadable."""
    file = _Matroska(data)
    segments = [place for found, place in file.elements((0, len(data))) if found == SEGMENT]
    if len(segments) != 1:
        raise Unreadable("The video has no segment, or several.")
    scale, duration, last, frames, pixels = 1_000_000, 0.0, 0, 0, 0
    for found, place in file.elements(segments[0]):
        if found == INFO:
            scale, duration = file.information(place, scale, duration)
        elif found == TRACKS:
            pixels = max(pixels, file.pixels(place))
        elif found == CLUSTER:
            began, blocks = file.cluster(place)
            last, frames = max(last, began), frames + blocks
    if not duration > 0:
        raise Unreadable(LIVE)
    return Claims(max(duration, float(last)) * scale / 1e9, frames, pixels)


class _Matroska(Cursor):
    def elements(self, inside: Element) -> Iterator[tuple[int, Element]]:
        """Id and content of each element."""
        at, end = inside
        while at < end:
            self.count()
            name, at = self.variable(at, end, keep_marker=True)
            length, at = self.variable(at, end, keep_marker=False)
            if at + length > end:
                raise Unreadable("The video is broken or cut short.")
            yield name, (at, at + length)
            at += length

    def variable(self, at: int, end: int, *, keep_marker: bool) -> tuple[int, int]:
        """A number whose first bit that is set tells its length, and the place behind it."""
        first = self.number(at, 1, end)
        length = 9 - first.bit_length()
        if length > 8:
            raise Unreadable("The video is broken.")
        value = self.number(at, length, end)
        if keep_marker:
            return value, at + length
        value &= (1 << 7 * length) - 1
        if value == (1 << 7 * length) - 1:
            raise Unreadable(LIVE)
        return value, at + length

    def value(self, place: Element) -> int:
        start, end = place
        if end - start > 8:
            raise Unreadable("The video is broken.")
        return self.number(start, end - start, end)

    def information(self, place: Element, scale: int, duration: float) -> tuple[int, float]:
        """Nanoseconds a unit, and how many units."""
        for found, inside in self.elements(place):
            if found == SCALE:
                scale = self.value(inside)
            elif found == DURATION:
                kind = {4: ">f", 8: ">d"}.get(inside[1] - inside[0])
                if kind is None:
                    raise Unreadable("The video is broken.")
                duration = struct.unpack_from(kind, self.data, inside[0])[0]
        if not scale or duration != duration or duration == float("inf"):
            raise Unreadable("The video does not say how long it is.")
        return scale, duration

    def pixels(self, tracks: Element) -> int:
        """Of one frame, by the largest of all tracks."""
        most = 0
        for found, track in self.elements(tracks):
            if found != TRACK:
                continue
            for inside, video in self.elements(track):
                if inside == VIDEO:
                    sizes = {name: self.value(at) for name, at in self.elements(video) if name in (WIDTH, HEIGHT)}
                    most = max(most, sizes.get(WIDTH, 0) * sizes.get(HEIGHT, 0))
        return most

    def cluster(self, place: Element) -> tuple[int, int]:
        """When its last block is shown, and how many frames it holds."""
        began = last = frames = 0
        for found, inside in self.elements(place):
            if found == TIMESTAMP:
                began = self.value(inside)
            elif found == SIMPLE_BLOCK:
                blocks = [inside]
            elif found == BLOCK_GROUP:
                blocks = [block for name, block in self.elements(inside) if name == BLOCK]
            if found not in (SIMPLE_BLOCK, BLOCK_GROUP):
                continue
            for start, end in blocks:
                _, at = self.variable(start, end, keep_marker=True)
                offset = self.number(at, 2, end)
                last = max(last, offset - (offset >> 15 << 16))
                laced = self.number(at + 2, 1, end) & LACING
                frames += self.number(at + 3, 1, end) + 1 if laced else 1
        return began + last, frames
