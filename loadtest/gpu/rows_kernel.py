"""Rounds activations to E4M3 token by token, in one Triton kernel: imported where there is a GPU."""

from typing import Any

import torch
import triton
import triton.language as tl


@triton.jit
def _round_row(values, codes, scales, columns, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """One program a row: its largest magnitude over 448 is the scale, everything else is divided by it."""
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    inside = at < columns
    wide = tl.load(values + row * columns + at, mask=inside, other=0.0).to(tl.float32)
    scale = tl.maximum(tl.max(tl.abs(wide), axis=0), 1e-12) / 448.0
    rounded = tl.minimum(tl.maximum(wide / scale, -448.0), 448.0)
    tl.store(codes + row * columns + at, rounded.to(tl.float8e4nv), mask=inside)
    tl.store(scales + row, scale)


def round_rows_on_gpu(values: Any) -> tuple[Any, Any]:
    """Contiguous [rows, columns]: its codes, and FP32 scales [rows, 1]."""
    rows, columns = values.shape
    codes = torch.empty_like(values, dtype=torch.float8_e4m3fn)
    scales = torch.empty((rows, 1), dtype=torch.float32, device=values.device)
    _round_row[(rows,)](values, codes, scales, columns, BLOCK=triton.next_power_of_2(columns), num_warps=8)
    return codes, scales
