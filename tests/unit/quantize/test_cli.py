"""Refusals of `fovea-quantize run`: each has its exit code, and leaves nothing behind."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from quantize.cli import app
from tests.unit.quantize.checkpoints import SOURCE, write_checkpoint


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["run", *map(str, arguments)])
    return result.exit_code, result.output


def test_an_existing_target_is_never_overwritten(tmp_path: Path) -> None:
    source, out = write_checkpoint(tmp_path / "m", SOURCE), tmp_path / "out"
    out.mkdir()
    (out / "precious").write_text("x")
    assert run(source, out) == (2, f"fovea-quantize: {out} exists already: remove it or choose another folder\n")
    assert (out / "precious").read_text() == "x"


def test_a_target_inside_the_source_is_refused(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "m", SOURCE)
    code, output = run(source, source / "out")
    assert (code, "inside the source" in output) == (2, True)


@pytest.mark.parametrize(("recipe", "code"), [("none", 3), ("fp8-dynamic", 4)])
def test_recipe_and_checkpoint_have_codes_of_their_own(tmp_path: Path, recipe: str, code: int) -> None:
    assert run(tmp_path / "nothing", tmp_path / "out", "--recipe", recipe)[0] == code
    assert not (tmp_path / "out").exists()


def test_a_compressor_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOVEA_QUANTIZE_PYTHON", "/bin/false")
    source = write_checkpoint(tmp_path / "m", SOURCE)
    code, output = run(source, tmp_path / "out")
    assert (code, "ended with code 1" in output) == (7, True)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_help_names_the_exit_codes() -> None:
    result = CliRunner().invoke(app, ["run", "--help"])
    assert result.exit_code == 0
    assert "unsupported checkpoint" in " ".join(result.output.split())
