"""Service: whether callers get what they were promised, what they ask for, how long it takes, what goes wrong.

Long, since it is data: a dashboard is one file.
"""

from deploy.grafana.board import Board, Row, models, one_of, tenants
from deploy.grafana.expressions import OF_MODEL, quantile, rate
from deploy.grafana.panels import Limits, Query, figure, trend

OF_TENANT = f'{OF_MODEL},tenant=~"$tenant"'
# A fault of ours or of an engine. What callers did wrong, and what a limit refuses, breaks no promise.
FAULTS = 'status=~"5.."'
ALL, NOT_FAULTS = OF_TENANT, f'{OF_TENANT},status!~"5.."'


def good_share(window: str) -> str:
    requests = "sum(rate(fovea_requests_total{%s}[%s]))"
    return f"{requests % (NOT_FAULTS, window)} / {requests % (ALL, window)}"


def burn(window: str) -> str:
    return f"(1 - {good_share(window)}) / (1 - $slo)"


def fast_share(window: str) -> str:
    name = "fovea_time_to_first_token_seconds"
    below = f'sum(rate({name}_bucket{{{OF_MODEL},le="$ttft"}}[{window}]))'
    return f"{below} / sum(rate({name}_count{{{OF_MODEL}}}[{window}]))"


def quantiles(histogram: str, selector: str = OF_MODEL) -> list[Query]:
    return [
        Query(quantile(share, histogram, selector=selector), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99)
    ]


PROMISES = Row(
    "What was promised",
    [
        figure(
            "Available",
            "Requests that did not end in a fault of ours (5xx), over the time shown. What callers did wrong (4xx) "
            "and what a limit refused count as answered.",
            "percentunit",
            Query(good_share("$__range")),
            limits=Limits(0.999, 0.99, low=True),
            decimals=3,
        ),
        figure(
            "Error budget left",
            "Of the faults that the objective allows in the time shown, the part that is not used up. Below "
            "zero, the objective is missed.",
            "percentunit",
            Query(f"1 - {burn('$__range')}"),
            limits=Limits(0.5, 0.1, low=True),
            decimals=1,
        ),
        figure(
            "First token in time",
            "Answers whose first byte came within the target, over the time shown.",
            "percentunit",
            Query(fast_share("$__range")),
            limits=Limits(0.99, 0.95, low=True),
            decimals=2,
        ),
        figure(
            "Requests",
            "Answered in a second, all of them.",
            "reqps",
            Query(rate("fovea_requests_total", selector=ALL)),
        ),
        figure(
            "In flight",
            "Requests being handled now, streams included.",
            "short",
            Query("sum(fovea_requests_in_flight)"),
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
            "How many times faster than allowed the error budget is used up. 1 uses it up exactly at the end of "
            "the objective's time; 14.4 for an hour uses up 2 % of a month's: the first alert's threshold.",
            "none",
            Query(burn("5m"), "5 minutes"),
            Query(burn("1h"), "1 hour"),
            limits=Limits(1, 14.4),
            span=12,
        ),
        trend(
            "First token in time, over time",
            "The part of answers whose first byte came within the target.",
            "percentunit",
            Query(fast_share("$__rate_interval"), "in time"),
            limits=Limits(0.99, 0.95, low=True),
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
            Query(rate("fovea_requests_total", "route", ALL), "{{route}}"),
            stacked=True,
        ),
        trend(
            "Requests by status",
            "Answered in a second. 429 and 503 are work that was turned away: see *Admission* below.",
            "reqps",
            Query(rate("fovea_requests_total", "status", ALL), "{{status}}"),
            stacked=True,
        ),
        trend(
            "Requests by tenant",
            "The first 50 tenants by their name, all others in sixteen classes; `-` is everybody where there are "
            "no keys.",
            "reqps",
            Query(rate("fovea_requests_total", "tenant", ALL), "{{tenant}}"),
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
            Query(rate("fovea_requests_total", "status,code", f'{ALL},status=~"[45].."'), "{{status}} {{code}}"),
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
    variables=(
        models(),
        tenants(),
        one_of(
            "slo",
            "Objective",
            "The part of requests that must not end in a fault of ours",
            ("0.99", "0.995", "0.999", "0.9995"),
            first="0.999",
        ),
        one_of(
            "ttft",
            "First token within, s",
            "The target: one of the histogram's buckets",
            ("0.25", "0.5", "1.0", "2.5", "5.0", "10.0"),
            first="2.5",
        ),
    ),
)
