"""An identity provider: keys, tokens signed with them, and a JWKS endpoint that can fail in several ways."""

import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

ISSUER, AUDIENCE = "https://id.example", "fovea"
RSA_KEYS = [rsa.generate_private_key(65537, 2048) for _ in range(2)]
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
WEAK_KEY = rsa.generate_private_key(65537, 1024)


def published(key: Any, kid: str | None = None, **more: Any) -> dict[str, Any]:
    """The public half as a JWK."""
    if isinstance(key, rsa.RSAPrivateKey):
        jwk = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        jwk = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        jwk = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    jwk.pop("key_ops", None)
    return {**jwk, **({"kid": kid} if kid else {}), **more}


def key_set(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def claims(**changes: Any) -> dict[str, Any]:
    """Valid ones; a claim that is changed to None is left out."""
    now = int(time.time())
    whole = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": now + 600, "iat": now, "scope": "fovea:inference"}
    return {name: value for name, value in {**whole, **changes}.items() if value is not None}


def token(
    key: Any = RSA_KEYS[0], kid: str | None = "one", algorithm: str = "RS256", more: Any = None, **changes: Any
) -> str:
    headers = {**({"kid": kid} if kid else {}), **(more or {})}
    return jwt.encode(claims(**changes), key, algorithm, headers)


class IdentityProvider:
    """`status`, `body`, `redirect` change what is answered; `asked` counts."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.body = key_set(*keys)
        self.status = 200
        self.headers: dict[str, str] = {}
        self.redirect = ""
        self.asked = 0
        self.app = Starlette(routes=[Route("/jwks", self._answer), Route("/elsewhere", self._answer_elsewhere)])

    async def _answer(self, _: Request) -> Response:
        self.asked += 1
        if self.redirect:
            return RedirectResponse(self.redirect)
        return Response(self.body, self.status, self.headers, "application/json")

    async def _answer_elsewhere(self, _: Request) -> Response:
        return Response(self.body, 200, media_type="application/json")
