from server.metrics import Metrics


def counted(metrics: Metrics) -> dict[str, float]:
    """Of requests: what has been told so far, by name and the labels that tell most."""
    lines = [line for line in metrics.text().splitlines() if not line.startswith("#") and 'route="chat"' in line]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if "_bucket" not in line}


def test_nothing_is_shown_before_it_has_happened() -> None:
    metrics = Metrics()
    series = metrics.series_of("chat", "demo")
    assert counted(metrics) == {}
    series.began(0.5)
    assert set(counted(metrics)) == {
        f'fovea_time_to_first_token_seconds_{what}{{model="demo",route="chat"}}' for what in ("count", "sum")
    }


def test_each_end_is_counted_once_and_only_good_ones_have_a_time() -> None:
    metrics = Metrics()
    series = metrics.series_of("chat", "demo")
    for tenant in ("ann", "ann", "bob"):
        series.ended_well(tenant, 2.0)
    series.ended_well("bob", None)
    series.ended("429", "overloaded", "bob")

    def of(status: str, code: str, tenant: str) -> str:
        labels = f'code="{code}",model="demo",route="chat",status="{status}",tenant="{tenant}"'
        return f"fovea_requests_total{{{labels}}}"

    assert counted(metrics) == {
        of("200", "", "ann"): 2,
        of("200", "", "bob"): 2,
        of("429", "overloaded", "bob"): 1,
        'fovea_request_duration_seconds_count{model="demo",route="chat"}': 3,
        'fovea_request_duration_seconds_sum{model="demo",route="chat"}': 6,
    }


def test_series_are_found_once_under_labels_that_stay_few() -> None:
    metrics = Metrics()
    assert metrics.series_of("chat", "demo") is metrics.series_of("chat", "demo")
    assert metrics.series_of("chat", "") is metrics.series_of("chat", "unknown")
    assert len({id(metrics.series_of("chat", f"model-{number}")) for number in range(10_000)}) < 300
