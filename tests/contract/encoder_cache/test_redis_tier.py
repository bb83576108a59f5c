"""The shared tier in a real Valkey, whatever happens to that, and what is left of the books."""

import os
import random
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
import trustme

from server.engine.encoder_cache.entry import key_of
from server.engine.encoder_cache.redis_tier import RedisTier
from tests.contract.encoder_cache.entries import NAMESPACE, OTHER_NAMESPACE, embedding, entry
from tests.contract.encoder_cache.stores import FakeStore, relayed_over_tls
from tests.valkey import Valkey

SIZE = 16 * 32 * 2 + 256  # of an entry as `entry` makes them
ROOM = 20 * SIZE
MEMBER = f"{NAMESPACE[:16]}:"
VALUE = f"fovea:embedding:{MEMBER}"


@pytest.fixture
def store(valkey: Valkey) -> Iterator["redis.Redis[bytes]"]:
    with redis.Redis.from_url(valkey.url) as client:
        yield client


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


# Room.


def test_entries_that_were_never_hit_leave_first_and_a_scan_takes_nothing_from_those_that_were(
    valkey: Valkey, store: "redis.Redis[bytes]"
) -> None:
    tier = tier_on(valkey)
    hot = [entry(f"hot {number}") for number in range(10)]
    for one in hot:
        assert tier.put(*one)
        assert tier.get(one[0])
    for number in range(200):
        assert tier.put(*entry(f"scanned {number}"))
        assert held_bytes(store) <= ROOM
    assert all(tier.get(key) for key, _, _ in hot)
    assert tier.figures.evictions == 200 - 10
    assert books_of(store) == {"n": 10 * SIZE, "k": 10 * SIZE, "p": 0}
    assert (tier.figures.entries, tier.figures.bytes_held) == (20, 20 * SIZE)


def test_of_those_that_were_hit_the_one_leaves_that_was_hit_longest_ago(valkey: Valkey) -> None:
    first, second = tier_on(valkey), tier_on(valkey)
    names = [f"old {number}" for number in range(20)]
    for name in names:
        first.put(*entry(name))
        first.get(key_of(name))
    # Another engine's hit counts as well. (The first has told of its own a moment ago.)
    assert second.get(key_of(names[0]))
    for number in range(4):
        first.put(*entry(f"new {number}"))
        first.get(key_of(f"new {number}"))
    assert [bool(first.get(key_of(name))) for name in names[:6]] == [True, False, False, False, False, True]


def test_what_another_tower_has_left_behind_makes_room(valkey: Valkey, store: "redis.Redis[bytes]") -> None:
    """One capacity for all namespaces: those of towers that nobody runs any more would stay for ever."""
    before = tier_on(valkey, OTHER_NAMESPACE)
    for number in range(20):
        assert before.put(*entry(str(number), namespace=OTHER_NAMESPACE))
    tier = tier_on(valkey)
    for number in range(20):
        assert tier.put(*entry(str(number)))
    assert sum(before.get(key_of(str(number))) is not None for number in range(20)) == 0
    assert sum(tier.get(key_of(str(number))) is not None for number in range(20)) == 20


def test_one_entry_larger_than_half_the_room_or_than_is_ever_taken_is_refused(
    valkey: Valkey, store: "redis.Redis[bytes]"
) -> None:
    tier = tier_on(valkey)
    assert tier.put(*entry("small"))
    assert not tier.put(*entry("huge", tokens=200))
    assert tier.figures.failures == {"large": 1}
    short = tier_on(valkey, largest_payload=1000)
    assert not short.put(*entry("small too"))
    assert short.figures.failures == {"large": 1}
    # Nor is it read, and what nobody reads is removed.
    assert short.get(key_of("small")) is None
    assert short.figures.bad == {"large": 1}
    assert books_of(store) == {"n": 0, "k": 0, "p": 0}


