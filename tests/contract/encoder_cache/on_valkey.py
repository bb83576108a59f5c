"""The shared tier in a real Valkey, and what that holds."""

import time
from collections.abc import Callable

import redis

from server.engine.encoder_cache.redis_tier import RedisTier
from tests.contract.encoder_cache.entries import NAMESPACE
from tests.valkey import Valkey

SIZE = 16 * 32 * 2 + 256  # of an entry as `entry` makes them
ROOM = 20 * SIZE
MEMBER = f"{NAMESPACE[:16]}:"
VALUE = f"fovea:embedding:{MEMBER}"


def tier_on(
    valkey: Valkey, namespace: str = NAMESPACE, room: int = ROOM, url: str = "", **other: float
) -> RedisTier:
    return RedisTier(url or valkey.url, namespace, room, other.pop("ttl_s", None), **other)  # type: ignore[arg-type]


def wait_until(true: Callable[[], bool], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def books_of(store: "redis.Redis[bytes]") -> dict[str, int]:
    """Bytes by segment, added up from the entries of the books, and held against the sums that are kept of them."""
    raw = {name.decode(): text.decode() for name, text in store.hgetall("fovea:embedding:books").items()}
    sums = {"n": 0, "k": 0, "p": 0}
    members: dict[str, set[str]] = {"n": set(), "k": set(), "p": set()}
    for name, text in raw.items():
        if not name.startswith("+"):
            sums[text[0]] += int(text[1:])
            members[text[0]].add(name)
    assert {segment: int(raw.get(f"+{segment}", 0)) for segment in sums} == sums
    for segment, key in (("n", "new"), ("k", "kept"), ("p", "pinned")):
        assert {name.decode() for name in store.zrange(f"fovea:embedding:{key}", 0, -1)} == members[segment]
    return sums


def held_bytes(store: "redis.Redis[bytes]") -> int:
    """What entries really lie there, known to the books or not."""
    return sum(store.strlen(name) for name in store.keys("fovea:embedding:????????????????:*"))
