import math

from loadtest.gpu.amounts import DRY, FULL
from loadtest.gpu.products import NARROW, list_kinds, list_products
from loadtest.qwen3_5_shapes import QWEN3_5_9B, model_shapes


def test_a_token_meets_every_matrix_of_the_language_model_once() -> None:
    shapes = model_shapes(QWEN3_5_9B)
    wanted = [
        name.removesuffix(".weight")
        for name, shape in shapes.items()
        if len(shape) == 2 and "visual" not in name and "embed_tokens" not in name
    ]
    met = [part for product in list_products(QWEN3_5_9B.layers) for part in product.parts]
    assert sorted(met) == sorted(wanted)


def test_matrices_are_put_together_as_vllm_does() -> None:
    kinds = {kind.name: (kind.rows, kind.columns, kind.times) for kind in list_kinds(QWEN3_5_9B)}
    assert kinds["qkv_proj"] == (8192 + 1024 + 1024, 4096, 8)
    assert kinds["in_proj_qkvz"] == (8192 + 4096, 4096, 24)
    assert kinds[NARROW] == (64, 4096, 24)
    assert kinds["gate_up_proj"] == (2 * 12288, 4096, 32)
    assert kinds["down_proj"] == (4096, 12288, 32)
    assert kinds["lm_head"] == (248320, 4096, 1)


def test_the_kinds_together_are_all_that_is_multiplied_by() -> None:
    shapes = model_shapes(QWEN3_5_9B)
    parts = [part for product in list_products(QWEN3_5_9B.layers) for part in product.parts]
    numbers = sum(math.prod(shapes[f"{part}.weight"]) for part in parts)
    assert sum(kind.rows * kind.columns * kind.times for kind in list_kinds(QWEN3_5_9B)) == numbers


def test_what_is_rounded_has_sides_that_fp8_products_take() -> None:
    for amounts in (FULL, DRY):
        for kind in list_kinds(amounts.sizes):
            if kind.name != NARROW:
                assert (kind.rows % 16, kind.columns % 16) == (0, 0), kind


def test_pictures_have_whole_patches_in_pairs() -> None:
    for amounts in (FULL, DRY):
        assert all(side % 32 == 0 for side in amounts.sides)
