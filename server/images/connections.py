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


class Exchange:
    """One request and its answer; `done` once nothing more can come of it, `queued` while it waits for its turn."""

    def __init__(self) -> None:
        self.done = False
        self.queued = False
        self.transports: list[asyncio.Transport] = []


_current: ContextVar[Exchange | None] = ContextVar("_current", default=None)


class WatchedConnector(aiohttp.TCPConnector):
    """Notes the transport of every connection that it gives out, for `cut_off` around the request."""

    async def connect(self, *args: Any, **kwargs: Any) -> aiohttp.connector.Connection:
        connection = await super().connect(*args, **kwargs)
        exchange, transport = _current.get(), connection.transport
        if exchange is not None and transport is not None:
            exchange.transports.append(transport)
        return connection


def watch_queue() -> aiohttp.TraceConfig:
    """For the session: tells the exchange when it waits because its host has as many connections as it may."""

    async def tell(queued: bool) -> None:
        exchange = _current.get()
        if exchange is not None:
            exchange.queued = queued

    trace = aiohttp.TraceConfig()
    trace.on_connection_queued_start.append(lambda *_: tell(True))
    trace.on_connection_queued_end.append(lambda *_: tell(False))
    return trace


@contextmanager
def cut_off() -> Iterator[Exchange]:
    """What this task connects to within the block is cut off at its end, unless the exchange was done."""
    exchange = Exchange()
    token = _current.set(exchange)
    try:
        yield exchange
    finally:
        _current.reset(token)
        if not exchange.done:
            for transport in exchange.transports:
                transport.abort()
