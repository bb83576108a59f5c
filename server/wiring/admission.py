"""Who is let through to the engines when, out of the settings."""

from server.admission.brake import BrakeRules
from server.admission.gate import GateRules
from server.admission.gates import Gates
from server.engines.pool import EnginePool
from server.metrics import Metrics
from server.setting_sections.admission import AdmissionSettings


def make_gates(settings: AdmissionSettings, processes: int, pool: EnginePool, metrics: Metrics) -> Gates:
    """Each of `processes` in front of the same engines begins with its part of what they take."""
    most = None if settings.max_running is None else part_of(settings.max_running, processes)
    brake = BrakeRules(most, settings.brake_above, settings.release_below, settings.overcommit)
    rules = GateRules(
        brake,
        part_of(settings.max_waiting, processes),
        settings.wait_timeout_s,
        settings.max_retry_after_s,
        settings.answer_tokens,
        settings.ageing_s,
    )
    return Gates(rules, pool.base_of, pool.reports, settings.refresh_s, metrics, processes)


def part_of(whole: int, processes: int) -> int:
    """Rounded up."""
    return -(-whole // processes)
