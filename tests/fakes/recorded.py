"""An application as it is, and a note of what it answered."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.api.wire import header
from tests.published import Exchange

MOST_KEPT = 16 * 1024**2


class Recorded:
    """Keeps whole answers; those that a caller left, or that are very long, are not among them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.exchanges: list[Exchange] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start: Message = {}
        body = bytearray()

        async def record(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.start":
                start.update(message)
            elif len(body) <= MOST_KEPT:
                body.extend(message.get("body", b""))
                if not message.get("more_body", False):
                    self.exchanges.append(exchange_of(scope, start, bytes(body)))

        await self._app(scope, receive, record)


def exchange_of(scope: Scope, start: Message, body: bytes) -> Exchange:
    headers = {bytes(name).lower(): bytes(value).decode("latin-1") for name, value in start["headers"]}
    media_type = headers.get(b"content-type", "").partition(";")[0]
    version = header(scope, b"anthropic-version")
    return Exchange(scope["method"], scope["path"], start["status"], media_type, body, version)
