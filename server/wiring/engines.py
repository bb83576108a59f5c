"""Builds the pool of engines out of the settings."""

from collections.abc import Iterator
from importlib.util import find_spec
from urllib.parse import urlsplit

from server.engines.client import EngineClient, EngineTimeouts
from server.engines.discovery.dns import DnsSource
from server.engines.discovery.kubernetes import OWN_NAMESPACE, KubernetesSource
from server.engines.discovery.source import Source, WrittenSource
from server.engines.group import Group
from server.engines.health import HealthRules
from server.engines.held import HeldRules
from server.engines.pool import EnginePool
from server.engines.retry_budget import RetryBudget
from server.errors import ConfigError
from server.loop_turns import LoopTurns
from server.metrics import Metrics
from server.setting_sections.engines import EnginePoolSettings, EngineSettings

# What engines of `engines.urls` are called: engine-0, engine-1, ...
NAMELESS = "engine"


def make_pool(engines: EngineSettings, metrics: Metrics, turns: LoopTurns) -> EnginePool:
    timeouts = EngineTimeouts(
        engines.connect_timeout_s, engines.first_byte_timeout_s, engines.idle_timeout_s, engines.total_timeout_s
    )

    def make_client(name: str, url: str) -> EngineClient:
        return EngineClient(name, url, timeouts, turns, engines.ca_file)

    rules = HealthRules(
        failures=engines.eject_failures,
        error_rate=engines.eject_error_rate,
        window_s=engines.eject_window_s,
        eject_s=engines.eject_s,
        eject_most_s=engines.eject_most_s,
        slow_start_s=engines.slow_start_s,
    )
    retries = RetryBudget(engines.retry_ratio, engines.retry_floor)
    return EnginePool(
        list(make_groups(engines)),
        make_client,
        engines.poll_s,
        metrics,
        engines.aliases,
        rules,
        retries,
        engines.eject_most,
        HeldRules(engines.hash_first_bytes) if engines.hash_first else None,
        engines.hedge_after_s,
        engines.affinity,
    )


def check_engines(engines: EngineSettings) -> None:
    """Raises ConfigError where the settings cannot work here."""
    if not engines.urls and not engines.pools:
        raise ConfigError(
            "no engine is named: give --engine URL, or set FOVEA_ENGINES__URLS or FOVEA_ENGINES__POOLS"
        )
    for pool in engines.pools:
        if pool.kubernetes is None:
            continue
        if find_spec("kubernetes_asyncio") is None:
            raise ConfigError("a pool of a Kubernetes service needs more packages: pip install 'fovea[kubernetes]'")
        if pool.kubernetes.namespace is None and not OWN_NAMESPACE.exists():
            raise ConfigError(f"the pool '{pool.name}' needs the namespace of its service: this is no pod")


def make_groups(engines: EngineSettings) -> Iterator[Group]:
    if engines.urls:
        yield Group(NAMELESS, WrittenSource(engines.urls))
    for pool in engines.pools:
        allow = frozenset(pool.models) or None
        yield Group(pool.name, make_source(pool), pool.weight, allow)


def make_source(pool: EnginePoolSettings) -> Source:
    if pool.dns is not None:
        parts = urlsplit(pool.dns)
        return DnsSource(parts.hostname or "", parts.port or 80, pool.most)
    if (service := pool.kubernetes) is not None:
        return KubernetesSource(service.service, service.port, pool.most, service.namespace, service.kubeconfig)
    return WrittenSource(pool.urls)
