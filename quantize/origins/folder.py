"""A checkpoint in a folder of this machine, or of a share that is mounted here."""

from collections.abc import Iterator
from pathlib import Path

from quantize.checkpoint import NOT_CARRIED, is_noted
from quantize.errors import PullFailed
from quantize.origins.origin import SourceFile, SourceLost, told

CHUNK = 1 << 20


class Folder:
    def __init__(self, path: Path) -> None:
        self.where = str(path)
        self._path = path

    def files(self) -> list[SourceFile]:
        if not self._path.is_dir():
            raise PullFailed(f"{self._path} is no folder")
        return sorted(self._found(), key=lambda file: file.name)

    def _found(self) -> Iterator[SourceFile]:
        for path in self._path.rglob("*"):
            within = path.relative_to(self._path)
            if path.is_file() and not is_noted(path) and not NOT_CARRIED.intersection(within.parts):
                stat = path.stat()
                yield SourceFile(str(within), stat.st_size, f"{stat.st_size}:{stat.st_mtime_ns}")

    def read(self, file: SourceFile, start: int) -> Iterator[bytes]:
        try:
            with (self._path / file.name).open("rb") as stream:
                stream.seek(start)
                while chunk := stream.read(CHUNK):
                    yield chunk
        except OSError as problem:
            raise SourceLost(told(problem)) from problem
