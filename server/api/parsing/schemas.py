"""JSON schemas, patterns and grammars that an engine would compile: their size is bounded before it is asked to.

A bound is no proof: a small grammar can still be slow, so that engines need a limit of their own on compiling.
"""

from collections.abc import Iterator
from typing import Any

from server.errors import CallerError

MOST_NODES = 5000
MOST_DEPTH = 32
MOST_PATTERN = 2000
MOST_STATES = 4000
MOST_GRAMMAR = 32 * 1024


def check_schema(schema: Any, path: str) -> None:
    """Raises CallerError where a schema is too large or too deep, refers out of itself, or holds a bad pattern."""
    for count, (depth, key, value) in enumerate(nodes(schema), 1):
        if count > MOST_NODES or depth > MOST_DEPTH:
            raise CallerError(f"A JSON schema holds at most {MOST_NODES} values, at most {MOST_DEPTH} deep.", path)
        if key == "$ref" and isinstance(value, str) and not value.startswith("#"):
            raise CallerError("A JSON schema refers to nothing outside itself.", path)
        if key == "pattern" and isinstance(value, str):
            check_pattern(value, path)


def nodes(schema: Any) -> Iterator[tuple[int, str, Any]]:
    """Every value with its depth and name; no recursion, since depth is what is being looked for."""
    level: list[tuple[str, Any]] = [("", schema)]
    depth = 0
    while level:
        inner: list[tuple[str, Any]] = []
        for key, value in level:
            yield depth, key, value
            if isinstance(value, dict):
                inner.extend(value.items())
            elif isinstance(value, list):
                inner.extend(("", item) for item in value)
        level, depth = inner, depth + 1


def check_pattern(pattern: Any, path: str) -> None:
    """Raises CallerError for what is no string, is too long, or repeats until its automaton is huge."""
    if not isinstance(pattern, str) or len(pattern) > MOST_PATTERN or states(pattern) > MOST_STATES:
        raise CallerError(
            f"A pattern has at most {MOST_PATTERN} characters, and repeats to at most {MOST_STATES}.", path
        )


def check_grammar(text: str, path: str) -> None:
    if len(text) > MOST_GRAMMAR:
        raise CallerError(f"A grammar has at most {MOST_GRAMMAR} characters.", path)


def states(pattern: str) -> int:
    """About how many states a pattern's automaton has when repetitions are written out: {m,n} counts n times."""
    groups, last, position = [0], 0, 0
    while position < len(pattern):
        letter = pattern[position]
        if letter == "(":
            groups.append(0)
            last, position = 0, position + 1
        elif letter == ")":
            last = groups.pop() if len(groups) > 1 else 0
            groups[-1] += last
            position += 1
        elif letter == "{":
            times, position = repetition(pattern, position)
            groups[-1] += last * max(0, times - 1)
            last *= max(1, times)
        elif letter in "*+?|^$":
            position += 1
        else:
            last, position = 1, end_of_atom(pattern, position)
            groups[-1] += last
    return sum(groups)


def repetition(pattern: str, start: int) -> tuple[int, int]:
    """How often {..} at `start` repeats at most, and where it ends."""
    end = pattern.find("}", start)
    if end < 0:
        return 1, len(pattern)
    numbers = pattern[start + 1 : end].split(",")
    if not all(each.isdecimal() or not each for each in numbers):
        return 1, end + 1  # not a repetition
    return max(int(each or "1") if len(each) < 9 else 2 * MOST_STATES for each in numbers), end + 1


def end_of_atom(pattern: str, start: int) -> int:
    if pattern[start] == "\\":
        return start + 2
    if pattern[start] == "[":
        position = start + 1
        while position < len(pattern) and pattern[position] != "]":
            position += 2 if pattern[position] == "\\" else 1
        return position + 1
    return start + 1
