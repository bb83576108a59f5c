import struct
from pathlib import Path

import pytest

from quantize.checkpoint import check_source, read_tensors, sidecar_files
from quantize.errors import UnsupportedCheckpoint
from tests.unit.quantize.checkpoints import SOURCE, write_checkpoint


def test_tensors_are_read_from_headers_with_their_bytes(tmp_path: Path) -> None:
    tensors = read_tensors(write_checkpoint(tmp_path / "m", SOURCE))
    assert {name: (t.dtype, t.shape, t.read()) for name, t in tensors.items()} == SOURCE


def test_tensors_are_equal_only_bit_for_bit(tmp_path: Path) -> None:
    a = read_tensors(write_checkpoint(tmp_path / "a", SOURCE))["model.norm.weight"]
    same = read_tensors(write_checkpoint(tmp_path / "b", SOURCE))["model.norm.weight"]
    changed = {**SOURCE, "model.norm.weight": ("BF16", (2,), b"norn")}
    other = read_tensors(write_checkpoint(tmp_path / "c", changed))["model.norm.weight"]
    assert a.equals(same)
    assert not a.equals(other)


def test_sidecars_are_all_files_but_weights_config_and_verdict(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", SOURCE)
    (folder / "sub").mkdir()
    (folder / "sub" / "notes.txt").write_text("x")
    (folder / "fovea-report.json").write_text("{}")
    assert [str(path.relative_to(folder)) for path in sidecar_files(folder)] == ["sub/notes.txt", "tokenizer.json"]


def test_a_folder_without_config_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedCheckpoint, match=r"no config\.json"):
        check_source(tmp_path)


def test_a_quantized_checkpoint_is_not_quantized_again(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", SOURCE, quantization_config={})
    with pytest.raises(UnsupportedCheckpoint, match="already"):
        check_source(folder)


@pytest.mark.parametrize("data", [b"", b"1234567", struct.pack("<Q", 1 << 40), struct.pack("<Q", 4) + b"nope"])
def test_a_broken_file_is_named(tmp_path: Path, data: bytes) -> None:
    folder = write_checkpoint(tmp_path / "m", SOURCE)
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(UnsupportedCheckpoint, match=r"model\.safetensors"):
        read_tensors(folder)


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", SOURCE)
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UnsupportedCheckpoint, match="outside the file"):
        read_tensors(folder)
