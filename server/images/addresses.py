"""Which addresses and names a caller may send the gateway to, and the check that no spelling passes by."""

import ipaddress
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp.abc import AbstractResolver
from aiohttp.connector import AddrInfoType
from aiohttp.resolver import ThreadedResolver

# Prefixes that carry an IPv4 address inside an IPv6 one: NAT64 (RFC 6052) and 6to4 (RFC 3056).
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")
LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
# What Python calls global, or does in some of its versions, and is not the public internet's.
NEVER = [
    ipaddress.ip_network(network)
    for network in (
        "168.63.129.16/32",  # Azure's host: metadata, DNS and more for every virtual machine
        "192.0.0.0/24",  # protocol assignments; 192.0.0.192 has been a cloud's metadata
        "192.88.99.0/24",  # 6to4 relays
        "64:ff9b:1::/48",  # NAT64 of a site's own choice: it may lead to any address of the site (RFC 8215)
        "2001::/32",  # Teredo
        "3fff::/20",  # documentation (RFC 9637)
        "5f00::/16",  # segment routing
        "fec0::/10",  # site-local
    )
]


class AddressRefused(OSError):
    """The name leads to an address that callers must not reach. An OSError so that aiohttp lets it through."""


def is_public(address: str) -> bool:
    """Whether an address belongs to the public internet, looked at through IPv6's ways to wrap an IPv4 one."""
    ip = ipaddress.ip_address(address.split("%", 1)[0])
    if any(ip in network for network in NEVER):
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip in SIX_TO_FOUR or int(ip) >> 32 == 0:  # 6to4 that wraps nothing, and IPv4-compatible
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


@dataclass(frozen=True, slots=True)
class Network:
    """How names become addresses, and which of these may be reached. The last look is at the very address that a
    socket is made for, so that nothing a name says later (DNS rebinding) matters."""

    make_resolver: Callable[[], AbstractResolver] = ThreadedResolver
    may_reach: Callable[[str], bool] = is_public

    def socket(self, address: AddrInfoType) -> socket.socket:
        """A socket for an address that is about to be connected to. Raises AddressRefused."""
        family, kind, protocol, _, place = address
        if not self.may_reach(str(place[0])):
            raise AddressRefused("not a public address")
        return socket.socket(family, kind, protocol)


def caused_by_refusal(problem: BaseException) -> bool:
    """aiohttp wraps what its resolver raises."""
    seen: BaseException | None = problem
    while seen is not None:
        if isinstance(seen, AddressRefused) or isinstance(getattr(seen, "os_error", None), AddressRefused):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def is_host(host: str) -> bool:
    """Whether a host is a name in ASCII or an address without a zone: nothing that resolvers read their own way."""
    if ":" in host:
        try:
            return "%" not in host and ipaddress.IPv6Address(host) is not None
        except ValueError:
            return False
    name = host.removesuffix(".")
    return len(name) <= 253 and all(LABEL.fullmatch(label) for label in name.split("."))


def is_within(host: str, domains: tuple[str, ...]) -> bool:
    """Whether a host name is one of the domains or below one."""
    name = host.rstrip(".").lower()
    return any(name == domain or name.endswith("." + domain) for domain in domains)
