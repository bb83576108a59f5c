"""Step `ceilings`: how fast this GPU copies its own memory and multiplies large matrices. No step can do better."""

from typing import Any

import torch

from loadtest.gpu import fp8
from loadtest.gpu.bench import Bench


def measure(bench: Bench) -> None:
    amounts, device = bench.amounts, bench.clock.device
    if not bench.notes.has("copy"):
        with bench.failures.note("copy"):
            source = torch.randint(0, 256, (amounts.copied_bytes,), dtype=torch.uint8, device=device)
            target = torch.empty_like(source)
            ms = bench.clock.take_turns({"copy": [lambda: target.copy_(source)]})["copy"]
            bench.notes.add("copy", {"nbytes": 2 * amounts.copied_bytes, "ms": ms})  # read and written
    if not bench.notes.has("product"):
        with bench.failures.note("product"):
            bench.notes.add("product", {"side": amounts.product, "ms": time_products(bench, amounts.product)})


def time_products(bench: Bench, side: int) -> dict[str, list[float]]:
    """Of random squares: zeros would be multiplied faster."""
    left, right = (torch.randn(side, side, dtype=torch.bfloat16, device=bench.clock.device) for _ in range(2))
    rounded: list[Any] = [fp8.round_rows(left), fp8.round_rows(right)]
    return bench.clock.take_turns({
        "bf16": [lambda: torch.nn.functional.linear(left, right)],
        "fp8": [lambda: fp8.multiply(*rounded)],
    })  # fmt: skip
