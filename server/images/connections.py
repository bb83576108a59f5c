"""Connections to image hosts that can be cut off.

A TLS connection that is closed politely reads on until its host agrees, for half a minute (asyncio and uvloop):
a host that never stops sending would be listened to long after its picture was refused, outside every bound.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import aiohttp

_used: ContextVar[list[asyncio.Transport] | None] = ContextVar("_used", default=None)


class WatchedConnector(aiohttp.TCPConnector):
    """Notes the transport of every connection that it gives out, for `cut_off` around the request."""

    async def connect(self, *args: Any, **kwargs: Any) -> aiohttp.connector.Connection:
        connection = await super().connect(*args, **kwargs)
        used, transport = _used.get(), connection.transport
        if used is not None and transport is not None:
            used.append(transport)
        return connection


class Exchange:
    """One request and its answer; `done` once nothing more can come of it."""

    done = False


@contextmanager
def cut_off() -> Iterator[Exchange]:
    """What this task connects to within the block is cut off at its end, unless the exchange was done."""
    exchange, used = Exchange(), list[asyncio.Transport]()
    token = _used.set(used)
    try:
        yield exchange
    finally:
        _used.reset(token)
        if not exchange.done:
            for transport in used:
                transport.abort()
