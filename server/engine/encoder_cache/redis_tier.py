"""The shared tier in Redis or Valkey: what one engine has encoded is there for all, for as long as there is room.

Room is kept by books of our own (keep.lua), whatever the operator's maxmemory does besides. No cluster: the scripts
use keys of several slots.
"""

import threading
import time

from server.engine.encoder_cache.complaints import Complaints
from server.engine.encoder_cache.entry import HEADER_BYTES, BadEntry, Embedding, Header, read_header, unpack
from server.engine.encoder_cache.folder_layout import KEY, short
from server.engine.encoder_cache.folder_writing import LARGEST_SHARE
from server.engine.encoder_cache.forgotten import KEPT_S, MAX_MARKS
from server.engine.encoder_cache.hits_told import HitsTold
from server.engine.encoder_cache.redis_lines import FORGET, KEEP, MOVE
from server.engine.encoder_cache.redis_news import RedisNews
from server.engine.encoder_cache.redis_store import RedisStore
from server.engine.encoder_cache.resp import Command, TooLarge
from server.engine.encoder_cache.tier import TierFigures, TierName

PREFIX = b"fovea:embedding:"
SHELVES = tuple(PREFIX + name for name in (b"books", b"new", b"kept", b"pinned"))
FORGOTTEN, NAMESPACES = PREFIX + b"forgotten", PREFIX + b"namespaces"
# A picture of 16,384 tokens, 4,096 wide, in BF16: the largest that Qwen's preprocessors make.
LARGEST_PAYLOAD = 128 << 20


