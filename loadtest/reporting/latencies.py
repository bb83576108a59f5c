"""Each request's own times, and their percentiles: the first step from records to a report."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from loadtest.records import MOST_TOKEN_TIMES, RequestRecord, Run
from loadtest.reporting.intervals import Estimate, estimate_mean, estimate_percentiles
from loadtest.reporting.report import Latency

SHARES = (0.5, 0.9, 0.95, 0.99)


def counted(run: Run) -> list[RequestRecord]:
    """Those that figures are taken from, in the order of the plan."""
    kept = [one for one in run.requests if not one.warm_up and one.due_s >= run.info.counts_from_s]
    return sorted(kept, key=lambda one: one.number)


def ttft_ms(request: RequestRecord) -> float | None:
    return None if request.ttft_s is None else 1000 * request.ttft_s


def e2e_ms(request: RequestRecord) -> float:
    return 1000 * request.e2e_s


def itl_ms(request: RequestRecord) -> float | None:
    """The mean time between tokens after the first, by the server's count of them where chunks hold several."""
    chunks = len(request.token_s)
    tokens = chunks if chunks >= MOST_TOKEN_TIMES else max(chunks, request.output_tokens)
    return 1000 * (request.token_s[-1] - request.token_s[0]) / (tokens - 1) if chunks > 1 else None


def stall_ms(request: RequestRecord) -> float | None:
    """The longest time between two chunks: what a reader notices, and a mean hides."""
    times = request.token_s
    return 1000 * max(later - sooner for sooner, later in pairwise(times)) if len(times) > 1 else None


def lag_ms(request: RequestRecord) -> float | None:
    return None if request.planned_s is None or not request.sent else 1000 * (request.sent_s - request.planned_s)


def latency_of(values: Iterable[float | None]) -> Latency | None:
    """None where nothing has a value."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    p50, p90, p95, p99 = estimate_percentiles(known, SHARES)
    return Latency(
        count=len(known),
        mean=estimate_mean(known),
        p50=p50,
        p90=enough(p90, known, 0.9),
        p95=enough(p95, known, 0.95),
        p99=enough(p99, known, 0.99),
        most=max(known),
    )


def enough(found: Estimate, known: Sequence[float], share: float) -> Estimate | None:
    """A percentile of too few values would be their maximum under another name."""
    return found if len(known) >= needed(share) else None


def needed(share: float) -> int:
    """How many values this percentile needs."""
    return round(1 / (1 - share))
