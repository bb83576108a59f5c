"""Bearer tokens of an identity provider (OIDC): JWTs, verified, whose claims become a tenant with scopes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import jwt
import orjson
from jwt.utils import base64url_decode

from server.admission.grant import Grant
from server.admission.limits.allowances import Allowances
from server.domain import TENANT, KeyScope, Tenant
from server.errors import Unauthenticated

REFUSED = "The token is not valid here."


class Keys(Protocol):
    async def keys_for(self, kid: str | None, algorithm: str) -> list[jwt.PyJWK]: ...


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must say, and what is made of it. A claim is the path to it, for providers that nest them.

    `tenant_prefix` keeps tokens' tenants apart from keys': whoever may choose a claim would choose another's.
    """

    issuer: str
    audience: tuple[str, ...]
    algorithms: tuple[str, ...]
    leeway_s: float
    tenant_claim: tuple[str, ...]
    tenant_prefix: str
    scope_claim: tuple[str, ...]
    scopes: Mapping[str, tuple[KeyScope, ...]]
    default_scopes: tuple[KeyScope, ...]


class TokenVerifier:
    """Nothing of a token is believed, but for finding the key, before its signature is."""

    def __init__(self, rules: TokenRules, keys: Keys, allowances: Allowances | None = None) -> None:
        self._rules = rules
        self._allowances = allowances or Allowances()
        self._keys = keys

    async def verify(self, token: bytes) -> Grant:
        """Raises Unauthenticated, NoIdentityKeys."""
        algorithm, kid = self._read_header(token)
        claims = self._decode(token, algorithm, await self._keys.keys_for(kid, algorithm))
        grant = make_grant(claims, self._rules)
        return Grant(self._allowances.to_token(grant.tenant), grant.scopes)

    def _read_header(self, token: bytes) -> tuple[str, str | None]:
        try:
            header = orjson.loads(base64url_decode(token.partition(b".")[0]))
        except ValueError as problem:
            raise Unauthenticated(REFUSED) from problem
        if not isinstance(header, dict):
            raise Unauthenticated(REFUSED)
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in self._rules.algorithms or not isinstance(kid, str | None):
            raise Unauthenticated(REFUSED)
        if "crit" in header:
            raise Unauthenticated(REFUSED)  # extensions that must be understood (RFC 7515, 4.1.11): we have none
        return algorithm, kid

    def _decode(self, token: bytes, algorithm: str, keys: list[jwt.PyJWK]) -> dict[str, Any]:
        for key in keys:
            try:
                claims: dict[str, Any] = jwt.decode(
                    token,
                    key,
                    algorithms=[algorithm],
                    audience=list(self._rules.audience),
                    issuer=self._rules.issuer,
                    leeway=self._rules.leeway_s,
                    options={"require": ["exp", "iss", "aud"]},
                )
            except jwt.InvalidSignatureError:
                continue
            except jwt.ExpiredSignatureError as problem:
                raise Unauthenticated("The token has expired.") from problem
            except jwt.PyJWTError as problem:
                raise Unauthenticated(REFUSED) from problem
            return claims
        raise Unauthenticated(REFUSED)


def make_grant(claims: Mapping[str, Any], rules: TokenRules) -> Grant:
    value = claim_at(claims, rules.tenant_claim)
    name = f"{rules.tenant_prefix}{value}" if isinstance(value, str) and value else ""
    if not TENANT.fullmatch(name):
        raise Unauthenticated("The token names no tenant that could be used.")
    granted = claim_at(claims, rules.scope_claim)
    words = granted.split() if isinstance(granted, str) else granted if isinstance(granted, list) else []
    known = [word for word in words if isinstance(word, str) and word in rules.scopes]
    scopes = frozenset(rules.default_scopes).union(*(rules.scopes[word] for word in known))
    return Grant(Tenant(name, "token"), scopes)


def claim_at(claims: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = claims
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
