"""Engines: each replica's state, its queue and batches, its KV cache, its GPU's memory.

Long, since it is data: a dashboard is one file.
"""

from deploy.grafana.board import Board, Row, engines, models
from deploy.grafana.expressions import IN_ENGINE, OF_ENGINE, quantile, rate
from deploy.grafana.panels import Limits, Query, figure, listing, trend

KV_FULL = Limits(0.8, 0.9)


def each(metric: str, selector: str = IN_ENGINE) -> str:
    """Of each engine, whatever else its series are told apart by."""
    return f"sum by (engine) ({metric}{{{selector}}})"


GLANCE = Row(
    "At a glance",
    [
        figure(
            "Ready",
            "Engines that answer, as the gateway sees them.",
            "none",
            Query(f"sum(fovea_engine_ready{{{OF_ENGINE}}})"),
        ),
        figure(
            "Fullest KV cache",
            "Above 90 % for long, vLLM takes memory from requests that run (preemption): let in less, or add "
            "engines.",
            "percentunit",
            Query(f"max(vllm:kv_cache_usage_perc{{{IN_ENGINE}}})"),
            limits=KV_FULL,
            decimals=1,
        ),
        figure(
            "Running",
            "Requests in vLLM's batches.",
            "none",
            Query(f"sum(vllm:num_requests_running{{{IN_ENGINE}}})"),
        ),
        figure(
            "Waiting in engines",
            "Requests that wait inside vLLM. The gateway's own line is fairer: few should wait here.",
            "none",
            Query(f"sum(vllm:num_requests_waiting{{{IN_ENGINE}}})"),
            limits=Limits(5, 20),
        ),
        figure(
            "Preemptions",
            "In a second: requests that lost their KV cache and are computed again.",
            "ops",
            Query(rate("vllm:num_preemptions_total", selector=IN_ENGINE)),
            limits=Limits(0.1, 1),
        ),
        figure(
            "Fullest GPU",
            "Memory used, of the GPU that has the least free.",
            "percentunit",
            Query(f"max(fovea_gpu_memory_used_bytes{{{OF_ENGINE}}} / fovea_gpu_memory_total_bytes{{{OF_ENGINE}}})"),
            limits=Limits(0.95, 0.98),
            decimals=1,
        ),
    ],
)
REPLICAS = Row(
    "Per replica",
    [
        trend(
            "State",
            "Of each engine, as the gateway sees it: one line at 1 for each.",
            "none",
            Query(f"max by (engine, state) (fovea_engine_state{{{OF_ENGINE}}}) == 1", "{{engine}}: {{state}}"),
        ),
        trend(
            "Sent and not finished",
            "Requests that the gateway has at each engine.",
            "none",
            Query(f"sum by (engine) (fovea_engine_requests_running{{{OF_ENGINE}}})", "{{engine}}"),
        ),
        trend(
            "Put out for failing",
            "Times in a second that an engine failed too many requests and was put out for a while.",
            "ops",
            Query(rate("fovea_engine_ejections_total", "engine", OF_ENGINE), "{{engine}}"),
        ),
        trend(
            "Time to first token in vLLM",
            "The 95th percentile: without the gateway's waiting and fetching.",
            "s",
            Query(quantile(0.95, "vllm:time_to_first_token_seconds", "engine", IN_ENGINE), "{{engine}}"),
        ),
        trend(
            "Between tokens in vLLM",
            "The 95th percentile.",
            "s",
            Query(quantile(0.95, "vllm:inter_token_latency_seconds", "engine", IN_ENGINE), "{{engine}}"),
        ),
        trend(
            "Queue in vLLM",
            "Requests waiting, by why: no capacity, or deferred (a cache is being read).",
            "none",
            Query(
                f"sum by (engine, reason) (vllm:num_requests_waiting_by_reason{{{IN_ENGINE}}})",
                "{{engine}}: {{reason}}",
            ),
        ),
    ],
)
KV = Row(
    "KV cache",
    [
        trend(
            "In use",
            "Of each engine's KV cache: vLLM's own figure, and the gateway's last look at it.",
            "percentunit",
            Query(f"max by (engine) (vllm:kv_cache_usage_perc{{{IN_ENGINE}}})", "{{engine}}"),
            Query(
                f"max by (engine) (fovea_engine_kv_cache_usage_ratio{{{OF_ENGINE}}})",
                "{{engine}}, as seen",
            ),
            limits=KV_FULL,
            most=1,
        ),
        trend(
            "Tokens",
            "Used, the most since the engine started, and the capacity.",
            "short",
            Query(each("fovea_kv_cache_used_tokens"), "{{engine}}: used"),
            Query(each("fovea_kv_cache_high_water_tokens"), "{{engine}}: most"),
            Query(each("fovea_kv_cache_capacity_tokens"), "{{engine}}: capacity"),
        ),
        trend(
            "Bytes",
            "Used, and the capacity.",
            "bytes",
            Query(each("fovea_kv_cache_used_bytes"), "{{engine}}: used"),
            Query(each("fovea_kv_cache_capacity_bytes"), "{{engine}}: capacity"),
        ),
        trend(
            "Preemptions",
            "Requests a second that lost their KV cache and are computed again.",
            "ops",
            Query(rate("vllm:num_preemptions_total", "engine", IN_ENGINE), "{{engine}}"),
            limits=Limits(0.1, 1),
        ),
        trend(
            "Prefixes found",
            "The part of prompts' tokens that the prefix cache had. Models with linear attention find whole blocks "
            "of hundreds of tokens only.",
            "percentunit",
            Query(
                f"{rate('vllm:prefix_cache_hits_total', 'engine', IN_ENGINE)}"
                f" / {rate('vllm:prefix_cache_queries_total', 'engine', IN_ENGINE)}",
                "{{engine}}",
            ),
            most=1,
        ),
        trend(
            "Encoder's own memory",
            "Room for embeddings in vLLM itself: beyond it, tiers of the embedding cache are asked.",
            "short",
            Query(each("fovea_encoder_memory_capacity_tokens"), "{{engine}}: tokens"),
        ),
    ],
)
BATCHES = Row(
    "Batches",
    [
        trend(
            "Running",
            "Requests in each engine's batch.",
            "none",
            Query(each("vllm:num_requests_running"), "{{engine}}"),
        ),
        trend(
            "Tokens in a step",
            "What vLLM computes at once: the median and the 95th percentile.",
            "short",
            Query(quantile(0.5, "vllm:iteration_tokens_total", "engine", IN_ENGINE), "{{engine}} p50"),
            Query(quantile(0.95, "vllm:iteration_tokens_total", "engine", IN_ENGINE), "{{engine}} p95"),
        ),
        trend(
            "Tokens",
            "Of prompts computed and of answers, a second.",
            "short",
            Query(rate("vllm:prompt_tokens_total", "engine", IN_ENGINE), "{{engine}}: prompt"),
            Query(rate("vllm:generation_tokens_total", "engine", IN_ENGINE), "{{engine}}: answer"),
        ),
        trend(
            "Where a request's time goes",
            "Means, one above the other: waiting in vLLM, prefill with encoding, decode.",
            "s",
            *(
                Query(
                    f"{rate(f'vllm:request_{part}_time_seconds_sum', '', IN_ENGINE)}"
                    f" / {rate(f'vllm:request_{part}_time_seconds_count', '', IN_ENGINE)}",
                    words,
                )
                for part, words in (("queue", "waiting"), ("prefill", "prefill"), ("decode", "decode"))
            ),
            stacked=True,
        ),
        trend(
            "Ended",
            "Requests a second, by why. length: the answer was cut at its most tokens; abort: the caller left.",
            "reqps",
            Query(rate("vllm:request_success_total", "finished_reason", IN_ENGINE), "{{finished_reason}}"),
            stacked=True,
        ),
        trend(
            "Turned away by vLLM",
            "Requests a second that vLLM's own bounds refused.",
            "reqps",
            Query(rate("vllm:admission_rejections_total", "reason", 'model_name=~"$model"'), "{{reason}}"),
            stacked=True,
        ),
    ],
)
GPU = Row(
    "GPU",
    [
        trend(
            "Memory used",
            "Of each GPU, whoever uses it.",
            "bytes",
            Query(f"fovea_gpu_memory_used_bytes{{{OF_ENGINE}}}", "{{engine}} GPU {{gpu}}"),
            Query(f"fovea_gpu_memory_total_bytes{{{OF_ENGINE}}}", "{{engine}} GPU {{gpu}}: total"),
        ),
        trend(
            "Memory by whose it is",
            "The engine's processes, and others': another program on the GPU takes from what vLLM may have.",
            "bytes",
            Query(f"fovea_gpu_process_memory_bytes{{{OF_ENGINE}}}", "{{engine}} GPU {{gpu}}: {{process}}"),
            stacked=True,
        ),
        trend(
            "Busy",
            "The part of time in which a kernel ran (compute), or memory was read or written.",
            "percentunit",
            Query(f"fovea_gpu_utilization_ratio{{{OF_ENGINE}}}", "{{engine}} GPU {{gpu}}: compute"),
            Query(f"fovea_gpu_memory_utilization_ratio{{{OF_ENGINE}}}", "{{engine}} GPU {{gpu}}: memory"),
            most=1,
        ),
        trend(
            "Power",
            "Drawn, and the most that is allowed.",
            "watt",
            Query(f"fovea_gpu_power_watts{{{OF_ENGINE}}}", "{{engine}} GPU {{gpu}}"),
            Query(f"fovea_gpu_power_limit_watts{{{OF_ENGINE}}}", "{{engine}} GPU {{gpu}}: limit"),
        ),
        trend(
            "Temperature",
            "Most data-centre GPUs slow down from 85 to 90 degrees.",
            "celsius",
            Query(f"fovea_gpu_temperature_celsius{{{OF_ENGINE}}}", "{{engine}} GPU {{gpu}}"),
            limits=Limits(80, 87),
        ),
        trend(
            "ECC errors",
            "ECC errors in the last hour: uncorrected ones end processes.",
            "none",
            Query(
                f"sum by (engine, gpu, kind) (increase(fovea_gpu_ecc_errors_total{{{OF_ENGINE}}}[1h]))",
                "{{engine}} GPU {{gpu}}: ECC {{kind}}",
            ),
        ),
        trend(
            "XIDs",
            "Faults in the last hour, in the driver's words: most mean that the engine's process is lost.",
            "none",
            Query(
                f"sum by (engine, gpu, xid) (increase(fovea_gpu_xid_errors_total{{{OF_ENGINE}}}[1h]))",
                "{{engine}} GPU {{gpu}}: {{xid}}",
            ),
        ),
        trend(
            "Slowed down",
            "1 while the GPU's clocks are held down, by why: its power limit, heat, or the machine's hardware.",
            "none",
            Query(
                f"max by (engine, gpu, reason) (fovea_gpu_throttled{{{OF_ENGINE}}})",
                "{{engine}} GPU {{gpu}}: {{reason}}",
            ),
            most=1,
        ),
        trend(
            "GPUs that answer",
            "By engine: one fewer is a GPU that is lost.",
            "none",
            Query(f"sum by (engine) (fovea_gpus{{{OF_ENGINE}}})", "{{engine}}"),
        ),
        listing(
            "GPUs",
            "What stands behind each engine.",
            Query(f"fovea_gpu_info{{{OF_ENGINE}}}"),
            hide=("Value", "instance"),
        ),
    ],
)
HOST = Row(
    "Host",
    [
        trend(
            "Memory",
            "Of the machine or the container, as far as the engine may have it.",
            "bytes",
            Query(f"sum by (engine) (fovea_host_memory_available_bytes{{{OF_ENGINE}}})", "{{engine}}: available"),
            Query(f"sum by (engine) (fovea_host_memory_total_bytes{{{OF_ENGINE}}})", "{{engine}}: total"),
            span=12,
        ),
        trend(
            "Memory of the engine's processes",
            "Resident bytes: the API server, the engine core, the workers (on the CPU build with the KV cache).",
            "bytes",
            Query(
                f"sum by (engine, process) (fovea_engine_process_memory_bytes{{{OF_ENGINE}}})",
                "{{engine}}: {{process}}",
            ),
            stacked=True,
            span=12,
        ),
    ],
)

ENGINES = Board(
    uid="fovea-engines",
    title="Fovea: Engines",
    description="Each replica: its state, queue and batches, its KV cache, its GPU.",
    rows=(GLANCE, REPLICAS, KV, BATCHES, GPU, HOST),
    variables=(models(), engines()),
)