class RedisTier:
    """Never raises once it is made, and every call waits a bounded time, or none where the store is lost."""

    name: TierName = "shared"

    def __init__(
        self,
        url: str,
        namespace: str,
        capacity_bytes: int,
        ttl_s: float | None,
        largest_payload: int = LARGEST_PAYLOAD,
    ) -> None:
        """`namespace` is 64 hex digits. The capacity is that of all namespaces together, and the store's: engines
        that share one name the same. Raises ValueError, which does not quote the URL: it may hold a password."""
        self.figures = TierFigures()
        self._namespace = namespace
        self._short = short(namespace).encode()
        self._capacity = b"%d" % capacity_bytes
        self._ttl_s = ttl_s
        self._largest = min(largest_payload + HEADER_BYTES, int(capacity_bytes * LARGEST_SHARE))
        self._complaints = Complaints("the shared tier")
        self._store = RedisStore(url, largest_payload + HEADER_BYTES, self._count, self._complaints)
        self._hits = HitsTold()
        self._news = RedisNews()
        self._lock = threading.Lock()

    def get(self, key: str) -> Embedding | None:
        began = time.perf_counter()
        embedding = self._get(key) if KEY.fullmatch(key) else None
        with self._lock:
            self.figures.seconds_read += time.perf_counter() - began
            if embedding is None:
                self.figures.misses += 1
            else:
                self.figures.hits += 1
                self.figures.bytes_read += len(embedding.data)
        return embedding

    def put(self, key: str, header: bytes, payload: memoryview) -> bool:
        began = time.perf_counter()
        try:
            told = read_header(header, self._namespace, key)
            if told.payload_bytes != payload.nbytes:
                raise BadEntry("truncated")
            return self._put(key, told, header, payload.cast("B"))
        except BadEntry as problem:
            return self._failed(problem.reason)
        finally:
            with self._lock:
                self.figures.seconds_written += time.perf_counter() - began

    def forget(self, key: str) -> bool:
        """In every namespace. Asks also a store that was lost a moment ago: what is to go shall go."""
        return KEY.fullmatch(key) is None or bool(self._store.write(self._forget(key, b"1"), always=True) == 1)

    def forgotten_since(self, when_s: float) -> list[str]:
        """Keys that anybody forgot, first heard of here at `when_s` (of time.time) or later. For one thread.

        Whoever asks each second also learns what is held: who only reads is not told it otherwise.
        """
        marks = (b"ZRANGEBYSCORE", FORGOTTEN, b"%d" % self._news.after_us, b"+inf", b"WITHSCORES")
        sums = (b"HMGET", SHELVES[0], b"+n", b"+k", b"+p")
        replies = self._store.ask(marks, sums, *((b"ZCARD", shelf) for shelf in SHELVES[1:]))
        if replies and isinstance(replies[0], list):
            self._news.hear(replies[0], time.time())
            self._note(replies[1], replies[2:])
        return self._news.since(when_s)

    def _note(self, sums: object, counts: list[object]) -> None:
        if not isinstance(sums, list):
            return
        held = [int(bytes(each)) for each in sums if isinstance(each, memoryview) and bytes(each).isdigit()]
        with self._lock:
            self.figures.bytes_held = sum(held)
            self.figures.entries = sum(each for each in counts if isinstance(each, int))

    def pin(self, key: str) -> bool:
        """False where it is not there, or half the capacity is pinned already."""
        return KEY.fullmatch(key) is not None and bool(self._store.write(self._move(key, b"pin")) == 1)

    def unpin(self, key: str) -> bool:
        return KEY.fullmatch(key) is not None and bool(self._store.write(self._move(key, b"unpin")) == 1)

    def close(self) -> None:
        self._store.close()

    def _get(self, key: str) -> Embedding | None:
        commands: list[Command] = [(b"GET", self._name(key))]
        if tells_hit := self._hits.due(key):
            commands.append(self._move(key, b"hit"))
        replies = self._store.ask(*commands)
        if replies is None or replies[0] is None:
            return None
        embedding = self._unpack(key, replies[0])
        if embedding is None:
            return None
        if self._is_old(embedding.created_s):
            self._store.write(self._forget(key, b"0"))
            return None
        if tells_hit:
            self._hits.told(key)
        return embedding

    def _is_old(self, created_s: float) -> bool:
        """Or from a future that is as far away."""
        return self._ttl_s is not None and abs(time.time() - created_s) > self._ttl_s

    def _unpack(self, key: str, value: object) -> Embedding | None:
        """What is not the entry goes, but for another version's of ours, which may still want it."""
        reason = "large" if isinstance(value, TooLarge) else "type"
        if isinstance(value, (bytes, memoryview)):
            try:
                return unpack(value, self._namespace, key)
            except BadEntry as problem:
                reason = problem.reason
        with self._lock:
            self.figures.bad[reason] += 1
        self._complaints.tell(f"bad entry: {reason}", key[:12])
        if reason != "version":
            self._store.write(self._forget(key, b"0"))
        return None

    def _put(self, key: str, told: Header, header: bytes, payload: memoryview) -> bool:
        if len(header) + len(payload) > self._largest:
            return self._failed("large")
        if self._store.refuses_writes():
            self._count("off")
            return False
        there = self._store.ask((b"GETRANGE", self._name(key), b"0", b"%d" % (HEADER_BYTES - 1)), reads=False)
        if there is None or self._is_old(told.created_s):
            return False
        if self._is_alike(there[0], key, told):
            return True
        lives_ms = b"" if self._ttl_s is None else b"%d" % max(1, self._ttl_s * 1000)
        age_us = b"%d" % (1e6 * max(0.0, time.time() - told.created_s))
        arguments = (PREFIX, self._short, key.encode(), (header, payload), self._capacity, lives_ms, age_us)
        reply = self._store.write(KEEP.call((self._name(key), *SHELVES, FORGOTTEN, NAMESPACES), *arguments))
        if reply is None:
            return False
        if not (isinstance(reply, list) and len(reply) == 4 and all(isinstance(item, int) for item in reply)):
            return self._failed("protocol")
        what, entries, held, evicted = reply
        with self._lock:
            self.figures.entries, self.figures.bytes_held = entries, held
            self.figures.evictions += evicted
            self.figures.bytes_written += len(payload) if what == 1 else 0
        return self._failed("no room") if what == -1 else bool(what)

    def _is_alike(self, raw: object, key: str, told: Header) -> bool:
        """Whether the same is there already. Its payload is not looked at."""
        try:
            there = read_header(raw, self._namespace, key) if isinstance(raw, memoryview) else None
        except BadEntry:
            return False
        return there is not None and not self._is_old(there.created_s) and is_alike(there, told)

    def _failed(self, reason: str) -> bool:
        """Never true."""
        self._count(reason)
        self._complaints.tell(reason)
        return False

    def _count(self, reason: str) -> None:
        with self._lock:
            self.figures.failures[reason] += 1

    def _name(self, key: str) -> bytes:
        return b"%s%s:%s" % (PREFIX, self._short, key.encode())

    def _move(self, key: str, verb: bytes) -> Command:
        return MOVE.call((self._name(key), *SHELVES), b"%s:%s" % (self._short, key.encode()), verb, self._capacity)

    def _forget(self, key: str, everywhere: bytes) -> Command:
        arguments = (PREFIX, self._short, key.encode(), everywhere, b"%d" % (KEPT_S * 1e6), b"%d" % MAX_MARKS)
        return FORGET.call((*SHELVES, FORGOTTEN, NAMESPACES), *arguments)


def is_alike(one: Header, other: Header) -> bool:
    return (one.shape, one.dtype, one.encoding) == (other.shape, other.dtype, other.encoding)
