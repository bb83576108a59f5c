"""Who is calling: API keys are kept as SHA-256 hashes and compared in constant time."""

import hashlib
import hmac
from collections.abc import Mapping

from server.domain import Tenant
from server.errors import Unauthenticated

ANONYMOUS = Tenant("anonymous")


class KeyRing:
    """Maps a bearer token to its tenant. An empty ring asks for no key."""

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._tenants = {digest.lower(): Tenant(name) for digest, name in hashes.items()}

    def authenticate(self, authorization: str | None) -> Tenant:
        """`authorization` is the header's value. Raises Unauthenticated."""
        if not self._tenants:
            return ANONYMOUS
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthenticated("An API key is required: send it as 'Authorization: Bearer KEY'.")
        digest = hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).hexdigest()
        found: Tenant | None = None
        for known, tenant in self._tenants.items():
            if hmac.compare_digest(known, digest):
                found = tenant
        if found is None:
            raise Unauthenticated("The API key is not known.")
        return found
