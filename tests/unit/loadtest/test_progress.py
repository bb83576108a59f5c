"""On no terminal a run tells of itself in whole lines."""

import pytest

from loadtest.progress import Bars
from tests.unit.loadtest.reporting.runs import failed, request


@pytest.mark.parametrize("planned", [3, None])
def test_a_log_gets_lines_that_a_bar_would_not_give(
    planned: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with Bars() as bars:
        bars.drawn()
        bars.begins(planned)
        bars.ended(request(0, 1.0), 2)
        bars.ended(failed(1, 1.0), 1)
        bars.ended(request(2, 1.0), 0)
    lines = [line.strip() for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert lines[-1].startswith(f"3 of {planned or '?'} requests after ")
    assert lines[-1].endswith(", 0 under way, 1 overloaded")
    assert not any("drawing" in line for line in lines)
