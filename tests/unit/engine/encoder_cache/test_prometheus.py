import time
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from server.engine.encoder_cache import outcomes, prometheus
from server.engine.encoder_cache.prometheus import EncoderCacheMetrics


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> EncoderCacheMetrics:
    def counter(*args: Any, **kwargs: Any) -> Counter:
        return Counter(*args, registry=registry, **kwargs)

    def gauge(*args: Any, **kwargs: Any) -> Gauge:
        return Gauge(*args, registry=registry, **kwargs)

    return EncoderCacheMetrics({Counter: counter, Gauge: gauge}, ["engine"], {0: ["0"], 1: ["1"]})


def test_figures_become_metrics_of_their_engine(metrics: EncoderCacheMetrics, registry: CollectorRegistry) -> None:
    metrics.observe({"counts": {"lookups|hit_disk": 2}, "held": {"bytes|host": 5}}, 1)
    metrics.observe({"counts": {"lookups|hit_disk": 1}, "held": {"bytes|host": 3}}, 1)
    labels = {"engine": "1", "result": "hit_disk"}
    assert registry.get_sample_value("fovea_encoder_cache_lookups_total", labels) == 3
    assert registry.get_sample_value("fovea_encoder_cache_bytes", {"engine": "1", "tier": "host"}) == 3


def test_what_has_never_happened_is_told_as_nought(
    registry: CollectorRegistry, metrics: EncoderCacheMetrics
) -> None:
    for engine in "01":
        labels = {"engine": engine, "result": "miss"}
        assert registry.get_sample_value("fovea_encoder_cache_lookups_total", labels) == 0
        damage = {"engine": engine, "tier": "disk", "reason": "checksum"}
        assert registry.get_sample_value("fovea_encoder_cache_errors_total", damage) == 0


def test_errors_are_told_by_tier_and_reason(metrics: EncoderCacheMetrics, registry: CollectorRegistry) -> None:
    metrics.observe({"counts": {"errors|disk|checksum": 1}})
    labels = {"engine": "0", "tier": "disk", "reason": "checksum"}
    assert registry.get_sample_value("fovea_encoder_cache_errors_total", labels) == 1


@pytest.mark.parametrize("figure", ["nonsense|x", "lookups", "lookups|a|b", ""])
def test_what_is_no_figure_of_ours_is_left_out(metrics: EncoderCacheMetrics, figure: str) -> None:
    metrics.observe({"counts": {figure: 1}, "held": {figure: 1}})


def test_an_engine_that_is_not_known_is_left_out(metrics: EncoderCacheMetrics) -> None:
    metrics.observe({"counts": {"lookups|miss": 1}}, 7)


def test_words_that_are_told_apart_are_bounded(
    metrics: EncoderCacheMetrics, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus, "MOST_CHILDREN", 20)
    metrics.observe({"counts": {f"errors|disk|{n}": 1 for n in range(100)}})
    family = next(each for each in registry.collect() if each.name == "fovea_encoder_cache_errors")
    assert 0 < sum(sample.name.endswith("_total") for sample in family.samples) <= 20


def test_what_became_of_pictures_is_kept_for_the_answer_s_header(metrics: EncoderCacheMetrics) -> None:
    began = time.monotonic()
    metrics.observe({"outcomes": {"test_prometheus: cat": "disk"}})
    assert outcomes.of(["test_prometheus: cat"], began) == ["disk"]
