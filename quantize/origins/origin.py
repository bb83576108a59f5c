"""What a place is asked for from which a checkpoint is fetched: its files, and any of them from any byte on."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from quantize.errors import PullFailed

# Of other programs' messages.
MOST_TOLD = 300
# Of HTTP's statuses, those that may be another one a moment later.
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
REFUSED = frozenset({401, 403})


class SourceLost(Exception):
    """It does not answer now, or broke off: it may be asked again for what is missing."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """`sha256` and `git_sha1` as the place itself tells them, if it does; `identity` changes with the content."""

    name: str
    size: int
    identity: str
    sha256: str | None = None
    git_sha1: str | None = None


class Origin(Protocol):
    """`where` is what people are shown of it."""

    where: str

    def files(self) -> list[SourceFile]:
        """All that lies there. Raises PullFailed."""
        ...

    def read(self, file: SourceFile, start: int) -> Iterator[bytes]:
        """Its bytes from `start` on; may end early. Raises SourceLost, PullFailed."""
        ...


def after(start: int, status: int, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """What follows `start` in an answer to a request for that: who knows no ranges answers 200, with all of it."""
    skipped = start if status == 200 else 0
    for chunk in chunks:
        kept = chunk[skipped:]
        skipped = max(0, skipped - len(chunk))
        if kept:
            yield kept


def failure(where: str, status: int, login: str) -> Exception:
    """Of an answer that is an error; `login` says how one may be let in."""
    if status in PASSING:
        return SourceLost(f"it answers {status}")
    if status in REFUSED:
        return PullFailed(f"{where} may not be read (it answers {status}): {login}")
    if status == 404:
        return PullFailed(f"{where} is not there (404): see that it is spelled right, and may be read: {login}")
    return PullFailed(f"{where} cannot be read: it answers {status}")


def told(problem: BaseException) -> str:
    """The first line of another program's words."""
    lines = str(problem).strip().splitlines()
    return re.sub(r"\s+", " ", lines[0])[:MOST_TOLD] if lines else type(problem).__name__
