"""The keys with which an identity provider signs: fetched from its JWKS URL, kept, and fetched again.

Only keys that verify asymmetric signatures are kept, each for the algorithms of its own kind, so that no token can
have a public key taken for a shared secret (RFC 8725, 2.1).
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import orjson

from server.errors import NoIdentityKeys
from server.metrics import Metrics

# By key type and curve, what it may verify (RFC 7518, 3.1; RFC 8037).
ALGORITHMS: dict[tuple[str, str | None], tuple[str, ...]] = {
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
MOST_BYTES = 256 * 1024
MOST_KEYS = 64
MOST_KID = 256
LEAST_RSA_BITS = 2048

log = logging.getLogger("fovea.keys")

# (kid, algorithm) -> keys. Several may bear one kid; without a kid in the token, they stand under None.
KeySet = dict[tuple[str | None, str], list[jwt.PyJWK]]


class JwksFault(Exception):
    """Why a key set could not be had. The text is for the log: it holds nothing of what was sent."""


@dataclass(frozen=True, slots=True)
class JwksSource:
    url: str
    ca_file: Path | None = None
    refresh_s: float = 300
    least_pause_s: float = 10
    timeout_s: float = 5


class Jwks:
    """The last good set. Whatever tokens ask for, the host is asked no more often than every `least_pause_s`."""

    def __init__(self, source: JwksSource, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._metrics = metrics
        self._clock = clock
        self._keys: KeySet = {}
        self._asked: float | None = None
        self._asking = asyncio.Lock()
        self._failing = False
        self._refresher: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        context = ssl.create_default_context()
        if self._source.ca_file:
            context.load_verify_locations(self._source.ca_file)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=1),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            headers={"user-agent": "fovea", "accept": "application/json", "accept-encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=self._source.timeout_s),
        )
        self._refresher = asyncio.create_task(self._keep_fresh(), name="identity keys")

    async def close(self) -> None:
        if self._refresher is not None:
            self._refresher.cancel()
            await asyncio.gather(self._refresher, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def keys_for(self, kid: str | None, algorithm: str) -> list[jwt.PyJWK]:
        """Those that may have signed; an unknown `kid` may be one that is new. Raises NoIdentityKeys."""
        if (kid, algorithm) not in self._keys:
            await self.refresh()
        if not self._keys:
            raise NoIdentityKeys("The identity provider's keys could not be fetched: try again later.", 10)
        return self._keys.get((kid, algorithm), [])

    async def _keep_fresh(self) -> None:
        while True:
            await self.refresh()
            await asyncio.sleep(self._source.refresh_s)

    async def refresh(self) -> None:
        """Ask the host, once for all who wait, unless it has just been asked."""
        async with self._asking:
            if self._asked is not None and self._clock() - self._asked < self._source.least_pause_s:
                return
            self._asked = self._clock()
            try:
                self._keys = parse_key_set(await self._fetch())
            except JwksFault as problem:
                self._report(problem)
                return
            self._metrics.identity_key_fetches.labels("fetched").inc()
            self._metrics.identity_keys_fetched.set_to_current_time()
            if self._failing:
                log.info("the identity provider's keys can be fetched again")
            self._failing = False

    def _report(self, problem: JwksFault) -> None:
        """One line a streak."""
        self._metrics.identity_key_fetches.labels("failed").inc()
        if not self._failing:
            kept = "those fetched before stay" if self._keys else "there are none yet: no token is taken"
            log.error("the identity provider's keys cannot be fetched (%s); %s", problem, kept)
        self._failing = True

    async def _fetch(self) -> bytes:
        assert self._session is not None, "fetched before the start"
        try:
            async with self._session.get(self._source.url, allow_redirects=False) as response:
                if response.status != 200:
                    raise JwksFault(f"status {response.status}")
                if response.headers.get("content-encoding", "identity").lower() != "identity":
                    raise JwksFault("a compressed body")
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > MOST_BYTES:
                        raise JwksFault(f"more than {MOST_BYTES} bytes")
                return bytes(body)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as problem:
            raise JwksFault(type(problem).__name__) from problem


def parse_key_set(body: bytes) -> KeySet:
    """What can be used of a set; what cannot is passed over. Raises JwksFault where nothing can."""
    try:
        listed = orjson.loads(body)["keys"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise JwksFault("no key set") from None
    if not isinstance(listed, list) or len(listed) > MOST_KEYS:
        raise JwksFault(f"no list of at most {MOST_KEYS} keys")
    found: KeySet = {}
    usable = [value for value in listed if may_verify(value)]
    for value in usable:
        for algorithm in ALGORITHMS.get((value["kty"], value.get("crv")), ()):
            key = load_key(value, algorithm)
            if key is not None:
                found.setdefault((value.get("kid"), algorithm), []).append(key)
    # A token without a kid is taken only where there is no choice (RFC 7517, 4.5).
    if len(usable) == 1:
        found.update({(None, algorithm): keys for (_, algorithm), keys in list(found.items())})
    else:
        found = {name: keys for name, keys in found.items() if name[0] is not None}
    if not found:
        raise JwksFault("no key that can be used")
    return found


def may_verify(value: Any) -> bool:
    """A public key for signatures. Private and symmetric ones have no business in a published set."""
    if not isinstance(value, dict) or not isinstance(value.get("kty"), str) or "d" in value or "k" in value:
        return False
    kid, curve, operations = value.get("kid"), value.get("crv"), value.get("key_ops", ["verify"])
    named = kid is None or (isinstance(kid, str) and len(kid) <= MOST_KID)
    meant = value.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations
    return named and meant and (curve is None or isinstance(curve, str))


def load_key(value: dict[str, Any], algorithm: str) -> jwt.PyJWK | None:
    if value.get("alg", algorithm) != algorithm:
        return None
    try:
        key = jwt.PyJWK(value, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    return key if getattr(key.key, "key_size", LEAST_RSA_BITS) >= LEAST_RSA_BITS or value["kty"] != "RSA" else None
