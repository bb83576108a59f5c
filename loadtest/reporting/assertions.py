"""What a run is held to in CI: `--assert 'ttft_p95_ms<500'`, read before the run and checked after it."""

import difflib
import operator
import re
from dataclasses import dataclass

from loadtest.reporting.figures import NAMES, OPEN_NAMES, figure_of, is_figure
from loadtest.reporting.intervals import Estimate
from loadtest.reporting.report import Report

OPERATORS = {
    "<=": operator.le, ">=": operator.ge, "==": operator.eq, "!=": operator.ne, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
_ASSERTION = re.compile(r"\s*([\w.-]+)\s*(<=|>=|==|!=|<|>)\s*([+-]?[0-9.]+(?:[eE][+-]?\d+)?)\s*(%?)\s*")


class AssertionTextError(ValueError):
    """An assertion that cannot be read, in a sentence; told before anything is sent."""


@dataclass(frozen=True, slots=True)
class Assertion:
    text: str
    figure: str
    operator: str
    limit: float


def parse_assertion(text: str) -> Assertion:
    """`NAME OP NUMBER`, where the number may end in `%`. Raises AssertionTextError."""
    found = _ASSERTION.fullmatch(text)
    if found is None:
        raise AssertionTextError(
            f"--assert {text!r} is not FIGURE, one of {' '.join(OPERATORS)}, and a number: such as ttft_p95_ms<500."
        )
    figure, sign, number, percent = found.groups()
    if not is_figure(figure):
        near = difflib.get_close_matches(figure, (*NAMES, *OPEN_NAMES), 3, 0.5)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"Figures are {', '.join((*NAMES, *OPEN_NAMES))}."
        raise AssertionTextError(f"--assert {text!r}: {figure} is no figure of a report. {hint}")
    try:
        limit = float(number) / (100 if percent else 1)
    except ValueError as problem:
        raise AssertionTextError(f"--assert {text!r}: {number} is not a number.") from problem
    return Assertion(text.strip(), figure, sign, limit)


def failure_of(report: Report, assertion: Assertion) -> str | None:
    """None where it holds; else a sentence. What is unknown does not hold."""
    found = figure_of(report, assertion.figure)
    if isinstance(found, str):
        return f"{assertion.text} does not hold: {assertion.figure} is unknown, {found}."
    value = found.value if isinstance(found, Estimate) else found
    if OPERATORS[assertion.operator](value, assertion.limit):
        return None
    interval = f" (95 %: {found.low:.4g} to {found.high:.4g})" if isinstance(found, Estimate) else ""
    return f"{assertion.text} does not hold: {assertion.figure} is {value:.4g}{interval}."
