"""Every reply as it comes, one JSON line each, so that a broken run goes on where it stopped."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self

from quantize.errors import UsageError

Side = Literal["base", "candidate"]
SIDES: tuple[Side, ...] = ("base", "candidate")


@dataclass(frozen=True, slots=True)
class Reply:
    """`finished`: the model stopped by itself. `fault` is what the endpoint said instead of answering."""

    text: str
    finished: bool
    fault: str = ""


class Journal:
    """Append-only; the first line says what is being asked, and a journal of anything else is refused.

    A line torn by a crash is dropped: its question is asked again.
    """

    def __init__(self, path: Path, run: dict[str, Any]) -> None:
        """Raises UsageError."""
        self.replies: dict[tuple[Side, str], Reply] = {}
        self._stream: IO[str] | None = None
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size:
            self._load(run)
        else:
            path.write_text(json.dumps({"run": run}) + "\n")

    def __enter__(self) -> Self:
        self._stream = self._path.open("a")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream:
            self._stream.close()

    def add(self, side: Side, key: str, reply: Reply) -> None:
        assert self._stream is not None, "a journal is written inside its `with` block"
        self.replies[side, key] = reply
        self._stream.write(json.dumps({"side": side, "key": key, **asdict(reply)}) + "\n")
        self._stream.flush()

    def _load(self, run: dict[str, Any]) -> None:
        data = self._path.read_bytes()
        whole = data.rpartition(b"\n")[0] + b"\n"
        if len(whole) < len(data):
            os.truncate(self._path, len(whole))
        head, *lines = whole.decode(errors="replace").splitlines()
        try:
            known = json.loads(head)["run"]
        except (ValueError, KeyError, TypeError) as problem:
            raise UsageError(f"{self._path} is not a journal of answers: choose another --out") from problem
        if known != run:
            changed = sorted(name for name in run.keys() | known.keys() if run.get(name) != known.get(name))
            raise UsageError(
                f"{self._path} holds the answers of another run ({', '.join(changed)} differ): choose another --out"
            )
        for number, line in enumerate(lines, 2):
            try:
                entry = json.loads(line)
                reply = Reply(entry["text"], entry["finished"], entry["fault"])
                self.replies[entry["side"], entry["key"]] = reply
            except (ValueError, KeyError, TypeError) as problem:
                raise UsageError(
                    f"{self._path}:{number} is damaged: remove that line, it is asked again"
                ) from problem
