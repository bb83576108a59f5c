"""Reading numbers at given places of bytes that may be anything."""

from dataclasses import dataclass

# Ten minutes of WebM with sound have about as many; to walk past all of them takes 0.15 s of one core.
MOST_ELEMENTS = 50_000


class Unreadable(Exception):
    """A sentence for the caller, which holds nothing of the bytes."""


@dataclass(frozen=True, slots=True)
class Claims:
    """The most that a container says of itself anywhere: seconds, frames, and pixels of one frame."""

    duration_s: float
    frames: int
    pixels: int


class Cursor:
    """Reads big-endian numbers inside `data[start:end]`, and counts elements over the whole of one walk."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self._elements = 0

    def count(self) -> None:
        self._elements += 1
        if self._elements > MOST_ELEMENTS:
            raise Unreadable("The video has too many parts.")

    def number(self, at: int, length: int, end: int) -> int:
        """Raises Unreadable where these bytes are not all before `end`."""
        if at < 0 or at + length > end:
            raise Unreadable("The video is broken or cut short.")
        return int.from_bytes(self.data[at : at + length], "big")
