"""Remembers which pictures have been warmed, so that a run that was broken off goes on where it stopped."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from blake3 import blake3


class JournalError(Exception):
    """It cannot be used: one sentence that says why."""


class Journal:
    """Append-only, a line a picture; the first says what the run is of, and the journal of any other is refused.

    A line is written in one piece once its picture is done. One that a crash has torn is dropped: that picture is
    done again. `done` holds a word for each picture, by key.
    """

    def __init__(self, path: Path, run: Mapping[str, str], afresh: bool = False) -> None:
        """Raises JournalError."""
        self.path = path
        self.done: dict[str, str] = {}
        head = json.dumps({"fovea_warm": 1, **run}).encode() + b"\n"
        try:
            if not afresh and path.exists() and path.stat().st_size:
                self._load(head)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(head)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError as problem:
            raise JournalError(f"cannot use the journal {path}: {problem.strerror}") from problem

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def add(self, key: str, word: str) -> None:
        """Raises JournalError."""
        self.done[key] = word
        try:
            os.write(self._file, json.dumps([key, word]).encode() + b"\n")
        except OSError as problem:
            raise JournalError(f"cannot write the journal {self.path}: {problem.strerror}") from problem

    def _load(self, head: bytes) -> None:
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        lines = whole.splitlines(keepends=True)
        if not lines or lines[0] != head:
            known = b'"fovea_warm"' in data[:40]
            what = (
                "is of another run (another engine, model, tenant or settings)"
                if known
                else "is no journal of ours"
            )
            raise JournalError(f"{self.path} {what}: name another with --resume, or remove it")
        for line in lines[1:]:
            try:
                key, word = json.loads(line)
            except ValueError as problem:
                raise JournalError(f"{self.path} is damaged: remove it") from problem
            self.done[str(key)] = str(word)
        if len(whole) < len(data):
            os.truncate(self.path, len(whole))


def journal_path(inputs: list[str], environ: Mapping[str, str]) -> Path:
    """Beside the first input where that is a path whose folder can be written to, else in the cache folder."""
    first = Path(inputs[0]).absolute()
    if first.name and first.exists() and os.access(first.parent, os.W_OK):
        return first.with_name(first.name + ".fovea-warm.jsonl")
    cache = environ.get("XDG_CACHE_HOME") or os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".cache")
    return Path(cache) / "fovea" / "warm" / f"{blake3(inputs[0].encode()).hexdigest(length=8)}.jsonl"
