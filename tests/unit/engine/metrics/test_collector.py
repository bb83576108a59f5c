import logging

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from server.engine.metrics.collector import EngineCollector
from server.engine.metrics.declared import METRICS, Readings


def text_of(*sources: object) -> str:
    registry = CollectorRegistry()
    registry.register(EngineCollector(sources))  # type: ignore[arg-type]
    return generate_latest(registry).decode()


def total() -> Readings:
    return {"fovea_host_memory_total_bytes": {(): 5}}


def test_a_sources_readings_are_told_with_their_labels() -> None:
    found = text_of(lambda: {"fovea_weights_bytes": {("m", "vision"): 8}})
    assert 'fovea_weights_bytes{component="vision",model_name="m"} 8.0' in found


def test_what_has_no_reading_is_not_told_at_all() -> None:
    assert text_of(lambda: {}) == ""


def test_a_source_that_fails_takes_nothing_else_away_and_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> Readings:
        raise ZeroDivisionError("of no use")

    collector = EngineCollector([fails, total])
    with caplog.at_level(logging.WARNING):
        found = [[family.name for family in collector.collect()] for _ in range(3)]
    assert found == [["fovea_host_memory_total_bytes"]] * 3
    assert [record.message for record in caplog.records] == [
        "Some of Fovea's metrics are missing: ZeroDivisionError: of no use"
    ]


def test_nothing_is_read_when_it_is_registered() -> None:
    CollectorRegistry().register(EngineCollector([lambda: pytest.fail("was read")]))


def test_two_sources_may_tell_of_one_metric() -> None:
    found = text_of(
        lambda: {"fovea_weights_bytes": {("m", "mtp"): 1}}, lambda: {"fovea_weights_bytes": {("m", "vision"): 2}}
    )
    assert found.count("# TYPE") == 1
    assert found.count("fovea_weights_bytes{") == 2


def test_no_name_is_vllms_and_units_stand_in_names() -> None:
    for name, metric in METRICS.items():
        assert name.startswith("fovea_")
        assert name.endswith("_total") == (metric.kind == "counter")
