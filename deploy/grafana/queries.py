"""What the written dashboards ask of Prometheus: read off `json/` as Grafana would, variables filled in."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "json"
VARIABLE = re.compile(r"\$\{?(\w+)\}?")


@dataclass(frozen=True, slots=True)
class Asked:
    """One query of a panel, ready for Prometheus; `legend` names its series, `{{label}}` being a label's value."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A panel and where it stands."""

    board: str
    row: str
    title: str
    kind: str
    unit: str
    queries: tuple[Asked, ...]


def read_panels(window: str, span: str, folder: Path = FOLDER) -> list[Shown]:
    """Every panel of every dashboard, in order, variables as a dashboard has them at first.

    `window`: what rates are over (`$__rate_interval`); `span`: the time shown (`$__range`).
    """
    panels = []
    for path in sorted(folder.glob("*.json")):
        board = json.loads(path.read_text())
        values = {**first_values(board), "__rate_interval": window, "__range": span}
        panels += list(_panels(board, values))
    return panels


def first_values(board: Mapping[str, Any]) -> dict[str, str]:
    """Of a dashboard's variables: everything, where that can be chosen."""
    values = {}
    for variable in board["templating"]["list"]:
        current = variable.get("current", {}).get("value", "")
        values[variable["name"]] = variable.get("allValue", ".*") if current == "$__all" else str(current)
    return values


def fill(expr: str, values: Mapping[str, str]) -> str:
    """Raises KeyError where a variable has no value: Grafana would send its name as it stands."""
    return VARIABLE.sub(lambda found: values[found.group(1)], expr)


def _panels(board: Mapping[str, Any], values: Mapping[str, str]) -> Iterator[Shown]:
    row = ""
    for panel in board["panels"]:
        if panel["type"] == "row":
            row = panel["title"]
            continue
        targets = panel["targets"]
        queries = tuple(Asked(fill(each["expr"], values), each.get("legendFormat", "")) for each in targets)
        unit = panel.get("fieldConfig", {}).get("defaults", {}).get("unit", "")
        yield Shown(board["title"], row, panel["title"], panel["type"], unit, queries)
