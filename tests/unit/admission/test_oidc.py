import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from jwt.algorithms import RSAAlgorithm

from server.admission.jwks import JwksFault, KeySet, parse_key_set
from server.admission.keys import KeyRing
from server.admission.oidc import TokenRules, TokenVerifier
from server.errors import InsufficientScope, Unauthenticated
from tests.fakes.identity import (
    AUDIENCE,
    EC_KEY,
    ED_KEY,
    ISSUER,
    RSA_KEYS,
    WEAK_KEY,
    claims,
    key_set,
    published,
    token,
)

RULES: dict[str, Any] = {
    "issuer": ISSUER,
    "audience": (AUDIENCE, "other"),
    "algorithms": ("RS256", "PS256", "ES256", "EdDSA"),
    "leeway_s": 30,
    "tenant_claim": ("sub",),
    "tenant_prefix": "oidc:",
    "scope_claim": ("scope",),
    "scopes": {"fovea:inference": ("inference",), "staff": ("inference", "files")},
    "default_scopes": (),
}
ONE = published(RSA_KEYS[0], "one")
# Ahead of any clock this file is read under: a test may run an hour after it was collected.
FAR_AHEAD = 4_000_000_000


class Fixed:
    """A key set that never changes, and what it was asked for."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys: KeySet = parse_key_set(key_set(*(keys or (ONE,))))
        self.asked: list[tuple[str | None, str]] = []

    async def keys_for(self, kid: str | None, algorithm: str) -> list[jwt.PyJWK]:
        self.asked.append((kid, algorithm))
        return self.keys.get((kid, algorithm), [])


def verifier(*keys: dict[str, Any], **changes: Any) -> TokenVerifier:
    return TokenVerifier(TokenRules(**{**RULES, **changes}), Fixed(*keys))


async def refusal(text: str | bytes, *keys: dict[str, Any], **changes: Any) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await verifier(*keys, **changes).verify(text if isinstance(text, bytes) else text.encode())
    return caught.value.message


def segment(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


async def test_a_valid_token_is_a_tenant_with_scopes() -> None:
    grant = await verifier().verify(token().encode())
    assert (grant.tenant.name, grant.tenant.key, grant.scopes) == ("oidc:ann", "token", {"inference"})


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(RSA_KEYS[0], "RS256"), (RSA_KEYS[0], "PS256"), (EC_KEY, "ES256"), (ED_KEY, "EdDSA")],
)
async def test_each_kind_of_key_verifies(key: Any, algorithm: str) -> None:
    jwk = published(key, "k", use="sig", key_ops=["verify"])
    await verifier(jwk).verify(token(key, "k", algorithm).encode())


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": None},
        {"iss": None},
        {"aud": None},
        {"iss": "https://id.example/"},
        {"iss": [ISSUER]},
        {"iss": 1},
        {"aud": "someone"},
        {"aud": []},
        {"aud": {"fovea": 1}},
        {"nbf": FAR_AHEAD},
        {"nbf": "soon"},
        {"iat": FAR_AHEAD},
        {"exp": "never"},
        {"exp": float("inf")},
        {"exp": []},
        {"sub": 7},
    ],
)
async def test_a_claim_that_is_missing_or_wrong_is_refused(changes: dict[str, Any]) -> None:
    # PyJWT would not make some of these: another issuer's library may.
    payload = json.dumps(claims(**changes)).encode()
    raw = jwt.api_jws.encode(payload, RSA_KEYS[0], "RS256", {"kid": "one"})
    assert await refusal(raw) == "The token is not valid here."


async def test_clocks_may_differ_a_little_and_no_more() -> None:
    now = int(time.time())
    await verifier().verify(token(exp=now - 20, nbf=now + 20, iat=now + 20).encode())
    assert await refusal(token(exp=now - 40)) == "The token has expired."


async def test_one_of_several_audiences_will_do() -> None:
    await verifier().verify(token(aud=["x", "other"]).encode())


async def test_a_token_of_another_key_is_refused() -> None:
    assert await refusal(token(RSA_KEYS[1], "one")) == "The token is not valid here."


async def test_no_secret_can_be_made_of_a_public_key() -> None:
    """The classic confusion: HS256 with the public key's text as the secret, which an attacker has."""
    pem = (
        RSA_KEYS[0]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    signed = f"{segment({'alg': 'HS256', 'kid': 'one'})}.{segment(claims())}"
    forged = f"{signed}.{segment(hmac.new(pem, signed.encode(), hashlib.sha256).digest())}"
    keys = Fixed()
    with pytest.raises(Unauthenticated):
        await TokenVerifier(TokenRules(**RULES), keys).verify(forged.encode())
    assert keys.asked == []


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "HS256", "HS512", "RS1", "", None, 7, ["RS256"], {}])
async def test_no_other_algorithm_is_taken(algorithm: Any) -> None:
    good = token().split(".")
    for signature in ("", good[2]):
        await refusal(f"{segment({'alg': algorithm, 'kid': 'one'})}.{good[1]}.{signature}")


async def test_an_algorithm_that_is_not_set_is_refused_though_the_key_could() -> None:
    await refusal(token(algorithm="RS512"))
    await refusal(token(algorithm="PS256"), algorithms=("RS256",))


@pytest.mark.parametrize(
    "more",
    [{"crit": ["exp"]}, {"crit": []}, {"crit": None}, {"b64": False, "crit": ["b64"]}, {"kid": 7}, {"kid": []}],
)
async def test_headers_that_change_the_rules_are_refused_before_a_key_is_sought(more: dict[str, Any]) -> None:
    signed = f"{segment({'alg': 'RS256', 'kid': 'one', **more})}.{segment(claims())}"
    signature = RSA_KEYS[0].sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    keys = Fixed()
    with pytest.raises(Unauthenticated):
        await TokenVerifier(TokenRules(**RULES), keys).verify(f"{signed}.{segment(signature)}".encode())
    assert keys.asked == []


