"""Who has which budgets: defaults from the settings, and what the keys file says of a key or of a tenant."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from server.admission.grant import Grant
from server.allowance import UNLIMITED, Budgets, Subject
from server.domain import Tenant

Changes = Mapping[str, int | None]


class Allowances:
    """Given to tenants as they are made, so that nothing is looked up for a request of a key.

    A tenant has the same budgets however it calls; what a keys file says of it counts for its tokens, too.
    """

    def __init__(
        self, key: Budgets = UNLIMITED, tenant: Budgets = UNLIMITED, token_tenant: Budgets | None = None
    ) -> None:
        """Defaults; `token_tenant` for tenants out of tokens, where these differ."""
        self._key = key
        self._tenant = tenant
        self._token_tenant = tenant if token_tenant is None else token_tenant
        self._tenants: Mapping[str, Changes] = {}

    def replace_tenants(self, tenants: Mapping[str, Changes]) -> None:
        self._tenants = tenants

    def to_key(self, grant: Grant, digest: bytes, changes: Changes) -> Grant:
        """The grant of a key with what that key and its tenant may take."""
        name = grant.tenant.name
        key = self._key.changed(changes)
        # Of the key's hash only a hash is passed on to the store: a weak key could be guessed by its own.
        tag = hashlib.blake2b(digest, digest_size=12, person=b"fovea limits").hexdigest()
        subjects = (Subject("key", f"{{{name}}}{tag}", key), self._tenant_subject(name, self._tenant))
        allowance = limited(subjects)
        return replace(grant, tenant=replace(grant.tenant, allowance=allowance)) if allowance else grant

    def to_token(self, tenant: Tenant) -> Tenant:
        """Tokens are made at will, so that only their tenant is counted."""
        subject = self._tenant_subject(tenant.name, self._token_tenant)
        if self._token_tenant != self._tenant:  # two sets of budgets are two accounts
            subject = replace(subject, name=f"{subject.name}token")
        allowance = limited((subject,))
        return replace(tenant, allowance=allowance) if allowance else tenant

    def to_tenant(self, tenant: Tenant) -> Tenant:
        """Of those who need neither."""
        return replace(tenant, allowance=limited((self._tenant_subject(tenant.name, self._tenant),)))

    def _tenant_subject(self, name: str, default: Budgets) -> Subject:
        return Subject("tenant", f"{{{name}}}", default.changed(self._tenants.get(name, {})))


def limited(subjects: tuple[Subject, ...]) -> tuple[Subject, ...]:
    return tuple(subject for subject in subjects if subject.budgets != UNLIMITED)
