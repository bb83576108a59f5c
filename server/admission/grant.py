"""What a credential gives, whatever kind it is."""

from dataclasses import dataclass

from server.domain import KeyScope, Tenant


@dataclass(frozen=True, slots=True)
class Grant:
    """Whose requests they are, and to what they may go."""

    tenant: Tenant
    scopes: frozenset[KeyScope]
