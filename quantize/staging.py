"""The folder beside the target in which a checkpoint is made: locked, resumable, renamed into place when whole."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from quantize.durable import disk_errors, sync_folder
from quantize.errors import DiskError, OutputBusy, UsageError
from quantize.journal import Journal

JOURNAL, LOCK = "journal.jsonl", "lock"
OURS = frozenset({JOURNAL, LOCK})


class Stage:
    """`.NAME.part` beside the target NAME. One process at a time holds it; what it has noted down is whole."""

    def __init__(self, folder: Path, target: Path, journal: Journal) -> None:
        self.folder, self.target, self.journal = folder, target, journal
        self.worth_keeping = False  # whatever happens, though no file is done

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 by name of the weight files that are done, in this run or an earlier one."""
        return {
            entry["file"]: entry["sha256"]
            for entry in self.journal.entries
            if (self.folder / entry["file"]).is_file()
            and (self.folder / entry["file"]).stat().st_size == entry["bytes"]
        }

    def add(self, name: str, digest: str, **more: str) -> None:
        self.journal.add({"file": name, "sha256": digest, "bytes": (self.folder / name).stat().st_size, **more})

    def discard(self) -> None:
        """What is there is not worth going on with."""
        shutil.rmtree(self.folder)

    def publish(self) -> None:
        """Rename into place; what is ours leaves first."""
        for name in OURS:
            (self.folder / name).unlink()
        sync_folder(self.folder)
        self.folder.rename(self.target)
        sync_folder(self.target.parent)


@contextmanager
def staged(source: Path | None, target: Path, run: dict[str, Any]) -> Iterator[Stage]:
    """The stage for `target`, found again if the same `run` left one; `source`: where that is a folder.

    Raises UsageError, DiskError, OutputBusy.
    """
    check_target(source, target)
    folder = target.with_name(f".{target.name}.part")
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            if problem.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            raise OutputBusy(f"another run is writing {target}: wait for it, or choose another folder") from None
        check_target(source, target)
        with Journal(folder / JOURNAL, run) as journal:
            stage = Stage(folder, target, journal)
            try:
                yield stage
            except BaseException:
                if folder.exists() and not stage.digests and not stage.worth_keeping:
                    stage.discard()
                raise
    finally:
        os.close(lock)


def check_target(source: Path | None, target: Path) -> None:
    """Raises UsageError."""
    if target.exists():
        raise UsageError(f"{target} exists already: remove it or choose another folder")
    if source is not None and source.resolve() in target.resolve().parents:
        raise UsageError(f"{target} lies inside the source: choose another folder")


def check_room(folder: Path, needed: int) -> None:
    """Raises DiskError."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DiskError(f"{folder.parent} has {free / 1e9:.2f} GB free, {needed / 1e9:.2f} are needed")
