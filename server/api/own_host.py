"""By which names callers may call the gateway."""

import ipaddress
from collections.abc import Collection, Iterable

from server.errors import WrongHost

# Of names that were found to be ours: most callers use the same few.
MOST_KNOWN = 256
MOST_HOST_BYTES = 256


class OwnHost:
    """Refuses requests to other hosts than `names`, or, where `loopback_only`, than this machine's own.

    A page in a browser may have its own name lead here (DNS rebinding), and is then no stranger to the browser:
    where no key is asked for, the name that it called is all that tells it from a program of the machine's.
    """

    def __init__(self, names: Collection[str], loopback_only: bool) -> None:
        self._names = frozenset(name.lower() for name in names)
        self._loopback_only = loopback_only
        self._known: set[bytes] = set()

    def check(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """`headers` are ASGI's. Raises WrongHost. HTTP/1.0, which no browser speaks, may name none."""
        for name, host in headers:
            if name == b"host":
                if host not in self._known:
                    self._look_at(host)
                return

    def _look_at(self, host: bytes) -> None:
        if not self._is_own(host.decode("latin-1")):
            raise WrongHost("This gateway is not called by that name: its operator may add it to http.hosts.")
        if len(self._known) < MOST_KNOWN and len(host) < MOST_HOST_BYTES:
            self._known.add(host)

    def _is_own(self, host: str) -> bool:
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
