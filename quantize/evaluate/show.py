"""A report for people: a table for the terminal and one self-contained HTML page."""

import base64
import io
from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from quantize.evaluate.report import Case, Estimate, Report
from quantize.evaluate.suite import Source

MOST_PICTURES = 60
THUMBNAIL = 360  # px, the longer side
COLUMNS = ("skill", "level", "asked", "base", "candidate", "difference (95 %)", "p", "same", "retention")


def make_table(report: Report) -> str:
    """Aligned columns, one row a group."""
    rows = [COLUMNS]
    for group in report.groups:
        kept = group.retention
        rows.append(
            (
                group.skill,
                group.level,
                str(group.asked),
                percent(group.base.accuracy.value),
                percent(group.candidate.accuracy.value),
                f"{points(group.difference.value)} {span(group.difference, points)}",
                f"{group.p_value:.3f}",
                percent(group.agreement),
                f"{percent(kept.value)} (>= {percent(kept.low)})" if kept else "-",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def make_page(report: Report, source: Source) -> str:
    """The HTML page; pictures are drawn or read again, reduced, and held inside. Model output is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    cases = [(case, _thumbnail(source, case)) for case in report.cases[:MOST_PICTURES]]
    names: dict[str, Callable[..., str]] = {
        "percent": percent, "points": points, "span": span, "failures": failures,
    }  # fmt: skip
    return environment.get_template("report.html.jinja").render(report=report, cases=cases, **names)


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def points(share: float) -> str:
    return f"{100 * share:+.1f}"


def span(estimate: Estimate, spelt: Callable[[float], str] = lambda share: f"{100 * share:.1f}") -> str:
    return f"[{spelt(estimate.low)}, {'?' if estimate.high is None else spelt(estimate.high)}]"


def failures(outcomes: dict[str, int]) -> str:
    """Every outcome but the right ones, most frequent first."""
    counted = sorted(((count, name) for name, count in outcomes.items() if name != "right"), reverse=True)
    return ", ".join(f"{count} {name}" for count, name in counted) or "none"


def _thumbnail(source: Source, case: Case) -> str:
    item = source.item(case.key)
    with Image.open(io.BytesIO(item.data)) as image:
        small = image.convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
