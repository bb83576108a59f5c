"""What Helm says of values that the schema refuses: it names all at once, so that one run answers many tests."""

import re
from collections.abc import Iterator
from typing import Any

# Helm 3: "- gateway.replicas: Invalid type. ..."; Helm 4: "- at '/gateway/replicas': got string, want integer".
LINE = re.compile(r"^\s*- (?:at '(?P<new>[^']*)'|(?P<old>[^:]+)): (?P<words>.*)$", re.MULTILINE)
ROOT = "(root)"

Complaints = dict[str, list[str]]


def complaints(said: str) -> Complaints:
    """By the key's path, like pools.0.replicas."""
    found: Complaints = {}
    for line in LINE.finditer(said):
        path = line["old"] or line["new"].strip("/").replace("/", ".") or ROOT
        found.setdefault(path, []).append(line["words"])
    return found


def with_value(values: Any, path: str, value: Any) -> None:
    """Put `value` at `path`; lists and maps on the way there are made."""
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step, after in zip(steps, [*steps, last][1:], strict=True):
        values = entry(values, step, [] if isinstance(after, int) else {})
    if isinstance(last, int):
        entry(values, last, None)
    values[last] = value


def entry(values: Any, step: int | str, empty: Any) -> Any:
    if isinstance(step, int):
        while len(values) <= step:
            values.append(empty)
        return values[step]
    return values.setdefault(step, empty)


def batches(paths: list[str]) -> Iterator[list[int]]:
    """Indexes of paths that can stand in one file of values: none is another's, or above it."""
    left = list(range(len(paths)))
    while left:
        batch: list[int] = []
        for index in left:
            mine = paths[index] + "."
            if all(not mine.startswith(paths[o] + ".") and not (paths[o] + ".").startswith(mine) for o in batch):
                batch.append(index)
        left = [index for index in left if index not in batch]
        yield batch


def closed_objects(node: dict[str, Any], schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Paths of all maps that refuse names they do not know; of each list an element."""
    node = resolved(node, schema)
    if node.get("additionalProperties") is False:
        yield path or ROOT
    for name, child in node.get("properties", {}).items():
        yield from closed_objects(child, schema, f"{path}.{name}" if path else name)
    if "items" in node:
        yield from closed_objects(node["items"], schema, f"{path}.0")


def open_objects(node: dict[str, Any], schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Paths of all maps that take any name."""
    node = resolved(node, schema)
    if node.get("type") == "object" and node.get("additionalProperties") is not False:
        yield path
    for name, child in node.get("properties", {}).items():
        yield from open_objects(child, schema, f"{path}.{name}" if path else name)
    if "items" in node:
        yield from open_objects(node["items"], schema, f"{path}.0")


def resolved(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].removeprefix("#/$defs/")]
    return node
