"""FP8-dynamic's products on torch: weights with one scale a row, activations rounded token by token, E4M3 by E4M3.

As vLLM's CUTLASS kernels do it (W8A8), through `torch._scaled_mm`: on Hopper that is a tensor-core kernel as
well, but not the same one.
"""

from dataclasses import dataclass
from typing import Any

import torch

MOST = 448.0
LEAST = 1e-12
E4M3 = torch.float8_e4m3fn


@dataclass(frozen=True, slots=True)
class Rounded:
    """E4M3 codes [rows, columns] and the FP32 scale of each row [rows, 1]."""

    codes: Any
    scales: Any

    def widened(self) -> Any:
        return self.codes.float() * self.scales


def round_rows(values: Any) -> Rounded:
    """BF16 [rows, columns], one scale a row: in one Triton kernel on a GPU, by several torch operators on a CPU."""
    if values.is_cuda:
        from loadtest.gpu.rows_kernel import round_rows_on_gpu

        return Rounded(*round_rows_on_gpu(values))
    return round_rows_plainly(values)


def round_rows_plainly(values: Any) -> Rounded:
    wide = values.float()
    scales = wide.abs().amax(dim=1, keepdim=True).clamp(min=LEAST) / MOST
    return Rounded((wide / scales).clamp(-MOST, MOST).to(E4M3), scales)


def multiply(inputs: Rounded, weights: Rounded) -> Any:
    """BF16 [rows of inputs, rows of weights]: inputs times transposed weights."""
    return torch._scaled_mm(
        inputs.codes,
        weights.codes.t(),
        scale_a=inputs.scales,
        scale_b=weights.scales.t(),
        out_dtype=torch.bfloat16,
        use_fast_accum=True,
    )


def relative_error(found: Any, wanted: Any) -> float:
    """||found - wanted|| / ||wanted||; NaN where there is one."""
    return float((found.float() - wanted).norm() / wanted.norm())
