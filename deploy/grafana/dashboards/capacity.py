"""Capacity: how conversations with pictures fill the KV cache, what would still fit, what a thousand images cost.

Long, since it is data: a dashboard is one file.
"""

from deploy.grafana.board import Board, Row, engines, models, number
from deploy.grafana.expressions import IN_ENGINE, OF_ENGINE, quantile, rate
from deploy.grafana.panels import Limits, Query, figure, trend

TURNS = (1, 5, 10, 20, 50)
CAPACITY = f"sum(fovea_kv_cache_capacity_tokens{{{IN_ENGINE}}})"
CAPACITY_BYTES = f"sum(fovea_kv_cache_capacity_bytes{{{IN_ENGINE}}})"
USED = f"sum(fovea_kv_cache_used_tokens{{{IN_ENGINE}}})"
# What one token of context takes in the KV cache.
TOKEN_BYTES = f"({CAPACITY_BYTES} / {CAPACITY})"
# What a picture takes, as they came in the time shown.
IMAGE_TOKENS = "(sum(increase(fovea_image_tokens_sum[$__range])) / sum(increase(fovea_images_total[$__range])))"
CONVERSATION = f"($turns * ($turn_images * {IMAGE_TOKENS} + $turn_tokens))"
PRICE = f"($gpu_price * sum(clamp_min(fovea_gpus{{{OF_ENGINE}}}, 1)))"


def per_hour(counter: str, selector: str = "") -> str:
    """Nothing where nothing came: then there is no cost of one."""
    return f"(3600 * {rate(counter, selector=selector)} > 0)"


