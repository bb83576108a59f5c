"""The benchmark of growth over real gateways, as small as can be: what is measured is filled, asked and counted."""

from loadtest.bench_scaling import SCENES, bench, measure_entries
from loadtest.scaling.page import make_page

# Others are made like one of these.
ASKED = ("pictures", "streams", "tenants", "looks", "waiting")


def test_every_scene_costs_something_and_is_told_of() -> None:
    result = bench(ASKED, rounds=1, requests=8, divided=1000)
    assert [each.name for each in result.growths] == [name for name in SCENES if name in ASKED]
    for growth in result.growths:
        assert [len(costs) for costs in growth.us] == [len(growth.sizes)]
        assert min(growth.us[0]) > 0
        assert min(growth.resident_mb) > 1
    page = make_page(result)
    assert sum(page.count(f"| {word} |") for word in ("flat", "named", "**grows**")) == len(ASKED)


def test_embeddings_are_counted_where_they_are_kept() -> None:
    growths = measure_entries(rounds=1, divided=100)
    assert len(growths) == 7
    assert all(min(growth.us[0]) > 0 for growth in growths)