def test_pins_outlast_every_eviction_and_take_half_the_room_at_most(
    valkey: Valkey, store: "redis.Redis[bytes]"
) -> None:
    tier = tier_on(valkey)
    assert not tier.pin(key_of("not there"))
    for number in range(20):
        tier.put(*entry(str(number)))
    assert [tier.pin(key_of(str(number))) for number in range(12)] == [True] * 10 + [False] * 2
    assert tier.pin(key_of("0"))
    for number in range(100):
        tier.put(*entry(f"more {number}"))
        tier.get(key_of(f"more {number}"))
    assert all(tier.get(key_of(str(number))) for number in range(10))
    assert books_of(store)["p"] == 10 * SIZE
    assert all(tier.unpin(key_of(str(number))) for number in range(10))
    assert books_of(store)["p"] == 0


def test_entries_live_as_long_as_they_are_said_to(valkey: Valkey, store: "redis.Redis[bytes]") -> None:
    tier = tier_on(valkey, ttl_s=3600)
    tier.put(*entry("a"))
    assert 3500 < store.ttl(VALUE + key_of("a")) <= 3600
    # Written by an engine that keeps them longer, or before the setting was lowered.
    from_then = tier_on(valkey)
    old = entry("b", created_s=time.time() - 7200)
    assert from_then.put(*old)
    assert tier.get(old[0]) is None
    assert from_then.get(old[0]) is None
    assert not tier.put(*old)


# Books that no longer say what is there.


@pytest.mark.parametrize("lost", ["books", "new", "kept", "pinned"])
def test_room_is_kept_though_a_part_of_the_books_is_lost(
    valkey: Valkey, store: "redis.Redis[bytes]", lost: str
) -> None:
    tier = tier_on(valkey)
    for number in range(20):
        tier.put(*entry(str(number)))
        if number % 2:
            tier.get(key_of(str(number)))
    tier.pin(key_of("0"))
    store.delete(f"fovea:embedding:{lost}")
    for number in range(40):
        assert tier.put(*entry(f"after {number}"))
        assert held_bytes(store) <= ROOM
    if lost != "pinned":
        assert tier.get(key_of("0"))
    books_of(store)


@pytest.mark.parametrize("seed", range(3))
def test_books_heal_from_whatever_is_taken_from_under_them(
    valkey: Valkey, store: "redis.Redis[bytes]", seed: int
) -> None:
    chance = random.Random(seed)
    tier = tier_on(valkey)
    for _ in range(400):
        name = str(chance.randrange(60))
        tier.put(*entry(name))
        tier.get(key_of(str(chance.randrange(60))))
        if chance.random() < 0.3 and (taken := store.keys("fovea:embedding:????????????????:*")):
            store.delete(chance.choice(taken))
        assert held_bytes(store) <= ROOM
    for number in range(60):
        tier.put(*entry(f"after {number}"))
    held = sum(books_of(store).values())
    assert held <= ROOM
    # What has gone from under the books is struck off by chance, five at a time: few are left.
    assert held - held_bytes(store) <= 3 * SIZE


def test_a_store_that_evicts_on_its_own_costs_misses_and_nothing_else(
    valkey: Valkey, store: "redis.Redis[bytes]"
) -> None:
    tier = tier_on(valkey, room=1 << 30)
    store.config_set("maxmemory-policy", "allkeys-random")
    store.config_set("maxmemory", store.info("memory")["used_memory"] + (4 << 20))
    for number in range(300):
        assert tier.put(*entry(str(number), tokens=1024))
    found = [tier.get(key_of(str(number))) is not None for number in range(300)]
    assert 10 < sum(found) < 300
    assert not tier.figures.failures
    assert not tier.figures.bad


