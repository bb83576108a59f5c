"""Who is let through to the engines when, out of the settings."""

from server.admission.brake import BrakeRules
from server.admission.gate import GateRules
from server.admission.gates import Gates
from server.engines.pool import EnginePool
from server.metrics import Metrics
from server.settings import AdmissionSettings


def make_gates(settings: AdmissionSettings, pool: EnginePool, metrics: Metrics) -> Gates:
    brake = BrakeRules(settings.max_running, settings.brake_above, settings.release_below, settings.overcommit)
    rules = GateRules(
        brake,
        settings.max_waiting,
        settings.wait_timeout_s,
        settings.max_retry_after_s,
        settings.answer_tokens,
        settings.ageing_s,
    )
    return Gates(rules, pool.base_of, pool.reports, settings.refresh_s, metrics)
