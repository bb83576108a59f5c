"""What a step has measured so far, in one JSON file: written after each figure, so that a stopped run goes on."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Record = dict[str, Any]


class Notes:
    """Of one step on one machine. Those of another machine, other versions or a dry run are begun anew: what is in
    one file belongs together."""

    def __init__(self, path: Path, machine: Record) -> None:
        self._path = path
        known = read_notes(path)
        today = datetime.now(UTC).date().isoformat()
        fresh = {"machine": machine, "begun": today, "records": {}}
        self._content: Record = (known if known.get("machine") == machine else fresh) | {"date": today}

    def has(self, key: str) -> bool:
        return key in self._content["records"]

    def get(self, key: str) -> Record:
        found: Record = self._content["records"][key]
        return found

    def add(self, key: str, record: Record) -> None:
        self._content["records"][key] = record
        self._content.pop("failed", None)
        self._write()

    @property
    def done(self) -> bool:
        return bool(self._content.get("done"))

    def end(self, took_s: float) -> None:
        self._content.pop("failed", None)
        self._content |= {"done": True, "took_s": self._content.get("took_s", 0.0) + took_s}
        self._write()

    def fail(self, why: str) -> None:
        self._content |= {"done": False, "failed": why}
        self._write()

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps(self._content, indent=1) + "\n")
        os.replace(part, self._path)


def read_notes(path: Path) -> Record:
    """Nothing, where there is no such file."""
    found: Record = json.loads(path.read_text()) if path.exists() else {}
    return found
