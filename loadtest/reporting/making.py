"""Makes a run's records into its report."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from loadtest.records import RequestRecord, Run, RunInfo
from loadtest.reporting.intervals import Estimate, estimate_mean, estimate_share, in_long_rows, percentile
from loadtest.reporting.latencies import counted, e2e_ms, itl_ms, lag_ms, latency_of, stall_ms, ttft_ms
from loadtest.reporting.metric_changes import tallies_of
from loadtest.reporting.report import Goodput, Latency, Rates, Report, Tally, Tenant
from loadtest.reporting.timelines import timelines_of

SLICES = 20  # of the counted time: rates differ between them
MOST_TENANTS = MOST_CODES = 50
MOST_DRAINED = 0.1  # of the counted time
MOST_FAILED = 0.01  # of the requests
FEWEST = 100  # requests: below that, p99 is unknown and the rest unsure


def make_report(run: Run) -> Report:
    """Raises nothing for a run in which nothing was answered: its latencies are None."""
    info, requests = run.info, counted(run)
    answered = [one for one in requests if one.answered]
    lag = latency_of(lag_ms(one) for one in requests)
    ttft = latency_of(ttft_ms(one) for one in answered)
    return Report(
        fovea=info.fovea, scenario=info.scenario, seed=info.seed, url=info.url, model=info.model,
        driver=info.driver, began_at=info.began_at, command=info.command, machine=info.machine, server=info.server,
        counted_s=counted_s(info), requests=len(requests), answered=len(answered),
        warm_up=len(run.requests) - len(requests),
        errors=errors_of(requests),
        rates=rates_of(answered, info), ttft_ms=ttft,
        itl_ms=latency_of(itl_ms(one) for one in answered), stall_ms=latency_of(stall_ms(one) for one in answered),
        e2e_ms=latency_of(e2e_ms(one) for one in answered), lag_ms=lag, goodput=goodput_of(requests, info),
        tallies=(*told_by_answers(answered), *tallies_of(run.samples, info.counts_from_s)),
        tenants=tuple(tenants_of(requests, info)),
        engines=dict(Counter(one.engine for one in answered if one.engine).most_common(MOST_TENANTS)),
        timelines=timelines_of(run), warnings=tuple(warnings_of(run, requests, ttft, lag)),
    )  # fmt: skip


def errors_of(requests: Sequence[RequestRecord]) -> dict[str, int]:
    """By code. A server that makes codes up does not fill the report with them."""
    counts = Counter(one.code for one in requests if one.code)
    shown = dict(counts.most_common(MOST_CODES))
    rest = counts.total() - sum(shown.values())
    return shown | ({"others": shown.get("others", 0) + rest} if rest else {})


def counted_s(info: RunInfo) -> float:
    return max(1e-9, info.ended_s - info.counts_from_s)


def rates_of(answered: Sequence[RequestRecord], info: RunInfo) -> Rates:
    """Over the whole counted time; their intervals from how much slices of it differ."""

    def rate(amounts: Sequence[float]) -> Estimate:
        width = counted_s(info) / SLICES
        slices = np.zeros(SLICES)
        for one, amount in zip(answered, amounts, strict=True):
            slices[max(0, min(SLICES - 1, int((one.ended_s - info.counts_from_s) / width)))] += amount / width
        return estimate_mean(list(slices))

    return Rates(
        requests_per_s=rate([1.0] * len(answered)),
        pictures_per_s=rate([float(len(one.pictures)) for one in answered]),
        prompt_tokens_per_s=rate([float(one.prompt_tokens) for one in answered]),
        output_tokens_per_s=rate([float(one.output_tokens) for one in answered]),
    )


def slo_of(info: RunInfo) -> dict[str, float]:
    limits = {"ttft_ms": info.slo_ttft_ms, "itl_ms": info.slo_itl_ms, "e2e_ms": info.slo_e2e_ms}
    return {name: limit for name, limit in limits.items() if limit is not None}


def missed_by(request: RequestRecord, slo: dict[str, float]) -> list[str]:
    """Which limits it missed. An answer of one chunk has no time between tokens; the first word of one without
    any comes with its end."""
    if not request.answered:
        return ["failed"]
    first, whole = ttft_ms(request), e2e_ms(request)
    took = {"ttft_ms": whole if first is None else first, "itl_ms": itl_ms(request), "e2e_ms": whole}
    return [name for name, limit in slo.items() if (value := took[name]) is not None and value > limit]


def goodput_of(requests: Sequence[RequestRecord], info: RunInfo) -> Goodput | None:
    slo = slo_of(info)
    if not slo:
        return None
    missed = [missed_by(one, slo) for one in requests]
    within = [not one for one in missed]
    counts = Counter(name for one in missed for name in one)
    return Goodput(slo, sum(within), estimate_share(within), sum(within) / counted_s(info), dict(counts))


def told_by_answers(answered: Sequence[RequestRecord]) -> Iterator[Tally]:
    """The header tells the costliest outcome of a request's pictures."""
    told = Counter(one.image_cache for one in answered if one.image_cache)
    if told:
        yield Tally("requests by their costliest picture", "x-fovea-image-cache", dict(told.most_common()))


