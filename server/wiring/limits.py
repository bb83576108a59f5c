"""Limits, shared or not, out of the settings."""

from server.admission.limits.memory import Limits
from server.admission.limits.shared import SharedLimits
from server.admission.limits.store_line import StoreLine
from server.errors import ConfigError
from server.metrics import Metrics
from server.settings import Settings


def make_limits(settings: Settings, metrics: Metrics) -> Limits:
    """Raises ConfigError where the store's client is not there, or cannot make anything of its URL."""
    limits = settings.limits
    if limits.store_url is None:
        return Limits(metrics)
    try:  # an optional extra
        from server.admission.limits.redis_connection import RedisConnections
    except ModuleNotFoundError as problem:
        raise ConfigError(
            f"limits.store_url: {problem.name} is not installed: pip install 'fovea[redis]'"
        ) from problem
    connections = RedisConnections(limits.store_url.get_secret_value())
    line = StoreLine(
        connections, limits.store_prefix, limits.store_timeout_s, limits.lease_s, metrics, settings.processes
    )
    return SharedLimits(metrics, line, limits.store_prefix)
