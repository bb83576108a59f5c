"""FP8-dynamic's arithmetic on NumPy arrays, bit for bit llm-compressor's: one scale a row, E4M3 codes.

For a weight matrix in BF16 or FP16: scale = absmax / 448, rounded to the weight's type (its machine epsilon where
that is 0); code = float8_e4m3fn(clamp(w / scale rounded to the weight's type, -448, 448)), every rounding to
nearest even. Source: compressed-tensors 0.19, `calculate_qparams` and `quantize`. A quotient has 16 bits once
rounded, so its code is looked up.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint16]
MOST = np.float32(448)
ROWS_ELEMENTS = 1 << 17  # of a matrix at once, so that all of it stays in the CPU's cache
NAN_CODE = 0x7F


class NotFinite(ValueError):
    """A matrix holds NaN or infinity."""


@dataclass(frozen=True, slots=True)
class Halves:
    """A 16-bit float type: bits to FP32 and back, rounded to nearest even."""

    widen: Callable[[Words], NDArray[np.float32]]
    narrow: Callable[[NDArray[np.float32]], Words]
    infinity: int
    epsilon: int


def quantize_rows(weights: Words, dtype: str) -> tuple[NDArray[np.uint8], Words]:
    """Codes uint8 [rows, columns] and scales [rows, 1] for `weights` [rows, columns].

    Weights and scales are the bits of `dtype`, "BF16" or "F16". Raises NotFinite.
    """
    codes = np.empty(weights.shape, np.uint8)
    scales = np.empty((len(weights), 1), np.uint16)
    step = max(1, ROWS_ELEMENTS // max(1, weights.shape[1]))
    for start in range(0, len(weights), step):
        rows = slice(start, start + step)
        scales[rows] = _scales(weights[rows], HALVES[dtype])
        _encode(weights[rows], scales[rows], dtype, codes[rows])
    return codes, scales


def dequantize_rows(codes: NDArray[np.uint8], scales: Words, dtype: str) -> NDArray[np.float32]:
    """What FP8 codes and their scales stand for, float32 [rows, columns]."""
    values = _values()[codes]
    values *= HALVES[dtype].widen(scales)
    return values


def _scales(weights: Words, halves: Halves) -> Words:
    # The bits of a float without its sign sort as its magnitude does.
    largest = (weights & 0x7FFF).max(axis=1, keepdims=True, initial=0)
    if (largest >= halves.infinity).any():
        raise NotFinite
    scales = halves.narrow(halves.widen(largest) / MOST)
    scales[scales == 0] = halves.epsilon
    return scales


def _encode(weights: Words, scales: Words, dtype: str, out: NDArray[np.uint8]) -> None:
    halves = HALVES[dtype]
    quotients = halves.widen(weights)
    np.divide(quotients, halves.widen(scales), out=quotients)
    np.take(_table(dtype), halves.narrow(quotients), out=out, mode="clip")


def _widen_bf16(bits: Words) -> NDArray[np.float32]:
    wide = bits.astype(np.uint32)
    wide <<= np.uint32(16)
    return wide.view(np.float32)


def _narrow_bf16(values: NDArray[np.float32]) -> Words:
    """Of finite values; destroys them."""
    bits = values.view(np.uint32)
    odd = bits >> np.uint32(16)
    odd &= np.uint32(1)
    odd += np.uint32(0x7FFF)
    bits += odd
    bits >>= np.uint32(16)
    return bits.astype(np.uint16)


def _widen_f16(bits: Words) -> NDArray[np.float32]:
    return bits.view(np.float16).astype(np.float32)


def _narrow_f16(values: NDArray[np.float32]) -> Words:
    with np.errstate(over="ignore"):  # beyond FP16 is infinity, and is clamped like it
        return values.astype(np.float16).view(np.uint16)


HALVES = {
    "BF16": Halves(_widen_bf16, _narrow_bf16, infinity=0x7F80, epsilon=0x3C00),
    "F16": Halves(_widen_f16, _narrow_f16, infinity=0x7C00, epsilon=0x1400),
}


@cache
def _table(dtype: str) -> NDArray[np.uint8]:
    """The code of each of the 65,536 values of a 16-bit type."""
    with np.errstate(invalid="ignore"):
        return encode_e4m3(HALVES[dtype].widen(np.arange(1 << 16, dtype=np.uint16)))


@cache
def _values() -> NDArray[np.float32]:
    """What each of the 256 codes stands for."""
    codes = np.arange(256)
    exponents, mantissas = (codes >> 3) & 15, codes & 7
    sizes = np.where(exponents == 0, np.ldexp(mantissas / 8, -6), np.ldexp(1 + mantissas / 8, exponents - 7))
    sizes[(codes & 0x7F) == NAN_CODE] = np.nan
    return np.where(codes & 0x80, -sizes, sizes).astype(np.float32)


def encode_e4m3(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """float8_e4m3fn of each value, clamped to +-448; NaN stays NaN. (OCP 8-bit Floating Point, rev. 1.0, 5.1)"""
    sizes = np.minimum(np.abs(values.astype(np.float64)), float(MOST))
    exponents = np.where(sizes < 2.0**-6, -6, np.frexp(sizes)[1] - 1)
    steps = np.rint(np.ldexp(sizes, 3 - exponents))  # eighths of the power of two below, 8-16 of them; fewer near 0
    codes = np.where(np.isnan(sizes), NAN_CODE, (exponents + 7) * 8 + np.nan_to_num(steps) - 8).astype(np.uint8)
    return codes | (np.signbit(values).astype(np.uint8) << np.uint8(7))
