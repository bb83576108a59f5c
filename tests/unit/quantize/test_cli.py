"""Refusals of `fovea-quantize`: each has its exit code and one sentence, and leaves nothing behind."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from quantize.cli import app
from tests.unit.quantize.checkpoints import toy, write_checkpoint, write_shards


def fovea(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    return result.exit_code, result.output


def cut_short(source: Path) -> None:
    path = source / "model-00002-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def forget_in_index(source: Path) -> None:
    path = source / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    del index["weight_map"]["lm_head.weight"]
    path.write_text(json.dumps(index))


def add_to_config(**more: object) -> Callable[[Path], None]:
    def change(source: Path) -> None:
        config = json.loads((source / "config.json").read_text())
        (source / "config.json").write_text(json.dumps({**config, **more}))

    return change


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (cut_short, 12, "is cut short"),
        (forget_in_index, 13, "does not know lm_head.weight"),
        (add_to_config(quantization_config={}), 10, "is quantized already"),
        (add_to_config(model_type="seer"), 9, "no architecture map for model_type 'seer'"),
        (lambda source: (source / "config.json").write_text("{"), 4, "is not readable JSON"),
        (lambda source: (source / "config.json").unlink(), 4, "is not a checkpoint folder"),
        (lambda source: (source / "model-00001-of-00002.safetensors").unlink(), 12, "cannot be read"),
    ],
)
@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_bad_source_has_its_code_and_one_sentence(
    tmp_path: Path, command: str, change: Callable[[Path], None], code: int, said: str
) -> None:
    source = write_shards(tmp_path / "m", toy(), 2)
    change(source)
    done, output = fovea(command, source, *([tmp_path / "out"] if command == "run" else []))
    assert done == code
    assert output.startswith("fovea-quantize: ")
    assert output.count("\n") == 1
    assert said in output
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_wrong_type_has_a_code_of_its_own(tmp_path: Path) -> None:
    code, output = fovea("plan", write_checkpoint(tmp_path / "m", toy("F32")))
    assert (code, "is F32" in output) == (11, True)


def test_an_existing_target_is_never_overwritten(tmp_path: Path) -> None:
    source, out = write_checkpoint(tmp_path / "m", toy()), tmp_path / "out"
    out.mkdir()
    code, output = fovea("run", source, out)
    assert (code, output.splitlines()[-1]) == (
        2,
        f"fovea-quantize: {out} exists already: remove it or choose another folder",
    )


def test_a_target_that_the_same_recipe_made_can_be_kept_so_that_a_job_may_run_twice(tmp_path: Path) -> None:
    source, out = write_checkpoint(tmp_path / "m", toy()), tmp_path / "out"
    assert fovea("run", source, out, "--keep")[0] == 0
    made = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    code, output = fovea("run", source, out, "--keep")
    assert (code, output) == (0, f"{out} is there already, made by fp8-dynamic\n")
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == made
    code, output = fovea("run", source, out, "--keep", "--recipe", "fp8-dynamic-compact")
    assert (code, "fp8-dynamic-compact has not made it" in output, output.count("\n")) == (2, True, 1)


def test_a_target_that_nobody_made_is_not_kept(tmp_path: Path) -> None:
    source, out = write_checkpoint(tmp_path / "m", toy()), tmp_path / "out"
    out.mkdir()
    code, output = fovea("run", source, out, "--keep")
    assert (code, f"{out} exists already, and fp8-dynamic has not made it" in output) == (2, True)


def test_ctrl_c_says_that_the_same_command_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("quantize.run.write_rest", interrupt)
    code, output = fovea("run", write_checkpoint(tmp_path / "m", toy()), tmp_path / "out")
    assert (code, output.splitlines()[-1]) == (
        130,
        "fovea-quantize: stopped: the same command goes on where it was",
    )
    monkeypatch.undo()
    assert fovea("run", tmp_path / "m", tmp_path / "out")[0] == 0


def test_an_unknown_recipe_or_engine_is_refused(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "m", toy())
    assert fovea("run", source, tmp_path / "out", "--recipe", "none")[0] == 3
    assert fovea("run", source, tmp_path / "out", "--engine", "steam")[0] == 2
    assert not (tmp_path / "out").exists()


def test_a_compressor_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOVEA_QUANTIZE_PYTHON", "/bin/false")
    source = write_checkpoint(tmp_path / "m", toy())
    code, output = fovea("run", source, tmp_path / "out", "--engine", "llmcompressor")
    assert (code, "ended with code 1" in output) == (7, True)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_plan_run_and_verify_agree(tmp_path: Path) -> None:
    source, out = write_shards(tmp_path / "m", toy(), 2), tmp_path / "out"
    planned = json.loads(fovea("plan", source, "--json")[1])
    code, output = fovea("run", source, out)
    assert code == 0
    assert "tensors: 7 quantized to FP8, 13 kept bit for bit" in output
    assert "vision tower bit-identical: 2 tensors, SHA-256 " in output
    assert planned["file_bytes_after"] == sum(path.stat().st_size for path in out.glob("*.safetensors"))
    code, output = fovea("verify", source, out)
    assert (code, "vision tower bit-identical: 2 tensors, SHA-256 " in output) == (0, True)
    with (out / "model-00001-of-00002.safetensors").open("rb+") as stream:
        stream.seek(-1, 2)
        stream.write(b"\x00")
    code, output = fovea("verify", source, out)
    assert code == 5
    assert f"fovea-quantize: {out} is not what fp8-dynamic promises of {source}:\n  " in output


def test_a_run_without_proof_says_so(tmp_path: Path) -> None:
    code, output = fovea("run", write_checkpoint(tmp_path / "m", toy()), tmp_path / "out", "--no-verify")
    assert (code, "not proved yet: fovea-quantize verify does it" in output) == (0, True)


def test_verify_needs_to_know_the_recipe(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "m", toy())
    code, output = fovea("verify", source, source)
    assert (code, "name --recipe" in output) == (3, True)


@pytest.mark.parametrize("command", ["plan", "run", "verify"])
def test_help_names_the_exit_codes(command: str) -> None:
    code, output = fovea(command, "--help")
    assert code == 0
    assert "Exit codes:" in output
