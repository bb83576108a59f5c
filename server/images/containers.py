"""What a video's container claims: how long, how many frames, how large. Nothing is decoded, nothing is trusted.

Only what can be walked from end to end in a bounded number of steps is taken: MP4 and QuickTime that is not
fragmented (ISO/IEC 14496-12), WebM and Matroska of known lengths (RFC 8794, RFC 9559). Playlists, which would make
a decoder fetch, are neither.
"""

from collections.abc import Callable
from dataclasses import dataclass

from server.images.iso_media import read_iso_media
from server.images.matroska import read_matroska
from server.images.walking import Claims, Unreadable

MP4_MAGIC, EBML_MAGIC = b"ftyp", b"\x1a\x45\xdf\xa3"


@dataclass(frozen=True, slots=True)
class Container:
    media_type: str
    claims: Claims


def read_container(data: bytes) -> Container:
    """Raises Unreadable, with a sentence for the caller."""
    if data[4:8] == MP4_MAGIC:
        return Container("video/mp4", _read(read_iso_media, data))
    if data[:4] == EBML_MAGIC:
        return Container("video/webm", _read(read_matroska, data))
    raise Unreadable("The video is not MP4, QuickTime, WebM or Matroska.")


def _read(read: Callable[[memoryview], Claims], data: bytes) -> Claims:
    claims = read(memoryview(data))
    if not claims.frames or not claims.pixels or not claims.duration_s > 0:
        raise Unreadable("The video does not say how long, how large and how many pictures it is.")
    return claims
