"""Step `by_shape`: each kind of matrix product in the model by itself, at each number of tokens.

BF16 beside FP8 with its inputs rounded each time (what a layer costs), and FP8 with inputs that are rounded already
(what the product alone costs). Every FP8 product is held against one of the same codes in FP32 first.
"""

from collections.abc import Callable
from typing import Any

import torch

from loadtest.gpu import fp8
from loadtest.gpu.bench import Bench, StepFailed
from loadtest.gpu.products import HEAD, NARROW, Kind, list_kinds

Call = Callable[[], object]
MOST_ERROR = 0.02  # Hopper's tensor cores sum FP8 in about 14 bits, and the result has BF16's 8
MOST_ROUNDING = 0.04  # random numbers of normal distribution are off by 0.027
CHECKED_ROWS = 512
DEVIATION = 0.02


def measure(bench: Bench) -> None:
    for kind in list_kinds(bench.amounts.sizes):
        if kind.name == NARROW:
            continue
        counts = [*bench.amounts.decode, *(bench.amounts.prefill if kind.name != HEAD else ())]
        missing = [tokens for tokens in counts if not bench.notes.has(f"{kind.name} {tokens}")]
        if missing:
            bench.say(f"{kind.name} {kind.rows}x{kind.columns}")
            with bench.failures.note(kind.name):
                measure_kind(bench, kind, missing)


def measure_kind(bench: Bench, kind: Kind, counts: list[int]) -> None:
    device = bench.clock.device
    copies = bench.clock.copies(kind.rows * kind.columns)
    wide = [
        torch.randn(kind.rows, kind.columns, dtype=torch.bfloat16, device=device).mul_(DEVIATION)
        for _ in range(copies)
    ]
    narrow = [fp8.round_rows(each) for each in wide]
    for tokens in counts:
        key = f"{kind.name} {tokens}"
        with bench.failures.note(key):
            inputs = torch.randn(tokens, kind.columns, dtype=torch.bfloat16, device=device)
            error = check(inputs, narrow[0])
            ms = bench.clock.take_turns(make_calls(inputs, wide, narrow))
            found = {"rows": kind.rows, "columns": kind.columns, "times": kind.times, "tokens": tokens}
            bench.notes.add(key, {**found, "kind": kind.name, "error": error, "ms": ms})


def make_calls(inputs: Any, wide: list[Any], narrow: list[fp8.Rounded]) -> dict[str, list[Call]]:
    rounded = fp8.round_rows(inputs)

    def in_bf16(weights: Any) -> Call:
        return lambda: torch.nn.functional.linear(inputs, weights)

    def in_fp8(weights: fp8.Rounded) -> Call:
        return lambda: fp8.multiply(fp8.round_rows(inputs), weights)

    def product_alone(weights: fp8.Rounded) -> Call:
        return lambda: fp8.multiply(rounded, weights)

    return {
        "bf16": [in_bf16(each) for each in wide],
        "fp8": [in_fp8(each) for each in narrow],
        "fp8 product": [product_alone(each) for each in narrow],
    }


def check(inputs: Any, weights: fp8.Rounded) -> float:
    """The error of the product on some rows against FP32 on the same codes. Raises StepFailed."""
    rounded = fp8.round_rows(inputs)
    some = torch.linspace(0, len(weights.codes) - 1, CHECKED_ROWS, device=inputs.device).long()
    rows = fp8.Rounded(weights.codes.view(torch.uint8)[some].view(fp8.E4M3), weights.scales[some])
    wanted = rounded.widened() @ rows.widened().t()
    error = fp8.relative_error(fp8.multiply(rounded, weights)[:, some], wanted)
    rounding = fp8.relative_error(rounded.widened(), inputs.float())
    if not error < MOST_ERROR or not rounding < MOST_ROUNDING:
        shape = tuple(weights.codes.shape)
        raise StepFailed(f"FP8 {shape} by {len(inputs)} tokens is off by {error:.2g}, its inputs by {rounding:.2g}")
    return error
