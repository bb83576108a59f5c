"""The arithmetic against plain Python: floats of 16 bits by `struct`, codes by looking for the nearest."""

import math
import struct

import numpy as np
import pytest

from quantize import fp8
from tests.unit.quantize.checkpoints import weights


def value_of(code: int) -> float:
    exponent, mantissa = (code >> 3) & 15, code & 7
    size = mantissa * 2.0**-9 if exponent == 0 else (8 + mantissa) * 2.0 ** (exponent - 10)
    return math.copysign(size, -1 if code & 0x80 else 1)


def nearest_code(value: float) -> int:
    """By distance; of two as near, the even one."""
    candidates = list(range(0x7F))
    size = min(abs(value), 448.0)
    best = min(candidates, key=lambda code: (abs(value_of(code) - size), code & 1))
    return best | (0x80 if math.copysign(1, value) < 0 else 0)


def widen(bits: int, dtype: str) -> float:
    if dtype == "F16":
        return float(struct.unpack("<e", struct.pack("<H", bits))[0])
    return float(struct.unpack("<f", struct.pack("<I", bits << 16))[0])


def as_rows(dtype: str, spread: float, rows: int = 7, columns: int = 33) -> fp8.Words:
    _, shape, data = weights(f"{dtype} {spread}", rows, columns, dtype=dtype, spread=spread)
    return np.frombuffer(data, np.uint16).reshape(shape).copy()


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
def test_every_16_bit_value_gets_its_nearest_code(dtype: str) -> None:
    every = [bits for bits in range(0, 1 << 16, 7) if math.isfinite(widen(bits, dtype))]
    codes = fp8.encode_e4m3(np.array([widen(bits, dtype) for bits in every], np.float32))
    assert codes.tolist() == [nearest_code(widen(bits, dtype)) for bits in every]


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
@pytest.mark.parametrize("spread", [1e-4, 0.02, 3.0])
def test_a_rows_largest_weight_becomes_448_or_its_neighbour(dtype: str, spread: float) -> None:
    codes, scales = fp8.quantize_rows(as_rows(dtype, spread), dtype, fp8.Workspace())
    assert set((codes & 0x7F).max(axis=1).tolist()) <= {0x7D, 0x7E}
    restored = fp8.dequantize_rows(codes, scales, dtype)
    exact = fp8.widen(as_rows(dtype, spread), dtype)
    step = np.maximum(np.abs(exact) / 16, fp8.widen(scales, dtype) * 2**-10)
    assert (np.abs(restored - exact) <= step * 1.1).all()


def test_scales_are_rounded_to_the_weights_type() -> None:
    rows = as_rows("BF16", 0.02)
    _, scales = fp8.quantize_rows(rows, "BF16", fp8.Workspace())
    for row, scale in zip(rows, scales[:, 0], strict=True):
        largest = max(abs(widen(int(bits), "BF16")) for bits in row)
        below, above = widen(int(scale) - 1, "BF16"), widen(int(scale) + 1, "BF16")
        assert abs(widen(int(scale), "BF16") - largest / 448) <= min(
            abs(below - largest / 448), abs(above - largest / 448)
        )


@pytest.mark.parametrize(("dtype", "epsilon"), [("BF16", 2.0**-7), ("F16", 2.0**-10)])
def test_a_row_of_zeros_has_the_types_epsilon_for_a_scale(dtype: str, epsilon: float) -> None:
    codes, scales = fp8.quantize_rows(np.zeros((2, 5), np.uint16), dtype, fp8.Workspace())
    assert (codes.any(), [widen(int(scale), dtype) for scale in scales[:, 0]]) == (False, [epsilon, epsilon])


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_refused(dtype: str, bad: float) -> None:
    rows = as_rows(dtype, 0.02)
    rows[3, 3] = {("BF16", True): 0x7FC0, ("F16", True): 0x7E00, ("BF16", False): 0xFF80, ("F16", False): 0xFC00}[
        dtype, math.isnan(bad)
    ]
    with pytest.raises(fp8.NotFinite):
        fp8.quantize_rows(rows, dtype, fp8.Workspace())


def test_rows_do_not_depend_on_how_many_are_done_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = as_rows("BF16", 0.02, rows=50)
    codes, scales = fp8.quantize_rows(rows, "BF16", fp8.Workspace())
    monkeypatch.setattr(fp8, "ROWS_ELEMENTS", 40)
    one_by_one = fp8.quantize_rows(rows, "BF16", fp8.Workspace())
    assert (codes == one_by_one[0]).all()
    assert (scales == one_by_one[1]).all()


def test_the_source_is_left_as_it_was() -> None:
    rows = as_rows("F16", 0.02)
    before = rows.copy()
    fp8.quantize_rows(rows, "F16", fp8.Workspace())
    assert (rows == before).all()
