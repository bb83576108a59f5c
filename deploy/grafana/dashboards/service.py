"""Service: whether callers get what they were promised, what they ask for, how long it takes, what goes wrong.

Long, since it is data: a dashboard is one file.
"""

from deploy.grafana.board import Board, Row, models, tenants
from deploy.grafana.expressions import OF_MODEL, quantile, rate
from deploy.grafana.panels import Limits, Query, figure, trend

OF_TENANT = f'{OF_MODEL},tenant=~"$tenant"'
# Of deploy/prometheus/rules/slo.yml, which alone says what was promised and what counts as kept.
OBJECTIVE = "slo:fovea_objective:ratio"


def kept(slo: str) -> str:
    """The part of what counts that was good, over the time shown."""
    events = f'{{{OF_MODEL},slo="{slo}"}}[$__range]'
    bad, valid = (f"sum(rate(instance_model:fovea_slo_{which}:total{events}))" for which in ("bad", "valid"))
    return f"1 - {bad} / {valid}"


def answered() -> str:
    """The same of availability, by which tenants can be told apart."""
    bad, valid = (
        f"sum(rate(instance_model_tenant:fovea_{which}:total{{{OF_TENANT}}}[$__range]))"
        for which in ("bad", "valid")
    )
    return f"1 - {bad} / {valid}"


def burn(window: str) -> str:
    """How many times faster than the objective allows, of the model that is worst."""
    errors = f"slo_model:fovea_errors:ratio_rate{window}{{{OF_MODEL}}}"
    return f"max by (slo) ({errors} / on (slo) group_left () (1 - {OBJECTIVE}))"


def quantiles(histogram: str, selector: str = OF_MODEL) -> list[Query]:
    return [
        Query(quantile(share, histogram, selector=selector), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99)
    ]


