import pytest
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from server.metering.loop_gauge import LoopGauge


def test_it_reads_as_prometheus_clients_own_and_when_it_is_scraped() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    gauge = LoopGauge("fovea_things", "Things there", ["kind"], ours)
    reference = Gauge("fovea_things", "Things there", ["kind"], registry=theirs)
    now: dict[str, float] = {"a": 1, 'b"\n': 2.5}
    for kind in now:
        gauge.show((kind,), lambda kind=kind: now[kind])  # type: ignore[misc]
    for values in ({"a": 1, 'b"\n': 2.5}, {"a": 0, 'b"\n': 7}):
        now |= values
        for kind, value in values.items():
            reference.labels(kind).set(value)
        assert generate_latest(ours) == gauge.text().encode() == generate_latest(theirs)
    assert [each.name for each in gauge.describe()] == ["fovea_things"]


def test_what_is_not_known_or_hidden_has_no_sample() -> None:
    registry = CollectorRegistry()
    gauge = LoopGauge("fovea_things", "Things there", ["kind"], registry)
    gauge.show(("a",), lambda: None)
    gauge.show(("b",), lambda: 0)
    gauge.show(("c",), lambda: 1)
    gauge.hide(("c",))
    gauge.hide(("never shown",))
    assert [each.labels for each in next(iter(registry.collect())).samples] == [{"kind": "b"}]
    assert gauge.text().splitlines()[2:] == ['fovea_things{kind="b"} 0.0']


@pytest.mark.parametrize("values", [(), ("a", "b")])
def test_a_series_has_a_value_for_each_label(values: tuple[str, ...]) -> None:
    gauge = LoopGauge("fovea_things", "Things there", ["kind"], CollectorRegistry())
    with pytest.raises(ValueError, match="one value for each label"):
        gauge.show(values, lambda: 1)
