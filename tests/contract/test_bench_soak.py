"""The soak over a real gateway and a fake engine, seconds long: all is asked, seen, told, and ended."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from loadtest.bench_soak import Amounts, bench
from loadtest.peers.processes import tree
from loadtest.soak.mix import MODEL
from loadtest.soak.page import make_page, make_plot
from tests.fakes.engine import FakeEngine
from tests.fakes.serve import serving

TINY = Amounts(soak_s=4, first_s=0.5, find_s=1, every_s=0.2, rest_s=0.5, callers=4, share=0.5)


@contextmanager
def fake_engine(_: Path) -> Iterator[tuple[str, int]]:
    engine = FakeEngine(MODEL)
    with serving(engine.app) as url:
        yield url, 0


def test_a_short_soak_sees_every_process_and_ends_them() -> None:
    before = {*tree(os.getpid())}
    result = bench(TINY, fake_engine)
    assert {each.name for each in result.watched} == {"gateway", "driver", "pictures"}
    assert [each.name for each in result.watched if each.judged] == ["gateway"]
    assert all(min(sample.rss_mb for sample in each.samples) > 5 for each in result.watched)
    assert result.changed == []
    assert result.rate_per_s == TINY.share * result.capacity_per_s > 0
    asked = {kind for window in result.windows for kind in window.counts}
    assert asked
    assert result.sizes["fovea_requests_in_flight"]
    assert json.loads(json.dumps(asdict(result)))["watched"]
    assert "| gateway |" in make_page(result)
    assert make_plot(result).endswith("</svg>\n")
    assert not {*tree(os.getpid())} - before
