"""Lets stock vLLM leave without losing a request: it says so, then takes no more, and stops when nothing runs.

Our launcher puts this folder on PYTHONPATH and names the class to vLLM (`--middleware`). A vLLM that is told to
stop answers what is new, or not yet handed to its core, with nothing in it and finish_reason "abort", as if that
were the answer (0.32). So the launcher's SIGUSR1 makes /health 503, while everything is served as before; its
SIGUSR2 has new requests refused with 503, which gateways try elsewhere, and SIGTERM comes when the last has ended.
"""

import os
import signal
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]
REFUSAL = b'{"error":{"message":"The engine is stopping.","type":"service_unavailable","param":null,"code":503}}'


class Leaving:
    """ASGI middleware. Made in the main thread of vLLM's API server, before it listens."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._leaving = False
        self._closed = False
        self._running = 0
        signal.signal(signal.SIGUSR1, self._leave)
        signal.signal(signal.SIGUSR2, self._close)

    def _leave(self, *_: Any) -> None:
        self._leaving = True

    def _close(self, *_: Any) -> None:
        self._leaving = self._closed = True
        self._stop_if_idle()

    def _stop_if_idle(self) -> None:
        if self._closed and not self._running:
            os.kill(os.getpid(), signal.SIGTERM)

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        if self._leaving and scope["type"] == "http" and scope["path"] == "/health":
            await _say_503(send, b"")
        elif scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
        elif self._closed:
            await _say_503(send, REFUSAL)
        else:
            self._running += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self._running -= 1
                self._stop_if_idle()


async def _say_503(send: Callable[[Message], Awaitable[None]], body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
