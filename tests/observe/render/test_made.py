"""Every dashboard that is committed is drawn by Grafana's own panel components, in Chromium, panel by panel.

With made answers, so that it is the JSON that is tried, whatever engines are there.
"""

import asyncio
import copy
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from deploy.grafana.queries import FOLDER
from deploy.grafana.render.screenshots import Shot, shoot
from tests.observe.render.made_answers import make_answers

BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
SPOILT = "spoilt"


def spoil(board: dict[str, Any], answers: dict[str, Any]) -> dict[str, str]:
    """Change the first two panels; returns the titles, and what is wrong with each."""
    empty, unknown = [panel for panel in board["panels"] if panel["type"] == "stat"][:2]
    for target in answers["panels"][str(empty["id"])]:
        answers["panels"][str(empty["id"])][target] = []
    unknown["type"] = "piechart"
    return {empty["title"]: "No data", unknown["title"]: "piechart"}


@pytest.fixture(scope="module")
def drawn(built_page: Path) -> tuple[dict[str, Shot], dict[str, str]]:
    """All dashboards, and one that was spoilt, in one Chromium; with what is wrong with the latter's panels."""
    boards = {uid: (board, make_answers(board)) for uid, board in BOARDS.items()}
    board = copy.deepcopy(BOARDS["fovea-service"])
    boards[SPOILT] = (board, make_answers(board))
    wrong = spoil(*boards[SPOILT])
    return {shot.uid: shot for shot in asyncio.run(shoot(built_page, boards))}, wrong


@pytest.mark.parametrize("uid", BOARDS)
def test_every_panel_is_drawn_under_its_title(uid: str, drawn: tuple[dict[str, Shot], dict[str, str]]) -> None:
    shot = drawn[0][uid]
    assert shot.problem == ""
    assert [panel for panel in shot.panels if not panel.drawn] == []
    expected = [(each["id"], each["title"]) for each in BOARDS[uid]["panels"] if each["type"] != "row"]
    assert [(panel.id, panel.title) for panel in shot.panels] == expected


@pytest.mark.parametrize("uid", BOARDS)
def test_a_picture_shows_the_whole_dashboard(uid: str, drawn: tuple[dict[str, Shot], dict[str, str]]) -> None:
    with Image.open(io.BytesIO(drawn[0][uid].png)) as image:
        rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in BOARDS[uid]["panels"])
        assert image.height > 38 * rows
        below = image.convert("RGB").crop((0, image.height - 200, image.width, image.height))
        assert len(set(below.get_flattened_data())) > 20


def test_panels_that_show_nothing_are_noticed(drawn: tuple[dict[str, Shot], dict[str, str]]) -> None:
    shots, wrong = drawn
    found = {panel.title: panel.problem for panel in shots[SPOILT].panels if not panel.drawn}
    assert found.keys() == wrong.keys()
    for title, problem in wrong.items():
        assert problem in found[title]
