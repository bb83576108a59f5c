"""FP8-dynamic's arithmetic on NumPy arrays, bit for bit llm-compressor's: one scale a row, E4M3 codes.

For a weight matrix in BF16 or FP16: scale = absmax / 448, rounded to the weight's type (its machine epsilon where
that is 0); code = float8_e4m3fn(clamp(w / scale rounded to the weight's type, -448, 448)), every rounding to
nearest even. Source: compressed-tensors 0.19, `calculate_qparams` and `quantize`. A quotient has 16 bits once
rounded, so its code is looked up.
"""

import math
from functools import cache
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint16]
Floats = NDArray[np.float32]
Number = TypeVar("Number", bound=np.generic)
MOST = np.float32(448)
ROWS_ELEMENTS = 1 << 17  # of a matrix at once, so that all of it stays in the CPU's cache
INFINITY = {"BF16": 0x7F80, "F16": 0x7C00}
EPSILON = {"BF16": 0x3C00, "F16": 0x1400}
NAN_CODE = 0x7F


class NotFinite(ValueError):
    """A matrix holds NaN or infinity."""


class Workspace:
    """Arrays that are used again and again, by one thread: fresh memory costs more than the arithmetic."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[np.generic]] = {}

    def array(self, name: str, dtype: type[Number], shape: tuple[int, ...]) -> NDArray[Number]:
        """Of any content; valid until the same name is asked for again."""
        count = math.prod(shape)
        have = self._arrays.get(name)
        if have is None or have.size < count:
            have = self._arrays[name] = np.empty(count, dtype)
        return cast(NDArray[Number], have[:count].reshape(shape))


def quantize_rows(weights: Words, dtype: str, space: Workspace) -> tuple[NDArray[np.uint8], Words]:
    """Codes uint8 [rows, columns] and scales [rows, 1] for `weights` [rows, columns], in arrays of `space`.

    Weights and scales are the bits of `dtype`, "BF16" or "F16". Raises NotFinite.
    """
    codes = space.array("codes", np.uint8, weights.shape)
    step = max(1, ROWS_ELEMENTS // max(1, weights.shape[1]))
    blocks = [slice(start, start + step) for start in range(0, len(weights), step)]
    largest = space.array("largest", np.uint16, (len(weights), 1))
    for rows in blocks:
        # The bits of a float without its sign sort as its magnitude does.
        sizes = np.bitwise_and(weights[rows], 0x7FFF, out=space.array("sizes", np.uint16, weights[rows].shape))
        sizes.max(axis=1, keepdims=True, initial=0, out=largest[rows])
    scales = make_scales(largest, dtype)
    divisors = widen(scales, dtype)
    for rows in blocks:
        encode(weights[rows], divisors[rows], dtype, codes[rows], space)
    return codes, scales


def dequantize_rows(codes: NDArray[np.uint8], scales: Words, dtype: str) -> Floats:
    """What FP8 codes and their scales stand for, float32 [rows, columns]."""
    values = _values()[codes]
    values *= widen(scales, dtype)
    return values


def make_scales(largest: Words, dtype: str) -> Words:
    """One for each row's largest magnitude. Raises NotFinite."""
    if (largest >= INFINITY[dtype]).any():
        raise NotFinite
    scales = narrow(widen(largest, dtype) / MOST, dtype, Workspace())
    scales[scales == 0] = EPSILON[dtype]
    return scales


def encode(weights: Words, divisors: Floats, dtype: str, out: NDArray[np.uint8], space: Workspace) -> None:
    """Codes of weights [rows, columns] by their rows' scales, float32 [rows, 1]."""
    quotients = widen(weights, dtype, space.array("quotients", np.float32, weights.shape))
    np.divide(quotients, divisors, out=quotients)
    places = space.array("places", np.intp, weights.shape)
    np.copyto(places, narrow(quotients, dtype, space))
    np.take(_table(dtype), places, out=out, mode="clip")


def widen(bits: Words, dtype: str, out: Floats | None = None) -> Floats:
    """16-bit floats as FP32: the same values."""
    if out is None:
        out = np.empty(bits.shape, np.float32)
    if dtype == "F16":
        np.copyto(out, bits.view(np.float16))
    else:
        wide = out.view(np.uint32)
        np.copyto(wide, bits)
        np.left_shift(wide, 16, out=wide)
    return out


def narrow(values: Floats, dtype: str, space: Workspace) -> Words:
    """FP32 (finite; destroyed) as 16-bit floats, rounded to nearest even, in an array of `space`."""
    out = space.array("narrow", np.uint16, values.shape)
    if dtype == "F16":
        with np.errstate(over="ignore"):  # beyond FP16 is infinity, and is clamped like it
            np.copyto(out.view(np.float16), values, casting="same_kind")
        return out
    bits = values.view(np.uint32)
    odd = space.array("odd", np.uint32, values.shape)
    np.right_shift(bits, 16, out=odd)
    np.bitwise_and(odd, 1, out=odd)
    np.add(odd, 0x7FFF, out=odd)
    np.add(bits, odd, out=bits)
    np.right_shift(bits, 16, out=bits)
    np.copyto(out, bits, casting="same_kind")
    return out


@cache
def _table(dtype: str) -> NDArray[np.uint8]:
    """The code of each of the 65,536 values of a 16-bit type."""
    with np.errstate(invalid="ignore"):
        return encode_e4m3(widen(np.arange(1 << 16, dtype=np.uint16), dtype))


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
