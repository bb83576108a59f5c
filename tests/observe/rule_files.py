"""The rules, their promtool tests and what both say of series, as data: deploy/prometheus/."""

import re
import shutil
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

FOLDER = ROOT / "deploy" / "prometheus"
RULES = sorted((FOLDER / "rules").glob("*.yml"))
RULE_TESTS = sorted((FOLDER / "tests").glob("*.yml"))

TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<range>\[[^\]]*\])|(?P<number>\d[\w.]*)"""
    r"""|(?P<name>[A-Za-z_:][\w:]*)|(?P<punctuation>=~|!~|!=|==|[-+*/%^=<>(){},@])|(?P<space>\s+)"""
)
LABEL_LISTS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
KEYWORDS = {"and", "or", "unless", "offset", "bool"}


@dataclass(frozen=True)
class Selector:
    """A metric's name and its matchers: label -> operator and text."""

    name: str
    matchers: dict[str, tuple[str, str]]


def program(name: str) -> str:
    """Where the set-up put it, or on the PATH."""
    unpacked = ROOT / ".venv" / "programs" / "usr" / "bin" / name
    found = str(unpacked) if unpacked.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"SKIPPED: no {name}: make setup, or apt-get install prometheus prometheus-alertmanager")
    return found


@cache
def rules() -> list[dict[str, Any]]:
    """Every rule of every file, recordings and alerts."""
    files = [yaml.safe_load(path.read_text()) for path in RULES]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


@cache
def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


@cache
def rule_tests() -> list[dict[str, Any]]:
    return [test for path in RULE_TESTS for test in yaml.safe_load(path.read_text())["tests"]]


def selectors(expr: str) -> list[Selector]:
    """What `expr` selects, in order. Raises ValueError where it is no PromQL that we know to read."""
    tokens = [
        (match.lastgroup, match.group()) for match in whole(expr) if match.lastgroup not in ("space", "range")
    ]
    found: list[Selector] = []
    position = 0
    while position < len(tokens):
        kind, text = tokens[position]
        after = tokens[position + 1][1] if position + 1 < len(tokens) else ""
        position += 1
        if text in LABEL_LISTS and after == "(":
            while tokens[position][1] != ")":
                position += 1
        elif text == "{":
            raise ValueError(f"a selector without a name: {expr}")
        elif kind == "name" and text not in KEYWORDS and after not in ("(", "by", "without"):
            matchers, position = read_matchers(tokens, position)
            found.append(Selector(text, matchers))
    return found


def whole(expr: str) -> list[re.Match[str]]:
    matches = list(TOKEN.finditer(expr))
    if "".join(match.group() for match in matches) != expr:
        raise ValueError(f"cannot be read: {expr}")
    return matches


def read_matchers(tokens: list[tuple[str | None, str]], position: int) -> tuple[dict[str, tuple[str, str]], int]:
    """The braces at `position`, if there are any, and where they end."""
    matchers: dict[str, tuple[str, str]] = {}
    if position == len(tokens) or tokens[position][1] != "{":
        return matchers, position
    position += 1
    while tokens[position][1] != "}":
        if tokens[position][1] == ",":
            position += 1
            continue
        label, operator, value = (text for _, text in tokens[position : position + 3])
        matchers[label] = operator, value[1:-1]
        position += 3
    return matchers, position + 1
