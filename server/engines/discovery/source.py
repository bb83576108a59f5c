"""Where engines are found: a list that is written down, a name in DNS, or a Kubernetes service."""

import asyncio
from collections.abc import Sequence
from typing import Protocol


class Source(Protocol):
    """`written` is the list that is written down, where there is one. `changed` is set by sources that notice
    themselves, so that nobody has to wait for the next look."""

    written: Sequence[str] | None
    changed: asyncio.Event

    async def urls(self) -> Sequence[str] | None:
        """Base URLs of the engines there are now; None where that could not be found out: the last known stay."""
        ...

    async def close(self) -> None: ...


class WrittenSource:
    """The engines of a list, which never changes."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.written: Sequence[str] | None = tuple(dict.fromkeys(urls))
        self.changed = asyncio.Event()

    async def urls(self) -> Sequence[str] | None:
        return self.written

    async def close(self) -> None: ...
