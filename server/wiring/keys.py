"""Who may call, out of the settings."""

from server.admission.grant import Grant
from server.admission.jwks import Jwks, JwksSource
from server.admission.key_file import KeyFile
from server.admission.keys import KeyRing, KnownKey
from server.admission.limits.allowances import Allowances
from server.admission.oidc import TokenRules, TokenVerifier
from server.allowance import Budgets
from server.domain import Tenant
from server.metrics import Metrics
from server.setting_sections.admission import LimitSettings
from server.setting_sections.auth import OidcSettings
from server.settings import Settings


def make_allowances(limits: LimitSettings) -> Allowances:
    token_tenant = limits.token_tenant
    return Allowances(
        Budgets(**limits.key.model_dump()),
        Budgets(**limits.tenant.model_dump()),
        Budgets(**token_tenant.model_dump()) if token_tenant is not None else None,
    )


def make_keys(settings: Settings, jwks: Jwks | None, allowances: Allowances) -> KeyRing:
    """Keys from settings are for a quick start: they cannot expire, and may not look at the gateway itself."""
    known = [
        KnownKey(bytes.fromhex(digest), Grant(Tenant(tenant), frozenset({"inference", "files"})))
        for digest, tenant in settings.auth.key_hashes.items()
    ]
    tokens = TokenVerifier(make_token_rules(settings.oidc), jwks, allowances) if jwks else None
    return KeyRing(known, anonymous=not settings.asks_for_keys, tokens=tokens, allowances=allowances)


def make_jwks(oidc: OidcSettings, metrics: Metrics) -> Jwks | None:
    if oidc.issuer is None or oidc.jwks_url is None:
        return None
    return Jwks(JwksSource(oidc.jwks_url, oidc.ca_file, oidc.refresh_s, oidc.refetch_pause_s), metrics)


def make_token_rules(oidc: OidcSettings) -> TokenRules:
    return TokenRules(
        issuer=oidc.issuer or "",
        audience=oidc.audience,
        algorithms=oidc.algorithms,
        leeway_s=oidc.leeway_s,
        tenant_claim=oidc.tenant_claim,
        tenant_prefix=oidc.tenant_prefix,
        scope_claim=oidc.scope_claim,
        scopes=oidc.scopes,
        default_scopes=oidc.default_scopes,
    )


def make_key_file(settings: Settings, keys: KeyRing, metrics: Metrics, allowances: Allowances) -> KeyFile | None:
    """Read for the first time, so that a broken one stops the start."""
    metrics.keys.set(len(keys))
    if settings.auth.keys_file is None:
        return None
    key_file = KeyFile(settings.auth.keys_file, keys, settings.auth.keys_poll_s, metrics, allowances)
    key_file.load()
    return key_file
