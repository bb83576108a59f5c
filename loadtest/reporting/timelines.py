"""How the run went, second by second: what the driver saw, and KV cache, GPU memory and queues as servers told."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from loadtest.records import MetricSample, RequestRecord, Run
from loadtest.reporting.families import split_series
from loadtest.reporting.report import Line, Timeline

MOST_POINTS, MOST_LINES = 300, 64
UNTOLD_LABELS = {"model_name", "model"}  # the same on each line
# Name, unit, metrics: the first of which anything is known.
FROM_METRICS = (
    ("KV cache in use", "share", ("vllm:kv_cache_usage_perc", "fovea_engine_kv_cache_usage_ratio")),
    ("KV cache held", "bytes", ("fovea_kv_cache_used_bytes",)),
    ("GPU memory in use", "bytes", ("fovea_gpu_memory_used_bytes",)),
    ("GPU in use", "share", ("fovea_gpu_utilization_ratio",)),
    ("requests waiting in the gateway", "requests", ("fovea_requests_waiting",)),
    ("requests waiting in engines", "requests", ("vllm:num_requests_waiting", "fovea_engine_requests_waiting")),
    ("requests running in engines", "requests", ("vllm:num_requests_running", "fovea_engine_requests_running")),
    ("embeddings held", "bytes", ("fovea_encoder_cache_bytes",)),
    ("memory of engines' processes", "bytes", ("fovea_engine_process_memory_bytes",)),
    ("memory of the servers' processes", "bytes", ("process_resident_memory_bytes",)),
    ("open files of the servers", "files", ("process_open_fds",)),
)


def timelines_of(run: Run) -> tuple[Timeline, ...]:
    """The driver's own first."""
    found = [*_of_requests(run.requests)]
    for name, unit, metrics in FROM_METRICS:
        lines = next((lines for metric in metrics if (lines := _lines(run.samples, metric))), ())
        if lines:
            found.append(Timeline(name, unit, lines))
    return tuple(found)


def _lines(samples: Sequence[MetricSample], metric: str) -> tuple[Line, ...]:
    """One for each series, by its labels; by whose page it is, too, where several pages have the metric."""
    points: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for sample in samples:
        for series, value in sample.values.items():
            name, labels = split_series(series)
            if name == metric:
                told = " ".join(value for label, value in labels.items() if label not in UNTOLD_LABELS)
                points[sample.source, told].append((sample.at_s, value))
    several = len({source for source, _ in points}) > 1
    lines = sorted(points.items())[:MOST_LINES]
    return tuple(
        Line(f"{place_of(source)} {told}".strip() if several else told, thin(found))
        for (source, told), found in lines
    )


def place_of(source: str) -> str:
    """A page's address without what all of them share."""
    return source.removeprefix("http://").removeprefix("https://").removesuffix("/metrics")


def thin(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """At most MOST_POINTS of them, the greatest of its neighbours each: what peaks must be seen."""
    step = -(-len(points) // MOST_POINTS)
    groups = (points[at : at + step] for at in range(0, len(points), step or 1))
    return tuple((round(at, 3), value) for at, value in (max(group, key=lambda one: one[1]) for group in groups))


def _of_requests(requests: Iterable[RequestRecord]) -> Iterable[Timeline]:
    all_requests = list(requests)
    if not all_requests:
        return
    until = max(one.ended_s for one in all_requests)
    width = max(1.0, until / MOST_POINTS)
    answered = _counts([one.ended_s for one in all_requests if one.answered], width, until)
    failed = _counts([one.ended_s for one in all_requests if not one.answered], width, until)
    yield Timeline("requests answered and failed", "1/s", (Line("answered", answered), Line("failed", failed)))
    yield Timeline("requests under way", "requests", (Line("under way", _under_way(all_requests, width, until)),))


def _counts(times: Sequence[float], width: float, until: float) -> tuple[tuple[float, float], ...]:
    counts = [0] * (int(until / width) + 1)
    for time_s in times:
        counts[max(0, min(len(counts) - 1, int(time_s / width)))] += 1
    return tuple((round(place * width, 3), count / width) for place, count in enumerate(counts))


def _under_way(requests: Sequence[RequestRecord], width: float, until: float) -> tuple[tuple[float, float], ...]:
    """At the end of each step: sent, or due, and not ended."""
    changes = sorted([(one.due_s, 1) for one in requests] + [(one.ended_s, -1) for one in requests])
    points, now, place = [], 0, 0
    for step in range(int(until / width) + 1):
        while place < len(changes) and changes[place][0] <= step * width:
            now += changes[place][1]
            place += 1
        points.append((round(step * width, 3), float(now)))
    return tuple(points)
