"""The guide's tables of metrics are those of the code, to the letter."""

from pathlib import Path

import pytest

from server.metering.declaring import Declared
from server.metering.labels import ENGINE, Label
from server.metrics_table import BEGIN, END, make_tables, rewrite

GUIDE = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()


def test_the_committed_guide_is_what_would_be_written() -> None:
    assert rewrite(GUIDE) == GUIDE, "run `make docs`"


def test_what_was_written_by_hand_in_the_tables_is_gone_and_all_around_stays() -> None:
    written = rewrite(f"# Guide\n{BEGIN}| `fovea_old` |\n{END}More.\n")
    assert written == f"# Guide\n{GUIDE[GUIDE.index(BEGIN) : GUIDE.index(END)]}{END}More.\n"


@pytest.mark.parametrize("guide", ["", BEGIN, END, f"{END}{BEGIN}"])
def test_a_guide_without_a_place_for_them_is_refused(guide: str) -> None:
    with pytest.raises(ValueError, match="where the tables"):
        rewrite(guide)


def test_small_sets_stand_with_their_metric_and_the_rest_below() -> None:
    few, many = Label("few", ("a", "b")), Label("many", tuple("abcdefgh"))
    tables = make_tables(
        [
            Declared("fovea_things", "counter", "Things", (few, many)),
            Declared("fovea_held_bytes", "gauge", "Held", (ENGINE,), across="min"),
            Declared("fovea_work_seconds", "histogram", "Time", (), (0.0002, 1, 16777216.0)),
        ]
    )
    assert "| `fovea_things_total` | counter |  | few: `a`, `b`; many | Things |" in tables
    assert "| `fovea_held_bytes` | gauge, min | bytes | engine | Held |" in tables
    assert f"| engine | `fovea_held_bytes` | {ENGINE.bound} |" in tables
    assert "| many | `fovea_things_total` | `a`, `b`, `c`, `d`, `e`, `f`, `g`, `h` |" in tables
    assert "| 0.0002, 1, 16777216 | `fovea_work_seconds` |" in tables
