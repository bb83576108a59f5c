"""INT8 and 4-bit codes with their scales against the weights that they were made from, a few rows at a time.

Calibrated codes cannot be made again from the weights alone: here is measured how far they are from these. Where a
norm was rescaled, its weights before and after say what each column of its readers was multiplied with.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from quantize import fp8
from quantize.checkpoint import StoredTensor
from quantize.findings import Quantized
from quantize.recipe import Scheme
from quantize.stream import in_chunks, read_into, read_rows
from quantize.weights_file import CODES_PER_WORD, PACKED, SCALE, SCALE_BYTES, SHAPE, Output

# A matrix that is further off than this is another matrix: the worst of the demo model are 1.6 and 23 % away.
MOST_ERROR: dict[Scheme, float] = {"W8A8": 0.05, "W4A16": 0.35}
LARGEST: dict[Scheme, int] = {"W8A8": 127, "W4A16": 7}


def compare(
    source: StoredTensor,
    output: Output,
    after: Mapping[str, StoredTensor],
    scheme: Scheme,
    factors: fp8.Floats | None,
) -> Quantized:
    """Measure one matrix; `factors` [columns] is what its columns were multiplied with. Raises DamagedShard."""
    space = fp8.Workspace()
    packed = scheme == "W4A16"
    codes = after[output.name]
    base = output.name.removesuffix(PACKED)
    scales = after[base + SCALE]
    rows, columns = output.shape[0], output.shape[1] * (CODES_PER_WORD if packed else 1)
    squares = errors = 0.0
    saturated = zero_rows = unusable = 0
    for chunk in in_chunks(replace(output, shape=(rows, columns)), source, 0, 0):
        weights = fp8.widen(read_rows(chunk, space), chunk.dtype)
        count = len(weights)
        first = chunk.scales_at // SCALE_BYTES
        raw = np.empty(count * codes.size // rows, np.uint8)
        read_into(codes.file, codes.start + first * codes.size // rows, raw)
        there = unpack(raw, (count, columns)) if packed else raw.view(np.int8).reshape(count, columns)
        words = np.empty(count * scales.shape[1], np.uint16)
        read_into(scales.file, scales.start + first * scales.size // rows, words)
        scale = fp8.widen(words, scales.dtype).reshape(count, -1)
        usable = np.isfinite(scale) & (scale > 0)
        unusable += int(np.count_nonzero(~usable))
        saturated += int(np.count_nonzero(np.abs(there.astype(np.int16)) >= LARGEST[scheme]))
        zero_rows += int(np.count_nonzero(~there.any(axis=1) & weights.any(axis=1)))
        values = there.astype(np.float32)
        values *= np.repeat(np.where(usable, scale, 0), columns // scale.shape[1], axis=1)
        if factors is not None:
            values /= factors
        squares += float(np.vdot(weights, weights))
        weights -= values
        errors += float(np.vdot(weights, weights))
    error = math.sqrt(errors / squares) if squares else 0.0
    wrong_shape = packed and read_shape(after[base + SHAPE]) != (rows, columns)
    return Quantized(
        output.name,
        error,
        saturated,
        zero_rows=zero_rows,
        unusable_scales=unusable,
        other_shape=wrong_shape,
        too_far=not error <= MOST_ERROR[scheme],
    )


def unpack(words: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.int8]:
    """int8 [rows, columns] in -8..7: eight of a row in every little-endian 32-bit word, the first in its lowest
    bits, 8 added (compressed-tensors, `pack_to_int32`)."""
    halves = np.stack([words & 15, words >> 4], axis=-1)
    return (halves.astype(np.int8) - np.int8(8)).reshape(shape)


def column_factors(before: StoredTensor, after: StoredTensor, offset: int) -> fp8.Floats:
    """What a norm's readers were multiplied with: what it gave before over what it gives now, float32 [columns]."""
    given, gives = (
        fp8.widen(np.frombuffer(tensor.read(), np.uint16), tensor.dtype) + np.float32(offset)
        for tensor in (before, after)
    )
    factors = np.ones_like(given)
    np.divide(given, gives, out=factors, where=gives != 0)
    return factors


def read_shape(tensor: StoredTensor) -> tuple[int, ...]:
    return tuple(np.frombuffer(tensor.read(), "<i8").tolist())
