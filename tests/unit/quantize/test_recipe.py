from pathlib import Path

import pytest

from quantize.errors import RecipeError
from quantize.recipe import Recipe, bundled_names, read_recipe, recorded_recipe


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("fp8-dynamic", set()),
        ("fp8-dynamic-balanced", {"linear-attention"}),
        ("fp8-dynamic-compact", {"linear-attention", "lm_head"}),
    ],
)
def test_the_bundled_recipes_quantize_more_and_more_of_the_language_model(name: str, more: set[str]) -> None:
    recipe = read_recipe(name)
    assert (recipe.name, recipe.scheme) == (name, "FP8_DYNAMIC")
    assert set(recipe.quantize) == {"self-attention", "mlp"} | more


@pytest.mark.parametrize(
    ("name", "scheme", "method", "smoothing"),
    [("w8a8-int8", "W8A8", "gptq", 0.8), ("w4a16", "W4A16", "gptq", None), ("w4a16-awq", "W4A16", "awq", None)],
)
def test_the_bundled_calibrated_recipes(name: str, scheme: str, method: str, smoothing: float | None) -> None:
    recipe = read_recipe(name)
    assert (recipe.name, recipe.scheme, recipe.method, recipe.smoothing) == (name, scheme, method, smoothing)
    assert recipe.calibrated
    assert recipe.rescales == (name != "w4a16")
    assert recipe.quantize == ("self-attention", "mlp")


def test_sight_at_4_bits_is_refused_and_at_8_is_not() -> None:
    for parts, named in ((("vision",), "vision"), (("mlp", "vision", "connector"), "vision and connector")):
        with pytest.raises(RecipeError, match=f"x cuts {named} to 4 bits: .* --i-know does it anyway"):
            Recipe(name="x", scheme="W4A16", quantize=parts).check_sight()
        Recipe(name="x", scheme="W8A8", quantize=parts).check_sight()
    read_recipe("w4a16").check_sight()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "valid dictionary"),
        ("{}", "name"),
        ("{name: x, scheme: W2A2, quantize: [mlp]}", "scheme"),
        ("{name: x, scheme: FP8_DYNAMIC, quantize: []}", "quantize"),
        ("{name: x, scheme: FP8_DYNAMIC, quantize: [brain]}", "quantize.0"),
        ("{name: x, scheme: FP8_DYNAMIC, quantize: [mlp], ignore: [lm_head]}", "must be a regex"),
        ("{name: x, scheme: FP8_DYNAMIC, quantize: [mlp], ignore: ['re:(']}", "is not a regex"),
        ("{name: x, scheme: FP8_DYNAMIC, quantize: [mlp], targets: [Linear]}", "targets"),
        ("{name: x, scheme: FP8_DYNAMIC, quantize: [mlp, embeddings]}", "embeddings cannot be quantized"),
        ("{name: x, scheme: FP8_DYNAMIC, quantize: [mlp], method: gptq}", "neither method nor smoothing"),
        ("{name: x, scheme: FP8_DYNAMIC, quantize: [mlp], smoothing: 0.5}", "neither method nor smoothing"),
        ("{name: x, scheme: W4A16, quantize: [mlp], smoothing: 0.5}", "smoothing is for W8A8"),
        ("{name: x, scheme: W8A8, quantize: [mlp], method: awq}", "method awq is for W4A16"),
        ("{name: x, scheme: W8A8, quantize: [mlp], smoothing: 1.5}", "smoothing"),
        ("{name: x, scheme: W4A16, quantize: [mlp], group_size: 48}", "group_size"),
        ("{name: ../x, scheme: FP8_DYNAMIC, quantize: [mlp]}", "name"),
    ],
)
def test_a_wrong_recipe_is_refused_by_name(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(RecipeError, match=rf"mine\.yaml: .*{said}"):
        read_recipe(str(path))


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(RecipeError, match=f"bundled are {', '.join(bundled_names())}"):
        read_recipe("int3")


def test_a_recipe_of_ones_own_keeps_what_its_regexes_name(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("{name: own, scheme: FP8_DYNAMIC, quantize: [mlp], ignore: ['re:.*layers\\.0\\..*']}")
    recipe = read_recipe(str(path))
    assert recipe.ignored_by("model.layers.0.mlp.up_proj.weight") == r"re:.*layers\.0\..*"
    assert recipe.ignored_by("model.layers.10.mlp.up_proj.weight") is None


def test_a_checkpoint_says_which_recipe_made_it() -> None:
    recipe = read_recipe("fp8-dynamic")
    assert recorded_recipe({"quantize": {"recipe": recipe.model_dump(mode="json")}}, Path("out")) == recipe
    for report in ({}, {"quantize": []}, {"quantize": {"recipe": {"name": "x"}}}):
        with pytest.raises(RecipeError, match="name --recipe"):
            recorded_recipe(report, Path("out"))
