"""Which addresses and names a caller may send the gateway to, and the check that no spelling passes by."""

import ipaddress
import socket

from aiohttp.connector import AddrInfoType

# Prefixes that carry an IPv4 address inside an IPv6 one: NAT64 (RFC 6052) and 6to4 (RFC 3056).
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")


class AddressRefused(OSError):
    """The name leads to an address that callers must not reach. An OSError so that aiohttp lets it through."""


def public_socket(address: AddrInfoType) -> socket.socket:
    """A socket for an address that is about to be connected to. Raises AddressRefused."""
    family, kind, protocol, _, place = address
    if not is_public(str(place[0])):
        raise AddressRefused("not a public address")
    return socket.socket(family, kind, protocol)


def is_public(address: str) -> bool:
    """Whether an address belongs to the public internet, looked at through IPv6's ways to wrap an IPv4 one."""
    ip = ipaddress.ip_address(address.split("%", 1)[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip in SIX_TO_FOUR or int(ip) >> 32 == 0:  # 6to4 that wraps nothing, and IPv4-compatible
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def caused_by_refusal(problem: BaseException) -> bool:
    """aiohttp wraps what its resolver raises."""
    seen: BaseException | None = problem
    while seen is not None:
        if isinstance(seen, AddressRefused) or isinstance(getattr(seen, "os_error", None), AddressRefused):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def is_within(host: str, domains: tuple[str, ...]) -> bool:
    """Whether a host name is one of the domains or below one."""
    name = host.rstrip(".").lower()
    return any(name == domain or name.endswith("." + domain) for domain in domains)
