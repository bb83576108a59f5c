"""The descriptions in values.schema.json, which editors show: the comments in values.yaml and pool-defaults.yaml.

Where several keys share a definition whose comments differ, all of them are told.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from helm.readme import Value, complete

Node = dict[str, Any]


def make_schema(chart: Path) -> str:
    """The schema as it is, with descriptions as the comments are now."""
    schema: Node = json.loads((chart / "values.schema.json").read_text())
    pool = complete(chart / "pool-defaults.yaml")
    told: dict[int, tuple[Node, list[str]]] = {}
    collect(schema, schema, complete(chart / "values.yaml"), told)
    for name in ("poolDefaults", "pool"):
        collect(schema["$defs"][name], schema, pool, told)
    for node, texts in told.values():
        node["description"] = " / ".join(dict.fromkeys(texts))
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def collect(root: Node, schema: Node, values: Iterable[Value], told: dict[int, tuple[Node, list[str]]]) -> None:
    """Add each comment to its property's. Raises ValueError for one that the schema lacks."""
    for value in values:
        node = root
        for step in value.path.split("."):
            node = resolved(node, schema).get("properties", {}).get(step)
            if node is None:
                raise ValueError(f"values.schema.json has no {value.path}, which a comment is about")
        told.setdefault(id(node), (node, []))[1].append(value.text)


def resolved(node: Node, schema: Node) -> Node:
    """What a reference within the schema points at."""
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].removeprefix("#/$defs/")]
    return node