PROMISES = Row(
    "What was promised",
    [
        figure(
            "Available",
            "Answers, of all requests but those that callers or their limits stopped, over the time shown.",
            "percentunit",
            Query(answered()),
            limits=Limits(0.995, 0.99, low=True),
            decimals=2,
        ),
        figure(
            "First token in time",
            "Streams whose first byte came within the objective's time, over the time shown.",
            "percentunit",
            Query(kept("ttft")),
            limits=Limits(0.95, 0.9, low=True),
            decimals=2,
        ),
        figure(
            "Next tokens in time",
            "Reads of streams that came within the objective's time of the one before, over the time shown.",
            "percentunit",
            Query(kept("inter_token")),
            limits=Limits(0.95, 0.9, low=True),
            decimals=2,
        ),
        figure(
            "Error budget left",
            "Of what the objectives of 30 days allow to go wrong, what is not used up, of the worst model. "
            "Below zero, the objective is missed.",
            "percentunit",
            Query(f"min by (slo) (slo_model:fovea_error_budget_left:ratio_rate30d{{{OF_MODEL}}})", "{{slo}}"),
            limits=Limits(0.5, 0.1, low=True),
            decimals=0,
        ),
        figure(
            "Requests",
            "Answered in a second, all of them.",
            "reqps",
            Query(rate("fovea_requests_total", selector=OF_TENANT)),
        ),
        figure(
            "Engines that answer",
            "Of all that the gateway knows. One that does not is shown by name in *Engines*.",
            "percentunit",
            Query("sum(fovea_engine_ready) / count(fovea_engine_ready)"),
            limits=Limits(1, 0.5, low=True),
        ),
        trend(
            "Burn rate",
            "How many times faster than allowed the error budget is used up, by objective, of the worst model. "
            "1 uses it up exactly in 30 days; 14.4 for an hour is the first alert's threshold.",
            "none",
            Query(burn("5m"), "{{slo}}: 5 minutes"),
            Query(burn("1h"), "{{slo}}: 1 hour"),
            limits=Limits(1, 14.4),
            span=12,
        ),
        trend(
            "Kept and promised",
            "The part that was good in five minutes, of the model that is worst, and the objective beside it.",
            "percentunit",
            Query(f"1 - max by (slo) (slo_model:fovea_errors:ratio_rate5m{{{OF_MODEL}}})", "{{slo}}"),
            Query(f"max by (slo) ({OBJECTIVE})", "{{slo}}: objective"),
            most=1,
            span=12,
        ),
    ],
)
TRAFFIC = Row(
    "What is asked for",
    [
        trend(
            "Requests by route",
            "Answered in a second, whatever the answer was.",
            "reqps",
            Query(rate("fovea_requests_total", "route", OF_TENANT), "{{route}}"),
            stacked=True,
        ),
        trend(
            "Requests by status",
            "Answered in a second. 429 and 503 are work that was turned away: see *Admission* below.",
            "reqps",
            Query(rate("fovea_requests_total", "status", OF_TENANT), "{{status}}"),
            stacked=True,
        ),
        trend(
            "Requests by tenant",
            "The first 50 tenants by their name, all others in sixteen classes; `-` is everybody where there are "
            "no keys.",
            "reqps",
            Query(rate("fovea_requests_total", "tenant", OF_TENANT), "{{tenant}}"),
            stacked=True,
        ),
        trend(
            "Tokens",
            "Of prompts (pictures included) and answers, as engines counted them.",
            "short",
            Query(rate("fovea_tokens_total", "kind", OF_MODEL), "{{kind}} a second"),
        ),
        trend(
            "In flight and waiting",
            "Requests being handled, and of these those that wait for admission, by their priority.",
            "short",
            Query("sum(fovea_requests_in_flight)", "in flight"),
            Query("sum by (priority) (fovea_requests_waiting)", "waiting: {{priority}}"),
        ),
        trend(
            "Callers that left",
            "Requests whose caller went before the end: their engines stop at once. Many of them at once mean that "
            "answers come too late.",
            "reqps",
            Query(rate("fovea_requests_cancelled_total"), "left"),
        ),
    ],
)
LATENCY = Row(
    "How long it takes",
    [
        trend(
            "Time to first token",
            "From a request's last byte to the first of its answer: waiting and fetching pictures included.",
            "s",
            *quantiles("fovea_time_to_first_token_seconds"),
        ),
        trend(
            "Between tokens",
            "Between two reads of a stream, as callers see it.",
            "s",
            *quantiles("fovea_inter_token_seconds"),
        ),
        trend(
            "Whole requests",
            "From a request's last byte to the last of its answer. Long answers take long: compare with *Tokens*.",
            "s",
            *quantiles("fovea_request_duration_seconds"),
        ),
        trend(
            "Time to first token by model",
            "The 95th percentile of each.",
            "s",
            Query(quantile(0.95, "fovea_time_to_first_token_seconds", "model", OF_MODEL), "{{model}}"),
        ),
        trend(
            "Time to first token by route",
            "The 95th percentile of each.",
            "s",
            Query(quantile(0.95, "fovea_time_to_first_token_seconds", "route", OF_MODEL), "{{route}}"),
        ),
        trend(
            "Waited for admission",
            "By those who had to wait. All else being equal, more engines make this shorter and nothing else does.",
            "s",
            Query(quantile(0.5, "fovea_admission_wait_seconds", "priority"), "p50 {{priority}}"),
            Query(quantile(0.95, "fovea_admission_wait_seconds", "priority"), "p95 {{priority}}"),
        ),
    ],
)
ERRORS = Row(
    "What goes wrong",
    [
        trend(
            "Errors by code",
            "Answers of 400 and above, by the code that callers see. docs/operating.md says what each means.",
            "reqps",
            Query(
                rate("fovea_requests_total", "status,code", f'{OF_TENANT},status=~"[45].."'), "{{status}} {{code}}"
            ),
            stacked=True,
        ),
        trend(
            "Refused, by reason",
            "Requests that the gateway itself refused, before any engine saw them.",
            "reqps",
            Query(rate("fovea_rejections_total", "code"), "{{code}}"),
            stacked=True,
        ),
        trend(
            "Refused by a limit",
            "By whose limit it is and which: raise it, or tell its owner.",
            "reqps",
            Query(rate("fovea_limit_refusals_total", "of,budget"), "{{of}}: {{budget}}"),
            stacked=True,
        ),
        trend(
            "Waited in vain",
            "Requests whose deadline came, or whose wait ended, before there was room: capacity is missing.",
            "reqps",
            Query(rate("fovea_admission_deadline_misses_total", "priority"), "{{priority}}"),
        ),
        trend(
            "Second tries",
            "Requests sent to a second engine since the first failed or was slow, and those that the retry budget "
            "did not allow: then engines fail too much for retries to help.",
            "reqps",
            Query(rate("fovea_engine_retries_total"), "retried"),
            Query(rate("fovea_engine_retries_refused_total"), "not allowed"),
            Query(rate("fovea_engine_hedges_total"), "hedged"),
        ),
        trend(
            "Store of limits",
            "Time of one exchange with Redis or Valkey. While it does not answer, each gateway counts alone.",
            "s",
            Query(quantile(0.5, "fovea_limit_store_seconds"), "p50"),
            Query(quantile(0.99, "fovea_limit_store_seconds"), "p99"),
        ),
    ],
)
ADMISSION = Row(
    "Admission",
    [
        trend(
            "Tokens held",
            "Tokens that requests at the engines may take, of those that fit.",
            "short",
            Query("sum by (model) (fovea_admission_held_tokens)", "held: {{model}}"),
            Query("sum by (model) (fovea_admission_capacity_tokens)", "room: {{model}}"),
        ),
        trend(
            "Places held",
            "Requests let in and not finished, of those that may be.",
            "short",
            Query("sum by (model) (fovea_admission_held_places)", "held: {{model}}"),
            Query("sum by (model) (fovea_admission_capacity_places)", "room: {{model}}"),
        ),
        trend(
            "Gateway: bytes held",
            "Bytes of bodies and pictures that requests hold in the gateways' memory.",
            "bytes",
            Query("sum by (instance) (fovea_bytes_in_flight)", "{{instance}}"),
        ),
        figure(
            "Brake",
            "1 while full KV caches, or requests waiting in engines, take from what is let in.",
            "none",
            Query("max(fovea_admission_brake)"),
            limits=Limits(0.5, 1),
            span=6,
        ),
        figure(
            "Store of limits answers",
            "0 while it does not: see the runbook of its alert.",
            "none",
            Query("min(fovea_limit_store_up)"),
            limits=Limits(1, 0.5, low=True),
            span=6,
        ),
        figure("Keys", "API keys that are known.", "none", Query("max(fovea_keys)"), span=6),
        figure(
            "Gateways",
            "By their version: two stand here only while they are being replaced.",
            "none",
            Query("count by (version) (fovea_build_info)", "{{version}}"),
            span=6,
        ),
    ],
)

SERVICE = Board(
    uid="fovea-service",
    title="Fovea: Service",
    description="Whether callers get what they were promised, and if not, where to look.",
    rows=(PROMISES, TRAFFIC, LATENCY, ERRORS, ADMISSION),
    variables=(models(), tenants()),
)
