"""Recipes: which parts of a model are quantized and how, as YAML files beside this module or anywhere."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from quantize.architecture import SIGHT, Part
from quantize.errors import RecipeError
from quantize.yaml_file import read_yaml

BUNDLED = Path(__file__).parent / "recipes"
REGEX = "re:"
Scheme = Literal["FP8_DYNAMIC", "W8A8", "W4A16"]
# Parts that no recipe can have otherwise, and why.
ALWAYS_KEPT: dict[Part, str] = {"embeddings": "vLLM serves no quantized embeddings", "norms": "vectors"}


class Recipe(BaseModel):
    """`quantize` names parts of an architecture map; everything else is kept bit for bit, and so is every module
    that a regex of `ignore` ("re:...", matched from the start of its name) names.

    `method` is how codes are found: the nearest one, or by what calibration shows of a layer's inputs (GPTQ, AWQ).
    `smoothing` is SmoothQuant's strength; `group_size` how many weights of a row share a scale in W4A16.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    scheme: Scheme
    method: Literal["nearest", "gptq", "awq"] = "nearest"
    smoothing: Annotated[float, Field(gt=0, le=1)] | None = None
    group_size: Literal[32, 64, 128] = 128
    quantize: Annotated[tuple[Part, ...], Field(min_length=1)]
    ignore: tuple[str, ...] = ()

    @field_validator("quantize")
    @classmethod
    def parts_can_be_quantized(cls, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        for part in parts:
            if part in ALWAYS_KEPT:
                raise ValueError(f"{part} cannot be quantized: {ALWAYS_KEPT[part]}")
        return parts

    @field_validator("ignore")
    @classmethod
    def ignores_are_regexes(cls, ignore: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in ignore:
            if not pattern.startswith(REGEX):
                raise ValueError(f"'{pattern}' must be a regex (re:...): names break under vLLM's renaming")
            try:
                re.compile(pattern.removeprefix(REGEX))
            except re.error as problem:
                raise ValueError(f"'{pattern}' is not a regex: {problem}") from problem
        return ignore

    @model_validator(mode="after")
    def parts_fit_together(self) -> Self:
        if self.scheme == "FP8_DYNAMIC" and (self.method != "nearest" or self.smoothing is not None):
            raise ValueError("FP8_DYNAMIC takes the nearest codes: neither method nor smoothing")
        if self.smoothing is not None and self.scheme != "W8A8":
            raise ValueError("smoothing is for W8A8: no other scheme rounds activations to integers")
        if self.method == "awq" and self.scheme != "W4A16":
            raise ValueError("method awq is for W4A16")
        return self

    @property
    def calibrated(self) -> bool:
        """Whether a run has to see samples."""
        return self.method != "nearest" or self.smoothing is not None

    @property
    def rescales(self) -> bool:
        """Whether norms take over what the columns of their matrices are multiplied with."""
        return self.method == "awq" or self.smoothing is not None

    def check_sight(self) -> None:
        """Raise RecipeError where sight is to be cut to 4 bits."""
        sight = [part for part in self.quantize if part in SIGHT]
        if sight and self.scheme == "W4A16":
            raise RecipeError(
                f"{self.name} cuts {' and '.join(sight)} to 4 bits: such models answer fluently and see wrongly "
                "(docs/lesson.md measures it); --i-know does it anyway"
            )

    def ignored_by(self, tensor: str) -> str | None:
        """The regex of `ignore` that keeps this tensor, if one does."""
        return next((each for each in self.ignore if re.match(each.removeprefix(REGEX), tensor)), None)


def bundled_names() -> list[str]:
    return sorted(path.stem for path in BUNDLED.glob("*.yaml"))


def read_recipe(name_or_path: str) -> Recipe:
    """A bundled recipe by name, or one of your own by path. Raises RecipeError."""
    path = BUNDLED / f"{name_or_path}.yaml"
    if not path.is_file():
        path = Path(name_or_path)
    if not path.is_file():
        raise RecipeError(f"no recipe '{name_or_path}': bundled are {', '.join(bundled_names())}; or give a file")
    return read_yaml(path, Recipe)


def recorded_recipe(report: dict[str, Any], folder: Path) -> Recipe:
    """The recipe that a checkpoint's fovea-report.json names. Raises RecipeError."""
    section = report.get("quantize")
    try:
        return Recipe.model_validate(section.get("recipe") if isinstance(section, dict) else None)
    except ValidationError as problem:
        raise RecipeError(
            f"{folder} has no fovea-report.json that says how it was made: name --recipe"
        ) from problem
