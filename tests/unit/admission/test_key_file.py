import hashlib
import logging
import os
from pathlib import Path

import pytest

from server.admission.key_file import MOST_BYTES, MOST_KEYS, KeyFile, parse_keys, read_content
from server.admission.keys import KeyRing
from server.admission.limits.allowances import Allowances
from server.allowance import Budgets
from server.errors import ConfigError, Unauthenticated
from server.metrics import Metrics

WHERE = Path("keys.yaml")


def digest(key: str) -> str:
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def entry(key: str, tenant: str = "lab") -> str:
    return f"- {{hash: '{digest(key)}', tenant: {tenant}, scopes: [inference]}}\n"


def content_of(*keys: str) -> str:
    return "keys:\n" + "".join(map(entry, keys)) if keys else "keys: []\n"


async def known(ring: KeyRing, *keys: str) -> list[bool]:
    found = []
    for key in keys:
        try:
            await ring.authenticate([(b"x-api-key", key.encode())], "inference")
            found.append(True)
        except Unauthenticated:
            found.append(False)
    return found


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def count(metrics: Metrics, outcome: str) -> float:
    return metrics.registry.get_sample_value("fovea_keys_file_reads_total", {"outcome": outcome}) or 0


def test_an_entry_is_a_tenant_with_scopes_a_name_and_an_end() -> None:
    text = f"""
    keys:
    - hash: {digest("a").upper().replace("SHA", "sha")}
      tenant: team-1
      scopes: [files, admin, files]
      name: ci
      expires: 2027-01-31T01:00:00+01:00
    """
    (key,) = parse_keys(text.encode(), WHERE)
    assert key.digest == hashlib.sha256(b"a").digest()
    assert (key.grant.tenant.name, key.grant.tenant.key) == ("team-1", "ci")
    assert key.grant.scopes == {"files", "admin"}
    assert key.expires_s == 1801353600


def test_json_is_read_as_well() -> None:
    text = f'{{"keys": [{{"hash": "{digest("a")}", "tenant": "t", "scopes": ["admin"], "name": null}}]}}'
    assert parse_keys(text.encode(), WHERE)[0].grant.scopes == {"admin"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "must hold a list under the name 'keys'"),
        ("keys:\n", "must hold a list"),
        ("- SECRET\n", "must hold a list"),
        ("keys: []\nSECRET: 1\n", "something beside 'keys' and 'tenants'"),
        ("keys: {SECRET: lab}\n", "must hold a list"),
        ("keys: [SECRET]\n", r"keys\[0\] of keys.yaml must be a mapping"),
        ("keys: [{hash: SECRET, tenant: t, scopes: [files]}]", "A plain key never belongs here: 'fovea keys hash'"),
        (f"keys: [{{hash: '{'a' * 64}', tenant: t, scopes: [files]}}]", "hash must be 'sha256:'"),
        (f"keys: [{{hash: '{digest('a')}\\nSECRET', tenant: t, scopes: [files]}}]", "hash must be 'sha256:'"),
        ("keys: [{tenant: t, scopes: [files]}]", "hash must be"),
        (content_of("a") + "- {key: SECRET}", r"keys\[1\] of keys.yaml: hash must be"),
        (f"keys: [{{hash: '{digest('a')}', tenant: t, scopes: [files], key: SECRET}}]", "none of hash, tenant"),
        (f"keys: [{{hash: '{digest('a')}', tenant: t, scopes: [files], SECRET: 1}}]", "none of hash, tenant"),
        (f"keys: [{{hash: '{digest('a')}', tenant: 't SECRET', scopes: [files]}}]", "tenant must be a name"),
        (f"keys: [{{hash: '{digest('a')}', tenant: {'x' * 129}, scopes: [files]}}]", "tenant must be a name"),
        (f"keys: [{{hash: '{digest('a')}', tenant: t, scopes: []}}]", "scopes must be a list"),
        (f"keys: [{{hash: '{digest('a')}', tenant: t, scopes: [SECRET]}}]", "scopes must be a list"),
        (f"keys: [{{hash: '{digest('a')}', tenant: t}}]", "scopes must be a list"),
        (f"keys: [{{hash: '{digest('a')}', tenant: t, scopes: [files], expires: SECRET}}]", "a time with its zone"),
        (
            f"keys: [{{hash: '{digest('a')}', tenant: t, scopes: [files], expires: 2027-01-31T00:00:00}}]",
            "a time with its zone",
        ),
        (f"keys: [{{hash: '{digest('a')}', tenant: t, scopes: [files], name: 'a\\nb'}}]", "name must be a name"),
        (content_of("a", "b", "a"), r"keys\[2\] of keys.yaml has a hash that stands there before"),
        (
            f"keys: [{{hash: '{digest('a')}', tenant: t, scopes: [files], limits: {{SECRET: 1}}}}]",
            "limits must be a map",
        ),
        (
            f"keys: [{{hash: '{digest('a')}', tenant: t, scopes: [files], limits: {{tokens: -1}}}}]",
            "limits must be a",
        ),
        (
            f"keys: [{{hash: '{digest('a')}', tenant: t, scopes: [files], limits: {{tokens: 1.5}}}}]",
            "limits must be",
        ),
        ("keys: []\ntenants: [SECRET]\n", "'tenants' of keys.yaml must be a mapping"),
        ("keys: []\ntenants: {'a SECRET': {limits: {}}}\n", "tenant 1 of keys.yaml: its name must be a name"),
        ("keys: []\ntenants: {a: {limits: {SECRET: 1}}}\n", "tenant 1 of keys.yaml must hold 'limits' alone"),
        ("keys: []\ntenants: {a: {limits: {requests: '7'}}}\n", "to whole numbers, or to null for any number"),
        ("keys:\n- [SECRET\n", "neither JSON nor YAML, line"),
        ("keys: !!python/object/apply:os.system ['SECRET']", "neither JSON nor YAML"),
        ("keys: &a [*a]", "neither JSON nor YAML"),
        ("a: " + "- " * 3000, "neither JSON nor YAML"),
        ("\x00", "neither JSON nor YAML"),
        ("[" * 100_000, "neither JSON nor YAML"),
        ("{" * 5000, "neither JSON nor YAML"),
        ("keys: [" + "{}," * (MOST_KEYS + 1) + "]", f"more than {MOST_KEYS} keys"),
    ],
)
def test_a_broken_file_is_refused_as_a_whole_and_never_quoted(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        parse_keys(text.encode(), WHERE)
    assert "SECRET" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(ConfigError, match="neither JSON nor YAML"):
        parse_keys(b"\xff\xfe\xff", WHERE)


def test_only_a_file_of_bounded_size_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_content(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"cannot read|is not a file"):
        read_content(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="is not a file"):
        read_content(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b" " * (MOST_BYTES + 1))
    with pytest.raises(ConfigError, match="is larger than"):
        read_content(tmp_path / "large")


def test_a_broken_file_stops_the_start(tmp_path: Path, metrics: Metrics) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the keys file .*: No such file or directory: make one"):
        KeyFile(tmp_path / "none", KeyRing(), 5, metrics).load()


async def test_a_secrets_swapped_link_changes_the_keys(tmp_path: Path, metrics: Metrics) -> None:
    """As the kubelet does: keys.yaml -> ..data/keys.yaml, ..data -> a folder, replaced by a rename."""
    for version, keys in (("1", ("a", "b")), ("2", ("b", "c"))):
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "keys.yaml").write_text(content_of(*keys))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "keys.yaml").symlink_to("..data/keys.yaml")
    ring = KeyRing()
    file = KeyFile(tmp_path / "keys.yaml", ring, 5, metrics)
    file.load()
    assert await known(ring, "a", "b", "c") == [True, True, False]
    (tmp_path / "..tmp").symlink_to("..2")
    os.replace(tmp_path / "..tmp", tmp_path / "..data")
    await file.refresh()
    assert await known(ring, "a", "b", "c") == [False, True, True]
    assert count(metrics, "read") == 2
    await file.refresh()
    assert count(metrics, "read") == 2


