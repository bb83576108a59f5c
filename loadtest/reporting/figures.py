"""The figures of a report by flat names with their units: what `--assert` asks for."""

import re

from loadtest.reporting.intervals import Estimate
from loadtest.reporting.latencies import needed
from loadtest.reporting.report import Latency, Report, Tally

LATENCIES = ("ttft", "itl", "stall", "e2e", "lag")
RATES = ("requests_per_s", "pictures_per_s", "prompt_tokens_per_s", "output_tokens_per_s")
SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
OF_TENANT = ("ttft_p50_ms", "ttft_p95_ms", "e2e_p50_ms", "e2e_p95_ms", "answered_share", "within_share")
PEAKS = {"kv_cache_peak_share": "KV cache in use", "gpu_memory_peak_bytes": "GPU memory in use"}
# Those whose whole name is known before a run.
NAMES = (
    *(f"{latency}_{figure}_ms" for latency in LATENCIES for figure in ("mean", *SHARES, "max")),
    *RATES, "requests", "answered", "errors", "error_share", "goodput_share", "goodput_per_s",
    "cache_hit_share", "preemptions", *PEAKS,
)  # fmt: skip
# And those that hold a name of the run's.
_OPEN = re.compile(rf"errors\.[\w-]+|cache\.[\w-]+|tenant\.[\w.-]+\.({'|'.join(OF_TENANT)})")
OPEN_NAMES = ("errors.CODE", "cache.OUTCOME", *(f"tenant.NAME.{figure}" for figure in OF_TENANT))


def is_figure(name: str) -> bool:
    return name in NAMES or _OPEN.fullmatch(name) is not None


def figure_of(report: Report, name: str) -> Estimate | float | str:
    """A value, with its interval where it has one; or, in a sentence, why this run has none."""
    kind, _, rest = name.partition(".")
    if kind == "errors" and rest:
        return float(report.errors.get(rest, 0))
    if kind == "cache" and rest:
        return _cache_share(report, rest)
    if kind == "tenant" and rest:
        return _of_tenant(report, *rest.rsplit(".", 1))
    if name.endswith("_ms"):
        latency, figure, _ = name.split("_")
        return _of_latency(getattr(report, f"{latency}_ms"), figure)
    return _of_run(report, name)


def _of_latency(latency: Latency | None, figure: str) -> Estimate | float | str:
    if latency is None:
        return "no request has one"
    if figure == "max":
        return latency.most
    found: Estimate | None = getattr(latency, figure)
    if found is None:
        return f"it takes {needed(SHARES[figure])} requests that have one, and there are {latency.count}"
    return found


def _of_run(report: Report, name: str) -> Estimate | float | str:
    if name in RATES:
        rate: Estimate = getattr(report.rates, name)
        return rate
    failed = report.requests - report.answered
    if name in ("requests", "answered", "errors"):
        return float({"requests": report.requests, "answered": report.answered, "errors": failed}[name])
    if name == "error_share":
        return failed / report.requests if report.requests else "no request counts"
    if name.startswith("goodput"):
        if report.goodput is None:
            return "the scenario has no SLO"
        return report.goodput.share if name == "goodput_share" else report.goodput.per_s
    if name == "cache_hit_share":
        missed = _cache_share(report, "miss")
        return missed if isinstance(missed, str) else 1 - missed
    if name == "preemptions":
        found = tally_of(report, "preemptions")
        return sum(found.counts.values()) if found else "no engine's metrics told of them"
    return _peak(report, PEAKS[name])


def tally_of(report: Report, name: str) -> Tally | None:
    return next((tally for tally in report.tallies if tally.name == name), None)


def _cache_share(report: Report, outcome: str) -> float | str:
    """Of pictures whose engine told where it had the embedding from."""
    found = tally_of(report, "pictures by where their embedding came from")
    if found is None:
        return "the gateway's metrics told of no picture's embedding"
    return found.counts.get(outcome, 0.0) / sum(found.counts.values())


def _of_tenant(report: Report, name: str, figure: str) -> float | str:
    tenant = next((one for one in report.tenants if one.name == name), None)
    if tenant is None:
        return f"no tenant {name} sent a request that counts"
    if figure == "answered_share":
        return tenant.answered / tenant.requests
    if figure == "within_share":
        return "the scenario has no SLO" if tenant.within is None else tenant.within / tenant.requests
    value: float | None = getattr(tenant, figure)
    return "it has no answered request" if value is None else value


def _peak(report: Report, timeline: str) -> float | str:
    values = [value for line in report.timelines if line.name == timeline for each in line.lines
              for _, value in each.points]  # fmt: skip
    return max(values) if values else f"no server told of {timeline}"
