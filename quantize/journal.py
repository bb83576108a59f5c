"""Results as they come, one JSON line each, so that a broken run goes on where it stopped."""

import json
import os
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from quantize.errors import UsageError


class Journal:
    """Append-only; the first line says what the run is, and the journal of any other run is refused.

    A line torn by a crash is dropped: its work is done again.
    """

    def __init__(self, path: Path, run: dict[str, Any]) -> None:
        """Raises UsageError."""
        self.entries: list[dict[str, Any]] = []
        self.path = path
        self._stream: IO[str] | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and path.stat().st_size:
                self._load(run)
            else:
                path.write_text(json.dumps({"run": run}) + "\n")
        except OSError as problem:
            raise UsageError(f"cannot write {path}: {problem.strerror}") from problem

    def __enter__(self) -> Self:
        self._stream = self.path.open("a")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream:
            self._stream.close()

    def add(self, entry: dict[str, Any]) -> None:
        assert self._stream is not None, "a journal is written inside its `with` block"
        self.entries.append(entry)
        self._stream.write(json.dumps(entry) + "\n")
        self._stream.flush()

    def _load(self, run: dict[str, Any]) -> None:
        data = self.path.read_bytes()
        whole = data.rpartition(b"\n")[0] + b"\n"
        if len(whole) < len(data):
            os.truncate(self.path, len(whole))
        head, *lines = whole.decode(errors="replace").splitlines()
        try:
            known = json.loads(head)["run"]
        except (ValueError, KeyError, TypeError) as problem:
            raise UsageError(
                f"{self.path} is not a journal of ours: choose another folder, or remove it"
            ) from problem
        if known != run:
            changed = sorted(name for name in run.keys() | known.keys() if run.get(name) != known.get(name))
            raise UsageError(
                f"{self.path} holds the results of another run ({', '.join(changed)} differ): choose another "
                "folder, or remove it"
            )
        for number, line in enumerate(lines, 2):
            try:
                self.entries.append(json.loads(line))
            except ValueError as problem:
                raise UsageError(
                    f"{self.path}:{number} is damaged: remove that line, it is done again"
                ) from problem
