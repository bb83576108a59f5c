"""Quantization: which checkpoint each engine serves, what was proved about its sight, and where its bytes are."""

from deploy.grafana.board import Board, Row, engines, models
from deploy.grafana.expressions import IN_ENGINE, OF_ENGINE, OF_MODEL, quantile, rate
from deploy.grafana.panels import Limits, Query, figure, listing, trend

BYTES = f"max by (model_name, precision) (fovea_checkpoint_bytes{{{IN_ENGINE}}})"
PARTS = f"max by (model_name, component) (fovea_weights_bytes{{{IN_ENGINE}}})"
SIGHT = f"fovea_sight_correct_ratio{{{IN_ENGINE}}}"
KEPT = (
    f'max by (model_name, skill) (fovea_sight_correct_ratio{{{IN_ENGINE},checkpoint="quantized"}})'
    f' / (max by (model_name, skill) (fovea_sight_correct_ratio{{{IN_ENGINE},checkpoint="base"}}) > 0)'
)

CHECKPOINTS = f"count by (model_name, recipe) (fovea_checkpoint_info{{{IN_ENGINE}}})"

SERVED = Row(
    "What is served",
    [
        figure(
            "Sight proved",
            "1 where a sight report lies beside the checkpoint and its verdict is a pass; the least of all. "
            "0: nobody has shown that this checkpoint still sees what its source does.",
            "none",
            Query(f"min(fovea_sight_report{{{IN_ENGINE}}})"),
            limits=Limits(1, 0.5, low=True),
            span=6,
        ),
        figure("Checkpoints", "Different ones that are served.", "none", Query(f"count({CHECKPOINTS})"), span=6),
        figure(
            "Least sight kept",
            "Of any skill: right answers of what is served, for each right answer of its source.",
            "percentunit",
            Query(f"min({KEPT})"),
            limits=Limits(0.98, 0.95, low=True),
            decimals=1,
            span=6,
        ),
        figure(
            "Weights",
            "Bytes of the largest checkpoint that is served.",
            "bytes",
            Query(f"max(sum by (model_name) ({BYTES}))"),
            span=6,
        ),
        listing(
            "Served by each engine",
            "What each engine serves: the recipe that made it, vLLM's quantization, and what was proved about it.",
            Query(f"fovea_checkpoint_info{{{IN_ENGINE}}}"),
            hide=("Value", "instance"),
            span=16,
        ),
        listing(
            "Versions",
            "Versions of ours and of vLLM.",
            Query(f"fovea_engine_info{{{OF_ENGINE}}}"),
            hide=("Value", "instance"),
            span=8,
        ),
    ],
)
SIGHT_REPORT = Row(
    "Sight report",
    [
        trend(
            "Right answers, by skill",
            "Of the sight report: the source (base) and what is served (quantized), asked the same questions.",
            "percentunit",
            Query(
                f"max by (model_name, skill, checkpoint) ({SIGHT})",
                "{{model_name}} {{skill}}: {{checkpoint}}",
            ),
            most=1,
            span=12,
        ),
        trend(
            "Sight kept, by skill",
            "Right answers of what is served, for each right answer of its source.",
            "percentunit",
            Query(KEPT, "{{model_name}} {{skill}}"),
            limits=Limits(0.98, 0.95, low=True),
            span=12,
        ),
    ],
)
SIZE = Row(
    "Bytes",
    [
        trend(
            "By precision",
            "Bytes of the checkpoint's tensors.",
            "bytes",
            Query(BYTES, "{{model_name}}: {{precision}}"),
            stacked=True,
        ),
        trend(
            "By part",
            "Bytes of what sees, what speaks, and the rest: recipes quantize the language model, not the eyes.",
            "bytes",
            Query(PARTS, "{{model_name}}: {{component}}"),
            stacked=True,
        ),
        trend(
            "Weights and KV cache",
            "What the weights leave: bytes of one engine's KV cache beside its weights.",
            "bytes",
            Query(f"sum by (engine) (fovea_weights_bytes{{{IN_ENGINE}}})", "{{engine}}: weights"),
            Query(f"sum by (engine) (fovea_kv_cache_capacity_bytes{{{IN_ENGINE}}})", "{{engine}}: KV cache"),
        ),
    ],
)
SPEED = Row(
    "Models beside each other",
    [
        trend(
            "Time to first token",
            "The median by model, as callers see it: to compare a quantized model with its source, serve both.",
            "s",
            Query(quantile(0.5, "fovea_time_to_first_token_seconds", "model", OF_MODEL), "{{model}}"),
        ),
        trend(
            "Between tokens",
            "The median by model, as callers see it.",
            "s",
            Query(quantile(0.5, "fovea_inter_token_seconds", "model", OF_MODEL), "{{model}}"),
        ),
        trend(
            "Answers",
            "Tokens a second by model.",
            "short",
            Query(rate("fovea_tokens_total", "model", OF_MODEL + ',kind="completion"'), "{{model}}"),
        ),
    ],
)

QUANTIZATION = Board(
    uid="fovea-quantization",
    title="Fovea: Quantization",
    description="Which checkpoint each engine serves, what was proved about its sight, and where its bytes are.",
    rows=(SERVED, SIGHT_REPORT, SIZE, SPEED),
    variables=(models(), engines()),
)
