"""Every metric that an engine tells beside vLLM's own, on the same /metrics: names, types, labels and words.

`docs/operating.md` has the table that `table` makes of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

# Of each metric, by its name: the values of its labels, in their order, and a number for them.
Readings = Mapping[str, Mapping[tuple[str, ...], float]]


@dataclass(frozen=True, slots=True)
class Metric:
    """Counters have names that end in _total."""

    labels: tuple[str, ...]
    words: str
    kind: Literal["gauge", "counter"] = "gauge"


MODEL = ("model_name",)
GPU = ("gpu",)

METRICS: dict[str, Metric] = {
    "fovea_engine_info": Metric(("version", "vllm"), "1; of Fovea and of vLLM"),
    "fovea_gpus": Metric((), "GPUs that this engine sees (CUDA_VISIBLE_DEVICES) and that answer; 0 on CPUs"),
    "fovea_gpu_info": Metric((*GPU, "name", "uuid", "driver"), "1"),
    "fovea_gpu_memory_total_bytes": Metric(GPU, "Memory of the GPU, or of the MIG instance"),
    "fovea_gpu_memory_used_bytes": Metric(GPU, "Of that, what is taken, by whomever, and what the driver keeps"),
    "fovea_gpu_memory_free_bytes": Metric(GPU, "And what is not"),
    "fovea_gpu_process_memory_bytes": Metric(
        (*GPU, "process"),
        "Of what is taken: by this engine (`engine`), by others (`other`); left out where the driver does not tell "
        "our processes' numbers (in most containers)",
    ),
    "fovea_gpu_utilization_ratio": Metric(GPU, "Share of the last moments in which a kernel ran"),
    "fovea_gpu_memory_utilization_ratio": Metric(GPU, "Share of them in which memory was read or written"),
    "fovea_gpu_power_watts": Metric(GPU, "Power drawn"),
    "fovea_gpu_power_limit_watts": Metric(GPU, "Most that it may draw"),
    "fovea_gpu_temperature_celsius": Metric(GPU, "Temperature of the die"),
    "fovea_gpu_throttled": Metric(
        (*GPU, "reason"), "1 while it is slowed down: `power_cap`, `thermal`, `hw_slowdown`, `power_brake`"
    ),
    "fovea_gpu_ecc_errors_total": Metric(
        (*GPU, "kind"), "Memory errors since the driver was loaded: `corrected`, `uncorrected`", "counter"
    ),
    "fovea_gpu_xid_errors_total": Metric(
        (*GPU, "xid"), "The driver's XID errors, by their number, since the engine was first scraped", "counter"
    ),
    "fovea_gpu_errors_total": Metric(
        (*GPU, "error"),
        "Readings that failed: `lost` (off the bus), `reset_required`, `timeout`, `driver`, `other`; `hang` with "
        "`-` for `gpu`: the driver has not answered for ten seconds",
        "counter",
    ),
    "fovea_host_memory_total_bytes": Metric((), "Memory of the machine, or of the container if that has less"),
    "fovea_host_memory_available_bytes": Metric((), "Of that, what new work could have without swapping"),
    "fovea_engine_process_memory_bytes": Metric(
        ("process",), "Resident bytes of vLLM's processes: `api`, `core`, and all that are `worker`"
    ),
    "fovea_kv_cache_capacity_bytes": Metric(MODEL, "Bytes of the KV cache, of all workers together"),
    "fovea_kv_cache_capacity_tokens": Metric(
        MODEL, "Tokens that it holds, as vLLM works it out (hybrid layers counted in)"
    ),
    "fovea_kv_cache_used_bytes": Metric(MODEL, "Bytes of the KV cache's blocks that requests hold"),
    "fovea_kv_cache_used_tokens": Metric(MODEL, "The same share of the tokens that it holds"),
    "fovea_kv_cache_high_water_tokens": Metric(MODEL, "The most of it in any step since the engine started"),
    "fovea_encoder_memory_capacity_tokens": Metric(MODEL, "Image tokens that vLLM's own encoder cache holds"),
    "fovea_encoder_memory_capacity_bytes": Metric(MODEL, "Bytes that these embeddings take at most"),
    "fovea_weights_bytes": Metric(
        (*MODEL, "component"),
        "Bytes in the checkpoint's files: `vision`, `language`, `lm_head`, `embeddings`, `mtp`",
    ),
    "fovea_checkpoint_bytes": Metric((*MODEL, "precision"), "The same by type: `bf16`, `f8_e4m3`, ..."),
    "fovea_checkpoint_info": Metric(
        (*MODEL, "recipe", "quantization", "report"),
        "1; `quantization` is `none` for plain weights; `report` says what fovea-report.json holds: `gated` (the "
        "sight gate's verdict), `verified` (the proof of a run), `unverified` (a run without), `none`",
    ),
    "fovea_sight_report": Metric(MODEL, "1 where a sight report lies in the checkpoint and its verdict is green"),
    "fovea_sight_correct_ratio": Metric(
        (*MODEL, "skill", "checkpoint"),
        "Share of its questions answered right, by that report: `base` and `quantized`",
    ),
}


def name_in_families(name: str) -> str:
    """As prometheus_client names a counter's family."""
    return name.removesuffix("_total")


def table() -> str:
    """For docs/operating.md."""
    lines = ["| metric | type | labels | meaning |", "| --- | --- | --- | --- |"]
    for name, metric in METRICS.items():
        lines.append(f"| `{name}` | {metric.kind} | {', '.join(metric.labels)} | {metric.words} |")
    return "\n".join(lines)
