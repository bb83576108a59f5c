from server.admission.grant import Grant
from server.admission.limits.allowances import Allowances
from server.allowance import Budgets
from server.domain import Tenant

GRANT = Grant(Tenant("lab", "ci"), frozenset({"inference"}))
DIGEST = b"d" * 32


def budgets_of(tenant: Tenant) -> dict[str, Budgets]:
    return {subject.kind: subject.budgets for subject in tenant.allowance}


def test_without_limits_nobody_is_counted() -> None:
    assert Allowances().to_key(GRANT, DIGEST, {}) is GRANT
    assert Allowances().to_token(GRANT.tenant) is GRANT.tenant
    assert Allowances().to_tenant(GRANT.tenant).allowance == ()


def test_a_key_has_the_defaults_but_for_what_is_said_of_it() -> None:
    allowances = Allowances(Budgets(requests=10, tokens=100), Budgets(places=5))
    grant = allowances.to_key(GRANT, DIGEST, {"requests": 3, "tokens": None})
    assert budgets_of(grant.tenant) == {"key": Budgets(requests=3), "tenant": Budgets(places=5)}
    assert (grant.tenant, grant.tenant.key, grant.scopes) == (GRANT.tenant, "ci", GRANT.scopes)


def test_what_is_said_of_a_tenant_counts_for_its_keys_and_its_tokens() -> None:
    allowances = Allowances(tenant=Budgets(places=5, tokens=7), token_tenant=Budgets(tokens=9))
    allowances.replace_tenants({"lab": {"places": 50}})
    assert budgets_of(allowances.to_key(GRANT, DIGEST, {}).tenant) == {"tenant": Budgets(places=50, tokens=7)}
    assert budgets_of(allowances.to_token(GRANT.tenant)) == {"tenant": Budgets(places=50, tokens=9)}
    assert budgets_of(allowances.to_token(Tenant("other"))) == {"tenant": Budgets(tokens=9)}


def test_keys_and_tenants_are_counted_under_names_of_their_own_that_tell_nothing_of_a_key() -> None:
    allowances = Allowances(Budgets(requests=1), Budgets(requests=1))
    subjects = [
        *allowances.to_key(GRANT, DIGEST, {}).tenant.allowance,
        *allowances.to_key(GRANT, b"e" * 32, {}).tenant.allowance,
    ]
    names = [subject.name for subject in subjects]
    assert names[1] == names[3] == "{lab}"
    assert len(set(names)) == 3
    assert all(name.startswith("{lab}") for name in names)
    assert DIGEST.hex()[:8] not in names[0]


def test_tokens_with_budgets_of_their_own_have_an_account_of_their_own() -> None:
    same, other = Allowances(tenant=Budgets(tokens=7)), Allowances(Budgets(), Budgets(tokens=7), Budgets(tokens=9))
    names = [each.to_token(GRANT.tenant).allowance[0].name for each in (same, other)]
    assert names[0] == same.to_key(GRANT, DIGEST, {}).tenant.allowance[0].name == "{lab}"
    of_key = [subject.name for subject in other.to_key(GRANT, DIGEST, {}).tenant.allowance]
    assert names[1] not in (names[0], *of_key)
