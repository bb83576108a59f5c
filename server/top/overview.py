"""What `fovea top` shows, as figures: each is None where the deployment does not tell it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from server.domain import Json
from server.top.reading import Change, Reading

# What is told by most to least: tables are cut after so many rows.
MOST_ROWS = 8
NOTHING = Change(Reading(), Reading())


@dataclass(frozen=True)
class Latency:
    """Seconds, over the last interval."""

    half: float | None
    most: float | None  # 99 of 100 are faster


@dataclass(frozen=True)
class Traffic:
    """Of the gateway: a second, over the last interval, where it is not said otherwise."""

    requests: float | None
    refused: float | None  # 4xx: callers' own doing, or limits
    failed: float | None  # 5xx
    images: float | None
    prompt_tokens: float | None
    answer_tokens: float | None
    in_flight: float | None
    waiting: Mapping[str, float]  # now, by class
    first_token: Latency
    between_tokens: Latency
    rejections: Mapping[str, float]  # since the last look, by code
    embeddings: Mapping[str, float]  # pictures since the last look, by where their embedding was


@dataclass(frozen=True)
class EngineView:
    """`trouble`: why its own metrics could not be read; the gateway's view of it remains."""

    name: str
    state: str
    running: float | None
    waiting: float | None
    kv_share: float | None  # 0 to 1
    kv_used_tokens: float | None
    kv_capacity_tokens: float | None
    answer_tokens: float | None  # a second
    preemptions: float | None  # a second
    gpu_used_bytes: float | None
    gpu_total_bytes: float | None
    tiers: Mapping[str, float]  # look-ups since the last look, by result
    trouble: str = ""


@dataclass(frozen=True)
class Overview:
    seconds: float  # of the last interval
    version: str
    traffic: Traffic | None
    engines: Sequence[EngineView]
    trouble: str = ""

    def as_json(self) -> Json:
        return asdict(self)


@dataclass(frozen=True)
class Seen:
    """What one process told; `trouble` in place of `change` where it did not."""

    change: Change | None
    trouble: str = ""


def overview_of(gateway: Seen, engines: Mapping[str, Seen]) -> Overview:
    told = gateway.change
    version = next((row.get("version", "") for row, _ in told.after.rows("fovea_build_info")), "") if told else ""
    names = set(engines) | set(told.after.values_of("fovea_engine_ready", "engine") if told else ())
    views = [engine_of(name, told, engines.get(name)) for name in sorted(names)]
    seconds = told.after.at - told.before.at if told else 0.0
    return Overview(seconds, version, traffic_of(told) if told else None, views, gateway.trouble)


def traffic_of(change: Change) -> Traffic:
    ends: dict[str, float] = {}
    for row, more in change.increases("fovea_requests_total"):
        kind = row.get("status", "")[:1]
        ends[kind] = ends.get(kind, 0.0) + more
    seconds = change.after.at - change.before.at
    waiting: dict[str, float] = {}
    for row, value in change.after.rows("fovea_requests_waiting"):
        waiting[row.get("priority", "")] = waiting.get(row.get("priority", ""), 0.0) + value
    return Traffic(
        requests=change.rate("fovea_requests_total"),
        refused=ends.get("4", 0.0) / seconds if seconds > 0 else None,
        failed=ends.get("5", 0.0) / seconds if seconds > 0 else None,
        images=change.rate("fovea_images_total"),
        prompt_tokens=change.rate("fovea_tokens_total", kind="prompt"),
        answer_tokens=change.rate("fovea_tokens_total", kind="completion"),
        in_flight=change.after.total("fovea_requests_in_flight"),
        waiting=waiting,
        first_token=latency(change, "fovea_time_to_first_token_seconds"),
        between_tokens=latency(change, "fovea_inter_token_seconds"),
        rejections=most(change.by("fovea_rejections_total", "code")),
        embeddings=most(change.by("fovea_images_by_cache_total", "outcome")),
    )


def latency(change: Change, name: str) -> Latency:
    return Latency(change.quantile(0.5, name), change.quantile(0.99, name))


def most(counts: Mapping[str, float]) -> dict[str, float]:
    found = sorted(((name, count) for name, count in counts.items() if count), key=lambda each: -each[1])
    return dict(found[:MOST_ROWS])


def engine_of(name: str, gateway: Change | None, seen: Seen | None) -> EngineView:
    """The engine's own word before the gateway's, which is as old as its last look."""
    own, outside = (seen and seen.change) or NOTHING, gateway or NOTHING
    now = own.after
    return EngineView(
        name=name,
        state=state_of(name, gateway, own),
        running=first(
            now.total("vllm:num_requests_running"),
            outside.after.total("fovea_engine_requests_running", engine=name),
        ),
        waiting=first(
            now.total("vllm:num_requests_waiting"),
            outside.after.total("fovea_engine_requests_waiting", engine=name),
        ),
        kv_share=first(
            now.total("vllm:kv_cache_usage_perc"),
            outside.after.total("fovea_engine_kv_cache_usage_ratio", engine=name),
        ),
        kv_used_tokens=now.total("fovea_kv_cache_used_tokens"),
        kv_capacity_tokens=now.total("fovea_kv_cache_capacity_tokens"),
        answer_tokens=own.rate("vllm:generation_tokens_total"),
        preemptions=own.rate("vllm:num_preemptions_total"),
        gpu_used_bytes=now.total("fovea_gpu_memory_used_bytes"),
        gpu_total_bytes=now.total("fovea_gpu_memory_total_bytes"),
        tiers=most(own.by("fovea_encoder_cache_lookups_total", "result")),
        trouble=seen.trouble if seen else "",
    )


def state_of(name: str, gateway: Change | None, own: Change) -> str:
    if gateway is None:
        return "answers" if own.after.samples else "silent"
    for row, value in gateway.after.rows("fovea_engine_state", engine=name):
        if value:
            return row.get("state", "")
    ready = gateway.after.total("fovea_engine_ready", engine=name)
    return "unknown" if ready is None else "ready" if ready else "not ready"


def first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)
