"""What a load run showed, as a table for people and as JSON for scripts."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from loadtest.drive import Outcome, percentile

SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def summarize(outcomes: Sequence[Outcome], took_s: float) -> dict[str, Any]:
    """Counts, rates and percentiles. Latencies are of answered requests only; errors are counted by code."""
    answered = [outcome for outcome in outcomes if not outcome.error]
    summary: dict[str, Any] = {
        "requests": len(outcomes),
        "answered": len(answered),
        "errors": dict(Counter(outcome.error for outcome in outcomes if outcome.error)),
        "took_s": round(took_s, 3),
        "requests_per_s": round(len(answered) / took_s, 3),
        "tokens_per_s": round(sum(outcome.tokens for outcome in answered) / took_s, 3),
    }
    if answered:
        for name, values in (
            ("first_token_s", [outcome.first_token_s for outcome in answered]),
            ("total_s", [outcome.total_s for outcome in answered]),
        ):
            summary[name] = {label: round(percentile(values, share), 4) for label, share in SHARES.items()}
    return summary


def as_table(summary: dict[str, Any]) -> str:
    lines = [f"{name:<16} {summary[name]}" for name in ("requests", "answered", "requests_per_s", "tokens_per_s")]
    for name in ("first_token_s", "total_s"):
        if name in summary:
            lines.append(f"{name:<16} " + "  ".join(f"{label} {value}" for label, value in summary[name].items()))
    lines += [f"error {code:<10} {count}" for code, count in sorted(summary["errors"].items())]
    return "\n".join(lines)
