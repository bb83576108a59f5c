"""What verification finds."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Quantized:
    """How one quantized matrix differs from its source.

    `error` is the root of the mean squared error over the root of the mean square, of FP8 on a sample of its rows;
    `saturated` counts codes at the largest there is (each row's largest weight is one), `nan` those that are none,
    `zero_rows` rows that lost everything; `other_codes` and `other_scales` what the published arithmetic makes
    otherwise. Of integers, which cannot be made again: `unusable_scales` are no positive numbers, `other_shape` is
    said wrongly, and `too_far` are matrices that are hardly those of the source.
    """

    name: str
    error: float
    saturated: int
    nan: int = 0
    zero_rows: int = 0
    other_codes: int = 0
    other_scales: int = 0
    unusable_scales: int = 0
    other_shape: bool = False
    too_far: bool = False


@dataclass
class Findings:
    """`violations`: one plain sentence for each way in which the output is not what was promised."""

    violations: list[str] = field(default_factory=list)
    kept: int = 0
    rescaled: int = 0
    quantized: list[Quantized] = field(default_factory=list)
    sight_tensors: int = 0
    sight_sha256: str = ""

    def summary(self) -> dict[str, Any]:
        errors = [each.error for each in self.quantized]
        return {
            "tensors": {"kept": self.kept, "rescaled": self.rescaled, "quantized": len(self.quantized)},
            "sight": {"bit_identical_tensors": self.sight_tensors, "sha256": self.sight_sha256},
            "rms_error": {"mean": sum(errors) / len(errors), "largest": max(errors)} if errors else None,
            "saturated": sum(each.saturated for each in self.quantized),
        }


def code_violations(found: Quantized) -> Iterator[str]:
    if found.nan:
        yield f"{found.name}: {found.nan} codes are NaN"
    if found.zero_rows:
        yield f"{found.name}: {found.zero_rows} rows became zero"
    if found.other_scales:
        yield f"{found.name}: {found.other_scales} scales are not absmax / 448"
    if found.other_codes:
        yield f"{found.name}: {found.other_codes} codes are not the nearest to weight / scale"
    if found.unusable_scales:
        yield f"{found.name}: {found.unusable_scales} scales are not positive numbers"
    if found.other_shape:
        yield f"{found.name}: the shape beside it is not its own"
    if found.too_far:
        yield f"{found.name}: is {found.error:.0%} away from its source"
