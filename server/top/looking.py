"""Asks gateway and engines for their metrics, all at once: what does not answer is said in place of its figures."""

import asyncio
import time
from collections.abc import Mapping
from typing import Self

import aiohttp

from server.top.overview import Overview, Seen, overview_of
from server.top.reading import MOST_BYTES, Change, Reading, UnreadableMetrics, parse_reading

TIMEOUT_S = 5.0
PIECE_BYTES = 256 * 1024


class Looking:
    """Keeps the last reading of each process. Use as `async with`."""

    def __init__(self, gateway: str, engines: Mapping[str, str], api_key: str = "") -> None:
        self._gateway = gateway
        self._engines = engines
        self._last: dict[str, Reading] = {}
        self._headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._http: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        # Addresses are the operator's own: no proxy, and no redirect to elsewhere, which would be shown the key.
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(TIMEOUT_S), trust_env=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def look(self) -> Overview:
        """Rates are from the last look to this one; at the first there are none."""
        # Engines ask for no key, and learn none.
        gateway, *engines = await asyncio.gather(
            self._see(self._gateway, self._headers), *(self._see(url, {}) for url in self._engines.values())
        )
        return overview_of(gateway, dict(zip(self._engines, engines, strict=True)))

    async def _see(self, url: str, headers: Mapping[str, str]) -> Seen:
        try:
            reading = parse_reading(await self._read(f"{url}/metrics", headers), time.monotonic())
        except (aiohttp.ClientError, TimeoutError, UnreadableMetrics) as problem:
            self._last.pop(url, None)
            return Seen(None, told(problem))
        before = self._last.get(url, reading)
        self._last[url] = reading
        return Seen(Change(before, reading))

    async def _read(self, url: str, headers: Mapping[str, str]) -> bytes:
        """Raises aiohttp.ClientError, TimeoutError, UnreadableMetrics."""
        async with self._http.get(url, headers=headers, allow_redirects=False) as answer:
            if answer.status != 200:
                key = (
                    ": it asks for a key with the scope admin (FOVEA_API_KEY)"
                    if answer.status in (401, 403)
                    else ""
                )
                raise UnreadableMetrics(f"answers /metrics with {answer.status}{key}")
            text = bytearray()
            async for piece in answer.content.iter_chunked(PIECE_BYTES):
                text += piece
                if len(text) > MOST_BYTES:
                    break
            return bytes(text)


def told(problem: aiohttp.ClientError | TimeoutError | UnreadableMetrics) -> str:
    """In one line; a client's own words are not shown, since addresses may hold passwords."""
    if isinstance(problem, UnreadableMetrics):
        return str(problem)
    return "does not answer in time" if isinstance(problem, TimeoutError) else "cannot be reached"
