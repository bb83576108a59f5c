"""What `make test` says of tests that fail, in a folder with tests of its own."""

from pathlib import Path

import pytest

from tests.whole_run import MOST_ASKED_AGAIN, main

STEADY = "def test_steady(): pass\n"
UNSTEADY = """
from pathlib import Path
SEEN = Path(__file__).with_suffix(".seen")
def test_unsteady():
    first = not SEEN.exists()
    SEEN.touch()
    assert not first
"""
FAILS = """
from pathlib import Path
def test_fails():
    Path(__file__).with_suffix('.runs').open('a').write('x')
    assert 0
"""


ROOT = str(Path(__file__).parents[2])
ENGINES = """
import pytest
@pytest.fixture
def fp8(): pass
"""


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin, from a folder that is not ours."""
    monkeypatch.setenv("PYTHONPATH", ROOT)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # a start of pytest takes half as long


def run(folder: Path, **files: str) -> int:
    for name, source in files.items():
        (folder / f"test_{name}.py").write_text(source)
    return main(["-q", "--rootdir", str(folder)], folder, ())


def test_what_passes_is_run_once_in_its_lane(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    engines = ENGINES + FAILS.replace("test_fails()", "test_passes(fp8)").replace("assert 0", "assert 1")
    assert run(tmp_path, one=STEADY, two=engines) == 0
    told = capfd.readouterr().out
    assert "UNSTEADY" not in told
    assert "engines  | 1 passed, 1 deselected" in told
    assert "rest     | 1 passed, 1 deselected" in told
    assert (tmp_path / "test_two.runs").read_text() == "x"


def test_what_fails_only_once_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, one=STEADY, two=UNSTEADY) == 0
    assert "UNSTEADY: test_two.py::test_unsteady" in capfd.readouterr().out


def test_what_fails_twice_has_failed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, one=UNSTEADY, two=FAILS) == 1
    assert "UNSTEADY" not in capfd.readouterr().out
    assert (tmp_path / "test_two.runs").read_text() == "xx"


def test_many_failures_are_not_asked_again(tmp_path: Path) -> None:
    assert run(tmp_path, **{f"n{number}": FAILS for number in range(MOST_ASKED_AGAIN + 1)}) == 1
    assert (tmp_path / "test_n0.runs").read_text() == "x"


@pytest.mark.parametrize(("files", "status"), [({"one": "import nothing_of_that_name"}, 2), ({}, 5)])
def test_what_cannot_be_collected_is_not_asked_again(tmp_path: Path, files: dict[str, str], status: int) -> None:
    assert run(tmp_path, **files) == status
