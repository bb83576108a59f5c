"""Tokens of an identity provider that changes its keys, fails and comes back, over real ports."""

import logging
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trustme

from tests.contract.test_faults import metric, wait_until
from tests.contract.test_keys import code_of
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway
from tests.fakes.identity import AUDIENCE, ISSUER, RSA_KEYS, IdentityProvider, key_set, published, token
from tests.fakes.serve import serving
from tests.pictures import chat

ONE, TWO = published(RSA_KEYS[0], "one"), published(RSA_KEYS[1], "two")
FAILED = 'fovea_identity_key_fetches_total{outcome="failed"}'
FETCHED = 'fovea_identity_key_fetches_total{outcome="fetched"}'


def oidc(host: str, **more: Any) -> dict[str, Any]:
    return {"issuer": ISSUER, "audience": [AUDIENCE], "jwks_url": f"{host}/jwks", "allow_http": True, **more}


def ask(url: str, bearer: str) -> tuple[int, str]:
    return code_of(httpx2.get(f"{url}/v1/models", headers={"authorization": f"Bearer {bearer}"}))


def test_a_token_opens_what_its_scopes_say_and_its_tenant_is_its_own() -> None:
    engine, provider = FakeEngine(), IdentityProvider(ONE)
    with (
        serving(engine.app) as engine_url,
        serving(provider.app) as host,
        gateway(engine_url, oidc=oidc(host), auth={"protect_metrics": True}) as url,
    ):
        headers = {"authorization": f"Bearer {token()}"}
        assert httpx2.post(f"{url}/v1/chat/completions", json=chat(), headers=headers).status_code == 200
        assert code_of(httpx2.get(f"{url}/metrics", headers=headers)) == (403, "insufficient_scope")
        assert httpx2.get(f"{url}/metrics", headers={"x-api-key": token(scope="fovea:admin")}).status_code == 200
        for refused in (token(exp=1), token(aud="other"), token(RSA_KEYS[1]), "fv-key", "eyJ.eyJ.x"):
            assert ask(url, refused) == (401, "invalid_api_key")
        assert code_of(httpx2.get(f"{url}/v1/models")) == (401, "invalid_api_key")
    assert len(engine.chats) == 1


def test_new_keys_are_found_and_old_ones_forgotten() -> None:
    provider = IdentityProvider(ONE)
    with (
        serving(FakeEngine().app) as engine_url,
        serving(provider.app) as host,
        gateway(engine_url, oidc=oidc(host, refetch_pause_s=0.01)) as url,
    ):
        assert ask(url, token())[0] == 200
        provider.body = key_set(TWO)
        assert ask(url, token(RSA_KEYS[1], "two"))[0] == 200
        assert ask(url, token())[0] == 401


def test_tokens_that_name_unknown_keys_cannot_make_us_hammer_the_provider() -> None:
    provider = IdentityProvider(ONE)
    with (
        serving(FakeEngine().app) as engine_url,
        serving(provider.app) as host,
        gateway(engine_url, oidc=oidc(host, refetch_pause_s=60)) as url,
    ):
        wait_until(lambda: metric(url, FETCHED) == 1)
        assert {ask(url, token(RSA_KEYS[1], f"kid-{number}"))[0] for number in range(30)} == {401}
        assert ask(url, token())[0] == 200
    assert provider.asked == 1


@pytest.mark.parametrize(
    "breakage",
    [
        {"status": 500},
        {"body": b"<html>"},
        {"body": key_set()},
        {"body": b" " * 300_000},
        {"redirect": "/elsewhere"},
        {"headers": {"content-encoding": "gzip"}},
    ],
    ids=lambda breakage: next(iter(breakage)),
)
def test_a_provider_that_fails_leaves_the_last_good_keys_and_one_line(
    breakage: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    provider = IdentityProvider(ONE)
    with (
        serving(FakeEngine().app) as engine_url,
        serving(provider.app) as host,
        gateway(engine_url, oidc=oidc(host, refresh_s=0.05, refetch_pause_s=0.01)) as url,
    ):
        assert ask(url, token())[0] == 200
        before = {name: getattr(provider, name) for name in breakage}
        for name, value in breakage.items():
            setattr(provider, name, value)
        wait_until(lambda: metric(url, FAILED) >= 3)
        assert ask(url, token())[0] == 200
        for name, value in before.items():
            setattr(provider, name, value)
        fetched = metric(url, FETCHED)
        wait_until(lambda: metric(url, FETCHED) > fetched)
    said = [record.getMessage() for record in caplog.records if record.name == "fovea.keys"]
    assert [line.partition(" (")[0] for line in said] == [
        "the identity provider's keys cannot be fetched",
        "the identity provider's keys can be fetched again",
    ]
    assert "those fetched before stay" in said[0]


def test_a_provider_that_was_never_there_is_a_503_that_says_so() -> None:
    with serving(FakeEngine().app) as engine_url, gateway(engine_url, oidc=oidc("http://127.0.0.1:1")) as url:
        assert ask(url, token()) == (503, "identity_keys_unavailable")
        assert ask(url, "fv-unknown") == (401, "invalid_api_key")


def test_the_providers_certificate_is_verified(tmp_path: Path) -> None:
    authority, provider = trustme.CA(), IdentityProvider(ONE)
    certificate = authority.issue_cert("localhost")
    key, chain, ca_file = (str(tmp_path / name) for name in ("key.pem", "chain.pem", "ca.pem"))
    certificate.private_key_pem.write_to_path(key)
    certificate.cert_chain_pems[0].write_to_path(chain)
    authority.cert_pem.write_to_path(ca_file)
    with (
        serving(FakeEngine().app) as engine_url,
        serving(provider.app, ssl_keyfile=key, ssl_certfile=chain) as host,
    ):
        named = host.replace("http://127.0.0.1", "https://localhost")
        for trusted, status in ((None, 503), (ca_file, 200)):
            with gateway(engine_url, oidc=oidc(named, ca_file=trusted, allow_http=False)) as url:
                assert ask(url, token())[0] == status
