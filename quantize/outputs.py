"""What a scheme makes of one matrix: codes and scales under the names, types and shapes that vLLM loads.

As compressed-tensors 0.17 has them: `float-quantized`, `int-quantized` and `pack-quantized`.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

from quantize.errors import UnsupportedCheckpoint
from quantize.recipe import Recipe
from quantize.weights_file import CODES_PER_WORD, FP8, PACKED, SCALE, SCALE_BYTES, SHAPE, Output


def coded(matrix: Output, recipe: Recipe) -> Iterator[Output]:
    """Of `matrix` [rows, columns], given its own type. Raises UnsupportedCheckpoint."""
    rows, columns = matrix.shape
    if recipe.scheme == "W4A16":
        if columns % recipe.group_size:
            raise UnsupportedCheckpoint(
                f"{matrix.name} has {columns} columns, no multiple of {recipe.name}'s group_size of "
                f"{recipe.group_size}: a recipe of your own can have a smaller one, or ignore it"
            )
        packed = (rows, columns // CODES_PER_WORD)
        yield replace(matrix, name=matrix.name + PACKED, dtype="I32", shape=packed, size=4 * math.prod(packed))
        yield scales_of(matrix, columns // recipe.group_size)
        yield replace(matrix, name=matrix.name + SHAPE, dtype="I64", shape=(2,), size=16, made="shape")
    else:
        yield replace(matrix, dtype=FP8 if recipe.scheme == "FP8_DYNAMIC" else "I8", size=rows * columns)
        yield scales_of(matrix, 1)


def scales_of(matrix: Output, each_row: int) -> Output:
    shape = (matrix.shape[0], each_row)
    return replace(matrix, name=matrix.name + SCALE, shape=shape, size=math.prod(shape) * SCALE_BYTES, made="scale")
