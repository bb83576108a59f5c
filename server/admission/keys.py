"""Who is calling, and what they may do: API keys by their SHA-256, each with a tenant and scopes."""

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from hmac import compare_digest
from typing import Protocol

from server.admission.credentials import Headers, read_credential
from server.admission.grant import Grant
from server.admission.limits.allowances import Allowances, Changes
from server.domain import ANONYMOUS_NAME, KeyScope, Tenant
from server.errors import InsufficientScope, Unauthenticated
from server.record import current_record

ANONYMOUS = Tenant(ANONYMOUS_NAME)


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key that we know by its hash alone. `expires_s` is Unix time; `limits` are its own."""

    digest: bytes
    grant: Grant
    expires_s: float | None = None
    limits: Changes = field(default_factory=dict, hash=False)


class Tokens(Protocol):
    async def verify(self, token: bytes) -> Grant: ...


class KeyRing:
    """Finds the grant behind a request's key. The keys change as a whole, between two requests.

    Timing: keys are found in a dictionary, under names that are hashes of their SHA-256 keyed with a secret of this
    process. What a look-up compares is thus unrelated to anything that a caller can compute or choose, so its time
    tells nothing of a stored hash; a hit and a miss then do the same one constant-time comparison. Going through
    all keys would hide no more, and its time would grow with their number, on the event loop.
    """

    def __init__(
        self,
        keys: Iterable[KnownKey] = (),
        anonymous: bool = False,
        clock: Callable[[], float] = time.time,
        tokens: Tokens | None = None,
        allowances: Allowances | None = None,
    ) -> None:
        """`anonymous`: no key is asked for; never inferred from an empty ring, whose keys may all be revoked."""
        self._secret = secrets.token_bytes(32)
        self._fixed = tuple(keys)
        self._allowances = allowances or Allowances()
        self._anonymous = self._allowances.to_tenant(ANONYMOUS) if anonymous else None
        self._clock = clock
        self._tokens = tokens
        self._nobody = KnownKey(secrets.token_bytes(32), Grant(ANONYMOUS, frozenset()))
        self._known: dict[bytes, KnownKey] = {}
        self.replace(())

    def replace(self, keys: Iterable[KnownKey]) -> None:
        """From now on these are known, and those given at the beginning. A hash in both has its grant from here."""
        self._known = {self._name(key.digest): self._allowed(key) for key in (*self._fixed, *keys)}

    def _allowed(self, key: KnownKey) -> KnownKey:
        return replace(key, grant=self._allowances.to_key(key.grant, key.digest, key.limits))

    def __len__(self) -> int:
        return len(self._known)

    async def authenticate(self, headers: Headers, scope: KeyScope) -> Tenant:
        """Whose request this is; it may go to `scope`.

        Raises Unauthenticated, InsufficientScope, NoIdentityKeys.
        """
        tenant = self.authenticate_now(headers, scope)
        if tenant is not None:
            return tenant
        assert self._tokens is not None
        return self._allow(await self._tokens.verify(read_credential(headers)), scope)

    def authenticate_now(self, headers: Headers, scope: KeyScope) -> Tenant | None:
        """The same, without waiting; None for a token, which only `authenticate` verifies."""
        if self._anonymous is not None:
            current_record().tenant = ANONYMOUS.name
            return self._anonymous
        credential = read_credential(headers)
        grant = self._find(credential)
        if grant is not None:
            return self._allow(grant, scope)
        if self._tokens is None or not looks_like_token(credential):
            raise Unauthenticated("The API key is not known.")
        return None

    @staticmethod
    def _allow(grant: Grant, scope: KeyScope) -> Tenant:
        record = current_record()
        record.tenant, record.key = grant.tenant.name, grant.tenant.key
        if scope not in grant.scopes:
            raise InsufficientScope(f"This key may not be used here: it lacks the scope '{scope}'.")
        return grant.tenant

    def _find(self, credential: bytes) -> Grant | None:
        digest = hashlib.sha256(credential).digest()
        key = self._known.get(self._name(digest), self._nobody)
        if not compare_digest(key.digest, digest):
            return None
        if key.expires_s is not None and key.expires_s <= self._clock():
            raise Unauthenticated("The API key has expired.")
        return key.grant

    def _name(self, digest: bytes) -> bytes:
        return hashlib.blake2b(digest, key=self._secret, digest_size=32).digest()


def looks_like_token(credential: bytes) -> bool:
    """A JWT in compact form: three parts, of which the first is base64 of '{"'."""
    return credential.startswith(b"eyJ") and credential.count(b".") == 2