GLANCE = Row(
    "At a glance",
    [
        figure(
            "KV cache in use",
            "Tokens in use, of all that the engines have room for.",
            "percentunit",
            Query(f"{USED} / {CAPACITY}"),
            limits=Limits(0.8, 0.9),
            decimals=1,
        ),
        figure(
            "Most in use",
            "At once in any engine since it started: what traffic has needed at its worst.",
            "percentunit",
            Query(
                f"max(fovea_kv_cache_high_water_tokens{{{IN_ENGINE}}}"
                f" / fovea_kv_cache_capacity_tokens{{{IN_ENGINE}}})"
            ),
            limits=Limits(0.8, 0.95),
            decimals=1,
        ),
        figure("A token's KV cache", "Bytes that one token of context takes.", "bytes", Query(TOKEN_BYTES)),
        figure(
            "Tokens of a picture",
            "As pictures came in the time shown.",
            "short",
            Query(IMAGE_TOKENS),
            decimals=0,
        ),
        figure(
            "1,000 images cost",
            "At the present load, in the price's currency: engines that wait cost as much as those that work.",
            "short",
            Query(f"1000 * {PRICE} / {per_hour('fovea_images_total')}"),
            decimals=2,
        ),
        figure(
            "A million tokens cost",
            "Of prompts (pictures included) and answers, at the present load, in the price's currency.",
            "short",
            Query(f"1e6 * {PRICE} / {per_hour('fovea_tokens_total')}"),
            decimals=2,
        ),
    ],
)
GROWTH = Row(
    "How conversations grow",
    [
        trend(
            "Prompts",
            "Tokens of whole prompts, pictures and earlier turns included: long conversations show in the upper "
            "percentiles first.",
            "short",
            *(
                Query(quantile(share, "vllm:request_prompt_tokens", selector=IN_ENGINE), f"p{share * 100:g}")
                for share in (0.5, 0.95, 0.99)
            ),
        ),
        trend(
            "Pictures in a request",
            "Tokens that a request's pictures take together: earlier turns' pictures come again with each turn.",
            "short",
            *(Query(quantile(share, "fovea_image_tokens"), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99)),
        ),
        trend(
            "KV cache of a running request",
            "Bytes, on average over the running ones.",
            "bytes",
            Query(
                f"sum(avg_over_time(fovea_kv_cache_used_bytes{{{IN_ENGINE}}}[$__rate_interval]))"
                f" / (sum(avg_over_time(vllm:num_requests_running{{{IN_ENGINE}}}[$__rate_interval])) > 0)",
                "mean",
            ),
        ),
        trend(
            "KV cache of one conversation, by its turns",
            "Bytes that a conversation holds after so many turns, each with the pictures and tokens that are set "
            "above: it grows by the same amount each turn, until the context is full.",
            "bytes",
            *(
                Query(
                    f"{TOKEN_BYTES} * {turns} * ($turn_images * {IMAGE_TOKENS} + $turn_tokens)",
                    f"after {turns} turn{'s' if turns > 1 else ''}",
                )
                for turns in TURNS
            ),
            span=12,
        ),
        trend(
            "In use",
            "Tokens in the KV caches, with what they have room for.",
            "short",
            Query(USED, "used"),
            Query(f"sum(fovea_kv_cache_high_water_tokens{{{IN_ENGINE}}})", "most since the start"),
            Query(CAPACITY, "room"),
            span=12,
        ),
    ],
)
WHAT_IF = Row(
    "What if",
    [
        figure(
            "A conversation's tokens",
            "Of one with the turns, pictures and tokens that are set above.",
            "short",
            Query(CONVERSATION),
        ),
        figure("A conversation's bytes", "In the KV cache.", "bytes", Query(f"{TOKEN_BYTES} * {CONVERSATION}")),
        figure(
            "Fit at once",
            "Such conversations in all engines together, had they nothing else to do.",
            "short",
            Query(f"floor({CAPACITY} / {CONVERSATION})"),
            decimals=0,
        ),
        figure(
            "Fit beside the present load",
            "Such conversations in what is free now.",
            "short",
            Query(f"floor(({CAPACITY} - {USED}) / {CONVERSATION})"),
            limits=Limits(5, 1, low=True),
            decimals=0,
        ),
        figure(
            "At the load that is set",
            "KV cache in use if there were so many times the traffic, by the most that was in use in the time "
            "shown. Above 90 %, add engines before.",
            "percentunit",
            Query(
                f"$growth * sum(max_over_time(fovea_kv_cache_used_tokens{{{IN_ENGINE}}}[$__range])) / {CAPACITY}"
            ),
            limits=Limits(0.7, 0.9),
            decimals=1,
        ),
        figure(
            "GPU memory that nobody has",
            "Of all GPUs: what a larger share for vLLM (--gpu-memory-utilization) could make KV cache of.",
            "bytes",
            Query(f"sum(fovea_gpu_memory_free_bytes{{{OF_ENGINE}}})"),
        ),
    ],
)
COST = Row(
    "What it costs",
    [
        trend(
            "1,000 images",
            "At each moment's load, in the price's currency. Its low points are what full engines can do.",
            "short",
            Query(f"1000 * {PRICE} / {per_hour('fovea_images_total')}", "1,000 images"),
        ),
        trend(
            "A million tokens",
            "Of prompts and answers together, in the price's currency.",
            "short",
            Query(f"1e6 * {PRICE} / {per_hour('fovea_tokens_total')}", "a million tokens"),
        ),
        trend(
            "An hour",
            "Of all GPUs, in the price's currency. An engine without a GPU counts as one.",
            "short",
            Query(PRICE, "an hour"),
        ),
        trend(
            "Images an engine",
            "In a second: what one more engine can be expected to take, at the most.",
            "ops",
            Query(f"{rate('fovea_images_total')} / count(fovea_engine_ready)", "images"),
        ),
        trend(
            "Tokens an engine",
            "Of prompts and answers, a second.",
            "short",
            Query(rate("vllm:prompt_tokens_total", "engine", IN_ENGINE), "{{engine}}: prompt"),
            Query(rate("vllm:generation_tokens_total", "engine", IN_ENGINE), "{{engine}}: answer"),
        ),
        trend(
            "Encodings spared",
            "Pictures a second that an engine had the embedding of, and those that it encoded: the encoder's "
            "part of the bill.",
            "ops",
            Query(rate("fovea_images_by_cache_total", selector='outcome=~"hit.*"'), "spared"),
            Query(rate("fovea_images_by_cache_total", selector='outcome="miss"'), "encoded"),
            stacked=True,
        ),
    ],
)

CAPACITY_BOARD = Board(
    uid="fovea-capacity",
    title="Fovea: Capacity",
    description="How conversations with pictures fill the KV cache, what would still fit, and what it costs.",
    rows=(GLANCE, GROWTH, WHAT_IF, COST),
    variables=(
        models(),
        engines(),
        number("turns", "What if: turns", "Of a conversation", "10"),
        number("turn_images", "pictures a turn", "New pictures that each turn brings", "1"),
        number("turn_tokens", "tokens a turn", "Of text, question and answer", "300"),
        number("growth", "times the load", "How many times the present traffic", "2"),
        number("gpu_price", "Price of a GPU's hour", "What you pay, in your currency: 2.50 is an example", "2.50"),
    ),
)
