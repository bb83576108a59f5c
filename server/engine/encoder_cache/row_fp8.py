"""Embeddings at half their size: each row (a token's) as FP8 E4M3 codes and one float32 scale. Off by default.

Needs torch. The codes come first, then the scales: `entry.Embedding` of encoding "fp8-row". What it costs is in
docs/operating.md, measured by demo/embeddings_in_fp8.py.
"""

import math
from typing import Any

import torch

from server.engine.encoder_cache.entry import SCALE_BYTES

LARGEST_CODE = 448.0
# Below it a scale would lose bits of its own, and at 0 a row could not be divided by it.
SMALLEST_SCALE = torch.finfo(torch.float32).tiny
# Rows at a time, so that what is made on the way (float32) stays small beside the embedding.
CHUNK_ROWS = 1024


def squeeze(tensor: Any) -> Any | None:
    """uint8 [rows * (width + 4)] on the tensor's device, from [..., width] of any float dtype.

    None where a row has inf or nan: scaled by its largest element, nothing would be left of it. Within a row whose
    largest element is m, each x comes back off by at most max(|x| / 16, m / 458,752), and the dtype's own rounding.
    """
    rows = tensor.reshape(-1, tensor.shape[-1])
    count, width = rows.shape
    out = torch.empty(count * (width + SCALE_BYTES), dtype=torch.uint8, device=tensor.device)
    codes = out[: count * width].view(count, width)
    scales = torch.empty(count, dtype=torch.float32, device=tensor.device)
    for at in range(0, count, CHUNK_ROWS):
        chunk = rows[at : at + CHUNK_ROWS].float()
        scale = (chunk.abs().amax(dim=1) / LARGEST_CODE).clamp(min=SMALLEST_SCALE)
        scaled = (chunk / scale[:, None]).clamp(-LARGEST_CODE, LARGEST_CODE)
        codes[at : at + CHUNK_ROWS] = scaled.to(torch.float8_e4m3fn).view(torch.uint8)
        scales[at : at + CHUNK_ROWS] = scale
    if not bool(torch.isfinite(scales).all()):
        return None
    out[count * width :] = scales.view(torch.uint8)
    return out


def restore(squeezed: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """A tensor of that shape and dtype on the device where `squeezed` (uint8, of `squeeze`'s length) is."""
    width, count = shape[-1], math.prod(shape[:-1])
    codes = squeezed[: count * width].view(torch.float8_e4m3fn).view(count, width)
    # Their place is not a multiple of four where the width is not.
    scales = squeezed[count * width :].clone().view(torch.float32)
    out = torch.empty((count, width), dtype=dtype, device=squeezed.device)
    for at in range(0, count, CHUNK_ROWS):
        chunk = codes[at : at + CHUNK_ROWS].float() * scales[at : at + CHUNK_ROWS, None]
        out[at : at + CHUNK_ROWS] = chunk.to(dtype)
    return out.reshape(shape)
