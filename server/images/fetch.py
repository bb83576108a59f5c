"""Fetches image URLs for the gateway, so that no engine ever does; addresses are checked at connect time.

Every address is looked at when a socket is made for it, whatever spelled it: a literal, a name, or a name that
changes its mind between two answers (DNS rebinding). There is no other way out.
"""

import asyncio
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp.connector import AddrInfoType
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from server.errors import GatewayError, ImageFetchFailed, ImageTooLarge, ImageUrlRefused
from server.memory import Holding

CHUNK_BYTES = 64 * 1024
REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Prefixes that carry an IPv4 address inside an IPv6 one: NAT64 (RFC 6052) and 6to4 (RFC 3056).
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """`max_bytes` of one body; `timeout_s` for the whole of a fetch, redirects included."""

    max_bytes: int
    timeout_s: float
    max_redirects: int
    max_fetches: int
    allow_http: bool
    allow_private_addresses: bool
    ca_file: Path | None


class AddressRefused(OSError):
    """The name leads to an address that callers must not reach. An OSError so that aiohttp lets it through."""


def public_socket(address: AddrInfoType) -> socket.socket:
    """A socket for an address that is about to be connected to. Raises AddressRefused."""
    family, kind, protocol, _, place = address
    if not is_public(str(place[0])):
        raise AddressRefused("not a public address")
    return socket.socket(family, kind, protocol)


class ImageFetcher:
    """One session for all fetches: no cookies, no proxy settings, no credentials, bounded concurrency."""

    def __init__(self, limits: FetchLimits) -> None:
        self._limits = limits
        self._slots = asyncio.Semaphore(limits.max_fetches)
        context = ssl.create_default_context()
        if limits.ca_file:
            context.load_verify_locations(limits.ca_file)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=ThreadedResolver(),
                socket_factory=None if limits.allow_private_addresses else public_socket,
                ssl=context,
                use_dns_cache=False,
                limit=limits.max_fetches,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            headers={"user-agent": "fovea", "accept": "image/*", "accept-encoding": "identity"},
        )

    async def close(self) -> None:
        await self._session.close()

    async def fetch(self, url: str, path: str, holding: Holding) -> bytes:
        """The body behind `url`, for whose bytes `holding` has a permit before any is read.

        Raises ImageUrlRefused, ImageFetchFailed or ImageTooLarge, naming `path`; BusyError.
        """
        try:
            async with asyncio.timeout(self._limits.timeout_s), self._slots:
                return await self._follow(url, path, holding)
        except GatewayError:
            raise
        except AddressRefused as problem:
            raise ImageUrlRefused("The image URL leads to an address that is not public.", path) from problem
        except TimeoutError as problem:
            raise ImageFetchFailed(
                f"The image could not be fetched within {self._limits.timeout_s:g} s.", path
            ) from problem
        except aiohttp.InvalidURL as problem:
            raise ImageUrlRefused("The image URL is malformed.", path) from problem
        except (aiohttp.ClientError, OSError, ValueError) as problem:
            if caused_by_refusal(problem):
                raise ImageUrlRefused("The image URL leads to an address that is not public.", path) from problem
            raise ImageFetchFailed("The image could not be fetched from its URL.", path) from problem

    async def _follow(self, text: str, path: str, holding: Holding) -> bytes:
        url = parse_url(text, path)
        for _ in range(self._limits.max_redirects + 1):
            self._check_url(url, path)
            async with self._session.get(url, allow_redirects=False) as response:
                location = response.headers.get("location")
                if response.status in REDIRECTS and location:
                    url = url.join(parse_url(location, path))
                    continue
                if response.status != 200:
                    raise ImageFetchFailed(f"The image's host answered with status {response.status}.", path)
                return await self._read(response, path, holding)
        raise ImageFetchFailed(f"The image URL redirects more than {self._limits.max_redirects} times.", path)

    def _check_url(self, url: URL, path: str) -> None:
        schemes = {"https", "http"} if self._limits.allow_http else {"https"}
        if url.scheme not in schemes:
            raise ImageUrlRefused(f"Image URLs must start with {' or '.join(sorted(schemes))}.", path)
        if not url.raw_host or url.raw_user is not None or url.raw_password is not None:
            raise ImageUrlRefused("The image URL must name a host and hold no credentials.", path)

    async def _read(self, response: aiohttp.ClientResponse, path: str, holding: Holding) -> bytes:
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise ImageFetchFailed("The image's host sent a compressed body.", path)
        most = self._limits.max_bytes
        permitted = most if response.content_length is None else response.content_length
        if permitted > most:
            raise ImageTooLarge(f"The image is larger than {most} bytes.", path)
        await holding.take(permitted)
        chunks: list[bytes] = []
        held = 0
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            held += len(chunk)
            if held > most:
                raise ImageTooLarge(f"The image is larger than {most} bytes.", path)
            chunks.append(chunk)
        holding.give(permitted - held)
        return b"".join(chunks)


def parse_url(text: str, path: str) -> URL:
    """By the parser of the library that connects: two parsers may read two hosts. Raises ImageUrlRefused."""
    try:
        return URL(text)
    except (ValueError, TypeError) as problem:
        raise ImageUrlRefused("The image URL is malformed.", path) from problem


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
