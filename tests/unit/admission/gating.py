"""Gates for tests, with few of everything."""

from collections.abc import Callable
from dataclasses import replace

from server.admission.brake import BrakeRules, Load
from server.admission.gate import Gate, GateRules
from server.metrics import Metrics

RULES = GateRules(
    BrakeRules(max_running=None, brake_above=0.9, release_below=0.8, overcommit=4),
    max_waiting=100,
    wait_timeout_s=30,
    most_retry_after_s=60,
    answer_tokens=50,
    ageing_s=10,
)


def make_gate(
    clock: Callable[[], float],
    places: int | None = None,
    tokens: int | None = None,
    max_waiting: int = 100,
    wait_timeout_s: float = 30,
    ageing_s: float = 10,
    metrics: Metrics | None = None,
) -> Gate:
    brake = replace(RULES.brake, max_running=places)
    rules = replace(RULES, brake=brake, max_waiting=max_waiting, wait_timeout_s=wait_timeout_s, ageing_s=ageing_s)
    gate = Gate(rules, "demo", metrics or Metrics(), clock)
    gate.refresh(Load(1, tokens))
    return gate
