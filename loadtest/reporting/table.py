"""Reports and comparisons as aligned text for a terminal."""

from collections.abc import Iterator, Sequence

from loadtest.reporting.comparison import Comparison, Row
from loadtest.reporting.intervals import Estimate
from loadtest.reporting.report import Latency, Report, Tally

LATENCIES = (
    ("ttft_ms", "TTFT, ms"), ("itl_ms", "ITL, ms"), ("stall_ms", "longest stall, ms"), ("e2e_ms", "E2E, ms"),
    ("lag_ms", "sent late by, ms"),
)  # fmt: skip
COLUMNS = ("", "mean", "p50 (95 %)", "p90", "p95 (95 %)", "p99 (95 %)", "max")


def make_table(report: Report) -> str:
    blocks = [
        "\n".join(_head(report)),
        align([COLUMNS, *latency_rows(report)]),
        align([("rate", "1/s (95 %)"), *rate_rows(report)]),
    ]
    if report.goodput:
        blocks.append("\n".join(_goodput(report)))
    if report.errors:
        blocks.append(
            align([("error", "requests"), *((code, str(count)) for code, count in report.errors.items())])
        )
    if report.tallies:
        blocks.append(align([("counted", "by", "outcomes"), *map(tally_row, report.tallies)]))
    if report.tenants:
        blocks.append(align(list(tenant_rows(report))))
    return "\n\n".join([*blocks, *(f"Note: {shown(warning)}" for warning in report.warnings)])


def make_comparison_table(comparison: Comparison) -> str:
    rows = [("figure", "A", "B", "B against A (95 %)", "p", "verdict"), *map(comparison_row, comparison.rows)]
    ours, theirs = comparison.runs
    tested = sum(row.p_value is not None for row in comparison.rows)
    test = "requests in pairs" if comparison.paired else "requests unpaired"
    return "\n\n".join(
        [
            f"A: {shown(comparison.a)}, runs: {ours}\nB: {shown(comparison.b)}, runs: {theirs}",
            align(rows),
            f"p: permutation of blocks of neighbours, {test}; adjusted for {tested} figures (Holm).",
            *(f"Note: {warning}" for warning in comparison.warnings),
        ]
    )


def comparison_row(row: Row) -> tuple[str, ...]:
    change, spelt = row.change, (_percent if row.as_ratio else _points)
    return (
        f"{row.figure}{' ' + row.unit if row.unit else ''}",
        number(change.a),
        number(change.b),
        f"{spelt(change.change)} [{spelt(change.low)}, {spelt(change.high)}]",
        "-" if row.p_value is None else f"{row.p_value:.3f}",
        row.verdict,
    )


def latency_rows(report: Report) -> Iterator[tuple[str, ...]]:
    for field, title in LATENCIES:
        found: Latency | None = getattr(report, field)
        if found is not None:
            p90 = number(found.p90.value) if found.p90 else "-"
            cells = (number(found.mean.value), spread(found.p50), p90, spread(found.p95), spread(found.p99))
            yield (title, *cells, number(found.most))


def rate_rows(report: Report) -> Iterator[tuple[str, str]]:
    rates = report.rates
    yield "requests answered", spread(rates.requests_per_s)
    yield "pictures", spread(rates.pictures_per_s)
    yield "prompt tokens", spread(rates.prompt_tokens_per_s)
    yield "output tokens", spread(rates.output_tokens_per_s)


def tally_row(tally: Tally) -> tuple[str, str, str]:
    total = sum(tally.counts.values())
    told = (f"{name} {count:,.0f} ({100 * count / total:.1f} %)" for name, count in tally.counts.items())
    return tally.name, tally.source, ", ".join(told) if len(tally.counts) > 1 else f"{total:,.0f}" + _only(tally)


def tenant_rows(report: Report) -> Iterator[tuple[str, ...]]:
    yield "tenant", "requests", "answered", "TTFT p50", "TTFT p95", "E2E p50", "E2E p95", "within the SLO"
    for one in report.tenants:
        times = (one.ttft_p50_ms, one.ttft_p95_ms, one.e2e_p50_ms, one.e2e_p95_ms)
        within = "-" if one.within is None else f"{100 * one.within / one.requests:.1f} %"
        cells = ("-" if value is None else number(value) for value in times)
        yield one.name, str(one.requests), str(one.answered), *cells, within


def align(rows: Sequence[Sequence[str]]) -> str:
    """The first row is the heads."""
    printed = [[shown(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in printed) for column in range(len(printed[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in printed]
    return "\n".join([lines[0].rstrip(), "-" * len(lines[0].rstrip()), *(line.rstrip() for line in lines[1:])])


def number(value: float) -> str:
    """Three figures, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    return f"{number(estimate.value)} [{number(estimate.low)}, {number(estimate.high)}]"


def shown(text: str) -> str:
    """Names come from servers and files: no control character of theirs reaches the terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _head(report: Report) -> Iterator[str]:
    yield shown(f"{report.scenario} (seed {report.seed}) against {report.url}, {report.model}")
    failed = report.requests - report.answered
    yield (
        f"{report.requests} requests in {report.counted_s:.1f} s: {report.answered} answered, {failed} failed"
        f"{f'; {report.warm_up} of the warm-up left out' if report.warm_up else ''}"
    )


def _goodput(report: Report) -> Iterator[str]:
    found = report.goodput
    assert found is not None
    limits = ", ".join(f"{name} <= {number(limit)}" for name, limit in found.slo.items())
    share = found.share
    yield (
        f"goodput: {number(found.per_s)} requests/s within {limits}: {100 * share.value:.1f} % "
        f"[{100 * share.low:.1f}, {100 * share.high:.1f}]"
    )
    if found.missed:
        yield "missed: " + shown(", ".join(f"{name} {count}" for name, count in found.missed.items()))


def _only(tally: Tally) -> str:
    name = next(iter(tally.counts))
    return "" if name == tally.name else f" {name}"


def _percent(change: float) -> str:
    return f"{round(100 * change, 1) + 0.0:+.1f} %"  # + 0.0: no "-0.0"


def _points(change: float) -> str:
    return f"{round(100 * change, 1) + 0.0:+.1f} points"
