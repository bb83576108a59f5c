"""By which names callers may call the gateway."""

import ipaddress
from collections.abc import Collection

from starlette.types import ASGIApp, Receive, Scope, Send

from server.api.wire import header
from server.errors import WrongHost


class OwnHost:
    """Refuses requests to other hosts than `names`, or, where `loopback_only`, than this machine's own.

    A page in a browser may have its own name lead here (DNS rebinding), and is then no stranger to the browser:
    where no key is asked for, the name that it called is all that tells it from a program of the machine's.
    """

    def __init__(self, app: ASGIApp, names: Collection[str], loopback_only: bool) -> None:
        self._app = app
        self._names = frozenset(name.lower() for name in names)
        self._loopback_only = loopback_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_own(header(scope, b"host")):
            raise WrongHost("This gateway is not called by that name: its operator may add it to http.hosts.")
        await self._app(scope, receive, send)

    def _is_own(self, host: str | None) -> bool:
        if host is None:  # HTTP/1.0, which no browser speaks
            return True
        name = without_port(host.strip().lower()).removesuffix(".")
        if self._names:
            return name in self._names or is_loopback(name)
        return not self._loopback_only or is_loopback(name)


def without_port(host: str) -> str:
    if host.startswith("["):
        inside, closed, _ = host[1:].partition("]")
        return inside if closed else ""
    return host.partition(":")[0]


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own, to itself alone. Browsers know `localhost`, and what is
    below it, themselves."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
