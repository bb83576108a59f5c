import asyncio
from collections.abc import Sequence

import pytest

from server.engines.discovery import dns
from server.engines.discovery.dns import DnsSource


class Records:
    """What a name resolves to; None: the look-up fails."""

    def __init__(self, *addresses: str) -> None:
        self.addresses: Sequence[str] | None = addresses
        self.asked = 0
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        await self.go.wait()
        if self.addresses is None:
            raise OSError("no such name")
        return [*self.addresses]


async def test_every_address_is_an_engine_and_each_look_asks_again() -> None:
    records = Records("10.0.0.2", "10.0.0.1", "10.0.0.2")
    source = DnsSource("engines", 8000, 64, records)
    assert await source.urls() == ["http://10.0.0.1:8000", "http://10.0.0.2:8000"]
    records.addresses = ["10.0.0.3"]
    assert await source.urls() == ["http://10.0.0.3:8000"]


async def test_a_look_up_that_fails_or_finds_nothing_tells_nothing() -> None:
    records = Records()
    source = DnsSource("engines", 8000, 64, records)
    assert await source.urls() is None
    records.addresses = None
    assert await source.urls() is None


async def test_ipv6_is_written_as_in_urls_and_never_beside_ipv4() -> None:
    records = Records("fd00::2", "fd00::1")
    source = DnsSource("engines", 8000, 64, records)
    assert await source.urls() == ["http://[fd00::1]:8000", "http://[fd00::2]:8000"]
    records.addresses = ["fd00::1", "10.0.0.1"]
    assert await source.urls() == ["http://10.0.0.1:8000"]


async def test_engines_are_bounded_in_number_and_the_same_ones_are_taken_again() -> None:
    records = Records(*(f"10.0.0.{i}" for i in range(9, 0, -1)))
    source = DnsSource("engines", 8000, 3, records)
    assert await source.urls() == [f"http://10.0.0.{i}:8000" for i in (1, 2, 3)]


async def test_a_resolver_that_hangs_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns, "LOOKUP_TIMEOUT_S", 0.01)
    records = Records("10.0.0.1")
    records.go.clear()
    source = DnsSource("engines", 8000, 64, records)
    assert [await source.urls() for _ in range(3)] == [None] * 3
    assert records.asked == 1
    records.go.set()
    assert await source.urls() == ["http://10.0.0.1:8000"]
    await source.close()
