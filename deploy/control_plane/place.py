"""Where the control plane lies when it is built, and what can be known while it is not: for build.py and tests."""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

HERE = Path(__file__).resolve().parent
PLACE = HERE.parent.parent / ".venv" / "control-plane"
PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
PACKAGES = 1500  # of Go, that are compiled: each is a line of the log


class Place:
    """It holds the programs when its stamp says so. Who builds has its lock; who failed left word."""

    def __init__(self, folder: Path = PLACE) -> None:
        self.folder = folder
        self.log = folder / "build.log"
        self._stamp = folder / ".fovea-stamp"
        self._failure = folder / "failure.json"
        self._builder = folder / "pid"
        self._made_of = fingerprint()

    def is_built(self) -> bool:
        return self._stamp.exists() and self._stamp.read_text() == self._made_of

    def is_building(self) -> bool:
        """Somebody is at it now."""
        if not (self.folder / "lock").exists():
            return False
        with (self.folder / "lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    @contextmanager
    def building(self) -> Iterator[None]:
        """Alone: whoever else builds is waited for."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._failure.unlink(missing_ok=True)
            self._builder.write_text(str(os.getpid()))
            yield

    def take(self, programs: Path, etcd: Path) -> None:
        """By renaming: they may be running."""
        os.replace(programs, self.folder / "kubernetes")
        os.replace(etcd, self.folder / "etcd")
        for name in PROGRAMS:
            (self.folder / name).unlink(missing_ok=True)
            (self.folder / name).symlink_to("kubernetes")
        self._stamp.write_text(self._made_of)

    def fail(self, kind: str, sentence: str) -> None:
        self._failure.write_text(json.dumps({"kind": kind, "sentence": sentence}))

    def failure(self) -> tuple[str, str]:
        """Why nothing is built: kind, `unavailable` or `failed`, and sentence."""
        if not self._failure.exists() and self.log.exists():
            return "failed", "the build ended without a word"
        if not self._failure.exists():
            return "unavailable", "it was not built"
        said = json.loads(self._failure.read_text())
        return said["kind"], said["sentence"]

    def compiled(self) -> int:
        """How many of PACKAGES the log tells of."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return sum("/" in line and " " not in line for line in lines)

    def last_lines(self, count: int) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()[-count:] if self.log.exists() else []

    def hurry(self) -> None:
        """Somebody waits for the build now: it is no longer behind everything else, where this user may say so."""
        with suppress(OSError, ValueError):
            builder = int(self._builder.read_text())
            os.setpriority(os.PRIO_PGRP, builder, 0)
            Path(f"/proc/{builder}/autogroup").write_text("0")


def fingerprint() -> str:
    """Changes whenever what is built does."""
    files = sorted(path for path in HERE.iterdir() if path.suffix in {".py", ".go"})
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()
