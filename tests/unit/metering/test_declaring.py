"""What is declared is what there is, and is named as metrics are."""

from typing import get_args

import pytest
from prometheus_client import CollectorRegistry

from server.api import estimating
from server.api.surfaces import SURFACES
from server.images.inspect import Format
from server.metering.declaring import Declarations, Declared
from server.metering.labels import ROUTE, SOURCE
from server.metrics import Metrics

DECLARED = {each.family: each for each in Metrics().declared}


def test_every_metric_of_the_registry_is_declared_and_only_once() -> None:
    metrics = Metrics()
    found = [(family.name, family.type, family.documentation) for family in metrics.registry.collect()]
    assert sorted(found) == sorted((each.family, each.type, each.help) for each in metrics.declared)


@pytest.mark.parametrize("metric", DECLARED.values(), ids=lambda metric: metric.family)
def test_a_name_says_whose_it_is_and_in_which_unit_and_a_text_what_it_is(metric: Declared) -> None:
    assert metric.family.startswith("fovea_")
    assert not metric.family.endswith("_total")
    assert metric.help
    assert not metric.help.endswith(".")
    if metric.type == "histogram":
        assert metric.unit
        assert list(metric.buckets) == sorted(metric.buckets)


@pytest.mark.parametrize("metric", DECLARED.values(), ids=lambda metric: metric.family)
def test_a_label_is_a_closed_set_or_says_what_bounds_it(metric: Declared) -> None:
    for label in metric.labels:
        assert bool(label.values) != bool(label.bound)
        assert len(set(label.values)) == len(label.values)


def test_closed_sets_are_those_of_the_code() -> None:
    surfaces = [*SURFACES.values(), *estimating.SURFACES.values()]
    assert set(ROUTE.values) == {surface.label for surface in surfaces} | {"files"}
    assert DECLARED["fovea_images"].labels == (SOURCE, DECLARED["fovea_images"].labels[1])
    assert DECLARED["fovea_images"].labels[1].values == get_args(Format)


def test_an_instrument_is_remembered_as_what_it_is() -> None:
    declare = Declarations(CollectorRegistry())
    declare.counter("fovea_things", "Things", SOURCE)
    declare.loop_gauge("fovea_held_bytes", "Bytes held", across="max")
    declare.histogram("fovea_work_seconds", "Time", buckets=(1, 2))
    assert declare.all == [
        Declared("fovea_things", "counter", "Things", (SOURCE,)),
        Declared("fovea_held_bytes", "gauge", "Bytes held", (), across="max"),
        Declared("fovea_work_seconds", "histogram", "Time", (), (1, 2)),
    ]
    assert [each.name for each in declare.all] == ["fovea_things_total", "fovea_held_bytes", "fovea_work_seconds"]
    assert [each.unit for each in declare.all] == ["", "bytes", "seconds"]
