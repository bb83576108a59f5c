"""Notices that a caller leaves while its request is being worked on, and stops that work."""

import asyncio
from types import TracebackType

from starlette.types import Scope

from server.api.exchange import exchange_of


class ClientLeft(Exception):
    """The caller closed the connection: there is nobody left to answer."""


class UntilCallerLeaves:
    """While the block runs, a caller that leaves cancels it; that comes out as ClientLeft, once the block's own
    clean-up is done. Any other cancellation passes as it is.

    Needs no task: the connection itself says so (`Exchange.call_when_left`). That is said by the event loop, so
    while this task is suspended somewhere inside the block: there the cancellation arrives, and nowhere later.
    """

    def __init__(self, scope: Scope) -> None:
        self._exchange = exchange_of(scope)
        self._left = False

    def __enter__(self) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        if exchange.disconnected:
            raise ClientLeft
        self._task = asyncio.current_task()
        self._cancelled_before = self._task.cancelling() if self._task is not None else 0
        exchange.call_when_left(self._leave)

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._exchange is not None:
            self._exchange.call_when_left(None)
        if not self._left or self._task is None:
            return
        # As asyncio.timeout does: whoever else has cancelled this task shall see it cancelled.
        if self._task.uncancel() <= self._cancelled_before and kind is asyncio.CancelledError:
            raise ClientLeft from problem

    def _leave(self) -> None:
        self._left = True
        if self._task is not None:
            self._task.cancel()
