"""FP8 codes and scales against the weights that they were made from, a few rows at a time."""

import math

import numpy as np

from quantize import fp8
from quantize.checkpoint import StoredTensor
from quantize.findings import Quantized
from quantize.stream import in_chunks, read_rows
from quantize.weights_file import Output

MOST_CODE = 0x7E  # 448


def compare(source: StoredTensor, output: Output, codes: StoredTensor, scales: StoredTensor) -> Quantized:
    """Recompute one matrix and measure what is there. Raises DamagedShard."""
    squares = errors = 0.0
    saturated = nan = zero_rows = other_codes = other_scales = 0
    for rows in in_chunks(output, source, 0, 0):
        weights = read_rows(rows)
        there = np.frombuffer(codes.read(rows.codes_at, weights.size), np.uint8).reshape(rows.shape)
        scale = np.frombuffer(scales.read(rows.scales_at, len(weights) * 2), np.uint16).reshape(-1, 1)
        wanted, wanted_scale = fp8.quantize_rows(weights, rows.dtype)
        other_codes += int((there != wanted).sum())
        other_scales += int((scale != wanted_scale).sum())
        magnitude = there & 0x7F
        saturated += int((magnitude == MOST_CODE).sum())
        nan += int((magnitude == fp8.NAN_CODE).sum())
        zero_rows += int(((magnitude == 0).all(axis=1) & (weights & 0x7FFF).any(axis=1)).sum())
        exact = fp8.HALVES[rows.dtype].widen(weights)
        difference = exact - fp8.dequantize_rows(there, scale, rows.dtype)
        squares += float(np.vdot(exact, exact))
        errors += float(np.vdot(difference, difference))
    error = math.sqrt(errors / squares) if squares else 0.0
    return Quantized(output.name, error, saturated, nan, zero_rows, other_codes, other_scales)
