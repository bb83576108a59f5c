import re
from pathlib import Path
from typing import Any

import pytest
import typer

from server.cli import app
from server.engine.cache_options import SHARED_VARIABLE
from server.errors import ConfigError
from server.settings import read_settings, reject_unknown
from tests.conftest import ROOT


def test_defaults_keep_the_gateway_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings({}).http.host == "127.0.0.1"


def test_nested_names_and_sizes_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOVEA_IMAGES__MAX_BYTES", "10MiB")
    monkeypatch.setenv("FOVEA_ENGINES__URLS", '["http://a:1", "http://b:2"]')
    settings = read_settings()
    assert settings.images.max_bytes == 10 * 1024**2
    assert settings.engines.urls == ("http://a:1", "http://b:2")


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "fovea.yaml"
    file.write_text("http: {port: 1234, host: 0.0.0.0}\n")
    monkeypatch.setenv("FOVEA_CONFIG", str(file))
    monkeypatch.setenv("FOVEA_HTTP__PORT", "4321")
    settings = read_settings()
    assert (settings.http.host, settings.http.port) == ("0.0.0.0", 4321)


def test_what_other_commands_read_from_the_environment_does_not_stop_a_gateway_beside_them() -> None:
    """As under `fovea up`."""
    names = {name for name in variables(typer.main.get_command(app)) if name.startswith("FOVEA_")}
    assert SHARED_VARIABLE in names
    for name in names:
        read_settings({name: "x"})


def test_no_name_that_our_other_programs_read_stops_a_gateway_in_the_same_shell() -> None:
    sources = [path for folder in ("loadtest", "quantize") for path in (ROOT / folder).rglob("*.*")]
    texts = [path.read_text() for path in sources if path.suffix in (".py", ".yaml")]
    # One process of the benchmarks tells it another; nobody sets it in a shell. Those with __ are settings.
    names = {name for text in texts for name in re.findall(r"\bFOVEA_[A-Z_]+\b", text)} - {"FOVEA_BENCH_WATCH"}
    named = {name for name in names if "__" not in name}
    assert {"FOVEA_METRICS_KEY", "FOVEA_LOADTEST_KEY_NOISY"} <= named
    for name in named:
        reject_unknown({name: "x"})


def variables(command: Any) -> set[str]:
    """That some option of it, or of its subcommands, may also be given in."""
    found = {str(each.envvar) for each in command.params if each.envvar}
    return found.union(*(variables(each) for each in getattr(command, "commands", {}).values()))


@pytest.mark.parametrize("name", ["FOVEA_IMAGE__MAX_BYTES", "FOVEA_TYPO", "FOVEA_HTTPS__PORT"])
def test_a_misspelt_section_stops_the_start(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is not a setting"):
        read_settings({name: "1"})


@pytest.mark.parametrize(
    ("name", "value"),
    [("FOVEA_HTTP__PROT", "1"), ("FOVEA_HTTP__PORT", "x"), ("FOVEA_IMAGES__MAX_PIXELS", "-1")],
)
def test_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=name.split("__")[1].lower()):
        read_settings()


def test_mistakes_are_told_in_our_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOVEA_HTTP__PROT", "1")
    monkeypatch.setenv("FOVEA_TRACES__ENDPOINT", "ftp://x")
    with pytest.raises(ConfigError) as caught:
        read_settings()
    assert "http.prot: there is no such setting" in str(caught.value)
    assert "traces.endpoint: it is not a URL" in str(caught.value)


@pytest.mark.parametrize("content", ["- a\n", "{", "typo: 1\n", "http: {prot: 1}\n"])
def test_a_broken_file_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    file = tmp_path / "fovea.yaml"
    file.write_text(content)
    monkeypatch.setenv("FOVEA_CONFIG", str(file))
    with pytest.raises(ConfigError):
        read_settings()


def test_a_budget_that_no_large_request_would_ever_get_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOVEA_HTTP__MAX_BYTES_IN_FLIGHT", "150MiB")
    with pytest.raises(ConfigError, match=r"must be at least http\.max_body \+ .*, 180"):
        read_settings()
    monkeypatch.setenv("FOVEA_IMAGES__MAX_COUNT", "2")
    assert read_settings().http.max_bytes_in_flight == 150 * 1024**2


