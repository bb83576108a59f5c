import json
from pathlib import Path

import pytest

from quantize.checkpoint import NOTED
from server.engine.encoder_cache.checkpoint import NoFingerprint
from server.engine.encoder_cache.fingerprint import Fingerprint, vision_fingerprint
from server.engine.encoder_cache.tower_digests import NAME
from tests.unit.engine.encoder_cache.toy_checkpoint import SIGHT, TEXT, flip, write_file, write_toy

COMPRESSED = {"quantization_config": {"quant_method": "compressed-tensors", "format": "float-quantized"}}


def take(folder: Path, dtype: str = "torch.bfloat16", **extra: str) -> Fingerprint:
    return vision_fingerprint(folder, dtype, extra, folder.parent / "cache")


def test_one_bit_of_any_tensor_of_the_tower_makes_another(tmp_path: Path) -> None:
    before = take(write_toy(tmp_path / "m")).hex
    assert len(before) == 64
    for number, data in enumerate(SIGHT.values()):
        folder = write_toy(tmp_path / str(number))
        assert take(folder).hex == before
        flip(folder / "model.safetensors", data)
        assert take(folder).hex != before


def test_no_bit_of_the_language_model_makes_another(tmp_path: Path) -> None:
    before = take(write_toy(tmp_path / "m")).hex
    for number, data in enumerate(TEXT.values()):
        folder = write_toy(tmp_path / str(number))
        flip(folder / "model.safetensors", data)
        assert take(folder).hex == before


def test_it_does_not_matter_which_file_a_tensor_is_in(tmp_path: Path) -> None:
    assert take(write_toy(tmp_path / "one")).hex == take(write_toy(tmp_path / "three", shards=3)).hex


def test_name_type_and_shape_of_a_tensor_matter(tmp_path: Path) -> None:
    (name, data), *_ = SIGHT.items()
    renamed = {**TEXT, **SIGHT, f"{name}s": data}
    del renamed[name]
    found = {take(write_toy(tmp_path / "m")).hex}
    for number, (tensors, dtype) in enumerate(((renamed, "BF16"), ({**TEXT, **SIGHT}, "F32"))):
        folder = write_toy(tmp_path / str(number))
        write_file(folder / "model.safetensors", tensors, dtype)
        found.add(take(folder).hex)
    assert len(found) == 3


def test_a_quantized_child_sees_with_what_its_parent_sees(tmp_path: Path) -> None:
    scaled = {"model.language_model.layers.0.mlp.up_proj.weight_scale": b"scal"}
    saved_again = {**COMPRESSED, "transformers_version": "9", "dtype": "bfloat16", "text_config": {"dtype": "x"}}
    parent = write_toy(tmp_path / "parent", config={"text_config": {}})
    child = write_toy(tmp_path / "child", config=saved_again, **scaled)
    assert take(child) == take(parent)


def test_how_a_tower_is_quantized_matters_where_it_is(tmp_path: Path) -> None:
    folders = [
        write_toy(tmp_path / str(number), config={"quantization_config": {"quant_method": method, "group": group}},
                  **{"model.visual.merger.linear_fc1.weight_scale": b"scal"} if scaled else {})
        for number, (method, group, scaled) in enumerate([
            ("compressed-tensors", 1, False), ("compressed-tensors", 2, False),
            ("compressed-tensors", 1, True), ("compressed-tensors", 2, True),
            ("fp8", 1, False), ("fp8", 2, False),
        ])
    ]  # fmt: skip
    plain, other, one, two, online, coarse = (take(folder).hex for folder in folders)
    assert plain == other
    assert len({plain, one, two, online, coarse}) == 5


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("preprocessor_config.json", {"size": {"longest_edge": 101}}),
        ("video_preprocessor_config.json", {}),
        ("processor_config.json", {}),
        ("config.json", {"model_type": "qwen3_5", "vision_config": {"spatial_merge_size": 4}}),
        ("config.json", {"model_type": "qwen3_5", "text_config": {"rms_norm_eps": 1e-5}}),
        ("params.json", {}),
        ("processing_own.py", 1),
        ("deeper/processing_own.py", 1),
    ],
)
def test_what_prepares_pictures_or_runs_the_tower_matters(tmp_path: Path, file: str, content: object) -> None:
    folder = write_toy(tmp_path / "m")
    before = take(folder).hex
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text(json.dumps(content))
    assert take(folder).hex != before


def test_the_order_and_layout_of_a_config_do_not_matter(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "m", config={"a": 1, "b": [{"c": 2, "d": 3}]})
    before = take(folder).hex
    (folder / "config.json").write_text('{"b": [\n{"d": 3, "c": 2}], "a": 1, "model_type": "qwen3_5"}')
    assert take(folder).hex == before


def test_templates_tokenizers_and_reports_do_not_matter(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "m")
    before = take(folder).hex
    for name in ("chat_template.jinja", "tokenizer.json", "fovea-report.json", "README.md"):
        (folder / name).write_text("{}")
    assert take(folder).hex == before


def test_the_engine_is_a_part_of_it(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "m")
    found = [
        take(folder), take(folder, "bfloat16"), take(folder, "float16"), take(folder, vllm="0.32.0"),
        take(folder, vllm="0.33.0"), take(folder, mm_processor_kwargs="{}"),
    ]  # fmt: skip
    assert found[0] == found[1]
    assert len({each.hex for each in found}) == 5
    assert found[3].parts["engine.vllm"] == "0.32.0"


def test_pruned_videos_depend_on_tokens(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "m")
    before = take(folder, video_pruning_rate="0.5").hex
    flip(folder / "model.safetensors", TEXT["model.language_model.embed_tokens.weight"])
    assert take(folder, video_pruning_rate="0.5").hex != before


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
@pytest.mark.parametrize("content", ["{", "[]", None])
def test_what_cannot_be_read_has_none(tmp_path: Path, name: str, content: str | None) -> None:
    folder = write_toy(tmp_path / "m")
    (folder / name).unlink()
    if content is None:
        (folder / name).symlink_to("gone")
    else:
        (folder / name).write_text(content)
    with pytest.raises(NoFingerprint):
        take(folder)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_code_of_another_repository_has_none(tmp_path: Path, name: str) -> None:
    folder = write_toy(tmp_path / "m")
    for place, told in (("processing.Own", True), ("Org/Name--processing.Own", False)):
        (folder / name).write_text(json.dumps({"auto_map": {"AutoProcessor": place}}))
        if told:
            assert take(folder).hex
        else:
            with pytest.raises(NoFingerprint, match="another repository"):
                take(folder)


def test_what_engines_note_is_called_the_same_by_those_who_write_and_leave_it_out() -> None:
    assert NAME == NOTED
