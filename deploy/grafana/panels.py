"""The three kinds of panel that our dashboards are made of, each drawn in one way: sources of `dashboards/`.

A panel says what it shows in its title, what to do with it in its description, and its unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as dashboard_builders
from grafana_foundation_sdk.builders import prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

Panel: TypeAlias = timeseries.Panel | stat.Panel | table.Panel

DATASOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH = 24  # of Grafana's grid
GOOD, WARN, BAD = "green", "orange", "red"


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and what its series are called: Grafana's `{{label}}`s, or "" where the panel has one."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """From where a value is worth a look, and from where it is bad; with `low`, the other way round."""

    warn: float
    bad: float
    low: bool = False

    def build(self) -> dashboard_builders.ThresholdsConfig:
        first, second = (BAD, WARN) if self.low else (GOOD, WARN)
        third = GOOD if self.low else BAD
        lower, upper = sorted((self.warn, self.bad))
        steps = [
            dashboard.Threshold(value=None, color=first),
            dashboard.Threshold(value=lower, color=second),
            dashboard.Threshold(value=upper, color=third),
        ]
        return dashboard_builders.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps)


def trend(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    limits: Limits | None = None,
    stacked: bool = False,
    most: float | None = None,
    span: int = 8,
) -> timeseries.Panel:
    """Lines over time, from zero; `most`: the end of a scale that has one. `limits` are drawn as dashed lines."""
    panel = timeseries.Panel().title(title).description(description).datasource(DATASOURCE)
    panel.unit(unit).height(8).span(span).min(0).line_width(1).fill_opacity(30 if stacked else 8)
    panel.show_points(common.VisibilityMode.NEVER).span_nulls(value_span_nulls())
    if most is not None:
        panel.max(most)
    if stacked:
        panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if limits is not None:
        dashed = common_builders.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        panel.thresholds(limits.build()).thresholds_style(dashed)
    legend = common_builders.VizLegendOptions().show_legend(True).placement(common.LegendPlacement.BOTTOM)
    panel.legend(legend.display_mode(common.LegendDisplayMode.TABLE).calcs(["lastNotNull", "max"]))
    tooltip = common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI)
    panel.tooltip(tooltip.sort(common.SortOrder.DESCENDING))
    for target in targets(queries):
        panel.with_target(target.range())
    return panel


def value_span_nulls() -> float:
    """Milliseconds: a scrape or two that were missed do not break a line, a gateway that is gone does."""
    return 60_000


def figure(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    limits: Limits | None = None,
    decimals: int | None = None,
    span: int = 4,
) -> stat.Panel:
    """The latest value, large, with its course behind it."""
    panel = stat.Panel().title(title).description(description).datasource(DATASOURCE)
    panel.unit(unit).height(4).span(span).graph_mode(common.BigValueGraphMode.AREA)
    panel.reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    if decimals is not None:
        panel.decimals(decimals)
    if limits is None:
        panel.color_mode(common.BigValueColorMode.NONE)
    else:
        panel.color_mode(common.BigValueColorMode.VALUE).thresholds(limits.build())
    for target in targets(queries):
        panel.with_target(target.range())
    return panel


def listing(
    title: str, description: str, query: Query, *, hide: Sequence[str] = (), unit: str = "", span: int = 24
) -> table.Panel:
    """A row a series, of its labels but `hide`, and its value."""
    panel = table.Panel().title(title).description(description).datasource(DATASOURCE).height(7).span(span)
    if unit:
        panel.unit(unit)
    hidden = dict.fromkeys(("Time", "__name__", "job", *hide), True)
    panel.with_transformation(
        dashboard.DataTransformerConfig(id_val="organize", options={"excludeByName": hidden, "renameByName": {}})
    )
    (target,) = targets([query])
    return panel.with_target(target.instant().format(PromQueryFormat.TABLE))


def targets(queries: Sequence[Query]) -> list[prometheus.Dataquery]:
    """Named A, B, ... as Grafana does."""
    return [
        prometheus.Dataquery()
        .expr(query.expr)
        .legend_format(query.legend or "__auto")
        .ref_id(chr(ord("A") + number))
        for number, query in enumerate(queries)
    ]