@pytest.mark.parametrize("domain", ["Example.com", "*.example.com", "https://example.com", "bücher.example", ""])
def test_a_domain_that_would_match_nothing_is_refused(domain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOVEA_IMAGES__DENY_DOMAINS", f'["{domain}"]')
    with pytest.raises(ConfigError, match=r"is not a domain like example\.com"):
        read_settings()


@pytest.mark.parametrize(
    ("hashes", "sentence"),
    [
        ('{"fv-SECRET": "lab"}', "entry 1 is not a SHA-256"),
        (f'{{"{"a" * 64}": "lab", "{"b" * 63}SECRET": "x"}}', "entry 2 is not a SHA-256"),
        (f'{{"{"a" * 64}": "a\\nb"}}', "the tenant of entry 1 is not a name"),
        (f'{{"{"a" * 64}": ["SECRET"]}}', "the tenant of entry 1 is not a name"),
        ('["SECRET"]', "auth.key_hashes"),
        ('{"SECRET', "auth"),
    ],
)
def test_a_plain_key_among_the_hashes_is_refused_and_not_quoted(
    hashes: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOVEA_AUTH__KEY_HASHES", hashes)
    with pytest.raises(ConfigError, match=sentence) as caught:
        read_settings()
    assert "SECRET" not in str(caught.value)


def test_limits_of_keys_that_nobody_is_asked_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOVEA_LIMITS__KEY__REQUESTS", "60")
    with pytest.raises(ConfigError, match=r"limits\.tenant"):
        read_settings()
    monkeypatch.setenv("FOVEA_AUTH__KEYS_FILE", "keys.yaml")
    assert read_settings().limits.key.requests == 60


def test_metrics_that_nobody_could_read_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOVEA_AUTH__PROTECT_METRICS", "true")
    with pytest.raises(ConfigError, match=r"set auth\.keys_file"):
        read_settings()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"AUDIENCE": "[]"}, "needs oidc.audience and oidc.jwks_url"),
        ({"AUDIENCE": '[""]'}, "needs oidc.audience and oidc.jwks_url"),
        ({"JWKS_URL": "keys"}, "needs oidc.audience and oidc.jwks_url"),
        ({"JWKS_URL": "http://id.example/keys"}, "must start with https://"),
        ({"JWKS_URL": "file://host/keys", "ALLOW_HTTP": "true"}, "must start with https://"),
        ({"ALGORITHMS": '["HS256"]'}, "oidc.algorithms"),
        ({"ALGORITHMS": '["none"]'}, "oidc.algorithms"),
        ({"ALGORITHMS": "[]"}, "oidc.algorithms"),
        ({"TENANT_PREFIX": "a/b"}, "oidc.tenant_prefix"),
        ({"LEEWAY_S": "3600"}, "oidc.leeway_s"),
        ({"SCOPES": '{"x": ["root"]}'}, "oidc.scopes"),
    ],
)
def test_half_an_identity_provider_is_refused(
    changes: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {"ISSUER": "https://id.example", "AUDIENCE": '["fovea"]', "JWKS_URL": "https://id.example/keys"}
    for name, value in {**whole, **changes}.items():
        monkeypatch.setenv(f"FOVEA_OIDC__{name}", value)
    with pytest.raises(ConfigError, match=sentence):
        read_settings()
    for name, value in {**dict.fromkeys(changes), **whole}.items():
        monkeypatch.delenv(f"FOVEA_OIDC__{name}")
        if value is not None:
            monkeypatch.setenv(f"FOVEA_OIDC__{name}", value)
    assert read_settings().asks_for_keys


@pytest.mark.parametrize("host", ["api.example", "API.Example", "my_gateway", "10.0.0.1", "::1", "fd00::2"])
def test_hosts_are_names_and_addresses(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("FOVEA_HTTP__HOSTS", f'["{host}"]')
    assert read_settings().http.hosts == (host,)


@pytest.mark.parametrize(
    "host", ["", "api.example:443", "https://api.example", "[::1]", "*.example", "a..b", "a b"]
)
def test_what_no_caller_could_call_is_refused_as_a_host(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("FOVEA_HTTP__HOSTS", f'["{host}"]')
    with pytest.raises(ConfigError, match="leave out scheme, port and brackets"):
        read_settings()


@pytest.mark.parametrize("url", ["http://SECRET@host", "redis://", "redis:SECRET", "unix://", "redis://[SECRET"])
def test_a_store_of_limits_is_redis_and_its_url_is_never_quoted(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("FOVEA_LIMITS__STORE_URL", url)
    with pytest.raises(ConfigError, match=r"limits.store_url: .*must be like redis://host:6379/0") as caught:
        read_settings()
    assert "SECRET" not in str(caught.value)


def test_a_stores_password_is_not_shown_with_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOVEA_LIMITS__STORE_URL", "rediss://user:SECRET@host:6380/1")
    settings = read_settings()
    assert "SECRET" not in repr(settings)
    assert settings.limits.store_url is not None


@pytest.mark.parametrize("value", ["-1", "1.5", "many"])
def test_a_limit_is_a_whole_number(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("FOVEA_LIMITS__KEY__REQUESTS", value)
    with pytest.raises(ConfigError, match=r"limits.key.requests"):
        read_settings()
