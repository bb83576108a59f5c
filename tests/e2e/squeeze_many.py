"""Squeezes and restores tensors of many shapes and kinds, in an environment with torch: prints one JSON object."""

import json
from typing import Any

import torch

from server.engine.encoder_cache.entry import payload_bytes_of
from server.engine.encoder_cache.row_fp8 import CHUNK_ROWS, LARGEST_CODE, restore, squeeze

KINDS = ("normal", "cubes", "tiny", "huge", "one large", "constant", "alternating", "subnormal", "some zero rows")
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
SHAPES = ((1, 1), (1, 7), (5, 33), (196, 256), (CHUNK_ROWS + 1, 64), (2, 3, 16), (64,))


def make(kind: str, shape: tuple[int, ...], dtype: Any, generator: torch.Generator) -> Any:
    values = torch.randn(shape, generator=generator)
    changes = {
        "cubes": lambda: values**3,
        "tiny": lambda: values * 1e-6,
        "huge": lambda: values * 1e4,
        "one large": lambda: values.index_fill(-1, torch.tensor([0]), 30_000.0),
        "constant": lambda: torch.full(shape, -3.0),
        "alternating": lambda: torch.sign(values) * 0.1,
        "subnormal": lambda: values * 1e-40,
        "some zero rows": lambda: values * (torch.arange(shape[0]) % 2).reshape(-1, *[1] * (len(shape) - 1)),
    }
    return (changes[kind]() if kind in changes else values).to(dtype)


def beyond(exact: Any, found: Any) -> int:
    """Elements that are further off than `squeeze` says."""
    rows, back = exact.double().reshape(-1, exact.shape[-1]), found.double().reshape(-1, exact.shape[-1])
    largest = rows.abs().amax(1, keepdim=True)
    kind = torch.finfo(exact.dtype)
    bound = torch.maximum(rows.abs() / 16, largest / (1024 * LARGEST_CODE))
    # A row as small as this has the smallest scale there is; the result is rounded to its dtype once more.
    bound = torch.maximum(bound, torch.tensor(torch.finfo(torch.float32).tiny / 1024, dtype=torch.float64))
    rounding = back.abs() * kind.eps + kind.smallest_normal * kind.eps + rows.abs() * 1e-6
    return int(((rows - back).abs() > bound + rounding).sum())


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    told = {"made": 0, "beyond": 0, "wrong_length": 0, "zero_rows_changed": 0, "differ_again": 0, "not_alike": 0}
    for name, dtype in DTYPES.items():
        for shape in SHAPES:
            for kind in KINDS:
                exact = make(kind, shape, dtype, generator)
                squeezed = squeeze(exact)
                if squeezed is None:
                    # float16 ends at 65,504: then it is right not to keep it.
                    told["beyond"] += bool(torch.isfinite(exact.float()).all())
                    continue
                found = restore(squeezed, shape, dtype)
                told["made"] += 1
                told["wrong_length"] += squeezed.numel() != payload_bytes_of(shape, name, "fp8-row")
                told["not_alike"] += found.shape != exact.shape or found.dtype != dtype or not found.is_contiguous()
                told["beyond"] += beyond(exact, found)
                told["zero_rows_changed"] += int(found[exact == 0].count_nonzero())
                told["differ_again"] += not torch.equal(squeezed, squeeze(exact.clone()))
    for spoilt in (float("inf"), float("-inf"), float("nan")):
        tensor = torch.randn((CHUNK_ROWS + 5, 8), generator=generator).to(torch.bfloat16)
        tensor[CHUNK_ROWS + 2, 3] = spoilt
        told[f"keeps {spoilt}"] = squeeze(tensor) is not None
    # A view of a larger output, as vLLM's are, and not contiguous.
    whole = torch.randn((64, 32), generator=generator).to(torch.bfloat16)
    told["views_differ"] = not torch.equal(squeeze(whole[8:16, ::2]), squeeze(whole[8:16, ::2].clone()))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