async def test_a_key_that_the_token_brings_along_is_not_used() -> None:
    own = published(RSA_KEYS[1], "one")
    await refusal(token(RSA_KEYS[1], more={"jwk": own}))
    await refusal(token(RSA_KEYS[1], kid=None, more={"jwk": own, "jku": "https://evil.example/jwks"}))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"..",
        b"eyJ..",
        b"eyJhbGciOiJSUzI1NiJ9",
        b"\xff.\xff.\xff",
        segment(b"[" * 6000).encode() + b".a.b",
        segment(b'{"alg":' * 1000).encode() + b".a.b",
        segment([]).encode() + b".a.b",
        segment(b"\xff").encode() + b".a.b",
        b"!" * 100 + b".a.b",
        (token() + "x").encode(),
        (token() + ".x").encode(),
        token().replace(".", "..", 1).encode(),
        (segment({"alg": "RS256", "kid": "one"}) + ".a.b").encode(),
    ],
)
async def test_what_is_no_token_is_refused(raw: bytes) -> None:
    await refusal(raw)


async def test_claims_nested_without_end_are_refused() -> None:
    deep = b'{"a":' * 100_000
    raw = jwt.api_jws.encode(deep, RSA_KEYS[0], "RS256", {"kid": "one"})
    await refusal(raw)


async def test_without_a_kid_there_must_be_no_choice() -> None:
    await verifier().verify(token(kid=None).encode())
    await refusal(token(kid=None), ONE, published(RSA_KEYS[1], "two"))


async def test_several_keys_of_one_kid_are_tried() -> None:
    both = (published(RSA_KEYS[1], "one"), ONE)
    await verifier(*both).verify(token().encode())
    await verifier(*both).verify(token(RSA_KEYS[1]).encode())


@pytest.mark.parametrize(
    "sub", [None, "", "a b", "a/b", "../x", "x" * 124, "a\nb", "a\u202eb", "\u0430nn", "anonymous\x00"]
)
async def test_a_tenant_is_bounded_in_length_and_characters(sub: str | None) -> None:
    assert await refusal(token(sub=sub)) == "The token names no tenant that could be used."


async def test_a_tokens_tenant_is_never_a_keys() -> None:
    grant = await verifier().verify(token(sub="lab").encode())
    assert grant.tenant.name == "oidc:lab"


async def test_claims_may_be_nested_and_scopes_a_list() -> None:
    changes = {"tenant_claim": ("org", "id"), "scope_claim": ("realm_access", "roles"), "tenant_prefix": ""}
    held = {"org": {"id": "o-1"}, "realm_access": {"roles": ["staff", "root", 7, None]}}
    grant = await verifier(**changes).verify(token(**held).encode())
    assert (grant.tenant.name, grant.scopes) == ("o-1", {"inference", "files"})
    assert "no tenant" in await refusal(token(org="o-1"), **changes)


@pytest.mark.parametrize(
    "scope", [None, "", "other admin", 7, {"fovea:inference": 1}, [["staff"]], "FOVEA:INFERENCE"]
)
async def test_scopes_that_are_not_set_give_nothing(scope: Any) -> None:
    assert (await verifier().verify(token(scope=scope).encode())).scopes == frozenset()
    assert (await verifier(default_scopes=("files",)).verify(token(scope=scope).encode())).scopes == {"files"}


async def test_the_ring_hands_tokens_on_and_holds_them_to_their_scopes() -> None:
    ring = KeyRing(tokens=verifier())
    headers = [(b"authorization", f"Bearer {token()}".encode())]
    assert (await ring.authenticate(headers, "inference")).name == "oidc:ann"
    with pytest.raises(InsufficientScope):
        await ring.authenticate(headers, "admin")
    with pytest.raises(Unauthenticated, match="API key is not known"):
        await ring.authenticate([(b"x-api-key", b"fv-unknown")], "inference")


@pytest.mark.parametrize(
    "jwk",
    [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "one"},
        {**ONE, "use": "enc"},
        {**ONE, "key_ops": ["encrypt"]},
        {**RSAAlgorithm.to_jwk(RSA_KEYS[0], as_dict=True), "kid": "one", "key_ops": ["sign", "verify"]},
        {**ONE, "kid": 7},
        {**ONE, "kid": "x" * 257},
        {**ONE, "n": "!!"},
        {**ONE, "alg": "RSA-OAEP"},
        {**ONE, "kty": "EC"},
        {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "one"},
        published(WEAK_KEY, "one"),
        {"kty": []},
        {},
        7,
    ],
)
def test_keys_that_must_not_verify_are_passed_over(jwk: Any) -> None:
    with pytest.raises(JwksFault, match="no key that can be used"):
        parse_key_set(key_set(jwk))
    two = parse_key_set(key_set(jwk, published(RSA_KEYS[1], "two")))
    assert {kid for kid, _ in two} - {None} == {"two"}


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"keys": {}}', b"<html>", b"\xff", b'{"keys": [' + b"{}," * 64 + b"{}]}"]
)
def test_what_is_no_key_set_is_a_fault(body: bytes) -> None:
    with pytest.raises(JwksFault):
        parse_key_set(body)


def test_a_key_is_for_the_algorithm_that_it_names_alone() -> None:
    assert set(parse_key_set(key_set({**ONE, "alg": "PS256"}))) == {("one", "PS256"), (None, "PS256")}
