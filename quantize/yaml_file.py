"""Recipes, maps and policies: YAML files whose every field is checked."""

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from quantize.errors import RecipeError

Model = TypeVar("Model", bound=BaseModel)


def read_yaml(path: Path, model: type[Model]) -> Model:
    """Raises RecipeError, naming the file and the first thing that is wrong."""
    try:
        return model.model_validate(yaml.safe_load(path.read_text()))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        raise RecipeError(f"{path} is not readable YAML ({type(problem).__name__})") from problem
    except ValidationError as problem:
        raise RecipeError(f"{path}: {first_error(problem)}") from problem


def first_error(problem: ValidationError) -> str:
    first = problem.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]
