"""An internet of our own: names that lead where a test says, of which only 127.0.0.1 counts as public."""

import socket
from collections.abc import Mapping
from itertools import cycle
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

# Names that a resolver of the machine itself understands: numbers in all their spellings, and its own.
OWN = ("localhost", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")


class Names(AbstractResolver):
    """A name has sets of addresses that take turns, one a look-up; other names are the machine's, or nobody's."""

    def __init__(self, names: Mapping[str, list[list[str]]]) -> None:
        self._turns = {name: cycle(turns) for name, turns in names.items()}
        self.looked_up: list[str] = []

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[ResolveResult]:
        self.looked_up.append(host)
        name = host.rstrip(".").lower()
        if name in self._turns:
            return [entry(host, port, address) for address in next(self._turns[name])]
        if name.startswith(OWN):
            return await ThreadedResolver().resolve(host, port, family)
        raise OSError(None, "no such name")

    async def close(self) -> None:
        pass


def entry(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(
        hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST
    )