def test_a_full_store_refuses_and_is_still_read(valkey: Valkey, store: "redis.Redis[bytes]") -> None:
    tier = tier_on(valkey)
    assert tier.put(*entry("before"))
    store.config_set("maxmemory-policy", "noeviction")
    store.set("somebody else's", b"x" * (8 << 20))
    store.config_set("maxmemory", 4 << 20)
    assert not tier.put(*entry("after", tokens=64))
    assert not tier.put(*entry("after", tokens=64))
    assert tier.get(key_of("before"))
    # The second was not even asked about.
    assert tier.figures.failures == {"oom": 1, "off": 1}
    store.config_set("maxmemory", 0)
    wait_until(lambda: tier.put(*entry("after")))


def test_a_full_store_takes_a_new_entry_in_the_place_of_older_ones_of_ours(
    valkey: Valkey, store: "redis.Redis[bytes]"
) -> None:
    """With less memory than the room that was set it would else keep its first entries for ever."""
    tier = tier_on(valkey, room=1 << 30)
    store.config_set("maxmemory-policy", "noeviction")
    for number in range(40):
        assert tier.put(*entry(f"first {number}", tokens=1024))
    before = held_bytes(store)
    store.config_set("maxmemory", 1 << 20)
    for number in range(100):
        assert tier.put(*entry(f"then {number}", tokens=1024))
        assert held_bytes(store) <= before
    assert not tier.figures.failures
    assert tier.get(key_of("then 99"))
    assert tier.get(key_of("first 0")) is None
    books_of(store)


# What others say and do.


def test_what_is_forgotten_stays_so_whoever_was_about_to_write_it(
    valkey: Valkey, store: "redis.Redis[bytes]"
) -> None:
    first, second, other = tier_on(valkey), tier_on(valkey), tier_on(valkey, OTHER_NAMESPACE)
    late = entry("gone")
    first.put(*entry("stays"))
    first.put(*late)
    other.put(*entry("gone", namespace=OTHER_NAMESPACE))
    assert second.forget(late[0])
    # Every tower's: it is the picture that is to be forgotten.
    assert first.get(late[0]) is None
    assert other.get(late[0]) is None
    assert not first.put(*late)
    assert not second.put(*late)
    assert not other.put(*entry("gone", namespace=OTHER_NAMESPACE))
    assert first.get(late[0]) is None
    assert first.get(key_of("stays"))
    assert books_of(store) == {"n": 0, "k": SIZE, "p": 0}
    # What is computed later is kept, with a few seconds between for its way there.
    store.zincrby("fovea:embedding:forgotten", -6e6, late[0])
    assert not first.put(*entry("gone", created_s=time.time() - 60))
    assert first.put(*entry("gone"))


def test_every_engine_hears_once_of_what_was_forgotten(valkey: Valkey, store: "redis.Redis[bytes]") -> None:
    first, second, other = tier_on(valkey), tier_on(valkey), tier_on(valkey, OTHER_NAMESPACE)
    began = time.time()
    assert first.forgotten_since(began) == []
    second.forget(key_of("a"))
    for tier in (first, second, other):
        assert tier.forgotten_since(began) == [key_of("a")]
    polled = time.time()
    assert first.forgotten_since(polled) == []
    second.forget(key_of("b"))
    # Again, and by a store whose clock is behind.
    second.forget(key_of("a"))
    store.zincrby("fovea:embedding:forgotten", -5e6, key_of("b"))
    assert sorted(first.forgotten_since(polled)) == sorted([key_of("a"), key_of("b")])
    assert first.forgotten_since(time.time()) == []
    assert 500 < store.ttl("fovea:embedding:forgotten") <= 600


def test_who_only_reads_learns_what_is_held(valkey: Valkey) -> None:
    """vLLM's scheduler reads, and its figures are the engine's."""
    writer, reader = tier_on(valkey), tier_on(valkey)
    for number in range(3):
        writer.put(*entry(str(number)))
    reader.get(key_of("0"))
    reader.pin(key_of("1"))
    reader.forgotten_since(0)
    assert (reader.figures.entries, reader.figures.bytes_held) == (3, 3 * SIZE)


