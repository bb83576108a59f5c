"""A store that lies or stalls at any point: a counted miss each, within a bounded time, never another picture."""

import pytest

from server.engine.encoder_cache.entry import key_of
from server.engine.encoder_cache.redis_tier import RedisTier
from tests.contract.encoder_cache.entries import NAMESPACE, entry
from tests.contract.encoder_cache.stores import Answer, FakeStore

KEY, HEADER, PAYLOAD = entry("a")
RAW = HEADER + bytes(PAYLOAD)
VALUE = b"$%d\r\n%s\r\n" % (len(RAW), RAW)
LIES: dict[str, Answer] = {
    "nothing, ever": None,
    "the end": b"",
    "half a value, then silence": VALUE[:700],
    "a number": b":5\r\n",
    "a word": b"+OK\r\n",
    "a list": b"*2\r\n:1\r\n:2\r\n",
    "lists in lists": b"*1\r\n" * 5000,
    "a list without an end": b"*131072\r\n" + b":1\r\n" * 10,
    "another length": b"$5\r\n" + RAW + b"\r\n",
    "an enormous length": b"$9999999999999\r\n" + RAW,
    "a negative length": b"$-7\r\n",
    "a web page": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "a line without an end": b"a" * (1 << 20),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00",
    "RESP3": b"%1\r\n+a\r\n+b\r\n",
    "no password was sent": b"-NOAUTH Authentication required.\r\n",
    "it is loading": b"-LOADING Redis is loading the dataset in memory\r\n",
    "it moved": b"-MOVED 3999 127.0.0.1:6381\r\n",
    "an error in no form": b"-\r\n",
    "a bare line": b"\r\n",
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_a_miss(lie: str) -> None:
    with FakeStore(lambda command: LIES[lie]) as fake:
        tier = RedisTier(fake.url, NAMESPACE, 1 << 20, None)
        assert tier.get(KEY) is None
        assert not tier.put(KEY, HEADER, PAYLOAD)
        assert not tier.pin(KEY)
        assert not tier.forget(KEY)
        assert tier.forgotten_since(0) == []
        assert tier.figures.misses == 1
        assert tier.figures.failures or tier.figures.bad
        tier.close()


@pytest.mark.timeout(60)
def test_bytes_that_trickle_do_not_hold_a_thread_for_as_long_as_they_come() -> None:
    """1,280 bytes, five a second: every single wait is short."""
    with FakeStore(lambda command: VALUE, drip=True) as fake:
        tier = RedisTier(fake.url, NAMESPACE, 1 << 20, None)
        assert tier.get(KEY) is None
        assert tier.figures.failures == {"timeout": 1}


def test_a_store_that_takes_no_bytes_does_not_hold_a_thread() -> None:
    """Three scripts and a question, and then it reads nothing of what is written to it."""
    with FakeStore(lambda command: b":0\r\n", most=4) as fake:
        tier = RedisTier(fake.url, NAMESPACE, 1 << 30, None)
        assert not tier.put(*entry("large", tokens=4096, width=4096))
        assert tier.figures.failures == {"timeout": 1}


def test_a_reply_too_many_is_never_taken_for_the_next_one() -> None:
    """Each reply would be another command's from then on."""
    other = entry("b")
    values = {entry("a")[0]: VALUE, other[0]: VALUE}
    with FakeStore(lambda command: values.get(command[1].decode()[-64:], b":1\r\n") * 2) as fake:
        tier = RedisTier(fake.url, NAMESPACE, 1 << 20, None)
        for key in (KEY, other[0], KEY):
            found = tier.get(key)
            assert found is None or found.key == key
        assert tier.get(other[0]) is None


@pytest.mark.parametrize(
    "reply", [b":1\r\n", b"+OK\r\n", b"$2\r\nab\r\n", b"*1\r\n:1\r\n", b"*4\r\n+a\r\n+b\r\n+c\r\n+d\r\n"]
)
def test_what_a_script_never_says_is_not_taken_for_its_word(reply: bytes) -> None:
    with FakeStore(lambda command: b"$0\r\n\r\n" if command[0] == b"GETRANGE" else reply) as fake:
        tier = RedisTier(fake.url, NAMESPACE, 1 << 20, None)
        assert not tier.put(KEY, HEADER, PAYLOAD)
        assert tier.figures.entries == 0


def test_a_truthful_answer_is_taken() -> None:
    """Or the other tests show nothing."""
    with FakeStore(lambda command: VALUE if command[0] == b"GET" else b":0\r\n") as fake:
        tier = RedisTier(fake.url, NAMESPACE, 1 << 20, None)
        found = tier.get(KEY)
        assert found is not None
        assert found.data == PAYLOAD
        assert tier.get(key_of("b")) is None
        assert tier.figures.bad == {"key": 1}
