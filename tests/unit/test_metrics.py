"""However many tenants and models there are, series stay few and nothing goes uncounted."""

from collections.abc import Mapping

from prometheus_client.core import Sample

from server.api.routes import Account
from server.metering.label_classes import OTHERS
from server.metering.labels import MOST_MODELS, MOST_TENANTS
from server.metrics import Metrics
from server.record import begin_record

MANY = 10_000


class Pool:
    """What an account asks of a pool."""

    def __init__(self, *models: str) -> None:
        self._models = dict.fromkeys(models)

    def models(self) -> Mapping[str, int | None]:
        return self._models


def account_for(metrics: Metrics, pool: Pool, tenant: str, model: str) -> None:
    """A request from its beginning to its end."""
    begin_record("req-1").tenant = tenant
    account = Account("chat", metrics, pool)  # type: ignore[arg-type]
    with account:
        account.model = model
        account.start_clock()
        account.first_byte()
        account.gaps().observe(0.01)
    metrics.count_tokens(model if model in pool.models() else "", 1, 1)


def samples(metrics: Metrics) -> list[Sample]:
    return [sample for family in metrics.registry.collect() for sample in family.samples]


def counted(metrics: Metrics, label: str) -> dict[str, float]:
    """Requests by the label."""
    found: dict[str, float] = {}
    for sample in samples(metrics):
        if sample.name == "fovea_requests_total":
            found[sample.labels[label]] = found.get(sample.labels[label], 0) + sample.value
    return found


def test_ten_thousand_tenants_make_as_many_series_as_there_are_names_and_classes() -> None:
    metrics, pool = Metrics(), Pool("demo")
    before = len(samples(metrics))
    account_for(metrics, pool, "", "demo")
    first = len(samples(metrics))
    for number in range(MANY):
        account_for(metrics, pool, f"tenant-{number}", "demo")
    found = counted(metrics, "tenant")
    assert len(found) == MOST_TENANTS + OTHERS + 1
    assert len(samples(metrics)) == first + MOST_TENANTS + OTHERS
    assert sum(found.values()) == MANY + 1
    assert [found[f"tenant-{number}"] for number in range(MOST_TENANTS)] == [1] * MOST_TENANTS
    assert found["-"] == 1
    assert first - before < 100


def test_ten_thousand_models_that_nobody_serves_make_one_series() -> None:
    metrics, pool = Metrics(), Pool("demo")
    account_for(metrics, pool, "ann", "nobody-serves-this")
    before = len(samples(metrics))
    for number in range(MANY):
        account_for(metrics, pool, "ann", f"model-{number}")
    assert len(samples(metrics)) == before
    assert counted(metrics, "model") == {"unknown": MANY + 1}


def test_ten_thousand_models_that_are_served_one_after_another_are_bounded_too() -> None:
    metrics = Metrics()
    pool = Pool(*(f"adapter-{number}" for number in range(MANY)))
    for model in pool.models():
        account_for(metrics, pool, "ann", model)
    found = counted(metrics, "model")
    assert len(found) == MOST_MODELS + OTHERS
    assert sum(found.values()) == MANY
    tokens = {sample.labels["model"] for sample in samples(metrics) if sample.name == "fovea_tokens_total"}
    assert tokens == found.keys()


def test_tenants_without_a_name_are_one() -> None:
    metrics, pool = Metrics(), Pool("demo")
    for tenant in ("", "anonymous", "ann"):
        account_for(metrics, pool, tenant, "demo")
    assert counted(metrics, "tenant") == {"-": 2, "ann": 1}
