"""Runs that never were: as records, with latencies drawn from a seed."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from loadtest.records import NOT_SENT, MetricSample, RequestRecord, Run, RunInfo, make_line

INFO = RunInfo(
    scenario="catalogue", scenario_text="name: catalogue\n", seed=7, url="http://127.0.0.1:8000/v1", model="m",
    began_at="2026-01-01T00:00:00Z", counts_from_s=10.0, ended_s=110.0, slo_ttft_ms=500, slo_e2e_ms=2000,
    command="fovea-loadtest run catalogue", machine={"cores": "2"},
)  # fmt: skip
GATEWAY = "http://127.0.0.1:8000/metrics"


def request(number: int, due_s: float, ttft_s: float = 0.2, gaps: Sequence[float] = (0.05,) * 4) -> RequestRecord:
    """Answered, one picture, sent as planned."""
    times = tuple(float(time_s) for time_s in due_s + ttft_s + np.cumsum((0.0, *gaps)))
    return RequestRecord(
        number=number, planned_s=due_s, sent_s=due_s, first_byte_s=due_s + 0.01, token_s=times,
        ended_s=times[-1], status=200, code="", prompt_tokens=100, output_tokens=len(times),
        pictures=(f"p{number}",), tenant="shop" if number % 4 else "lab",
        engine="a" if number % 2 else "b", image_cache="hit-gpu",
    )  # fmt: skip


def failed(number: int, due_s: float, code: str = "overloaded") -> RequestRecord:
    ok = request(number, due_s)
    return replace(ok, token_s=(), status=429, code=code, ended_s=due_s + 0.1, output_tokens=0, image_cache="")


def never_sent(number: int, due_s: float) -> RequestRecord:
    """A turn after one that failed, which was sent in time."""
    lost = failed(number, due_s, NOT_SENT)
    return replace(lost, status=0, first_byte_s=None, sent_s=due_s + 5, ended_s=due_s + 5)


def make_run(count: int = 400, slower: float = 1.0, seed: int = 7, draw: int = 1, **info: object) -> Run:
    """`count` requests over the 100 counted seconds, each TTFT about 0.2 s times `slower`."""
    rng = np.random.default_rng(draw)
    requests = [
        request(number, 10 + 100 * number / count, slower * float(rng.lognormal(np.log(0.2), 0.3)))
        for number in range(count)
    ]
    return Run(replace(INFO, seed=seed, **info), tuple(requests), samples())  # type: ignore[arg-type]


def samples() -> tuple[MetricSample, ...]:
    found = []
    for second in range(0, 111, 10):
        values = {
            'fovea_images_by_cache_total{outcome="miss"}': 100.0 + second,
            'fovea_images_by_cache_total{outcome="hit-gpu"}': 3.0 * second,
            'fovea_engine_kv_cache_usage_ratio{engine="a"}': second / 200,
            'fovea_engine_kv_cache_usage_ratio{engine="b"}': 0.1,
        }
        found.append(MetricSample(float(second), GATEWAY, values))
    return tuple(found)


def write_lines(path: Path, records: Iterable[RequestRecord | MetricSample]) -> None:
    path.write_bytes(b"".join(map(make_line, records)))
