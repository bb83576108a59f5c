"""The chart's README says what values.yaml says, and a key that nobody described stops it."""

import json
from pathlib import Path

import pytest

from helm.readme import Documented, headline, make_readme
from helm.schema import make_schema

VALUES = """\
# What the file is about.

# -- Where images come from.
registry: ""
gateway:
  # -- How many; a | in the text
  # goes on here.
  replicas: 2
  # -- What they may take.
  resources:
    requests: {cpu: "1"}

# -- Pools of engines. For example:
#
#   pools: [{name: main}]
pools: []
"""


def chart(folder: Path, values: str = VALUES) -> Path:
    (folder / "presets").mkdir()
    (folder / "presets" / "small.yaml").write_text("# One small\n# node.\n#\n# More of it.\npools: []\n")
    (folder / "Chart.yaml").write_text("name: tiny\ndescription: A chart.\nversion: 1.2.3\nappVersion: '4'\n")
    (folder / "values.schema.json").write_text(
        '{"$defs": {"pool": {"properties": {"name": {"description": "Its name."}, "weight": {}}}}}'
    )
    (folder / "pool-defaults.yaml").write_text("# -- Its share.\nweight: 1\n")
    (folder / "values.yaml").write_text(values)
    return folder


def test_a_key_is_told_with_its_default_and_its_comment(tmp_path: Path) -> None:
    readme = make_readme(chart(tmp_path))
    assert "| `registry` |  | Where images come from. |" in readme
    assert "| `gateway.replicas` | `2` | How many; a \\| in the text goes on here. |" in readme
    assert '| `gateway.resources` | `{"requests": {"cpu": "1"}}` | What they may take. |' in readme
    assert "| `pools` | `[]` | Pools of engines. For example: |" in readme


def test_pools_and_presets_are_told_too(tmp_path: Path) -> None:
    readme = make_readme(chart(tmp_path))
    assert "| [`small`](presets/small.yaml) | One small node. |" in readme
    assert "| `name` |  | Its name. |\n| `weight` | `1` | Its share. |" in readme


@pytest.mark.parametrize(
    ("added", "named"),
    [
        ("orphan: 1\n", "orphan"),
        ("# Not marked.\norphan: 1\n", "orphan"),
        ("# -- Too far above.\n\norphan: 1\n", "orphan"),
        ("a:\n  # -- Said.\n  b: 1\n  c: 1\n", "a.c"),
        ("a:\n  # -- Said.\n  b: 1\n  c: {d: 1}\n", "a.c"),
    ],
)
def test_a_key_without_a_comment_is_named(tmp_path: Path, added: str, named: str) -> None:
    with pytest.raises(ValueError, match=f"values.yaml has no '# --' comment above {named}$"):
        make_readme(chart(tmp_path, VALUES + added))


def test_a_map_that_is_one_value_needs_one_comment() -> None:
    assert [value.path for value in Documented("# -- All of it.\na: {b: 1, c: 2}\n").values] == ["a"]


def test_a_presets_headline_ends_where_its_first_paragraph_does(tmp_path: Path) -> None:
    assert headline(chart(tmp_path) / "presets" / "small.yaml") == "One small node."


def test_a_schema_tells_what_comments_do_and_shared_definitions_all_of_them(tmp_path: Path) -> None:
    chart(tmp_path, "a:\n  # -- One.\n  on: true\nb:\n  # -- Other.\n  on: true\n# -- Its own.\nc: {}\n")
    switch = {"properties": {"on": {"type": "boolean", "description": "stale"}}}
    pool = {"properties": {"weight": {"type": "number"}}}
    schema = {
        "properties": {
            "a": {"$ref": "#/$defs/switch"},
            "b": {"$ref": "#/$defs/switch"},
            "c": {"description": "old"},
        },
        "$defs": {"switch": switch, "pool": pool, "poolDefaults": pool},
    }
    (tmp_path / "values.schema.json").write_text(json.dumps(schema))
    made = json.loads(make_schema(tmp_path))
    assert made["$defs"]["switch"]["properties"]["on"]["description"] == "One. / Other."
    assert made["properties"]["c"]["description"] == "Its own."
    assert made["$defs"]["pool"]["properties"]["weight"] == {"type": "number", "description": "Its share."}


def test_a_comment_about_a_key_that_the_schema_lacks_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"values\.schema\.json has no registry, which a comment"):
        make_schema(chart(tmp_path))
