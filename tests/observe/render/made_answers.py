"""What a Prometheus might answer to a dashboard, made without one: three series wherever there may be several."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

START, END, STEP = 1_790_000_000, 1_790_000_900, 5


def make_answers(board: Mapping[str, Any]) -> dict[str, Any]:
    """In the shape of deploy/grafana/render/answers.py."""
    panels = {
        str(panel["id"]): {target["refId"]: list(make_series(target)) for target in panel["targets"]}
        for panel in board["panels"]
        if panel["type"] != "row"
    }
    return {"from": START, "to": END, "step": STEP, "panels": panels}


def make_series(target: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Of the labels that the legend names; waves between a quarter and three quarters."""
    labels = re.findall(r"{{(\w+)}}", target["legendFormat"])
    for number in range(3 if labels or target.get("instant") else 1):
        metric = {label: f"{label}-{number}" for label in labels or ["engine"]}
        points = [[at, str(0.5 + 0.25 * math.sin(at / 60 + number))] for at in range(START, END, STEP)]
        yield (
            {"metric": metric, "value": points[-1]}
            if target.get("instant")
            else {"metric": metric, "values": points}
        )
