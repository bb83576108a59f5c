"""Server-sent events out of an engine's bytes, wherever these are cut, with a bound on what is held."""

from collections.abc import Iterator

from server.errors import EngineError

MOST_HELD_BYTES = 1024**2


class EventReader:
    """Yields the data of each event once its last line is whole. Events of several data lines are joined by them.

    Lines end in LF or CRLF: a lone CR, which the standard allows too, is sent by no engine of ours.
    """

    def __init__(self, engine: str, most_bytes: int = MOST_HELD_BYTES) -> None:
        self._engine = engine
        self._most_bytes = most_bytes
        self._line = bytearray()
        self._data: list[bytes] = []
        self._held = 0

    def feed(self, frame: bytes) -> Iterator[bytes]:
        """Raises EngineError where an event is larger than the bound."""
        start = 0
        while (end := frame.find(b"\n", start)) >= 0:
            self._hold(frame[start:end])
            line = bytes(self._line)
            self._line.clear()
            start = end + 1
            if line in (b"", b"\r"):
                yield from self._finish_event()
            elif line.startswith(b"data:"):
                self._data.append(line[5:].strip(b" \r"))
            else:
                self._held -= len(line)  # a comment, or a field that nobody here reads
        self._hold(frame[start:])

    def _hold(self, piece: bytes) -> None:
        self._held += len(piece)
        if self._held > self._most_bytes:
            raise EngineError(f"{self._engine} sent an event of more than {self._most_bytes} bytes.")
        self._line += piece

    def _finish_event(self) -> Iterator[bytes]:
        data, self._data, self._held = self._data, [], 0
        if data:
            yield b"\n".join(data)
