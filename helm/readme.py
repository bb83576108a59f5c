"""The chart's README, made of its own files: Chart.yaml, the comments in its values, the presets.

A comment that begins with `# --` documents the key below it, as helm-docs has it; it goes on up to an empty line.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

MARK = "-- "


@dataclass(frozen=True)
class Value:
    """One documented key of values.yaml."""

    path: str
    default: Any
    text: str


class Documented:
    """values.yaml as its comments tell it: what is documented, and which keys should be and are not."""

    def __init__(self, source: str) -> None:
        self._lines = source.splitlines()
        self.values: list[Value] = []
        self.undocumented: list[str] = []
        root = yaml.compose(source, yaml.SafeLoader)
        assert isinstance(root, yaml.MappingNode)
        for key, node in root.value:
            if not self._walk(key.value, key, node):
                self.undocumented.append(key.value)

    def _walk(self, path: str, key: yaml.Node, node: yaml.Node) -> bool:
        """Whether `path`, or anything below it, is documented."""
        line, column = key.start_mark.line, key.start_mark.column
        first_on_line = not self._lines[line][:column].strip()
        text = self._comment_above(line) if first_on_line else None
        if text is not None:
            self.values.append(Value(path, plain(node), text))
        if not isinstance(node, yaml.MappingNode) or not node.value:
            return text is not None
        children = [(f"{path}.{k.value}", self._walk(f"{path}.{k.value}", k, v)) for k, v in node.value]
        told = [child for child, documented in children if documented]
        if told:  # a map none of whose keys is documented is one value
            self.undocumented += [child for child, documented in children if not documented]
        return text is not None or bool(told)

    def _comment_above(self, line: int) -> str | None:
        """What the comment that ends above `line` says from its mark on."""
        words: list[str] = []
        for above in reversed(self._lines[:line]):
            if not above.lstrip().startswith("#"):
                return None
            said = above.strip().lstrip("#").strip()
            if said.startswith(MARK):
                return " ".join([said.removeprefix(MARK), *reversed(words)])
            words = [*words, said] if said else []
        return None


def plain(node: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    return loader.construct_document(node)


def make_readme(chart: Path) -> str:
    """Markdown. Raises ValueError that names keys of values.yaml without a comment."""
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    schema = json.loads((chart / "values.schema.json").read_text())
    parts = [
        "<!-- Written by `make chart` out of Chart.yaml, values.yaml, pool-defaults.yaml and presets/. -->",
        f"# {about['name']}\n\n{about['description']}\n\nChart {about['version']}, of Fovea {about['appVersion']}.",
        *preset_section(chart),
        "## Values",
        *(section(name, rows) for name, rows in by_section(complete(chart / "values.yaml"))),
        *pool_section(chart, schema),
    ]
    return "\n\n".join(parts) + "\n"


def complete(path: Path) -> list[Value]:
    """What is documented; raises ValueError that names what should be, and is not."""
    documented = Documented(path.read_text())
    if documented.undocumented:
        raise ValueError(f"{path.name} has no '# --' comment above {', '.join(documented.undocumented)}")
    return documented.values


def by_section(values: list[Value]) -> list[tuple[str, list[Value]]]:
    """Top-level keys that have no others below them come first, in one table."""
    names = list(dict.fromkeys(value.path.partition(".")[0] for value in values))
    grouped = {name: [value for value in values if value.path.partition(".")[0] == name] for name in names}
    single = [rows[0] for rows in grouped.values() if len(rows) == 1]
    rest = [(name, rows) for name, rows in grouped.items() if len(rows) > 1]
    return [*([("General", single)] if single else []), *rest]


def section(name: str, rows: list[Value]) -> str:
    """A section's own comment stands above its table."""
    own = [row.text for row in rows if row.path == name]
    below = [row for row in rows if row.path != name] if len(rows) > 1 else rows
    return "\n\n".join([f"### {name}", *own, table(below)])


def table(rows: list[Value]) -> str:
    lines = [f"| `{row.path}` | {told(row.default)} | {cell(row.text)} |" for row in rows]
    return "\n".join(["| key | default | what it is |", "| --- | --- | --- |", *lines])


def told(default: Any) -> str:
    """As JSON, or nothing where the default is nothing."""
    return "" if default in (None, "") else f"`{cell(json.dumps(default, ensure_ascii=False))}`"


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def preset_section(chart: Path) -> Iterator[str]:
    presets = sorted((chart / "presets").glob("*.yaml"))
    if presets:
        rows = [f"| [`{path.stem}`](presets/{path.name}) | {cell(headline(path))} |" for path in presets]
        yield "## Presets\n\nValues to begin with: `--values helm/fovea/presets/NAME.yaml`."
        yield "\n".join(["| preset | what it is for |", "| --- | --- |", *rows])


def headline(path: Path) -> str:
    """What the comment that a file begins with says, up to the first empty one."""
    words = []
    for line in path.read_text().splitlines():
        said = line.removeprefix("#").strip()
        if not line.startswith("#") or not said:
            break
        words.append(said)
    return " ".join(words)


def pool_section(chart: Path, schema: dict[str, Any]) -> Iterator[str]:
    """What an element of `pools` may hold: a list has no keys of its own in values.yaml."""
    source = chart / "pool-defaults.yaml"
    if source.exists():
        pool = schema.get("$defs", {}).get("pool", {}).get("properties", {})
        documented = complete(source)
        named = {value.path.partition(".")[0] for value in documented}
        only = [Value(name, None, of["description"]) for name, of in pool.items() if name not in named]
        yield "### A pool\n\nAn element of `pools`; `poolDefaults` takes the same keys but `name`."
        yield table([*only, *documented])
