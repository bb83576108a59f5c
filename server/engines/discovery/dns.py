"""Engines behind one name: the A and AAAA records of a headless service, asked for again at every look."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence

log = logging.getLogger("fovea.engines")

LOOKUP_TIMEOUT_S = 5
Lookup = Callable[[str, int], Awaitable[list[str]]]


async def look_up(host: str, port: int) -> list[str]:
    """The name's addresses, by the system's resolver, in a thread of the loop's. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[4][0]) for address in found]


class DnsSource:
    """At most `most` engines, the same ones in every gateway that sees the same records."""

    def __init__(self, host: str, port: int, most: int, ask: Lookup | None = None) -> None:
        self.written: Sequence[str] | None = None
        self.changed = asyncio.Event()
        self._host = host
        self._port = port
        self._most = most
        self._ask = ask or look_up
        self._asking: asyncio.Future[list[str]] | None = None
        self._failing = False

    async def urls(self) -> Sequence[str] | None:
        addresses = await self._addresses()
        if (addresses is None) != self._failing:
            self._failing = addresses is None
            log.warning("%s %s", self._host, "has no address in DNS now" if self._failing else "is in DNS again")
        if addresses is None:
            return None
        return [make_url(address, self._port) for address in of_one_family(addresses)][: self._most]

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()

    async def _addresses(self) -> list[str] | None:
        # A resolver that hangs keeps one thread, not one more at every look.
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._ask(self._host, self._port))
        asking = self._asking
        await asyncio.wait({asking}, timeout=LOOKUP_TIMEOUT_S)
        if not asking.done():
            return None
        self._asking = None
        try:
            return asking.result() or None
        except OSError:
            return None


def of_one_family(addresses: list[str]) -> list[str]:
    """In order. Where both families are answered, each engine would be there twice: IPv4 it is, then."""
    four = {address for address in addresses if ":" not in address}
    return sorted(four or set(addresses))


def make_url(address: str, port: int) -> str:
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
