"""The only image identity in the system: BLAKE3 of checked bytes, keyed by tenant where isolation is on.

It becomes the engine's `uuid` (so vLLM's `mm_hash`), the routing key and the label in traces. A caller cannot
choose it; under isolation no picture of one tenant has an identity that another tenant's picture can have.
"""

from functools import lru_cache

from blake3 import blake3

# Of tenants, whose keys are made once.
MOST_KEYS = 4096
KEY_CONTEXT = "fovea 2026-11 image identity of one tenant"


def identify(data: bytes, tenant: str | None) -> str:
    """64 hex digits. `tenant` None shares identities between tenants."""
    if tenant is None:
        return blake3(data).hexdigest()
    return blake3(data, key=key_of(tenant)).hexdigest()


@lru_cache(MOST_KEYS)
def key_of(tenant: str) -> bytes:
    return blake3(tenant.encode(), derive_key_context=KEY_CONTEXT).digest()


def identify_rendition(original: str, made: str, tenant: str | None) -> str:
    """64 hex digits for what is made of the image `original` in the way that `made` names."""
    return identify(f"{original} {made}".encode(), tenant)
