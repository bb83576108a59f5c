import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.cli_cache import app
from tests.unit.engine.encoder_cache.toy_checkpoint import SIGHT, flip, write_toy


def printed(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["fingerprint", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))


def test_the_fingerprint_comes_first_and_then_its_parts(tmp_path: Path) -> None:
    first, *parts = printed(str(write_toy(tmp_path / "m"))).splitlines()
    assert len(first) == 64
    assert [line.split()[0] for line in parts] == [
        "format", "weights", "tensors", "config", "quantization", "preprocessor", "files", "dtype",
    ]  # fmt: skip


def test_two_checkpoints_differ_in_the_part_that_says_so(tmp_path: Path) -> None:
    ours, theirs = write_toy(tmp_path / "a"), write_toy(tmp_path / "b")
    assert printed(str(ours)) == printed(str(theirs))
    flip(theirs / "model.safetensors", next(iter(SIGHT.values())))
    one, other = (json.loads(printed(str(each), "--json"))["parts"] for each in (ours, theirs))
    assert {name for name in one if one[name] != other[name]} == {"weights"}


def test_what_has_none_is_said_in_one_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["fingerprint", str(tmp_path / "gone")])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "is no checkpoint folder" in done.stderr
