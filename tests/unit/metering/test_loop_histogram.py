import random

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from server.metering.loop_histogram import LoopHistogram

BUCKETS = (0.005, 0.5, 1, 300)


def test_what_is_exposed_is_what_the_librarys_own_would_expose() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    mine = LoopHistogram("h_seconds", "What it is", ["route", "model"], BUCKETS, ours)
    known = Histogram("h_seconds", "What it is", ["route", "model"], buckets=BUCKETS, registry=theirs)
    draw = random.Random(1)
    values = [0, *BUCKETS, 301, *(draw.random() * 2 for _ in range(200))]
    for labels in (("chat", "demo"), ("files", 'a "name"')):
        for value in values:
            mine.labels(*labels).observe(value)
            known.labels(*labels).observe(value)
    assert generate_latest(ours) == mine.text().encode() == generate_latest(theirs)


def test_a_series_is_made_once_and_only_with_its_labels() -> None:
    histogram = LoopHistogram("h_seconds", "What it is", ["route"], BUCKETS, CollectorRegistry())
    assert histogram.labels("chat") is histogram.labels("chat")
    with pytest.raises(ValueError, match="one value for each label"):
        histogram.labels("chat", "demo")
