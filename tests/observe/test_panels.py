"""Every query of every panel finds something in a Prometheus that scrapes a real gateway and vLLM under load."""

import pytest

from demo.observe.scene import Scene
from demo.observe.values import missing
from deploy.grafana.queries import Shown
from tests.observe.conftest import PANELS

# The first of them waits for an engine to start, and for the load.
pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]


def name_of(panel: Shown) -> str:
    return f"{panel.board}-{panel.row}-{panel.title}"


@pytest.mark.parametrize("panel", PANELS, ids=name_of)
def test_every_query_of_the_panel_finds_a_series(observed: Scene, panel: Shown) -> None:
    assert missing(panel, observed.prometheus) == []


def test_the_load_was_answered_as_it_should(observed: Scene) -> None:
    """It has its part in what panels show: nothing failed, and what should be refused was."""
    outcomes = observed.load.outcomes
    assert {status for _, status in outcomes if status >= 500} <= {503, 504}
    assert outcomes["picture", 200]
    assert outcomes["unknown model", 404]
    assert outcomes["unknown field", 400]
    assert outcomes["unknown key", 401]
    assert outcomes["shop", 429]