def tenants_of(requests: Sequence[RequestRecord], info: RunInfo) -> Iterator[Tenant]:
    """By name; none where the scenario has no tenants."""
    slo, theirs = slo_of(info), defaultdict(list)
    for one in requests:
        if one.tenant:
            theirs[one.tenant].append(one)
    for name, asked in sorted(theirs.items())[:MOST_TENANTS]:
        answered = [one for one in asked if one.answered]
        first = [value for one in answered if (value := ttft_ms(one)) is not None]
        whole = [e2e_ms(one) for one in answered]
        within = sum(not missed_by(one, slo) for one in asked) if slo else None
        yield Tenant(name, len(asked), len(answered), *_middle_and_tail(first), *_middle_and_tail(whole), within)


def _middle_and_tail(values: Sequence[float]) -> tuple[float | None, float | None]:
    return (percentile(values, 0.5), percentile(values, 0.95)) if values else (None, None)


def warnings_of(
    run: Run, requests: Sequence[RequestRecord], ttft: Latency | None, lag: Latency | None
) -> Iterator[str]:
    """Sentences: what keeps a reader from taking the figures as they are."""
    if run.info.unfinished:
        yield "The run is under way, or was killed: figures are of what it had written down."
    if run.info.interrupted:
        yield "The run was interrupted: it is shorter than its plan, and what was under way then is in no figure."
    if len(requests) < FEWEST:
        yield f"Only {len(requests)} requests count: intervals are wide, and some percentiles are unknown."
    if ttft and lag and lag.p50.value > 0.1 * ttft.p50.value:
        yield (
            f"The driver sent its requests {lag.p50.value:.1f} ms late (median): it, or its machine, could not "
            "keep up with the plan. Latencies count from the planned times and hold that delay."
        )
    failed = sum(not one.answered for one in requests)
    if MOST_FAILED * len(requests) < failed < len(requests):
        yield (
            f"{failed} of {len(requests)} requests failed, and latencies are of the others: had the slowest been "
            "waited for, percentiles would be higher. Goodput and errors count all."
        )
    if never := sum(not one.sent for one in requests):
        yield (
            f"{never} of the failed requests were never sent: turns of conversations in which one before them was "
            "not answered. Shares and goodput count them, as whoever asks would have lost them."
        )
    yield from warnings_of_time(run, requests)
    if not run.samples:
        yield "No /metrics page was read: cache hits by tier, KV cache and GPU memory are unknown."
    if not any(one.answered for one in requests):
        yield "Nothing was answered."


def warnings_of_time(run: Run, requests: Sequence[RequestRecord]) -> Iterator[str]:
    if in_long_rows([e2e_ms(one) for one in requests if one.answered]):
        yield (
            "Neighbours' delays are alike for over a tenth of the run (a queue that builds up, or more asked "
            "than is served): intervals are too narrow, chance looks like an effect. Let it run longer."
        )
    last_sent_s = max((one.sent_s for one in requests if one.sent), default=run.info.ended_s)
    if (drained := run.info.ended_s - last_sent_s) > MOST_DRAINED * counted_s(run.info):
        yield (
            f"For the last {drained:.1f} s nothing was sent, only waited for; rates are over that time too: they "
            "are lower than what was served while the load lasted."
        )
