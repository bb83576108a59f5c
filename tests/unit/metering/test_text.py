import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from server.metering.text import head, series


@pytest.mark.parametrize("value", ["", "demo", 'a "b"', "a\\b", "a\nb", 'a\\"\\n', "é", "a,b={c}"])
def test_names_are_written_as_the_library_writes_them(value: str) -> None:
    registry = CollectorRegistry()
    Counter("things", 'Of "these"\nor \\those', ["b", "a"], registry=registry).labels(value, "x").inc()
    written = head("things_total", "counter", 'Of "these"\nor \\those')
    written += f"{series('things_total', ('b', 'a'), (value, 'x'))} 1.0\n"
    assert generate_latest(registry).decode() == written


def test_without_labels_a_series_is_its_name() -> None:
    assert series("things", (), ()) == "things"
