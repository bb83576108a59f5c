import asyncio
from dataclasses import dataclass

from server.admission.gates import Gates
from server.domain import Cost, Tenant, Terms
from server.metrics import Metrics
from tests.unit.admission.gating import RULES

COST, ANN, TERMS = Cost(0, 0, 10), Tenant("ann"), Terms()


@dataclass
class Report:
    kv_tokens: int | None = 100
    kv_usage: float | None = 0.5
    running: int = 0
    waiting: int = 0
    blocks: int | None = None
    state_blocks: int = 0


def gauge(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"fovea_{name}", labels)


async def test_names_of_the_same_engines_share_a_gate_and_other_models_have_their_own() -> None:
    metrics = Metrics()
    gates = Gates(RULES, lambda name: name.partition(":")[0], lambda pool: (Report(),), 60, metrics)
    first, second, third = (gates.admit(COST, ANN, name, TERMS) for name in ("a", "a:lora", "b"))
    async with first, second, third:
        held = {pool: gauge(metrics, "admission_held_tokens", model=pool) for pool in ("a", "b", "a:lora")}
    assert held == {"a": 20, "b": 10, "a:lora": None}


async def test_reports_are_looked_at_again_and_again() -> None:
    metrics, reports = Metrics(), [Report()]
    gates = Gates(RULES, str, lambda pool: reports, 0.001, metrics)
    await gates.start()
    async with gates.admit(COST, ANN, "a", TERMS):
        assert gauge(metrics, "admission_capacity_tokens", model="a") == 100
        reports.append(Report())
        async with asyncio.timeout(10):
            while gauge(metrics, "admission_capacity_tokens", model="a") != 200:
                await asyncio.sleep(0.001)
    await gates.close()


async def test_a_report_is_answered_once() -> None:
    """Reports come more seldom than looks at them: a full cache must not be braked for at every look."""
    metrics, reports = Metrics(), [Report(kv_usage=0.95)]
    gates = Gates(RULES, str, lambda pool: reports, 0.001, metrics)
    await gates.start()
    async with gates.admit(COST, ANN, "a", TERMS):
        first = gauge(metrics, "admission_capacity_tokens", model="a")
        await asyncio.sleep(0.05)
        assert gauge(metrics, "admission_capacity_tokens", model="a") == first
        assert gauge(metrics, "admission_brake", model="a") == 1
        reports[0] = Report(kv_usage=0.5)
        async with asyncio.timeout(10):
            while gauge(metrics, "admission_brake", model="a"):
                await asyncio.sleep(0.001)
    await gates.close()


async def test_gauges_tell_what_is_when_they_are_asked() -> None:
    metrics = Metrics()
    gates = Gates(RULES, str, lambda pool: (Report(kv_tokens=10),), 60, metrics)
    async with gates.admit(COST, ANN, "a", TERMS):
        late = asyncio.create_task(gates.admit(COST, ANN, "a", Terms("batch")).__aenter__())
        await asyncio.sleep(0)
        assert gauge(metrics, "requests_waiting", model="a", priority="batch") == 1
        assert gauge(metrics, "admission_held_places", model="a") == 1
        assert gauge(metrics, "admission_brake", model="a") == 0
        late.cancel()
        await asyncio.gather(late, return_exceptions=True)
    assert gauge(metrics, "requests_waiting", model="a", priority="batch") == 0
    assert gauge(metrics, "admission_held_tokens", model="a") == 0
