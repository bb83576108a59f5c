"""What verification finds."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Quantized:
    """How one quantized matrix differs from its source.

    `error` is the root of the mean squared error over the root of the mean square, of a sample of its rows;
    `saturated` counts codes at +-448 (each row's largest weight is one), `nan` those that are none, `zero_rows`
    rows that lost everything; `other_codes` and `other_scales` what the published arithmetic makes otherwise.
    """

    name: str
    error: float
    saturated: int
    nan: int
    zero_rows: int
    other_codes: int
    other_scales: int


@dataclass
class Findings:
    """`violations`: one plain sentence for each way in which the output is not what was promised."""

    violations: list[str] = field(default_factory=list)
    kept: int = 0
    quantized: list[Quantized] = field(default_factory=list)
    sight_tensors: int = 0
    sight_sha256: str = ""

    def summary(self) -> dict[str, Any]:
        errors = [each.error for each in self.quantized]
        return {
            "tensors": {"kept": self.kept, "quantized": len(self.quantized)},
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