def test_an_entry_that_is_there_is_not_sent_again(valkey: Valkey, store: "redis.Redis[bytes]") -> None:
    first, second = tier_on(valkey), tier_on(valkey)
    assert first.put(*entry("a"))
    assert second.put(*entry("a"))
    assert (first.figures.bytes_written, second.figures.bytes_written) == (SIZE - 256, 0)


def spoilt(how: str, raw: bytes) -> bytes:
    if how == "truncated":
        return raw[:-1]
    if how == "checksum":
        return raw[:600] + bytes([raw[600] ^ 4]) + raw[601:]
    if how == "foreign":
        return b"not ours" * 100
    if how == "key":
        _, header, payload = entry("another")
        return header + payload
    _, header, payload = entry("a", namespace=OTHER_NAMESPACE)
    return header + payload


def test_an_entry_of_another_shape_is_replaced(valkey: Valkey, store: "redis.Redis[bytes]") -> None:
    first, second = tier_on(valkey), tier_on(valkey)
    assert first.put(*entry("a"))
    assert second.put(*entry("a", tokens=8))
    found = first.get(key_of("a"))
    assert found is not None
    assert found.shape == (8, 32)
    assert sum(books_of(store).values()) == held_bytes(store)


def test_another_version_s_entry_stays_until_one_of_ours_takes_its_place(
    valkey: Valkey, store: "redis.Redis[bytes]"
) -> None:
    """Engines of both versions run side by side while they are replaced."""
    tier = tier_on(valkey)
    tier.put(*entry("a"))
    store.setrange(VALUE + key_of("a"), 8, b"\x09")
    assert tier.get(key_of("a")) is None
    assert tier.figures.bad == {"version": 1}
    assert store.exists(VALUE + key_of("a"))
    assert tier.put(*entry("a"))
    assert tier.get(key_of("a"))


@pytest.mark.parametrize("how", ["truncated", "checksum", "foreign", "key", "namespace"])
def test_what_is_not_the_entry_is_a_miss_and_goes(valkey: Valkey, store: "redis.Redis[bytes]", how: str) -> None:
    tier = tier_on(valkey)
    tier.put(*entry("a"))
    store.set(VALUE + key_of("a"), spoilt(how, store.get(VALUE + key_of("a")) or b""))
    assert tier.get(key_of("a")) is None
    assert tier.figures.bad == {how: 1}
    assert not store.exists(VALUE + key_of("a"))
    assert tier.put(*entry("a"))
    assert tier.get(key_of("a"))


def test_a_value_of_another_type_is_a_miss_and_goes(valkey: Valkey, store: "redis.Redis[bytes]") -> None:
    tier = tier_on(valkey)
    store.lpush(VALUE + key_of("a"), b"x")
    assert tier.get(key_of("a")) is None
    assert tier.figures.bad == {"type": 1}
    assert tier.put(*entry("a"))
    assert tier.get(key_of("a"))


def test_a_replica_can_be_read_and_is_not_written_to(valkey: Valkey, store: "redis.Redis[bytes]") -> None:
    tier = tier_on(valkey)
    tier.put(*entry("a"))
    store.execute_command("REPLICAOF", "127.0.0.1", "1")
    assert tier.get(key_of("a"))
    assert not tier.put(*entry("b"))
    assert not tier.forget(key_of("a"))
    assert tier.get(key_of("a"))
    assert tier.figures.failures["readonly"] == 2
    store.execute_command("REPLICAOF", "NO", "ONE")
    wait_until(lambda: tier.put(*entry("b")))


def test_a_password_is_asked_for_and_never_told(
    valkey: Valkey, store: "redis.Redis[bytes]", caplog: pytest.LogCaptureFixture
) -> None:
    store.config_set("requirepass", "s3cret-of-ours")
    without, wrong, right = (
        tier_on(valkey, url=valkey.url.replace("//", f"//{user}"))
        for user in ("", ":s3cret-of-theirs@", ":s3cret-of-ours@")
    )
    assert (without.get(key_of("a")), wrong.get(key_of("a"))) == (None, None)
    assert without.figures.failures == {"noauth": 1}
    assert wrong.figures.failures == {"wrongpass": 1}
    assert right.put(*entry("a"))
    assert right.get(key_of("a"))
    assert "wrongpass" in caplog.text
    assert "s3cret" not in caplog.text


