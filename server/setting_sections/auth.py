"""Settings of keys and tokens."""

import re
from pathlib import Path
from typing import Any, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from server.domain import TENANT, TENANT_RULE, KeyScope
from server.setting_sections.section import Section

# Asymmetric ones alone: a shared secret would have to be here too.
TokenAlgorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


class AuthSettings(Section):
    key_hashes: dict[str, str] = Field(
        default_factory=dict, description="SHA-256 of an API key (hex) -> tenant; none: no key is asked for"
    )
    keys_file: Path | None = Field(None, description="file of API keys (hashes), read again when it changes")
    keys_poll_s: float = Field(5, gt=0, description="seconds between looks at that file")
    protect_metrics: bool = Field(False, description="ask for a key with the scope admin at /metrics")

    @field_validator("key_hashes", mode="before")
    @classmethod
    def check_key_hashes(cls, hashes: Any) -> Any:
        # Before pydantic looks at it: its own message would quote what may be a plain key.
        if isinstance(hashes, dict):
            for number, (digest, tenant) in enumerate(hashes.items(), start=1):
                if not re.fullmatch(r"[0-9a-fA-F]{64}", str(digest)):
                    raise ValueError(f"entry {number} is not a SHA-256 in hex: 'fovea keys hash' makes it of a key")
                if not isinstance(tenant, str) or not TENANT.fullmatch(tenant):
                    raise ValueError(f"the tenant of entry {number} is not a name: {TENANT_RULE}")
        return hashes


class OidcSettings(Section):
    issuer: str | None = Field(None, description="take bearer tokens whose iss is this; none: no tokens")
    audience: tuple[str, ...] = Field((), description="of which a token must be for one (aud)")
    jwks_url: str | None = Field(None, description="where the issuer publishes its keys")
    allow_http: bool = Field(False, description="fetch these over http:// too")
    ca_file: Path | None = Field(None, description="certificates to trust there, besides the system's")
    refresh_s: float = Field(300, gt=0, description="seconds between fetches of them")
    refetch_pause_s: float = Field(10, gt=0, description="shortest time between two, whatever keys tokens name")
    algorithms: tuple[TokenAlgorithm, ...] = Field(("RS256", "ES256"), min_length=1, description="taken in tokens")
    leeway_s: float = Field(30, ge=0, le=300, description="by which clocks may differ")
    tenant_claim: tuple[str, ...] = Field(("sub",), min_length=1, description="path of the claim with the tenant")
    tenant_prefix: str = Field("oidc:", description="put before it: tokens' tenants are never those of keys")
    scope_claim: tuple[str, ...] = Field(("scope",), min_length=1, description="path of the claim with scopes")
    scopes: dict[str, tuple[KeyScope, ...]] = Field(
        {f"fovea:{scope}": (scope,) for scope in get_args(KeyScope)}, description="what its words give"
    )
    default_scopes: tuple[KeyScope, ...] = Field((), description="what every valid token has")

    @model_validator(mode="after")
    def it_is_whole(self) -> Self:
        if self.issuer is None:
            return self
        parts = urlsplit(self.jwks_url or "")
        if not self.issuer or not self.audience or not all(self.audience) or not parts.hostname:
            raise ValueError("oidc.issuer needs oidc.audience and oidc.jwks_url beside it")
        if parts.scheme != "https" and not (self.allow_http and parts.scheme == "http"):
            raise ValueError("oidc.jwks_url must start with https:// (http:// only with oidc.allow_http)")
        if self.tenant_prefix and not TENANT.fullmatch(self.tenant_prefix):
            raise ValueError(f"oidc.tenant_prefix is not the beginning of a name: {TENANT_RULE}")
        return self
