import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge

from server.errors import BusyError, ImageFetchFailed, ImageUrlRefused
from server.images.addresses import Network, is_public, is_within
from server.images.fetch import FetchLimits, ImageFetcher
from server.images.freshness import Validators
from server.memory import ByteBudget, Holding

PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "255.255.255.255",
    "224.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "::",
    "::1",
    "fe80::1",
    "fc00::1",
    "ff02::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2002:c0a8:101::1",
    "fe80::1%eth0",
    "168.63.129.16",
    "192.0.0.192",
    "100.100.100.200",
    "192.88.99.1",
    "64:ff9b:1::7f00:1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "::ffff:0:7f00:1",
    "fd00:ec2::254",
    "fec0::1",
    "3fff::1",
    "5f00::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_callers_must_not_reach(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


# Hosts that lead to loopback, in spellings that parsers and resolvers know.
LOOPBACK = [
    "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.0.0.1.", "0", "0.0.0.0",
    "①②⑦.⓪.⓪.①", "127。0。0。1", "\uff11\uff12\uff17.0.0.1", "localhost", "LOCALHOST", "ⓛocalhost", "[::1]", "[::]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
    "[0:0:0:0:0:0:0:1]",
]  # fmt: skip


HELD = Holding(ByteBudget(10_000, 1, Gauge("held", "bytes", registry=CollectorRegistry())))


def make_limits(**changes: Any) -> FetchLimits:
    usual = FetchLimits(
        max_bytes=1000,
        timeout_s=5,
        connect_s=2,
        first_byte_s=3,
        max_redirects=1,
        max_fetches=2,
        max_per_host=2,
        allow_http=True,
        allow_private_addresses=False,
        allow_domains=(),
        deny_domains=("denied.example",),
        ca_file=None,
        default_ttl_s=60,
        max_ttl_s=60,
    )
    return replace(usual, **changes)


@pytest.fixture
async def fetcher() -> AsyncIterator[ImageFetcher]:
    fetcher = ImageFetcher(make_limits(), Network())
    yield fetcher
    await fetcher.close()


@pytest.fixture
def visitors() -> Iterator[tuple[int, list[object]]]:
    """A port of this machine, and who came."""
    came: list[object] = []
    with socket.socket(socket.AF_INET6) as listener:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("::", 0))
        listener.listen()
        listener.setblocking(False)
        yield listener.getsockname()[1], came
        with contextlib.suppress(BlockingIOError):
            came.append(listener.accept())
    assert came == []


@pytest.mark.parametrize("host", LOOPBACK)
async def test_no_spelling_of_loopback_is_connected_to(
    fetcher: ImageFetcher, visitors: tuple[int, list[object]], host: str
) -> None:
    with pytest.raises(ImageUrlRefused) as refused:
        await fetcher.fetch(f"http://{host}:{visitors[0]}/a.png", Validators(), HELD)
    assert "127" not in refused.value.message


@pytest.mark.parametrize("host", ["localhost.", "localhost。"])
async def test_nor_is_a_name_with_a_dot_behind_it(
    fetcher: ImageFetcher, visitors: tuple[int, list[object]], host: str
) -> None:
    """Some resolvers know it, others do not."""
    with pytest.raises((ImageUrlRefused, ImageFetchFailed)):
        await fetcher.fetch(f"http://{host}:{visitors[0]}/a.png", Validators(), HELD)


@pytest.mark.parametrize(
    "url",
    [
        "", "a.png", "//host/a.png", "https://", "https:///a.png", "ftp://host/a.png", "file:///etc/passwd", "gopher://host/",
        "https://user@host/", "https://:secret@host/", "https://user:secret@host/", "https://host:99999/", "https://host:x/",
        "https://[::1/", "https:\\\\host\\a.png", "javascript:alert(1)", "https://a..b/",
    ],
)  # fmt: skip
async def test_what_is_no_url_of_a_picture_is_refused(fetcher: ImageFetcher, url: str) -> None:
    with pytest.raises((ImageUrlRefused, ImageFetchFailed)) as refused:
        await fetcher.fetch(url, Validators(), HELD)
    assert "secret" not in refused.value.message


@pytest.mark.parametrize(
    "host", ["denied.example", "a.denied.example", "DENIED.example", "denied.example.", "ⓓenied.example"]
)
async def test_a_denied_domain_is_not_even_looked_up(fetcher: ImageFetcher, host: str) -> None:
    with pytest.raises(ImageUrlRefused, match="not fetched from this host"):
        await fetcher.fetch(f"https://{host}/a.png", Validators(), HELD)


@pytest.mark.parametrize(
    ("host", "within"),
    [("a.b", True), ("x.a.b", True), ("A.B.", True), ("xa.b", False), ("b", False), ("a.b.c", False)],
)
def test_a_domain_is_itself_and_what_is_below_it(host: str, within: bool) -> None:
    assert is_within(host, ("a.b",)) == within


@pytest.fixture
async def silent() -> AsyncIterator[str]:
    """A host that takes connections and never answers."""
    held: list[asyncio.StreamWriter] = []

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(hold, "127.0.0.1")
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a.png"
    for writer in held:
        writer.close()
    server.close()


@pytest.mark.parametrize("bound", [{"max_fetches": 1}, {"max_per_host": 1}], ids=str)
async def test_who_waits_in_vain_for_a_turn_to_fetch_may_come_back(silent: str, bound: dict[str, int]) -> None:
    """Nothing is wrong with that request or its URL: the others' host is slow."""
    limits = make_limits(timeout_s=1.5, first_byte_s=1, allow_private_addresses=True, **bound)
    fetcher = ImageFetcher(limits, Network())
    try:
        first = asyncio.create_task(fetcher.fetch(silent, Validators(), HELD))
        await asyncio.sleep(0.2)
        fetcher._limits = replace(limits, timeout_s=0.6, first_byte_s=0.3)
        with pytest.raises(BusyError):
            await fetcher.fetch(silent, Validators(), HELD)
        with pytest.raises(ImageFetchFailed):
            await first
    finally:
        await fetcher.close()


async def test_turns_are_given_back_however_a_fetch_ends(silent: str) -> None:
    limits = make_limits(
        timeout_s=0.2, first_byte_s=0.1, allow_private_addresses=True, max_fetches=1, max_per_host=1
    )
    fetcher = ImageFetcher(limits, Network())
    try:
        for _ in range(3):
            with pytest.raises(ImageFetchFailed):
                await fetcher.fetch(silent, Validators(), HELD)
            with pytest.raises(ImageUrlRefused):
                await fetcher.fetch("ftp://a.example/", Validators(), HELD)
            left = asyncio.create_task(fetcher.fetch(silent, Validators(), HELD))
            await asyncio.sleep(0.02)
            left.cancel()
            with pytest.raises(asyncio.CancelledError):
                await left
    finally:
        await fetcher.close()