def test_a_user_that_may_only_read_reads(valkey: Valkey, store: "redis.Redis[bytes]") -> None:
    tier_on(valkey).put(*entry("a"))
    store.acl_setuser("reader", enabled=True, passwords=["+p"], keys=["fovea:embedding:*"], commands=["+get"])
    tier = tier_on(valkey, url=valkey.url.replace("//", "//reader:p@"))
    assert tier.get(key_of("a"))
    assert not tier.put(*entry("b"))
    assert tier.get(key_of("a"))


def test_a_user_with_the_rights_that_we_ask_for_has_enough(valkey: Valkey, store: "redis.Redis[bytes]") -> None:
    """docs/operating.md says which."""
    rights = ["+@read", "+@write", "+@scripting", "+time", "+select", "-@dangerous"]
    store.acl_setuser("fovea", enabled=True, passwords=["+p"], keys=["fovea:embedding:*"], commands=rights)
    tier = tier_on(valkey, url=valkey.url.replace("//", "//fovea:p@") + "/0")
    for number in range(30):
        assert tier.put(*entry(str(number)))
        assert tier.get(key_of(str(number)))
    assert tier.pin(key_of("29"))
    assert tier.unpin(key_of("29"))
    assert tier.forget(key_of("29"))
    assert tier.forgotten_since(0) == [key_of("29")]
    store.delete("fovea:embedding:books")
    assert tier.put(*entry("after"))
    assert not tier.figures.failures


def test_the_url_names_the_database(valkey: Valkey) -> None:
    tier_on(valkey, url=f"{valkey.url}/3").put(*entry("a"))
    for number, wanted in ((0, 0), (3, 1)):
        with redis.Redis.from_url(f"{valkey.url}/{number}") as client:
            assert client.exists(VALUE + key_of("a")) == wanted


