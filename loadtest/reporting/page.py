"""A report as one HTML page that loads nothing: its plots are inline SVG, and every name in it is escaped."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from loadtest.reporting.plots import plot_latencies, plot_tally, plot_timeline, unit_of
from loadtest.reporting.report import Report
from loadtest.reporting.table import COLUMNS, LATENCIES, latency_rows, number, rate_rows, tenant_rows

PLOTTED = ("ttft_ms", "itl_ms", "e2e_ms")


def make_page(report: Report) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    latencies = [(title.removesuffix(", ms"), found) for field, title in LATENCIES
                 if field in PLOTTED and (found := getattr(report, field))]  # fmt: skip
    # Markup: what `plots` makes is SVG, with names escaped there.
    return environment.get_template("report.html.jinja").render(
        report=report,
        latency_heads=COLUMNS,
        latency_rows=list(latency_rows(report)),
        latency_plot=Markup(plot_latencies(latencies)),  # noqa: S704
        rate_rows=list(rate_rows(report)),
        tallies=[(tally, Markup(plot_tally(tally))) for tally in report.tallies],  # noqa: S704
        tenant_rows=list(tenant_rows(report)),
        timelines=[(one, unit_of(one), Markup(plot_timeline(one))) for one in report.timelines],  # noqa: S704
        details=[*report.machine.items(), *report.server.items()],
        number=number,
        percent=lambda share: f"{100 * share:.1f} %",
    )
