import json
import random
from pathlib import Path

import pytest

from quantize import run as runs
from quantize.architecture import find_architecture
from quantize.checkpoint import INDEX, StoredTensor, read_config, read_tensors
from quantize.durable import hash_file
from quantize.errors import QuantizeError
from quantize.manifest import files_below, update_report, write_sums
from quantize.plan import Plan, make_plan
from quantize.recipe import read_recipe
from quantize.verify import verify_files, verify_weights
from tests.unit.quantize.checkpoints import LAYER, toy, write_shards

UP = f"{LAYER}.mlp.up_proj.weight"
VISION = "model.visual.blocks.0.attn.qkv.weight"
FLIPS = 150


def plan_of(source: Path) -> Plan:
    return make_plan(source, read_recipe("fp8-dynamic"), find_architecture(read_config(source)))


@pytest.fixture
def made(tmp_path: Path) -> tuple[Plan, Path]:
    plan = plan_of(write_shards(tmp_path / "m", toy(), 2))
    runs.run_plan(plan, tmp_path / "out", "stream", 1, True, {}, lambda _: None)
    return plan, tmp_path / "out"


def found(plan: Plan, folder: Path) -> list[str]:
    """Every sentence; a file that cannot be read at all is one, too."""
    try:
        return [*verify_weights(plan, folder).violations, *verify_files(plan, folder)]
    except QuantizeError as problem:
        return [str(problem)]


def overwrite(tensor: StoredTensor, data: bytes, at: int = 0) -> None:
    with tensor.file.open("rb+") as stream:
        stream.seek(tensor.start + at)
        stream.write(data)


def renew_sums(folder: Path) -> None:
    write_sums(folder, {name: hash_file(folder / name) for name in files_below(folder)})


def test_what_a_run_leaves_is_proved(made: tuple[Plan, Path]) -> None:
    plan, folder = made
    assert found(plan, folder) == []
    findings = verify_weights(plan, folder)
    assert (findings.kept, len(findings.quantized), findings.sight_tensors) == (13, 7, 2)
    for each in findings.quantized:
        assert 0.001 < each.error < 0.05
        assert each.saturated >= 1


def test_a_single_flipped_bit_anywhere_is_found(made: tuple[Plan, Path]) -> None:
    plan, folder = made
    rng = random.Random(3)
    names = [*files_below(folder), "SHA256SUMS"]
    for number in range(FLIPS):
        path = folder / names[number % len(names)]
        data = bytearray(path.read_bytes())
        position, bit = rng.randrange(len(data)), rng.randrange(8)
        data[position] ^= 1 << bit
        before = path.read_bytes()
        path.write_bytes(data)
        assert found(plan, folder), f"bit {bit} of byte {position} of {path.name}"
        path.write_bytes(before)
    assert found(plan, folder) == []


def test_what_engines_note_beside_a_checkpoint_is_no_part_of_it(made: tuple[Plan, Path]) -> None:
    plan, folder = made
    (folder / "fovea-vision.json").write_text("{}")
    assert found(plan, folder) == []
    assert "fovea-vision.json" not in files_below(folder)


@pytest.mark.parametrize(
    ("name", "data", "at", "sentence"),
    [
        (VISION, b"\x01", 3, f"{VISION}: must be untouched, but changed"),
        (UP, b"\x11", 5, f"{UP}: 1 codes are not the nearest to weight / scale"),
        (f"{UP}_scale", b"\x00\x01", 0, f"{UP}: 1 scales are not absmax / 448"),
        (UP, b"\x7f", 0, f"{UP}: 1 codes are NaN"),
        (UP, bytes(8), 0, f"{UP}: 1 rows became zero"),
    ],
)
def test_each_kind_of_damage_has_its_sentence_even_if_the_sums_were_renewed(
    made: tuple[Plan, Path], name: str, data: bytes, at: int, sentence: str
) -> None:
    plan, folder = made
    overwrite(read_tensors(folder)[name], data, at)
    renew_sums(folder)
    assert sentence in found(plan, folder)


def test_lost_foreign_and_changed_tensors_are_named(made: tuple[Plan, Path]) -> None:
    plan, folder = made
    for path in folder.glob("*.safetensors"):
        data = path.read_bytes().replace(b"lm_head.weight", b"lm_tail.weight")
        path.write_bytes(data.replace(b'A_log":{"dtype":"BF16"', b'A_log":{"dtype":"F16" '))
    index = (folder / INDEX).read_text().replace("lm_head.weight", "lm_tail.weight")
    (folder / INDEX).write_text(index)
    sentences = verify_weights(plan, folder).violations
    assert "lm_head.weight: missing from the output" in sentences
    assert "lm_tail.weight: was not promised" in sentences
    assert f"{LAYER}.linear_attn.A_log: has another type or shape than promised" in sentences


def test_other_files_and_the_config_are_compared(made: tuple[Plan, Path]) -> None:
    plan, folder = made
    config = json.loads((folder / "config.json").read_text())
    config["vocab_size"] = 3
    config["quantization_config"]["ignore"] = []
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text('{"a": 1}')
    (folder / "extra.txt").write_text("x")
    renew_sums(folder)
    assert list(verify_files(plan, folder)) == [
        "config.json differs from the source's in vocab_size",
        "config.json: quantization_config is not what the recipe says",
        "tokenizer.json: differs from the source's",
        "extra.txt: was not in the source",
    ]
    (folder / "tokenizer.json").unlink()
    assert "tokenizer.json: missing from the output" in found(plan, folder)


def test_the_sums_know_every_file_and_no_other(made: tuple[Plan, Path]) -> None:
    plan, folder = made
    (folder / "late.txt").write_text("x")
    assert "late.txt: SHA256SUMS does not know it" in found(plan, folder)
    (folder / "late.txt").unlink()
    sums = (folder / "SHA256SUMS").read_text()
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  gone.txt\n" + sums)
    assert found(plan, folder) != []
    (folder / "SHA256SUMS").unlink()
    assert f"{folder / 'SHA256SUMS'} cannot be read" in found(plan, folder)


def test_a_verdict_that_comes_later_keeps_the_sums_true(made: tuple[Plan, Path]) -> None:
    plan, folder = made
    update_report(folder, "sight", {"verdict": "green"})
    assert found(plan, folder) == []
    assert json.loads((folder / "fovea-report.json").read_text()).keys() == {"quantize", "sight"}
