"""Scenarios by name or path, with what a command line sets over them."""

from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from loadtest.scenario.document import Scenario, ScenarioError, Trace

BUNDLED = Path(__file__).parent.parent / "scenarios"


def read_scenario(name: str, settings: Sequence[str] = ()) -> tuple[Scenario, str]:
    """A bundled scenario by its name, any other by its path, with `settings` (KEY.KEY=VALUE) over it; and its text,
    those included. Raises ScenarioError."""
    bundled = name in bundled_names()
    path = BUNDLED / f"{name}.yaml" if bundled else Path(name)
    try:
        text = path.read_text(encoding="utf-8")
        document = yaml.safe_load(text)
        for setting in settings:
            document = with_setting(document, setting)
        scenario = Scenario.model_validate(document)
    except OSError as problem:
        known = ", ".join(bundled_names())
        why = f"no bundled scenario, nor a file that can be read ({problem.strerror})"
        raise ScenarioError(f"{name} is {why}; the bundled scenarios are {known}") from problem
    except (UnicodeDecodeError, yaml.YAMLError) as problem:
        raise ScenarioError(f"{name} is not readable YAML{place_in(problem)}") from problem
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(map(str, first["loc"]))
        shown = name if bundled else path
        raise ScenarioError(f"{shown}: {where + ': ' if where else ''}{told(first)}") from problem
    if isinstance(scenario.arrival, Trace):
        # Set over a bundled scenario, whose folder nobody's files are in, it is from where the command is run.
        folder = Path() if bundled else path.parent
        beside = scenario.arrival.model_copy(update={"file": folder / scenario.arrival.file})
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
    try:
        place[last] = yaml.safe_load(value)
    except yaml.YAMLError as problem:
        raise ScenarioError(f"--set {setting}: its value is not readable YAML{place_in(problem)}") from problem
    if place[last] is None:
        del place[last]
    return document


def place_in(problem: UnicodeDecodeError | yaml.YAMLError) -> str:
    mark = getattr(problem, "problem_mark", None)
    return f" (line {mark.line + 1}, column {mark.column + 1}: {getattr(problem, 'problem', '')})" if mark else ""


def told(error: ErrorDetails) -> str:
    """Pydantic's words, but where they are of its own matters."""
    if error["type"] in ("model_type", "dataclass_type"):
        return "must be a mapping of keys to values"
    if error["type"] == "string_pattern_mismatch":
        return "must be lower-case letters, digits and dashes"
    return error["msg"]


def bundled_names() -> list[str]:
    return sorted(path.stem for path in BUNDLED.glob("*.yaml"))
