"""Scenarios by name or path, with what a command line sets over them."""

from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import ValidationError

from loadtest.scenario.document import Scenario, ScenarioError, Trace

BUNDLED = Path(__file__).parent.parent / "scenarios"


def read_scenario(name: str, settings: Sequence[str] = ()) -> tuple[Scenario, str]:
    """A bundled scenario by its name, any other by its path, with `settings` (KEY.KEY=VALUE) over it; and its text,
    those included. Raises ScenarioError."""
    path = BUNDLED / f"{name}.yaml" if name in bundled_names() else Path(name)
    try:
        text = path.read_text()
        document = yaml.safe_load(text)
        for setting in settings:
            document = with_setting(document, setting)
        scenario = Scenario.model_validate(document)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        known = ", ".join(bundled_names())
        why = f"is not readable YAML ({type(problem).__name__})"
        raise ScenarioError(f"{name} {why}; the bundled scenarios are {known}") from problem
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ScenarioError(f"{path}: {where + ': ' if where else ''}{first['msg']}") from problem
    if isinstance(scenario.arrival, Trace):
        beside = scenario.arrival.model_copy(update={"file": path.parent / scenario.arrival.file})
        scenario = scenario.model_copy(update={"arrival": beside})
    return scenario, yaml.safe_dump(document, sort_keys=False) if settings else text


def with_setting(document: object, setting: str) -> object:
    """VALUE is YAML; `null` takes the key away. Raises ScenarioError."""
    key, equals, value = setting.partition("=")
    *above, last = key.split(".")
    place = document
    for step in above:
        place = place.setdefault(step, {}) if isinstance(place, dict) else None
    if not equals or not isinstance(place, dict):
        raise ScenarioError(f"--set {setting}: is not KEY.KEY=VALUE of a scenario")
    place[last] = yaml.safe_load(value)
    if place[last] is None:
        del place[last]
    return document


def bundled_names() -> list[str]:
    return sorted(path.stem for path in BUNDLED.glob("*.yaml"))
