import json
import struct
from pathlib import Path

import pytest

from quantize.checkpoint import check_source, read_tensors, sidecar_files, weight_files
from quantize.errors import AlreadyQuantized, DamagedIndex, DamagedShard, UnsupportedCheckpoint
from tests.unit.quantize.checkpoints import Tensor, toy, write_checkpoint, write_shards

SOURCE: dict[str, Tensor] = {
    "model.visual.fc.weight": ("BF16", (2, 2), b"12345678"),
    "model.norm.weight": ("BF16", (2,), b"norm"),
}


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
    (folder / "original").mkdir()
    for name in ("original/consolidated.00.pth", "pytorch_model.bin", "SHA256SUMS"):
        (folder / name).write_text("the weights once more, or what describes them")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "lock").write_text("")
    for name in ("fovea-vision.json", ".fovea-vision.json.x1"):
        (folder / name).write_text("what an engine noted of this copy")
    assert [str(path.relative_to(folder)) for path in sidecar_files(folder)] == ["sub/notes.txt", "tokenizer.json"]


def test_a_folder_without_config_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedCheckpoint, match=r"no config\.json"):
        check_source(tmp_path)


def test_a_quantized_checkpoint_is_not_quantized_again(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", SOURCE, quantization_config={})
    with pytest.raises(AlreadyQuantized, match="already"):
        check_source(folder)


@pytest.mark.parametrize("data", [b"", b"1234567", struct.pack("<Q", 1 << 40), struct.pack("<Q", 4) + b"nope"])
def test_a_broken_file_is_named(tmp_path: Path, data: bytes) -> None:
    folder = write_checkpoint(tmp_path / "m", SOURCE)
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(DamagedShard, match=r"model\.safetensors"):
        read_tensors(folder)


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", SOURCE)
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DamagedShard, match=r"cut short: tensor model\.norm\.weight lies outside it"):
        read_tensors(folder)


def test_a_header_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", SOURCE)
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes().replace(b'"shape": [2]', b'"shape": [3]'))
    with pytest.raises(DamagedShard, match=r"model\.norm\.weight does not hold what its shape and type say"):
        read_tensors(folder)


@pytest.mark.parametrize("shape", [[-2, -2], [2, 2.0], ["2", 2], [True, 4]])
def test_a_shape_of_no_such_sides_is_refused(tmp_path: Path, shape: list[object]) -> None:
    folder = write_checkpoint(tmp_path / "m", {})
    header = json.dumps({"x": {"dtype": "BF16", "shape": shape, "data_offsets": [0, 8]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    with pytest.raises(DamagedShard, match="tensor x has the shape"):
        read_tensors(folder)


def test_an_index_says_which_files_hold_the_weights(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "m", toy(), 3)
    (folder / "consolidated.safetensors").write_bytes(b"the same weights under other names")
    assert len(weight_files(folder)) == 3
    assert read_tensors(folder).keys() == toy().keys()


def test_links_are_followed(tmp_path: Path) -> None:
    """As the hub's cache has them."""
    write_checkpoint(tmp_path / "blobs", SOURCE)
    (tmp_path / "snapshot").mkdir()
    for path in (tmp_path / "blobs").iterdir():
        (tmp_path / "snapshot" / path.name).symlink_to(path)
    assert read_tensors(tmp_path / "snapshot").keys() == SOURCE.keys()
    (tmp_path / "blobs" / "model.safetensors").unlink()
    with pytest.raises(DamagedShard, match="is a link to a file that is not there"):
        read_tensors(tmp_path / "snapshot")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model.extra.weight": "model-00001-of-00002.safetensors"}, "promises model.extra.weight in model-00001"),
        ({"lm_head.weight": None}, "does not know lm_head.weight, which is in model-0000"),
        ({"lm_head.weight": "../model.safetensors"}, "which is no safetensors file beside it"),
        ({"lm_head.weight": 7}, "has no weight_map of names"),
    ],
)
def test_an_index_that_disagrees_with_its_files_is_refused(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    folder = write_shards(tmp_path / "m", toy(), 2)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    files = {**index["weight_map"], **change}
    files = {name: file for name, file in files.items() if file is not None}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    with pytest.raises(DamagedIndex) as refused:
        read_tensors(folder)
    assert said in str(refused.value)


def test_a_weight_file_that_the_index_names_and_is_not_there_is_named(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "m", toy(), 2)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(DamagedShard, match=r"model-00002-of-00002\.safetensors cannot be read"):
        read_tensors(folder)


def test_a_tensor_in_two_files_is_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", SOURCE)
    (folder / "second.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(DamagedIndex, match=r"is in model\.safetensors and in second\.safetensors"):
        read_tensors(folder)
