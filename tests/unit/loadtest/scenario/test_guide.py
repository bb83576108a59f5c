"""docs/load-testing.md knows every bundled scenario and every key that one may have."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from loadtest.scenario.document import Part, Scenario
from loadtest.scenario.reading import bundled_names

GUIDE = (Path(__file__).parents[4] / "docs" / "load-testing.md").read_text()


def parts_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        yield annotation
        for field in annotation.model_fields.values():
            yield from parts_in(field.annotation)
    for argument in get_args(annotation):
        yield from parts_in(argument)


def test_the_guide_lists_the_bundled_scenarios() -> None:
    names = re.findall(r"^\| `([a-z-]+)` \| [^|]+ \| [^|]+ \| [^|]+ \|$", GUIDE, re.MULTILINE)
    assert sorted(names) == bundled_names()


@pytest.mark.parametrize("key", sorted({key for part in parts_in(Scenario) for key in part.model_fields}))
def test_the_guide_knows_every_key(key: str) -> None:
    keys = GUIDE.partition("## Keys of a scenario")[2].partition("\n## ")[0]
    assert re.search(rf"[`{{ ]{key}\b", keys)
