"""What guides would have people install renders, and the objects that they name are made."""

import re
from pathlib import Path

import pytest
import yaml

from helm.template import objects, render
from tests.chart.rendering import API_VERSIONS, NEWEST, program
from tests.guides import Block, blocks_of, commands

pytestmark = pytest.mark.usefixtures("helms")
KNOWN = [option for version in API_VERSIONS for option in ("--api-versions", version)]
# Blocks that are about one thing leave out the pool, and the keys without which the chart refuses.
REST = {
    "pools": [{"name": "main", "preset": "l4", "model": {"name": "qwen3.5-9b"}}],
    "gateway": {"keysSecret": {"name": "fovea-keys"}},
}
# Made by whom the guide is for.
THEIRS = {"secret/fovea-keys"}


@pytest.mark.parametrize("block", blocks_of("values"), ids=lambda block: f"{block.guide}: {block.text.split()[2]}")
def test_values_of_a_guide_render(block: Block, tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text(yaml.safe_dump({**REST, **block.told}))
    made = objects(render(program(NEWEST), "--values", str(tmp_path / "values.yaml"), *KNOWN))
    pools = [pool["name"] for pool in block.told.get("pools", REST["pools"])]
    engines = {each["metadata"]["name"] for each in made if each["kind"] == "Deployment"}
    assert {f"fovea-engine-{pool}" for pool in pools} <= engines


def test_objects_that_guides_name_are_those_of_a_release_called_fovea(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(REST))
    made = objects(render(program(NEWEST), "--values", str(tmp_path / "values.yaml"), *KNOWN))
    names = {f"{each['kind'].lower()}/{each['metadata']['name']}" for each in made}
    told = {word for _, words in commands() if words[0] == "kubectl" for word in words}
    named = {word for word in told if re.fullmatch(r"(service|deployment|secret)/[\w-]+", word)}
    assert "service/fovea-gateway" in named
    assert named <= names | THEIRS