def test_over_tls_its_certificate_is_checked(valkey: Valkey, tmp_path: Path) -> None:
    authority, another = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    another.cert_pem.write_to_path(str(tmp_path / "another.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with relayed_over_tls(valkey.port, context) as port:
        url = f"rediss://127.0.0.1:{port}?ssl_ca_certs={tmp_path}"
        tier, deceived = tier_on(valkey, url=f"{url}/ca.pem"), tier_on(valkey, url=f"{url}/another.pem")
        large = entry("large", tokens=1024, width=512)
        tier = tier_on(valkey, url=f"{url}/ca.pem", room=8 << 20)
        assert tier.put(*large)
        assert (tier.get(large[0]) or embedding("")).data == large[2]
        assert deceived.get(large[0]) is None
        assert deceived.figures.failures == {"tls": 1}


# A store that goes and comes back.


def test_a_store_that_hangs_costs_one_lookup_its_time_and_the_others_none(valkey: Valkey) -> None:
    tier = tier_on(valkey)
    tier.put(*entry("a"))
    assert valkey.process
    valkey.process.send_signal(signal.SIGSTOP)
    try:
        found = [tier.get(key_of("a")) for _ in range(1000)]
    finally:
        valkey.process.send_signal(signal.SIGCONT)
    assert found == [None] * 1000
    assert tier.figures.failures["timeout"] <= 2
    assert tier.figures.failures["timeout"] + tier.figures.failures["off"] == 1000
    wait_until(lambda: tier.get(key_of("a")) is not None)


def test_a_store_that_was_started_anew_is_used_again_at_once_if_nobody_asked_meanwhile(valkey: Valkey) -> None:
    """It has forgotten everything, the scripts as well."""
    tier = tier_on(valkey)
    assert tier.put(*entry("a"))
    valkey.kill()
    valkey.start()
    assert tier.get(key_of("a")) is None
    assert tier.put(*entry("a"))
    assert tier.get(key_of("a"))
    assert not tier.figures.failures


def test_scripts_that_the_store_has_forgotten_are_loaded_again(valkey: Valkey, store: "redis.Redis[bytes]") -> None:
    tier = tier_on(valkey)
    tier.put(*entry("a"))
    store.script_flush()
    assert tier.put(*entry("b"))
    store.script_flush()
    assert tier.get(key_of("b"))
    assert tier.forget(key_of("b"))
    assert not tier.figures.failures


def test_a_lost_store_is_told_of_once_a_minute(valkey: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    valkey.kill()
    tier = tier_on(valkey)
    for number in range(200):
        assert tier.get(key_of(str(number))) is None
        assert not tier.put(*entry(str(number)))
        time.sleep(0.01)
    assert 1 <= tier.figures.failures["connection"] <= 4
    assert tier.figures.misses == 200
    assert len([record for record in caplog.records if "connection" in record.getMessage()]) == 1


@pytest.mark.parametrize("seed", range(3))
def test_kill_9_in_the_middle_of_transfers_never_gives_a_wrong_picture(valkey: Valkey, seed: int) -> None:
    chance = random.Random(seed)
    tier = tier_on(valkey, room=64 << 20)
    entries = [entry(f"{number}", tokens=1024, width=1024) for number in range(8)]
    ended = threading.Event()
    found = [0] * 4

    def use(thread: int) -> None:
        mine = random.Random(thread)
        while not ended.is_set():
            key, header, payload = entries[mine.randrange(8)]
            if (held := tier.get(key)) is not None:
                assert held.data == payload
                found[thread] += 1
            else:
                tier.put(key, header, payload)

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(use, thread) for thread in range(4)]
        try:
            for _ in range(3):
                time.sleep(chance.uniform(0.05, 0.5))
                valkey.kill()
                valkey.start()
            before = sum(found)
            wait_until(lambda: sum(found) > before)
        finally:
            ended.set()
        for each in running:
            each.result()


WRITER = """
import sys, random
from server.engine.encoder_cache.redis_tier import RedisTier
from tests.contract.encoder_cache.entries import NAMESPACE, entry
tier, chance = RedisTier(sys.argv[1], NAMESPACE, int(sys.argv[2]), None), random.Random(sys.argv[3])
print("ready", flush=True)
while True:
    key, header, payload = entry(str(chance.randrange(500)), chance.choice((16, 64, 4096)))
    done = chance.random()
    if done < 0.6:
        tier.put(key, header, payload)
    elif done < 0.98:
        tier.get(key)
    else:
        tier.forget(key)
"""


@contextmanager
def writer(url: str, room: int, seed: int) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, url, str(room), str(seed)], stdout=subprocess.PIPE, cwd=os.getcwd()
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        try:
            yield process
        finally:
            process.kill()


def test_engines_that_are_killed_leave_books_that_are_right(valkey: Valkey, store: "redis.Redis[bytes]") -> None:
    """Two at a time, at any point: every entry is whole, and counted."""
    room = 40 * SIZE + 300_000
    for seed in range(2):
        with writer(valkey.url, room, seed), writer(valkey.url, room, 100 + seed):
            time.sleep(random.Random(seed).uniform(0.1, 0.4))
    assert sum(books_of(store).values()) == held_bytes(store) <= room
    tier = tier_on(valkey, room=room)
    names = [name.decode().rpartition(":")[2] for name in store.keys(f"{VALUE}*")]
    assert names
    assert all(tier.get(name) for name in names)


def test_while_it_is_off_nobody_even_connects() -> None:
    with FakeStore(lambda _: b"-LOADING dataset\r\n") as fake:
        tier = RedisTier(fake.url, NAMESPACE, ROOM, None)
        for _ in range(500):
            assert tier.get(key_of("a")) is None
        assert fake.accepted <= 2
        assert tier.figures.failures["loading"] <= 2
        assert tier.figures.failures["off"] >= 498
