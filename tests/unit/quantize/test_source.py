"""Against a stand-in for the hub's library: no test here reaches the hub."""

from pathlib import Path

import huggingface_hub
import pytest
from typer.testing import CliRunner

from quantize.cli import app
from quantize.errors import UsageError
from quantize.source import find_source
from tests.unit.quantize.checkpoints import toy, write_checkpoint


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What was asked of it; it has org/toy."""
    asked: dict[str, list[str]] = {}
    there = write_checkpoint(tmp_path / "cache", toy())

    def fetch(name: str, ignore_patterns: list[str]) -> str:
        asked[name] = ignore_patterns
        if name != "org/toy":
            raise OSError("404")
        return str(there)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    return asked


def test_a_folder_is_taken_before_the_hub_is_asked(
    hub: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "org" / "toy").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert find_source("org/toy") == Path("org/toy")
    assert find_source("/no/such/folder") == Path("/no/such/folder")
    assert hub == {}


def test_what_the_hub_has_is_planned_without_its_other_formats(hub: dict[str, list[str]]) -> None:
    told = CliRunner().invoke(app, ["plan", "org/toy"])
    assert told.exit_code == 0
    assert "7 tensors are quantized, 13 kept" in told.output
    assert {"*.bin", "*.pth", "*.gguf", "original/*"} <= set(hub["org/toy"])
    assert "*.safetensors" not in hub["org/toy"]


def test_what_is_neither_here_nor_there_is_one_sentence(hub: dict[str, list[str]]) -> None:
    with pytest.raises(
        UsageError, match=r"org/none is no folder, and could not be fetched from the hub \(OSError\)"
    ):
        find_source("org/none")
    told = CliRunner().invoke(app, ["run", "org/none", "out"])
    assert (told.exit_code, "could not be fetched" in told.output) == (2, True)
