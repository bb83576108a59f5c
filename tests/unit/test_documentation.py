"""The operator's guide names everything there is to set, to meet and to watch; the README only what exists."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import loadtest.cli
import quantize.cli
import server.cli
from quantize.errors import QuantizeError
from quantize.evaluate.questions import SKILLS
from quantize.evaluate.scenes import LEVELS
from quantize.recipe import bundled_names
from server.engine.encoder_cache.prometheus import COUNTERS, GAUGES, PREFIX
from server.engine.metrics import declared
from server.metrics import Metrics
from server.settings import Settings
from tests.unit.test_errors import leaves

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "operating.md").read_text()
README = (ROOT / "README.md").read_text()
PROGRAMS = {"fovea": server.cli.app, "fovea-quantize": quantize.cli.app, "fovea-loadtest": loadtest.cli.app}
COMMANDS = re.findall(r"^(fovea[a-z-]*) (\w+) ([^#\n]*)", README, re.MULTILINE)


def setting_names() -> list[str]:
    sections = Settings.model_fields.items()
    return [f"FOVEA_{s}__{name}".upper() for s, f in sections for name in f.annotation.model_fields]  # type: ignore[union-attr]


@pytest.mark.parametrize("name", setting_names())
def test_every_setting_is_in_the_guide(name: str) -> None:
    assert re.search(rf"\| `{name}` \| [^|]+ \| [^|]+ \|", GUIDE)


def test_every_error_code_is_in_the_guide() -> None:
    missing = [kind.code for kind in leaves() if f"| `{kind.code}` | {kind.status} |" not in GUIDE]
    assert missing == []


def test_every_metric_is_in_the_guide_and_none_that_is_gone() -> None:
    names = {m.name + ("_total" if m.type == "counter" else "") for m in Metrics().registry.collect()}
    names |= {f"{PREFIX}_{name}_total" for name in COUNTERS} | {f"{PREFIX}_{name}" for name in GAUGES}
    names |= declared.METRICS.keys()
    assert names == set(re.findall(r"^\| `(fovea_\w+)` \|", GUIDE, re.MULTILINE))


def test_what_engines_tell_is_in_the_guide_as_it_is_declared() -> None:
    assert f"\n{declared.table()}\n" in GUIDE


def test_every_exit_code_of_quantize_is_in_its_guide() -> None:
    guide = (ROOT / "docs" / "quantizing.md").read_text()
    codes = {kind.exit_code for kind in subclasses(QuantizeError)}
    assert codes | {0} == {int(code) for code in re.findall(r"^\| (\d+) \| ", guide, re.MULTILINE)}


def subclasses(of: type[QuantizeError]) -> list[type[QuantizeError]]:
    return [found for each in of.__subclasses__() for found in (each, *subclasses(each))]


def test_every_recipe_and_architecture_is_in_the_guide() -> None:
    guide = (ROOT / "docs" / "quantizing.md").read_text()
    assert set(re.findall(r"^\| `([\w-]+)` \| ", guide, re.MULTILINE)) == set(bundled_names())


def test_every_skill_and_level_is_in_the_guide() -> None:
    guide = (ROOT / "docs" / "evaluating.md").read_text()
    assert f"| skill | {' | '.join(LEVELS)} |" in guide
    assert re.findall(r"^\| `(\w+)` \|", guide, re.MULTILINE) == list(SKILLS)


def test_the_readme_shows_every_program() -> None:
    assert {command[0] for command in COMMANDS} == PROGRAMS.keys()


@pytest.mark.parametrize(("program", "command", "arguments"), COMMANDS)
def test_the_readmes_commands_exist_with_their_options(program: str, command: str, arguments: str) -> None:
    shown = CliRunner().invoke(PROGRAMS[program], [command, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    for option in re.findall(r"--[a-z-]+", arguments):
        assert option in shown.output
