"""Every rule of image tokens against its model's own processor, as transformers has it."""

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from server.engine.vllm_build import find_python
from server.images.token_rules.choose import FAMILIES, read_rule
from server.token_rule import TokenRule
from tests.conftest import ROOT

NAMES = (
    "gemma3", "idefics3", "internvl", "llava", "llava_next", "llava_siglip", "mistral3", "pixtral", "qwen2_5_vl",
    "qwen2_vl", "qwen3_5", "qwen3_vl", "smolvlm",
)  # fmt: skip
# What InternVL's processor counts has the markers in it.
MARKED = {"internvl"}
AT_LIMITS = [
    [1, 1], [28, 28], [32, 32], [256, 256], [255, 257], [1024, 1024], [1025, 1024], [1540, 1540], [1541, 10],
    [364, 364], [365, 364], [512, 513], [4096, 4096], [4096, 21], [8000, 8000], [16, 3000], [3000, 16], [336, 672],
    [100, 20_000], [448, 896], [896, 448], [176, 176], [177, 176],
]  # fmt: skip


def some_sizes() -> list[list[int]]:
    """(width, height), the first few of which the processors really make pixels of."""
    chance = random.Random(7)
    drawn = [[chance.randint(20, 3000), chance.randint(20, 3000)] for _ in range(200)]
    return [[448, 448], [640, 480], [150, 900], [901, 333], *AT_LIMITS, *drawn]


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Where the checkpoints' files are, and what each processor counts."""
    folder = tmp_path_factory.mktemp("processors")
    found = subprocess.run(
        [find_python({}), "-m", "tests.e2e.count_image_tokens", folder],
        input=json.dumps(some_sizes()).encode(),
        env={"PYTHONPATH": f"{ROOT / 'server/engine/startup'}:{ROOT}", "HF_HUB_OFFLINE": "1"},
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
    )
    return folder, json.loads(found.stdout)


def rule_of(path: Path) -> TokenRule:
    rule = read_rule(path)
    assert rule is not None
    return rule


def test_every_family_is_compared(counted: tuple[Path, dict[str, Any]]) -> None:
    folder, found = counted
    assert sorted(found) == sorted(NAMES)
    compared = {json.loads((folder / name / "config.json").read_text())["model_type"] for name in NAMES}
    # The other spellings of these; internvl_chat has no processor of transformers'.
    assert FAMILIES.keys() - compared == {"qwen3_vl", "qwen3_5_moe", "internvl_chat"}


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_counts_what_the_models_own_processor_does(counted: tuple[Path, dict[str, Any]], name: str) -> None:
    folder, found = counted
    rule = rule_of(folder / name)
    more = rule.markers if name in MARKED else 0
    theirs = dict(zip(map(tuple, some_sizes()), found[name]["counted"], strict=True))
    ours = {(width, height): rule.tokens(width, height) + more for width, height in some_sizes()}
    assert {size: (ours[size], theirs[size]) for size in ours if ours[size] != theirs[size]} == {}
    assert found[name]["made"] == found[name]["counted"][: len(found[name]["made"])]


def test_some_processors_were_asked_for_pixels(counted: tuple[Path, dict[str, Any]]) -> None:
    assert sum(bool(found["made"]) for found in counted[1].values()) >= 8


@pytest.mark.parametrize("name", ["gemma3", "internvl", "llava_next", "pixtral", "qwen3_5"])
def test_a_preprocessors_file_alone_is_enough_where_its_folder_has_the_rest(
    counted: tuple[Path, dict[str, Any]], name: str
) -> None:
    folder = counted[0] / name
    assert rule_of(folder / "preprocessor_config.json") == rule_of(folder)
