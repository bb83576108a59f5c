"""Which metrics of the gateway's and the engines' pages a report is made of; the driver keeps these and no others.

Histograms are left out: a run measures latencies itself. `docs/operating.md` says what each of Fovea's own means.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from math import isfinite

COUNTERS = frozenset(
    """
    fovea_images_by_cache_total fovea_affinity_total fovea_hash_first_total fovea_rejections_total
    fovea_engine_retries_total fovea_encoder_cache_lookups_total fovea_encoder_cache_evictions_total
    fovea_encoder_cache_errors_total vllm:num_preemptions_total vllm:prefix_cache_queries_total
    vllm:prefix_cache_hits_total vllm:mm_cache_queries_total vllm:mm_cache_hits_total
    """.split()
)
GAUGES = frozenset(
    """
    fovea_requests_in_flight fovea_requests_waiting fovea_bytes_in_flight fovea_admission_held_tokens
    fovea_engine_requests_running fovea_engine_requests_waiting fovea_engine_kv_cache_usage_ratio
    fovea_encoder_cache_bytes fovea_gpu_memory_used_bytes fovea_gpu_memory_total_bytes fovea_gpu_utilization_ratio
    fovea_kv_cache_used_bytes fovea_kv_cache_capacity_bytes fovea_engine_process_memory_bytes
    vllm:kv_cache_usage_perc vllm:num_requests_running vllm:num_requests_waiting process_resident_memory_bytes
    process_open_fds
    """.split()
)
MOST_SERIES = 2000  # of one page: a run of an hour stays in memory
MOST_LINE = 4096  # characters
_NAME = re.compile(r"[a-zA-Z0-9_:]+")
_SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)((?:\{(?:[a-zA-Z_]\w*="(?:[^"\\]|\\.)*",?)*\})?)[ \t]+(\S+)')
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')


def is_kept(name: str) -> bool:
    """Of a metric's name without labels."""
    return name in COUNTERS or name in GAUGES


def read_page(text: str) -> dict[str, float]:
    """The kept samples of a page of Prometheus' text format, by name with labels as written there."""
    kept: dict[str, float] = {}
    for name, labels, value in _samples(text):
        if len(kept) >= MOST_SERIES:
            break
        # A run keeps thousands of pages, most of whose names are the same: once is enough.
        kept[sys.intern(name + labels)] = value
    return kept


def split_series(series: str) -> tuple[str, dict[str, str]]:
    """`name{label="value"}` as its name and its labels."""
    name, _, labels = series.partition("{")
    return name, dict(_LABEL.findall(labels))


def _samples(text: str) -> Iterator[tuple[str, str, float]]:
    """Only lines of what is kept are looked at closely: pages are read while requests are timed."""
    for line in text.split("\n"):
        name = _NAME.match(line)
        if name and is_kept(name[0]) and len(line) <= MOST_LINE and (found := _SAMPLE.match(line)):
            with suppress(ValueError):  # not a number: not a sample
                if isfinite(number := float(found[3])):  # NaN and Inf are no JSON
                    yield found[1], found[2], number
