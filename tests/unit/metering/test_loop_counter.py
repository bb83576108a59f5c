import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from server.metering.loop_counter import LoopCounter


def test_it_reads_as_prometheus_clients_own() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    counter, reference = (
        LoopCounter("fovea_things", "Things seen", ["kind", "model"], ours),
        Counter("fovea_things", "Things seen", ["kind", "model"], registry=theirs),
    )
    for kind, count in (("a", 1), ("b", 7), ("a", 2), ("c", 0)):
        counter.add((kind, 'de"mo\n'), count)
        reference.labels(kind, 'de"mo\n').inc(count)
    told = [line for line in generate_latest(theirs).splitlines() if b"_created" not in line]
    assert generate_latest(ours).splitlines() == counter.text().encode().splitlines() == told
    assert [each.name for each in counter.describe()] == ["fovea_things"]


@pytest.mark.parametrize("values", [(), ("a",), ("a", "b", "c")])
def test_a_series_has_a_value_for_each_label(values: tuple[str, ...]) -> None:
    counter = LoopCounter("fovea_things", "Things seen", ["kind", "model"], CollectorRegistry())
    with pytest.raises(ValueError, match="one value for each label"):
        counter.add(values)
