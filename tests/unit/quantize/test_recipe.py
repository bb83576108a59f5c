from pathlib import Path

import pytest

from quantize.errors import RecipeError
from quantize.recipe import parse_recipe, read_recipe


def test_the_bundled_recipe_is_the_published_one() -> None:
    recipe = read_recipe("fp8-dynamic")
    assert (recipe.scheme, recipe.targets) == ("FP8_DYNAMIC", ("Linear",))
    assert recipe.ignore == ("re:.*lm_head", "re:.*visual.*", "re:.*linear_attn.*")


@pytest.mark.parametrize(
    ("tensor", "kept"),
    [
        ("model.visual.blocks.0.attn.qkv.weight", True),
        ("model.visual.merger.linear_fc1.weight", True),
        ("lm_head.weight", True),
        ("model.language_model.layers.0.linear_attn.in_proj_qkv.weight", True),
        ("model.language_model.layers.0.mlp.up_proj.weight", False),
        ("model.language_model.layers.3.self_attn.q_proj.weight", False),
    ],
)
def test_what_it_keeps(tensor: str, kept: bool) -> None:
    assert read_recipe("fp8-dynamic").keeps(tensor) is kept


@pytest.mark.parametrize(
    "content",
    [
        None,
        {},
        {"name": "x", "scheme": "W2A2", "targets": ["Linear"], "ignore": []},
        {"name": "x", "scheme": "FP8_DYNAMIC", "targets": "Linear", "ignore": []},
        {"name": "x", "scheme": "FP8_DYNAMIC", "targets": ["Linear"], "ignore": ["lm_head"]},
        {"name": "x", "scheme": "FP8_DYNAMIC", "targets": ["Linear"], "ignore": ["re:("]},
    ],
)
def test_a_wrong_recipe_is_refused_by_name(content: object) -> None:
    with pytest.raises(RecipeError, match=r"mine\.yaml"):
        parse_recipe(content, "mine.yaml")


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(RecipeError, match="bundled are fp8-dynamic"):
        read_recipe("int3")


def test_a_file_of_ones_own_is_read(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("{name: own, scheme: FP8_DYNAMIC, targets: [Linear], ignore: ['re:.*head']}")
    assert read_recipe(str(path)).name == "own"
