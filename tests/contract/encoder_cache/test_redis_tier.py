"""The shared tier in a real Valkey: what others say and do there, and who is let in."""

import ssl
import time
from pathlib import Path

import pytest
import redis
import trustme

from server.engine.encoder_cache.entry import key_of
from tests.contract.encoder_cache.entries import OTHER_NAMESPACE, embedding, entry
from tests.contract.encoder_cache.on_valkey import SIZE, VALUE, books_of, held_bytes, tier_on, wait_until
from tests.contract.encoder_cache.stores import relayed_over_tls
from tests.valkey import Valkey


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
