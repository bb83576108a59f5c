"""Lets stock vLLM say that it is about to stop, while it still takes requests.

Our launcher puts this folder on PYTHONPATH and names the class to vLLM (`--middleware`). When vLLM itself is told
to stop, it answers new requests at once, with nothing in them and finish_reason "abort": gateways must have turned
to other engines by then. So /health is 503 from the launcher's SIGUSR1 on, for a while before it sends SIGTERM.
"""

import signal
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


class Leaving:
    """ASGI middleware. Made in the main thread of vLLM's API server, before it listens."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._leaving = False
        signal.signal(signal.SIGUSR1, self._leave)

    def _leave(self, *_: Any) -> None:
        self._leaving = True

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        if self._leaving and scope["type"] == "http" and scope["path"] == "/health":
            await send({"type": "http.response.start", "status": 503, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        await self._app(scope, receive, send)
