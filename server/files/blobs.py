"""Where the bytes of files lie: the interface, and the embedded default, a folder."""

import asyncio
import errno
import logging
import os
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol, TypeVar

from server.errors import FileStoreFailed, FileStoreFull
from server.files.incoming import Part
from server.metrics import Metrics

log = logging.getLogger("fovea.files")

T = TypeVar("T")
CHUNK = 256 * 1024
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Blobs(Protocol):
    """Bytes by name, written once and whole. Raises FileStoreFailed."""

    async def publish(self, part: Part, name: str) -> None: ...

    async def read(self, name: str) -> bytes | None:
        """None where there are none (any more)."""

    async def open(self, name: str) -> AsyncGenerator[bytes, None] | None:
        """The same piece by piece; close what is returned."""

    async def delete(self, names: list[str]) -> None:
        """Those that are gone already do not matter."""

    def older_than(self, age_s: float) -> AsyncGenerator[list[str], None]:
        """All names that have lain here for so long, in batches."""

    async def close(self) -> None: ...


class DiskThreads:
    """Where files on the disk are worked on; the only place where the disk's errors become ours."""

    def __init__(self, metrics: Metrics, threads: int = 4) -> None:
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="files-disk")

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` to its end, even where nobody waits for it any more: what it works on may then be closed."""
        with self._errors():
            done = asyncio.get_running_loop().run_in_executor(self._threads, work)
            try:
                return await asyncio.shield(done)
            except asyncio.CancelledError:
                await asyncio.wait({done})
                raise

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            full = problem.errno in FULL
            self._metrics.file_failures.labels("disk", "full" if full else "failed").inc()
            if full:
                raise FileStoreFull("There is no room left for files.") from problem
            raise FileStoreFailed("Files cannot be written or read at the moment.") from problem


class FolderBlobs:
    """`folder`/NAME for each. Published by a rename, so it has to be on the same disk as uploads under way."""

    def __init__(self, folder: Path, disk: DiskThreads) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._disk = disk

    async def publish(self, part: Part, name: str) -> None:
        def rename() -> None:
            target = self._folder / name
            if not target.parent.is_dir():
                target.parent.mkdir(mode=0o700, exist_ok=True)
                sync(self._folder)
            os.replace(part.path, target)
            sync(target.parent)

        await self._disk.run(rename)

    async def read(self, name: str) -> bytes | None:
        def read() -> bytes | None:
            file = open_or_none(self._folder / name)
            if file is None:
                return None
            with file:
                return file.read()

        return await self._disk.run(read)

    async def open(self, name: str) -> AsyncGenerator[bytes, None] | None:
        file = await self._disk.run(lambda: open_or_none(self._folder / name))
        return None if file is None else self._chunks(file)

    async def _chunks(self, file: IO[bytes]) -> AsyncGenerator[bytes, None]:
        try:
            while chunk := await self._disk.run(lambda: file.read(CHUNK)):
                yield chunk
        finally:
            file.close()

    async def delete(self, names: list[str]) -> None:
        def unlink() -> None:
            for name in names:
                (self._folder / name).unlink(missing_ok=True)

        await self._disk.run(unlink)

    async def older_than(self, age_s: float) -> AsyncGenerator[list[str], None]:
        before = time.time() - age_s
        for tenant in await self._disk.run(lambda: sorted(os.listdir(self._folder))):
            names = await self._disk.run(lambda tenant=tenant: old_names(self._folder / tenant, before))  # type: ignore[misc]
            for start in range(0, len(names), 500):
                yield [f"{tenant}/{name}" for name in names[start : start + 500]]

    async def close(self) -> None:
        pass


async def delete_freed(blobs: Blobs, names: list[str]) -> None:
    """Delete bytes whose records are gone: what cannot be deleted now is left to the sweep of orphans."""
    if not names:
        return
    try:
        await blobs.delete(names)
    except FileStoreFailed as problem:
        log.warning("the bytes of %d files are left to a later sweep: %s", len(names), problem.code)


def open_or_none(path: Path) -> IO[bytes] | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def old_names(folder: Path, before: float) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if entry.stat().st_mtime < before]


def sync(folder: Path) -> None:
    """What has been renamed into `folder` is there after a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
