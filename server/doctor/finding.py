"""What `fovea doctor` finds: one line each, with what to do where something is not as it should be."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from server.printable import printable

Verdict = Literal["ok", "warning", "failure"]
# The worst last.
VERDICTS: tuple[Verdict, ...] = ("ok", "warning", "failure")
MOST_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class Finding:
    """`do` says what to do; of what is fine it is empty."""

    check: str
    verdict: Verdict
    told: str
    do: str = ""


def ok(check: str, told: str) -> Finding:
    return Finding(check, "ok", told)


def warning(check: str, told: str, do: str) -> Finding:
    return Finding(check, "warning", told, do)


def failure(check: str, told: str, do: str) -> Finding:
    return Finding(check, "failure", told, do)


def worst(findings: Iterable[Finding]) -> Verdict:
    return max((each.verdict for each in findings), key=VERDICTS.index, default="ok")


def show(finding: Finding) -> list[str]:
    """Words of other programs may be in it: each line is one line."""
    lines = [f"{finding.verdict:<8} {finding.check}: {fit(finding.told)}"]
    return [*lines, f"{'':<8} -> {fit(finding.do)}"] if finding.do else lines


def fit(text: str) -> str:
    return printable(text, MOST_CHARACTERS)


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    return {"verdict": worst(findings), "findings": [asdict(each) for each in findings]}
