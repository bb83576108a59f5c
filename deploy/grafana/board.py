"""A dashboard of ours: its variables, its links to the others, its rows; `dashboards/` says what stands in them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard

from deploy.grafana.panels import DATASOURCE, WIDTH, Panel

TAG = "fovea"


@dataclass(frozen=True, slots=True)
class Row:
    """Panels that answer one question. Their widths fill whole lines."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Board:
    """`uid` is part of the dashboard's address, which runbooks link to: it never changes."""

    uid: str
    title: str
    description: str
    rows: Sequence[Row]
    variables: Sequence[builders.QueryVariable | builders.TextBoxVariable] = field(default_factory=tuple)

    def build(self) -> dashboard.Dashboard:
        made = builders.Dashboard(self.title).uid(self.uid).description(self.description).tags([TAG])
        made.readonly().timezone("browser").refresh("30s").time("now-1h", "now")
        made.tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        made.variables([datasource(), *self.variables]).link(other_dashboards()).annotation(alerts())
        number = 0
        for row in self.rows:
            number += 1
            made.with_row(builders.Row(row.title).id(number))
            for panel in row.panels:
                number += 1
                made.with_panel(panel.id(number))
        return made.build()


def datasource() -> builders.DatasourceVariable:
    return builders.DatasourceVariable("datasource").label("Prometheus").type("prometheus")


def choice(name: str, label: str, query: str) -> builders.QueryVariable:
    """Values of a label that Prometheus knows; all of them at first."""
    variable = builders.QueryVariable(name).label(label).datasource(DATASOURCE).query(query)
    variable.refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(dashboard.VariableSort.NATURAL_ASC)
    return (
        variable.multi(True)
        .include_all(True)
        .all_value(".*")
        .current(dashboard.VariableOption(text="All", value="$__all"))
    )


def models() -> builders.QueryVariable:
    return choice("model", "Model", "label_values(fovea_request_duration_seconds_count, model)")


def engines() -> builders.QueryVariable:
    return choice("engine", "Engine", "label_values(fovea_engine_ready, engine)")


def tenants() -> builders.QueryVariable:
    return choice("tenant", "Tenant", "label_values(fovea_requests_total, tenant)")


def number(name: str, label: str, description: str, value: str) -> builders.TextBoxVariable:
    """Whoever looks types another over it."""
    variable = builders.TextBoxVariable(name).label(label).description(description).default_value(value)
    return variable.current(dashboard.VariableOption(text=value, value=value))


def other_dashboards() -> builders.DashboardLink:
    """With what was chosen here, and the time that is looked at."""
    link = builders.DashboardLink("Fovea").type(dashboard.DashboardLinkType.DASHBOARDS).tags([TAG])
    return link.include_vars(True).keep_time(True).as_dropdown(False)


def alerts() -> builders.AnnotationQuery:
    """Alerts that fire stand in every graph as vertical lines."""
    query = builders.AnnotationQuery().name("Alerts").datasource(DATASOURCE).enable(True).icon_color("red")
    return query.expr('ALERTS{alertname=~"Fovea.*",alertstate="firing"}')


def full_lines(row: Row) -> bool:
    """Whether the row leaves no gap: its panels' widths add up to whole lines."""
    return sum((panel.build().grid_pos or dashboard.GridPos()).w for panel in row.panels) % WIDTH == 0
