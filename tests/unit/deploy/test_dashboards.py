"""The dashboards' files are what their sources say, and every panel is one that can be read."""

import json
from itertools import pairwise

import pytest

from deploy.grafana.board import Board, full_lines
from deploy.grafana.generate import BOARDS, OUT, written
from deploy.grafana.queries import Shown, fill, read_panels

PANELS = read_panels("5m", "1h")


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_what_is_committed_is_what_its_source_says(board: Board) -> None:
    assert (OUT / f"{board.uid}.json").read_text() == written(board), "make dashboards"


def test_no_dashboard_is_left_that_has_no_source() -> None:
    assert {path.stem for path in OUT.glob("*.json")} == {board.uid for board in BOARDS}


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_panels_fill_whole_lines_and_have_ids_of_their_own(board: Board) -> None:
    assert [row.title for row in board.rows if not full_lines(row)] == []
    panels = json.loads(written(board))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(one["gridPos"]["y"] <= other["gridPos"]["y"] for one, other in pairwise(panels))


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_every_panel_says_what_it_shows_in_which_unit_and_what_its_lines_are(board: Board) -> None:
    for panel in json.loads(written(board))["panels"]:
        if panel["type"] == "row":
            continue
        assert panel["description"].endswith("."), panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["type"] == "table" or panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        if panel["type"] == "timeseries":
            assert panel["options"]["legend"]["showLegend"]
            assert "__auto" not in [target["legendFormat"] for target in panel["targets"]], panel["title"]


def test_panels_of_a_dashboard_are_told_apart_by_row_and_title() -> None:
    names = [(panel.board, panel.row, panel.title) for panel in PANELS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: f"{panel.board}-{panel.title}")
def test_no_query_hides_that_it_finds_nothing(panel: Shown) -> None:
    """`or vector(0)` would be a line at zero for a metric that is not there."""
    assert panel.queries
    for query in panel.queries:
        assert "$" not in query.expr
        assert "vector(" not in query.expr
        assert "absent" not in query.expr


def test_a_variable_without_a_value_is_an_error() -> None:
    assert fill('up{job=~"$job",engine="${engine}"}', {"job": "a", "engine": "b"}) == 'up{job=~"a",engine="b"}'
    with pytest.raises(KeyError):
        fill("up[$__rate_interval]", {})
