"""Proves from the files that a quantized checkpoint is what its recipe promises."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from quantize.checkpoint import StoredTensor
from quantize.recipe import Recipe

FP8 = "F8_E4M3"
SCALE = "_scale"


@dataclass(frozen=True, slots=True)
class Summary:
    """Bytes of weights before and after; tensors by fate."""

    bytes_before: int
    bytes_after: int
    quantized: int
    kept: int


def differences(
    recipe: Recipe, before: Mapping[str, StoredTensor], after: Mapping[str, StoredTensor]
) -> Iterator[str]:
    """Yield one plain sentence per way in which the output is not what was promised."""
    scales = {name + SCALE for name, tensor in after.items() if tensor.dtype == FP8}
    for name in sorted(before):
        if name not in after:
            yield f"{name}: missing from the output"
        elif after[name].dtype == FP8:
            if recipe.keeps(name):
                yield f"{name}: must be untouched, but was quantized"
            elif after[name].shape != before[name].shape:
                yield f"{name}: changed its shape"
            elif name + SCALE not in after:
                yield f"{name}: quantized, but has no scale"
        elif not after[name].equals(before[name]):
            yield f"{name}: must be untouched, but changed"
    for name in sorted(after.keys() - before.keys() - scales):
        yield f"{name}: was not in the source"


def summarize(before: Mapping[str, StoredTensor], after: Mapping[str, StoredTensor]) -> Summary:
    quantized = sum(tensor.dtype == FP8 for tensor in after.values())
    return Summary(
        bytes_before=sum(tensor.size for tensor in before.values()),
        bytes_after=sum(tensor.size for tensor in after.values()),
        quantized=quantized,
        kept=len(before) - quantized,
    )
