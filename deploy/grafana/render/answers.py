"""What a running Prometheus answers to a dashboard's queries, in the shape that the page reads: of `screenshots`.

The page's half of that shape is page/dashboard-json.ts.
"""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy.grafana.queries import fill, first_values

TIMEOUT_S = 30
POINTS = 240  # of a line: about one every other pixel


class PrometheusError(Exception):
    """One sentence that says which query was refused, and why."""


@dataclass(frozen=True, slots=True)
class Span:
    """The time that is shown, in whole seconds since 1970; `window`: what rates are over (`$__rate_interval`)."""

    start: int
    end: int
    window: str

    @classmethod
    def last(cls, seconds: int, window: str) -> "Span":
        now = int(time.time())
        return cls(now - seconds, now, window)

    @property
    def step(self) -> int:
        return max(1, (self.end - self.start) // POINTS)


def ask_board(prometheus: str, board: Mapping[str, Any], span: Span) -> dict[str, Any]:
    """Every query of every panel, as Grafana would ask it: a point in time for a table, else a range."""
    seconds = f"{span.end - span.start}s"
    values = {**first_values(board), "__rate_interval": span.window, "__range": seconds}
    panels: dict[str, dict[str, list[Any]]] = {}
    for panel in board["panels"]:
        if panel["type"] != "row":
            panels[str(panel["id"])] = {
                target["refId"]: ask(prometheus, fill(target["expr"], values), span, bool(target.get("instant")))
                for target in panel["targets"]
            }
    return {"from": span.start, "to": span.end, "step": span.step, "panels": panels}


def ask(prometheus: str, expr: str, span: Span, instant: bool) -> list[Any]:
    """The series that Prometheus answers with. Raises PrometheusError."""
    if instant:
        path, arguments = "query", {"time": span.end}
    else:
        path, arguments = "query_range", {"start": span.start, "end": span.end, "step": span.step}
    asked = urllib.parse.urlencode({"query": expr, **arguments})
    try:
        with urllib.request.urlopen(f"{prometheus}/api/v1/{path}?{asked}", timeout=TIMEOUT_S) as response:
            return list(json.load(response)["data"]["result"])
    except urllib.error.HTTPError as refused:
        raise PrometheusError(f"{expr}: {refused.read().decode(errors='replace')[:500]}") from refused
    except OSError as failure:
        raise PrometheusError(f"Prometheus at {prometheus} does not answer: {failure}") from failure
