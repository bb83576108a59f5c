"""MP4 and QuickTime: boxes of a length, a type and what is in them (ISO/IEC 14496-12)."""

from collections.abc import Iterator

from server.images.walking import Claims, Cursor, Unreadable

FRAGMENTED = "Fragmented MP4 does not say how long it is: send it as one file (ffmpeg -c copy -movflags faststart)."
# Cameras write one or two; every further one may show the whole video again.
MOST_EDITS = 4
Box = tuple[int, int]


def read_iso_media(data: memoryview) -> Claims:
    """Raises Unreadable."""
    file = _IsoMedia(data)
    whole = (0, len(data))
    movie = file.only(whole, b"moov")
    if file.all(whole, b"moof") or file.all(movie, b"mvex"):
        raise Unreadable(FRAGMENTED)
    header = file.only(movie, b"mvhd")
    scale, duration = file.times(header, 12)
    claims = [Claims(duration / scale, 0, 0), *(file.track(each, scale) for each in file.all(movie, b"trak"))]
    return Claims(*(max(getattr(claim, name) for claim in claims) for name in Claims.__slots__))


class _IsoMedia(Cursor):
    def boxes(self, inside: Box) -> Iterator[tuple[bytes, Box]]:
        """Type and content of each box."""
        at, end = inside
        while at < end:
            self.count()
            length, header = self.number(at, 4, end), 8
            kind = bytes(self.data[at + 4 : at + 8])
            if length == 1:
                length, header = self.number(at + 8, 8, end), 16
            elif length == 0:
                length = end - at
            if length < header or at + length > end:
                raise Unreadable("The video is broken or cut short.")
            yield kind, (at + header, at + length)
            at += length

    def all(self, inside: Box, kind: bytes) -> list[Box]:
        return [box for found, box in self.boxes(inside) if found == kind]

    def only(self, inside: Box, *kinds: bytes) -> Box:
        """The box at the end of a path of boxes, each of which is there once."""
        for kind in kinds:
            found = self.all(inside, kind)
            if len(found) != 1:
                raise Unreadable("The video has no table of contents, or several.")
            inside = found[0]
        return inside

    def times(self, header: Box, at: int) -> tuple[int, int]:
        """Units a second, and how many of them, of a movie's or a media's header: 64 bits from version 1 on."""
        start, end = header
        wide = self.number(start, 1, end) == 1
        scale_at = start + at + (8 if wide else 0)
        scale = self.number(scale_at, 4, end)
        if not scale:
            raise Unreadable("The video does not say how long it is.")
        return scale, self.number(scale_at + 4, 8 if wide else 4, end)

    def track(self, track: Box, movie_scale: int) -> Claims:
        media = self.only(track, b"mdia")
        for edits in self.all(track, b"edts"):
            start, end = self.only(edits, b"elst")
            if self.number(start + 4, 4, end) > MOST_EDITS:
                raise Unreadable("The video's edit list is too long.")
        scale, duration = self.times(self.only(media, b"mdhd"), 12)
        information = self.only(media, b"minf")
        self.check_references(self.only(information, b"dinf", b"dref"))
        table = self.only(information, b"stbl")
        shown, played = self.samples(self.only(table, b"stts"))
        seconds = max(duration / scale, played / scale)
        handler, end = self.only(media, b"hdlr")
        if bytes(self.data[handler + 8 : min(handler + 12, end)]) != b"vide":
            return Claims(seconds, 0, 0)
        sizes, sizes_end = self.only(table, b"stsz")
        frames = max(shown, self.number(sizes + 8, 4, sizes_end))
        return Claims(seconds, frames, self.pixels(self.only(table, b"stsd")))

    def check_references(self, references: Box) -> None:
        """Samples lie in this file: a decoder must not be told of another one."""
        start, end = references
        for _, (at, entry_end) in self.boxes((start + 8, end)):
            if not self.number(at, 4, entry_end) & 1:
                raise Unreadable("The video refers to other files.")

    def samples(self, times: Box) -> tuple[int, int]:
        """How many samples there are, and how many units they last."""
        start, end = times
        entries = self.number(start + 4, 4, end)
        count = units = 0
        for index in range(entries):
            self.count()
            at = start + 8 + 8 * index
            run = self.number(at, 4, end)
            count += run
            units += run * self.number(at + 4, 4, end)
        return count, units

    def pixels(self, descriptions: Box) -> int:
        """Of one frame, by the largest of a track's descriptions."""
        start, end = descriptions
        sizes = [
            self.number(at + 24, 2, entry_end) * self.number(at + 26, 2, entry_end)
            for _, (at, entry_end) in self.boxes((start + 8, end))
        ]
        return max(sizes, default=0)
