"""One upload under way."""

from dataclasses import dataclass

from server.errors import FileQuotaExceeded, FileTooLarge
from server.files.blobs import DiskThreads
from server.files.incoming import Part
from server.files.record import Purpose, Usage


@dataclass(frozen=True, slots=True)
class FileLimits:
    """`quota` is each tenant's; `ttl_s` counts where an upload does not say how long it wants to be kept."""

    max_bytes: int
    max_uploads: int
    ttl_s: int
    quota: Usage


@dataclass(frozen=True, slots=True)
class Described:
    """What an upload says of its file."""

    filename: str
    purpose: Purpose
    ttl_s: int | None


class Upload:
    """Takes the bytes of one file to the disk; refuses those beyond what its tenant may still keep."""

    def __init__(self, part: Part, disk: DiskThreads, max_bytes: int, left: int, quota: Usage) -> None:
        self.part = part
        self._disk = disk
        self._max_bytes = max_bytes
        self._left = left
        self._quota = quota
        self._taken = 0

    async def write(self, pieces: list[bytes]) -> None:
        """Raises FileTooLarge, FileQuotaExceeded or FileStoreFailed."""
        self._taken += sum(map(len, pieces))
        if self._taken > self._max_bytes:
            raise FileTooLarge(f"The file is larger than {self._max_bytes} bytes.", "file")
        if self._taken > self._left:
            raise FileQuotaExceeded.of(self._quota.files, self._quota.bytes)
        await self._disk.run(lambda: self.part.write(pieces))