async def test_a_change_that_keeps_size_and_time_is_seen(tmp_path: Path, metrics: Metrics) -> None:
    path, ring = tmp_path / "keys.yaml", KeyRing()
    path.write_text(content_of("a"))
    before = path.stat()
    file = KeyFile(path, ring, 5, metrics)
    file.load()
    path.write_text(content_of("b"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    await file.refresh()
    assert await known(ring, "a", "b") == [False, True]


async def test_a_broken_file_keeps_the_keys_and_says_so_once(
    tmp_path: Path, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path, ring = tmp_path / "keys.yaml", KeyRing()
    path.write_text(content_of("a"))
    file = KeyFile(path, ring, 5, metrics)
    file.load()
    for breakage in (lambda: path.write_text("keys: [SECRET]"), path.unlink):
        breakage()
        for _ in range(3):
            await file.refresh()
        assert await known(ring, "a") == [True]
    assert count(metrics, "refused") == 2
    assert metrics.registry.get_sample_value("fovea_keys_file_broken") == 1
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 2
    assert "SECRET" not in caplog.text
    path.write_text(content_of("a"))
    await file.refresh()
    assert metrics.registry.get_sample_value("fovea_keys_file_broken") == 0
    path.write_text(content_of())
    await file.refresh()
    assert await known(ring, "a") == [False]
    assert metrics.registry.get_sample_value("fovea_keys") == 0


def test_an_entry_may_give_its_tenant_a_priority_and_a_weight() -> None:
    text = content_of("a", "b")[:-2] + ", priority: interactive, weight: 2.5}\n"
    plain, favoured = (key.grant.tenant for key in parse_keys(text.encode(), WHERE))
    assert (plain.priority, plain.weight) == ("standard", 1)
    assert (favoured.priority, favoured.weight) == ("interactive", 2.5)
    assert plain == favoured  # one tenant still, whatever its keys may


@pytest.mark.parametrize(
    "wrong", ["priority: urgent", "weight: 0", "weight: -1", "weight: .nan", "weight: .inf", "weight: '2'"]
)
def test_a_priority_or_weight_that_is_none_stops_the_start(wrong: str) -> None:
    text = content_of("a")[:-2] + f", {wrong}}}\n"
    with pytest.raises(ConfigError, match=f"{wrong.partition(':')[0]} must be"):
        parse_keys(text.encode(), WHERE)


async def test_limits_of_keys_and_tenants_come_with_the_file_and_go_with_it(
    tmp_path: Path, metrics: Metrics
) -> None:
    allowances = Allowances(Budgets(requests=9, tokens=9))
    path, ring = tmp_path / "keys.yaml", KeyRing(allowances=allowances)
    path.write_text(
        content_of("a").replace("}", ", limits: {tokens: null, places: 2}}")
        + "tenants: {lab: {limits: {images: 5}}}"
    )
    file = KeyFile(path, ring, 5, metrics, allowances)
    file.load()
    tenant = await ring.authenticate([(b"x-api-key", b"a")], "inference")
    assert [subject.budgets for subject in tenant.allowance] == [Budgets(requests=9, places=2), Budgets(images=5)]
    path.write_text(content_of("a"))
    await file.refresh()
    tenant = await ring.authenticate([(b"x-api-key", b"a")], "inference")
    assert [subject.budgets for subject in tenant.allowance] == [Budgets(requests=9, tokens=9)]
