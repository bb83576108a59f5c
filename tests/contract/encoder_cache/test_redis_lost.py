"""The shared tier when its Valkey hangs, ends, or forgets, and when engines are killed."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import redis

from server.engine.encoder_cache.entry import key_of
from server.engine.encoder_cache.redis_tier import RedisTier
from tests.contract.encoder_cache.entries import NAMESPACE, entry
from tests.contract.encoder_cache.on_valkey import (
    ROOM,
    SIZE,
    VALUE,
    books_of,
    held_bytes,
    tier_on,
    wait_until,
)
from tests.contract.encoder_cache.stores import FakeStore
from tests.valkey import Valkey


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
