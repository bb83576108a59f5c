"""Recipes: which modules are quantized and how, as YAML files beside this module or anywhere."""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from quantize.errors import RecipeError

BUNDLED = Path(__file__).parent / "recipes"
SCHEMES = frozenset({"FP8_DYNAMIC"})
REGEX = "re:"


@dataclass(frozen=True, slots=True)
class Recipe:
    """`ignore` holds regexes, each behind "re:", matched from the start of a module's name."""

    name: str
    scheme: str
    targets: tuple[str, ...]
    ignore: tuple[str, ...]

    def keeps(self, tensor: str) -> bool:
        """Whether the recipe promises that this tensor is not touched."""
        return any(re.match(pattern.removeprefix(REGEX), tensor) for pattern in self.ignore)


def bundled_names() -> list[str]:
    return sorted(path.stem for path in BUNDLED.glob("*.yaml"))


def read_recipe(name_or_path: str) -> Recipe:
    """A bundled recipe by name, or one of your own by path. Raises RecipeError."""
    path = BUNDLED / f"{name_or_path}.yaml"
    if not path.is_file():
        path = Path(name_or_path)
    if not path.is_file():
        raise RecipeError(f"no recipe '{name_or_path}': bundled are {', '.join(bundled_names())}; or give a file")
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as problem:
        raise RecipeError(f"{path} is not readable YAML ({type(problem).__name__})") from problem
    return parse_recipe(content, str(path))


def parse_recipe(content: object, source: str) -> Recipe:
    """Check every field. Raises RecipeError naming `source`."""
    if not isinstance(content, dict) or content.keys() != {"name", "scheme", "targets", "ignore"}:
        raise RecipeError(f"{source} must hold exactly name, scheme, targets and ignore")
    name, scheme = content["name"], content["scheme"]
    if not isinstance(name, str) or scheme not in SCHEMES:
        raise RecipeError(f"{source}: scheme must be one of {', '.join(sorted(SCHEMES))}")
    lists: dict[str, tuple[str, ...]] = {}
    for field in ("targets", "ignore"):
        value = content[field]
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise RecipeError(f"{source}: {field} must be a list of strings")
        lists[field] = tuple(value)
    for pattern in lists["ignore"]:
        if not pattern.startswith(REGEX):
            raise RecipeError(f"{source}: ignore '{pattern}' must be a regex (re:...): names break under renaming")
        try:
            re.compile(pattern.removeprefix(REGEX))
        except re.error as problem:
            raise RecipeError(f"{source}: ignore '{pattern}' is not a valid regex: {problem}") from problem
    return Recipe(name, scheme, lists["targets"], lists["ignore"])
