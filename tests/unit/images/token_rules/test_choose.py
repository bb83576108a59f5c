import json
from pathlib import Path
from typing import Any

import pytest

from server.errors import ConfigError
from server.images.token_rules.choose import FAMILIES, read_rule
from server.images.token_rules.gemma import GemmaTokenRule
from server.images.token_rules.internvl import InternVLTokenRule
from server.images.token_rules.llava import LlavaTokenRule
from server.images.token_rules.pixtral import PixtralTokenRule
from server.images.token_rules.qwen import QwenTokenRule
from server.token_rule import prompt_tokens

QWEN = {"patch_size": 16, "merge_size": 2, "size": {"shortest_edge": 65536, "longest_edge": 16777216}}
QWEN35 = QwenTokenRule(patch=16, merge=2, min_pixels=65536, max_pixels=16777216)
CLIP = {"crop_size": {"height": 336, "width": 336}}


def checkpoint(folder: Path, **files: dict[str, Any]) -> Path:
    names = {"images": "preprocessor_config.json", "processor": "processor_config.json", "model": "config.json"}
    for name, content in files.items():
        (folder / names[name]).write_text(json.dumps(content))
    return folder


def test_a_folder_and_the_file_in_it_are_the_same(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, images=QWEN, model={"model_type": "qwen3_5"})
    assert read_rule(folder) == read_rule(folder / "preprocessor_config.json") == QWEN35


def test_a_file_of_the_qwen_kind_needs_no_name(tmp_path: Path) -> None:
    assert read_rule(checkpoint(tmp_path, images=QWEN)) == QWEN35


def test_the_preprocessors_own_name_is_enough(tmp_path: Path) -> None:
    images = {"image_processor_type": "Gemma3ImageProcessorFast"}
    assert read_rule(checkpoint(tmp_path, images=images)) == GemmaTokenRule(256)


def test_a_processor_in_one_file_is_read(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, processor={"image_processor": QWEN}, model={"model_type": "qwen3_vl"})
    assert read_rule(folder) == QWEN35


def test_pixtral_is_a_llava_with_another_tower(tmp_path: Path) -> None:
    model = {"model_type": "llava", "vision_config": {"model_type": "pixtral", "patch_size": 16}}
    images = {"size": {"longest_edge": 1024}, "patch_size": {"height": 16, "width": 16}}
    assert read_rule(checkpoint(tmp_path, images=images, model=model)) == PixtralTokenRule(16, 1024)


def test_what_the_processor_does_not_say_is_taken_from_the_model(tmp_path: Path) -> None:
    model = {"model_type": "llava", "vision_config": {"patch_size": 14}}
    assert read_rule(checkpoint(tmp_path, images=CLIP, model=model)) == LlavaTokenRule(576)


def test_internvl_as_its_authors_write_it(tmp_path: Path) -> None:
    model = {
        "model_type": "internvl_chat", "force_image_size": 448, "downsample_ratio": 0.5, "max_dynamic_patch": 6,
        "dynamic_image_size": True, "use_thumbnail": True, "vision_config": {"patch_size": 14},
    }  # fmt: skip
    rule = read_rule(checkpoint(tmp_path, images={}, model=model))
    assert rule == InternVLTokenRule((448, 448), 256, 1, 6)
    assert rule is not None
    assert [prompt_tokens(rule, *size) for size in ((448, 448), (900, 450))] == [258, 770]


@pytest.mark.parametrize(
    "files",
    [
        {"images": {"image_processor_type": "ViTImageProcessor"}},
        {"images": {}, "model": {"model_type": "bert"}},
        {"images": {}, "model": {"model_type": "mllama"}},
    ],
)
def test_a_family_that_is_not_known_has_no_rule(tmp_path: Path, files: dict[str, Any]) -> None:
    assert read_rule(checkpoint(tmp_path, **files)) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"patch_size": 16}', "[" * 100_000])
def test_a_file_that_is_no_preprocessors_stops_the_start(tmp_path: Path, content: str) -> None:
    path = tmp_path / "preprocessor_config.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"not a (preprocessor )?configuration|not JSON"):
        read_rule(path)


def test_a_missing_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        read_rule(tmp_path / "none.json")
    with pytest.raises(ConfigError, match="cannot read"):
        read_rule(tmp_path)


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - {"gemma3", "idefics3", "smolvlm", "mistral3"}))
@pytest.mark.parametrize("images", [{}, {"patch_size": "x", "merge_size": 0, "size": {"height": -1, "width": 9}}])
def test_a_family_without_its_numbers_stops_the_start(tmp_path: Path, family: str, images: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"is missing|cannot be"):
        read_rule(checkpoint(tmp_path, images=images, model={"model_type": family}))


def test_more_tiles_than_are_counted_stop_the_start(tmp_path: Path) -> None:
    images = {"size": {"height": 448, "width": 448}, "max_patches": 100_000}
    with pytest.raises(ConfigError, match="more than is counted"):
        read_rule(checkpoint(tmp_path, images=images, model={"model_type": "internvl"}))
