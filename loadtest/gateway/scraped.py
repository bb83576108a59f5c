"""Says how long a scrape of a gateway's metrics takes: of as many engines and tenants as it is told, as JSON.

A script of its own, like `watched`: with another checkout on PYTHONPATH it measures that one's metrics. Its
arguments are numbers of engines, models, tenants and workers.
"""

import asyncio
import json
import pkgutil
import sys
import time
from collections.abc import Callable
from typing import Any

ROUTES = ("chat", "completions", "responses", "messages")
OUTCOMES = (
    ("429", "overloaded"),
    ("429", "waited_too_long"),
    ("502", "engine_failed"),
    ("499", "client_left"),
)
TIMES = 11


class Client:
    """All that an engine's metrics want of its client."""

    def __init__(self, name: str) -> None:
        self.name = name


def fill(engines: int, models: int, tenants: int) -> Any:
    """A gateway's metrics after each tenant has asked for each model in each way, with each outcome."""
    make: Callable[[], Any] = pkgutil.resolve_name("server.metrics:Metrics")
    metrics = make()
    show_engines(metrics, engines)
    for model in (f"model-{number}" for number in range(models)):
        for route in ROUTES:
            series = metrics.series_of(route, model)
            series.began(0.1)
            for tenant in (metrics.tenants.of(f"tenant-{number}") for number in range(tenants)):
                series.ended_well(tenant, 0.1)
                for status, code in OUTCOMES:
                    series.ended(status, code, tenant)
        metrics.inter_token.labels(model).observe(0.1)
        metrics.count_tokens(model, 1, 1)
    return metrics


def show_engines(metrics: Any, count: int) -> None:
    engine_of = pkgutil.resolve_name("server.engines.engine:Engine")
    health, rules, report = (
        pkgutil.resolve_name(f"server.engines.{name}")
        for name in ("health:Health", "health:HealthRules", "capacity:EngineReport")
    )
    for number in range(count):
        engine = engine_of(Client(f"engine-{number}"), f"http://engine-{number}", health(rules()))
        engine.report = report(1, 2, kv_usage=0.5)
        engine.show(metrics)


def scrape_s(metrics: Any) -> float:
    """CPU of the one process that serves."""
    began = time.process_time()
    asyncio.run(metrics.exposition())
    return time.process_time() - began


def summed_s(metrics: Any, workers: int) -> float:
    """CPU of all processes, where several serve: each tells, the supervisor adds up, one of them writes it."""
    names = ("read_families", "merge", "write_families", "Relabelling")
    read, merge, write, relabelling = (pkgutil.resolve_name(f"server.workers.sums:{name}") for name in names)
    make_classes: Callable[[], Any] = pkgutil.resolve_name("server.metering.labels:make_classes")
    classes = relabelling(make_classes())
    began = time.process_time()
    told = [read(json.loads(json.dumps(metrics.text()))) for _ in range(workers)]
    json.loads(json.dumps(write(merge(told, metrics.across_workers, classes)))).encode()
    return time.process_time() - began


def main() -> None:
    engines, models, tenants, workers = map(int, sys.argv[1:])
    metrics = fill(engines, models, tenants)
    exposition = asyncio.run(metrics.exposition())
    works: tuple[Callable[[], float], ...] = (lambda: scrape_s(metrics), lambda: summed_s(metrics, workers))
    alone, together = ([work() for _ in range(TIMES)] for work in works)
    told = {
        "series": sum(not line.startswith(b"#") for line in exposition.splitlines()),
        "bytes": len(exposition),
        "alone_ms": sorted(each * 1000 for each in alone),
        "together_ms": sorted(each * 1000 for each in together),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
