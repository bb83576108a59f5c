"""Containers of videos, written by hand: what a file claims can be anything."""

import struct
from pathlib import Path

FOLDER = Path(__file__).parent / "videos"
# Three seconds of red, then green, at 8 pictures a second and 96 x 96, written by FFmpeg.
MP4, WEBM = ((FOLDER / f"two_colours.{kind}").read_bytes() for kind in ("mp4", "webm"))


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I", 8 + len(body)) + kind + body


def mp4(
    *,
    units: int = 3000,
    media_units: int = 3000,
    runs: tuple[tuple[int, int], ...] = ((24, 125),),
    frames: int = 24,
    size: tuple[int, int] = (96, 96),
    handler: bytes = b"vide",
    flags: int = 1,
    edits: int = 1,
    scale: int = 1000,
    inside_movie: bytes = b"",
    behind: bytes = b"",
) -> bytes:
    header = struct.pack(">IIIII", 0, 0, 0, scale, units) + bytes(80)
    entry = box(b"avc1", bytes(24), struct.pack(">HH", *size), bytes(50))
    table = box(
        b"stbl",
        box(b"stsd", struct.pack(">II", 0, 1), entry),
        box(b"stts", struct.pack(">II", 0, len(runs)), *(struct.pack(">II", *run) for run in runs)),
        box(b"stsz", struct.pack(">III", 0, 0, frames)),
    )
    references = box(b"dinf", box(b"dref", struct.pack(">II", 0, 1), box(b"url ", struct.pack(">I", flags))))
    media = box(
        b"mdia",
        box(b"mdhd", struct.pack(">IIIII", 0, 0, 0, 1000, media_units), bytes(4)),
        box(b"hdlr", bytes(8), handler, bytes(13)),
        box(b"minf", references, table),
    )
    track = box(b"trak", box(b"edts", box(b"elst", struct.pack(">II", 0, edits))), media)
    return box(b"ftyp", b"isom") + box(b"moov", box(b"mvhd", header), track, inside_movie) + behind


def element(name: int, *content: bytes, length: bytes | None = None) -> bytes:
    body = b"".join(content)
    return (
        name.to_bytes((name.bit_length() + 7) // 8, "big")
        + (length or struct.pack(">Q", 1 << 56 | len(body)))
        + body
    )


def block(offset: int, laced: int | None = None) -> bytes:
    """Of track 1, `offset` units into its cluster; `laced` frames in it."""
    return b"\x81" + struct.pack(">hB", offset, 0 if laced is None else 6) + bytes([(laced or 1) - 1]) + b"frame"


def webm(
    *,
    duration: bytes = struct.pack(">d", 3000.0),
    scale: int = 1_000_000,
    size: tuple[int, int] = (96, 96),
    began: int = 0,
    blocks: tuple[bytes, ...] = (block(0), block(2875)),
    behind: bytes = b"",
) -> bytes:
    sides = (element(name, struct.pack(">H", side)) for name, side in zip((0xB0, 0xBA), size, strict=True))
    segment = element(
        0x18538067,
        element(0x1549A966, element(0x2AD7B1, struct.pack(">I", scale)), element(0x4489, duration)),
        element(0x1654AE6B, element(0xAE, element(0x83, b"\x01"), element(0xE0, *sides))),
        element(0x1F43B675, element(0xE7, struct.pack(">I", began)), *(element(0xA3, each) for each in blocks)),
        behind,
    )
    return element(0x1A45DFA3, element(0x4282, b"webm")) + segment
