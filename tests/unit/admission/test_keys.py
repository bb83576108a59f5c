import hashlib
from collections import Counter

import pytest

from server.admission import keys as keys_module
from server.admission.grant import Grant
from server.admission.keys import ANONYMOUS, KeyRing, KnownKey
from server.domain import KeyScope, Tenant
from server.errors import InsufficientScope, Unauthenticated


def known(key: str, tenant: str, *scopes: KeyScope, expires_s: float | None = None) -> KnownKey:
    grant = Grant(Tenant(tenant, f"{key}-name"), frozenset(scopes or ("inference",)))
    return KnownKey(hashlib.sha256(key.encode()).digest(), grant, expires_s)


def bearer(key: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", f"Bearer {key}".encode())]


async def test_a_known_key_names_its_tenant_and_itself() -> None:
    tenant = await KeyRing([known("secret", "lab")]).authenticate(bearer("secret"), "inference")
    assert (tenant.name, tenant.key) == ("lab", "secret-name")


@pytest.mark.parametrize("key", ["Secret", "secre", "secretx", hashlib.sha256(b"secret").hexdigest()])
async def test_an_unknown_key_is_refused(key: str) -> None:
    with pytest.raises(Unauthenticated, match="not known"):
        await KeyRing([known("secret", "lab")]).authenticate(bearer(key), "inference")


async def test_every_key_of_many_is_found_with_its_own_tenant() -> None:
    ring = KeyRing([known(f"key-{i}", f"tenant-{i}") for i in range(500)])
    assert len(ring) == 500
    for i in range(500):
        assert (await ring.authenticate(bearer(f"key-{i}"), "inference")).name == f"tenant-{i}"


async def test_a_hit_and_a_miss_do_the_same_one_constant_time_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    compare = keys_module.compare_digest
    monkeypatch.setattr(keys_module, "compare_digest", lambda a, b: asked.append((len(a), len(b))) or compare(a, b))
    ring = KeyRing([known(f"key-{i}", "lab") for i in range(20)])
    for i in range(40):
        try:
            await ring.authenticate(bearer(f"key-{i}"), "inference")
        except Unauthenticated:
            assert i >= 20
    assert Counter(asked) == {(32, 32): 40}


def test_what_a_look_up_compares_differs_from_process_to_process() -> None:
    digest = hashlib.sha256(b"secret").digest()
    names = {KeyRing([])._name(digest) for _ in range(8)}
    assert len(names) == 8
    assert digest not in names


@pytest.mark.parametrize("scope", ["files", "admin"])
async def test_a_key_goes_only_where_its_scopes_lead(scope: KeyScope) -> None:
    ring = KeyRing([known("a", "lab", "inference"), known("b", "lab", scope)])
    assert (await ring.authenticate(bearer("b"), scope)).name == "lab"
    with pytest.raises(InsufficientScope, match=f"lacks the scope '{scope}'"):
        await ring.authenticate(bearer("a"), scope)


async def test_a_key_ends_at_its_time() -> None:
    now = 99.5
    ring = KeyRing([known("a", "lab", expires_s=100.0)], clock=lambda: now)
    await ring.authenticate(bearer("a"), "inference")
    now = 100.0
    with pytest.raises(Unauthenticated, match="has expired"):
        await ring.authenticate(bearer("a"), "inference")


async def test_replacing_forgets_what_is_gone_and_keeps_what_was_given_first() -> None:
    ring = KeyRing([known("fixed", "lab")])
    ring.replace([known("old", "lab")])
    ring.replace([known("new", "lab"), known("fixed", "other")])
    found = [await ring.authenticate(bearer(key), "inference") for key in ("fixed", "new")]
    assert [tenant.name for tenant in found] == ["other", "lab"]
    with pytest.raises(Unauthenticated):
        await ring.authenticate(bearer("old"), "inference")
    ring.replace([])
    assert (await ring.authenticate(bearer("fixed"), "inference")).name == "lab"


async def test_an_empty_ring_lets_nobody_in() -> None:
    with pytest.raises(Unauthenticated):
        await KeyRing().authenticate(bearer("x"), "inference")


@pytest.mark.parametrize("headers", [[], bearer("x"), [(b"authorization", b"\x00"), (b"authorization", b"")]])
async def test_only_a_ring_said_to_be_anonymous_asks_for_no_key(headers: list[tuple[bytes, bytes]]) -> None:
    assert await KeyRing(anonymous=True).authenticate(headers, "admin") == ANONYMOUS


def test_tenants_are_told_apart_by_name_alone() -> None:
    assert Tenant("lab", "one") == Tenant("lab", "two")
