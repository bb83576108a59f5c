import json
import struct
from pathlib import Path

import pytest

from server.engine.encoder_cache.checkpoint import NoFingerprint, find_checkpoint, read_header, weight_files
from tests.unit.engine.encoder_cache.toy_checkpoint import SIGHT, TEXT, write_file, write_toy


def test_a_header_tells_each_tensor_and_where_it_is(tmp_path: Path) -> None:
    path = write_toy(tmp_path / "m") / "model.safetensors"
    data = path.read_bytes()
    assert {t.name: data[t.start : t.start + t.size] for t in read_header(path).tensors} == {**SIGHT, **TEXT}
    assert {(t.dtype, t.shape) for t in read_header(path).tensors} == {("BF16", (2,))}


@pytest.mark.parametrize(
    "content",
    [b"", b"short", struct.pack("<Q", 1 << 40) + b"{}", struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 2) + b"{,",
     struct.pack("<Q", 4) + b"\xff\xff\xff\xff"],
)  # fmt: skip
def test_files_that_are_no_safetensors_have_no_fingerprint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(NoFingerprint):
        read_header(path)


def test_a_tensor_outside_of_its_file_is_refused(tmp_path: Path) -> None:
    path = write_toy(tmp_path / "m") / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(NoFingerprint, match="not a readable safetensors file"):
        read_header(path)


def test_the_weights_are_those_of_the_index_and_consolidated_ones(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "m", shards=2)
    write_file(folder / "consolidated.safetensors", SIGHT)
    write_file(folder / "adapter.safetensors", SIGHT)
    assert [path.name for path in weight_files(folder)] == [
        "consolidated.safetensors", "model-0.safetensors", "model-1.safetensors",
    ]  # fmt: skip


def test_weights_of_other_formats_are_one_tensor_a_file(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"weights")
    (path,) = weight_files(tmp_path)
    (tensor,) = read_header(path).tensors
    assert (tensor.start, tensor.size) == (0, 7)


def test_a_folder_without_weights_has_no_fingerprint(tmp_path: Path) -> None:
    with pytest.raises(NoFingerprint, match="holds no weights"):
        weight_files(tmp_path)


@pytest.mark.parametrize("index", ["{", "[]", json.dumps({"weight_map": {"a": 1}}), "{}"])
def test_a_damaged_index_has_no_fingerprint(tmp_path: Path, index: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(NoFingerprint):
        weight_files(tmp_path)


def test_names_of_the_hub_are_looked_for_in_its_cache(tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--Org--Name"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc\n")
    (repository / "snapshots" / "abc").mkdir(parents=True)
    (repository / "snapshots" / "def").mkdir(parents=True)
    environ = {"HF_HOME": str(tmp_path)}
    assert find_checkpoint("Org/Name", environ) == repository / "snapshots" / "abc"
    assert find_checkpoint("Org/Name", environ, "def") == repository / "snapshots" / "def"
    for model, revision in (
        ("Org/Other", None),
        ("Org/Name", "gone"),
        ("Org/Name", "../../x"),
        ("/not/there", None),
    ):
        with pytest.raises(NoFingerprint):
            find_checkpoint(model, environ, revision)


def test_a_folder_is_itself_whatever_the_hub_has(tmp_path: Path) -> None:
    assert find_checkpoint(str(tmp_path), {}) == tmp_path
