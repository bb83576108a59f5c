"""FP8 codes and scales against the weights that they were made from, a few rows at a time."""

import math

import numpy as np

from quantize import fp8
from quantize.checkpoint import StoredTensor
from quantize.findings import Quantized
from quantize.stream import in_chunks, read_into, read_rows
from quantize.weights_file import Output

MOST_CODE = 0x7E  # 448
SAMPLED = 16  # the error is measured on every 16th row of a chunk


def compare(source: StoredTensor, output: Output, codes: StoredTensor, scales: StoredTensor) -> Quantized:
    """Recompute one matrix and measure what is there. Raises DamagedShard."""
    space = fp8.Workspace()
    squares = errors = 0.0
    saturated = nan = zero_rows = other_codes = other_scales = 0
    for rows in in_chunks(output, source, 0, 0):
        weights = read_rows(rows, space)
        there = space.array("there", np.uint8, rows.shape)
        read_into(codes.file, codes.start + rows.codes_at, there.reshape(-1))
        scale = space.array("scale", np.uint16, (len(weights), 1))
        read_into(scales.file, scales.start + rows.scales_at, scale.reshape(-1))
        wanted, wanted_scale = fp8.quantize_rows(weights, rows.dtype, space)
        sizes = np.bitwise_and(there, 0x7F, out=space.array("sizes of codes", np.uint8, rows.shape))
        saturated += int(np.count_nonzero(sizes == MOST_CODE))
        other_scales += int(np.count_nonzero(scale != wanted_scale))
        if not np.array_equal(there, wanted):  # else none can be NaN, and no row zero
            other_codes += int(np.count_nonzero(there != wanted))
            nan += int(np.count_nonzero(sizes == fp8.NAN_CODE))
            lost = ~sizes.any(axis=1) & (weights & 0x7FFF).any(axis=1)
            zero_rows += int(np.count_nonzero(lost))
        exact = fp8.widen(weights[::SAMPLED], rows.dtype)
        squares += float(np.vdot(exact, exact))
        exact -= fp8.dequantize_rows(there[::SAMPLED], scale[::SAMPLED], rows.dtype)
        errors += float(np.vdot(exact, exact))
    error = math.sqrt(errors / squares) if squares else 0.0
    return Quantized(output.name, error, saturated, nan, zero_rows, other_codes, other_scales)
