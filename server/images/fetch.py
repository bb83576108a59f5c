"""Fetches image URLs for the gateway, so that no engine ever does.

Every address is looked at when a socket is made for it (`server.images.addresses`), at every hop; there is no other
way out. No cookies, no proxy, no credentials.
"""

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from yarl import URL

from server.errors import BusyError, GatewayError, ImageFetchFailed, ImageTooLarge, ImageUrlRefused
from server.images.addresses import AddressRefused, Network, caused_by_refusal, is_host, is_within
from server.images.connections import Exchange, WatchedConnector, cut_off, watch_queue
from server.images.freshness import Validators, fresh_for
from server.memory import Holding

CHUNK_BYTES = 64 * 1024
MOST_URL = 8 * 1024
REDIRECTS = frozenset({301, 302, 303, 307, 308})
TOO_MANY = "Too many images are being fetched: try again later."
NOT_PUBLIC = "The image URL leads to an address that is not public."


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """`max_bytes` of one body; `timeout_s` for the whole of a fetch, redirects included, `first_byte_s` for an
    answer to begin. With `allow_domains`, only these and what is below them; never `deny_domains`."""

    max_bytes: int
    timeout_s: float
    connect_s: float
    first_byte_s: float
    max_redirects: int
    max_fetches: int
    max_per_host: int
    allow_http: bool
    allow_private_addresses: bool
    allow_domains: tuple[str, ...]
    deny_domains: tuple[str, ...]
    ca_file: Path | None
    default_ttl_s: float
    max_ttl_s: float
    accept: str = "image/*"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A body, or None where the host says that the one we know still holds. `fresh_s` None: not to be kept."""

    data: bytes | None
    validators: Validators
    fresh_s: float | None


class ImageFetcher:
    """One session for all fetches, in bounded number, over all and to each host."""

    def __init__(self, limits: FetchLimits, network: Network) -> None:
        self._limits = limits
        self._slots = asyncio.Semaphore(limits.max_fetches)
        context = ssl.create_default_context()
        if limits.ca_file:
            context.load_verify_locations(limits.ca_file)
        self._session = aiohttp.ClientSession(
            connector=WatchedConnector(
                resolver=network.make_resolver(),
                socket_factory=None if limits.allow_private_addresses else network.socket,
                ssl=context,
                use_dns_cache=False,
                # A connection for every request: what a host sends behind one answer is not the next one's.
                force_close=True,
                limit=limits.max_fetches,
                limit_per_host=limits.max_per_host,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            headers={"user-agent": "fovea", "accept": limits.accept, "accept-encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_s),
            trace_configs=[watch_queue()],
        )

    async def close(self) -> None:
        await self._session.close()

    async def fetch(self, url: str, known: Validators, holding: Holding) -> Fetched:
        """What is behind `url`, unless it is still what is `known`; `holding` gets a permit before a body is read.

        Raises ImageUrlRefused, ImageFetchFailed, ImageTooLarge, BusyError.
        """
        deadline = asyncio.get_running_loop().time() + self._limits.timeout_s
        try:
            async with asyncio.timeout_at(deadline):
                await self._slots.acquire()
        except TimeoutError as problem:
            raise BusyError(TOO_MANY) from problem
        try:
            async with asyncio.timeout_at(deadline):
                return await self._follow(url, known, holding)
        except GatewayError:
            raise
        except TimeoutError as problem:
            raise ImageFetchFailed("The image could not be fetched in time.") from problem
        except aiohttp.InvalidURL as problem:
            raise ImageUrlRefused("The image URL is malformed.") from problem
        except (aiohttp.ClientError, OSError, ValueError) as problem:
            if isinstance(problem, AddressRefused) or caused_by_refusal(problem):
                raise ImageUrlRefused(NOT_PUBLIC) from problem
            raise ImageFetchFailed("The image could not be fetched from its URL.") from problem
        finally:
            self._slots.release()

    async def _follow(self, text: str, known: Validators, holding: Holding) -> Fetched:
        url = parse_url(text)
        for _ in range(self._limits.max_redirects + 1):
            self._check_url(url)
            with cut_off() as exchange:
                response = await self._ask(url, known, exchange)
                async with response:
                    found = await self._answer(response, url, known, holding)
                    exchange.done = response.content.at_eof()
            if isinstance(found, Fetched):
                return found
            url = found
        raise ImageFetchFailed(f"The image URL redirects more than {self._limits.max_redirects} times.")

    async def _ask(self, url: URL, known: Validators, exchange: Exchange) -> aiohttp.ClientResponse:
        try:
            async with asyncio.timeout(self._limits.first_byte_s):
                return await self._session.get(url, allow_redirects=False, headers=known.headers())
        except TimeoutError as problem:
            if exchange.queued:
                raise BusyError(TOO_MANY) from problem
            raise

    async def _answer(
        self, response: aiohttp.ClientResponse, url: URL, known: Validators, holding: Holding
    ) -> Fetched | URL:
        """The body, or where the host says that it is."""
        location = response.headers.get("location")
        if response.status in REDIRECTS and location:
            return url.join(parse_url(location))
        fresh_s = fresh_for(response.headers, self._limits.default_ttl_s, self._limits.max_ttl_s)
        if response.status == 304 and known:
            return Fetched(None, known, fresh_s)
        if response.status != 200:
            raise ImageFetchFailed(f"The image's host answered with status {response.status}.")
        data = await self._read(response, holding)
        return Fetched(data, Validators.of(response.headers), fresh_s)

    def _check_url(self, url: URL) -> None:
        schemes = {"https", "http"} if self._limits.allow_http else {"https"}
        if url.scheme not in schemes:
            raise ImageUrlRefused(f"Image URLs must start with {' or '.join(sorted(schemes))}.")
        if not url.raw_host or url.raw_user is not None or url.raw_password is not None:
            raise ImageUrlRefused("The image URL must name a host and hold no credentials.")
        if not is_host(url.raw_host):
            raise ImageUrlRefused("The image URL is malformed.")
        allowed = self._limits.allow_domains
        if (allowed and not is_within(url.raw_host, allowed)) or is_within(url.raw_host, self._limits.deny_domains):
            raise ImageUrlRefused("Images are not fetched from this host.")

    async def _read(self, response: aiohttp.ClientResponse, holding: Holding) -> bytes:
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise ImageFetchFailed("The image's host sent a compressed body.")
        most = self._limits.max_bytes
        permitted = most if response.content_length is None else response.content_length
        if permitted > most:
            raise ImageTooLarge(f"The image is larger than {most} bytes.")
        await holding.take(permitted)
        chunks: list[bytes] = []
        held = 0
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            held += len(chunk)
            if held > most:
                raise ImageTooLarge(f"The image is larger than {most} bytes.")
            chunks.append(chunk)
        holding.give(permitted - held)
        return b"".join(chunks)


def parse_url(text: str) -> URL:
    """By the parser of the library that connects: two parsers may read two hosts. Raises ImageUrlRefused."""
    if len(text) > MOST_URL:
        raise ImageUrlRefused(f"The image URL is longer than {MOST_URL} characters.")
    try:
        return URL(text)
    except (ValueError, TypeError) as problem:
        raise ImageUrlRefused("The image URL is malformed.") from problem
