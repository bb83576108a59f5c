"""Every series that a deployment tells, by its declarations: the gateway's, the engine's, and vLLM's own source."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import pytest
from prometheus_client.utils import floatToGoString

from server.engine.encoder_cache import prometheus as encoder_cache
from server.engine.metrics.declared import METRICS as ENGINE_METRICS
from server.metrics import Metrics
from tests.conftest import ROOT

VLLM = ".venv/engine/lib/python3.*/site-packages/vllm/v1/metrics/loggers.py"
# prometheus.yml gives these; vLLM's own label `engine` is then called the other.
TARGET_LABELS = {"job", "instance", "engine", "exported_engine"}
VLLM_LABELS = {"model_name", "engine"}


@dataclass(frozen=True)
class Series:
    """The labels of a sample, and of those that are closed sets the values."""

    labels: frozenset[str]
    values: Mapping[str, frozenset[str]]


@cache
def series() -> dict[str, Series]:
    """By name, as scraped: with _total, _bucket, _count and _sum."""
    return {"up": Series(frozenset(), {}), **dict(of_gateway()), **dict(of_engine()), **dict(of_vllm())}


def of_gateway() -> Iterator[tuple[str, Series]]:
    for each in Metrics().declared:
        values = {label.name: label.values for label in each.labels if label.values}
        bounds = [floatToGoString(bound) for bound in each.buckets]
        yield from samples(each.family, each.type, [label.name for label in each.labels], values, bounds)


def of_engine() -> Iterator[tuple[str, Series]]:
    for kind, families in (("counter", encoder_cache.COUNTERS), ("gauge", encoder_cache.GAUGES)):
        for name, (labels, _) in families.items():
            yield from samples(f"{encoder_cache.PREFIX}_{name}", kind, [*VLLM_LABELS, *labels])
    for name, metric in ENGINE_METRICS.items():
        yield from samples(name.removesuffix("_total"), metric.kind, metric.labels)
    yield from samples("process_start_time_seconds", "gauge", ())  # prometheus_client's own, in vLLM's API server


def of_vllm() -> Iterator[tuple[str, Series]]:
    """What its source makes, whatever its configuration: calls with a name that begins with vllm:."""
    path = next(ROOT.glob(VLLM), None)
    if path is None:
        pytest.skip("SKIPPED: no vLLM: make setup")
    for call in ast.walk(ast.parse(path.read_text())):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
            given = {word.arg: word.value for word in call.keywords}
            name, kind = given.get("name"), call.func.attr.strip("_").removesuffix("_cls")
            if isinstance(name, ast.Constant) and str(name.value).startswith("vllm:"):
                more = [str(each.value) for each in ast.walk(given["labelnames"]) if isinstance(each, ast.Constant)]
                yield from samples(str(name.value), kind, [*VLLM_LABELS, *more])


def samples(
    name: str,
    kind: str,
    labels: Sequence[str],
    values: Mapping[str, Sequence[str]] | None = None,
    bounds: Sequence[str] = (),
) -> Iterator[tuple[str, Series]]:
    told = frozenset(labels)
    closed = {label: frozenset(each) for label, each in (values or {}).items()}
    if kind == "histogram":
        yield f"{name}_bucket", Series(told | {"le"}, {**closed, "le": frozenset([*bounds, "+Inf"])})
        yield f"{name}_count", Series(told, closed)
        yield f"{name}_sum", Series(told, closed)
    else:
        yield name + ("_total" if kind == "counter" else ""), Series(told, closed)
