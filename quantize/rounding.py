"""What quantization does to a weight, simulated: rounded and back again, in the weight's own dtype.

One symmetric scale for each output row, as FP8-dynamic's weights have. `fp8` is compressed-tensors' arithmetic to
the bit (scale = absmax / 448 in the weight's dtype, division in that dtype, float8_e4m3fn); `int8`, `int4` and
`int2` round to nearest, with scales in the weight's dtype.
"""

import torch
from torch import Tensor

BITS = {"fp8": 8, "int8": 8, "int4": 4, "int2": 2}
FP8_MOST = 448.0
SCALE_BYTES = 2


def rounded(weight: Tensor, scheme: str) -> Tensor:
    """`weight` [rows, ...] of any float dtype, through `scheme` and back; same shape and dtype."""
    rows = weight.reshape(weight.shape[0], -1)
    most = FP8_MOST if scheme == "fp8" else float(2 ** (BITS[scheme] - 1) - 1)
    scale = rows.abs().amax(dim=1, keepdim=True).float() / most
    scale = scale.to(weight.dtype)
    scale = torch.where(scale == 0, torch.finfo(weight.dtype).eps, scale)
    scaled = rows / scale
    if scheme == "fp8":
        codes = scaled.clamp(-most, most).to(torch.float8_e4m3fn).to(weight.dtype)
    else:
        codes = scaled.float().round().clamp(-most - 1, most).to(weight.dtype)
    return (codes * scale).reshape(weight.shape)


def stored_bytes(shape: tuple[int, ...], scheme: str) -> int:
    """What the codes and their scales would take on disk."""
    count = 1
    for side in shape:
        count *= side
    return count * BITS[scheme] // 8 + shape[0] * SCALE_BYTES
