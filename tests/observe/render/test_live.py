"""What a real gateway and real engines told under load is drawn, panel by panel, by Grafana's own components."""

import asyncio
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from demo.observe.scene import Scene
from deploy.grafana.queries import FOLDER
from deploy.grafana.render.answers import Span, ask_board
from deploy.grafana.render.screenshots import shoot

# Whoever is first to ask for engines waits for them.
pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]

BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
SHOWN_S = 600
LINE = 3  # steps on which there is a number: of one there is nothing to be seen


def ask_all(observed: Scene) -> dict[str, dict[str, Any]]:
    """By dashboard."""
    span = Span.last(SHOWN_S, "10m")
    return {uid: ask_board(observed.prometheus.url, board, span) for uid, board in BOARDS.items()}


def answered(board: Mapping[str, Any], answers: Mapping[str, Any]) -> Iterator[int]:
    """The panels with something to draw: a number in a table, else a line of them in one series."""
    for panel in board["panels"]:
        series = [one for found in answers["panels"].get(str(panel["id"]), {}).values() for one in found]
        if series and (panel["type"] == "table" or any(has_line(one["values"], answers["step"]) for one in series)):
            yield panel["id"]


def has_line(points: Sequence[tuple[int, str]], step: int) -> bool:
    there = {at for at, value in points if math.isfinite(float(value))}
    return any(all(at + number * step in there for number in range(LINE)) for at in there)


def test_every_panel_is_drawn_for_which_prometheus_has_numbers(observed: Scene, built_page: Path) -> None:
    time.sleep(LINE * Span.last(SHOWN_S, "10m").step)  # for series that have only just begun
    asked = ask_all(observed)
    for shot in asyncio.run(shoot(built_page, {uid: (BOARDS[uid], asked[uid]) for uid in BOARDS})):
        expected = set(answered(BOARDS[shot.uid], asked[shot.uid]))
        assert len(expected) > len(shot.panels) / 2, "what is asked for is hardly there"
        assert [panel for panel in shot.panels if panel.id in expected and not panel.drawn] == []
