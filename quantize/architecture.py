"""Architecture maps: what each tensor of a checkpoint is part of, as YAML files beside this module or anywhere.

A part is named by regexes that match from the start of a tensor's name on disk and of a module's in vLLM alike: the
same lines sort tensors and tell vLLM what is not quantized.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, field_validator

from quantize.errors import RecipeError, UnsupportedArchitecture
from quantize.yaml_file import read_yaml

Part = Literal[
    "embeddings", "vision", "connector", "self-attention", "cross-attention", "linear-attention", "mlp", "gates",
    "norms", "lm_head", "mtp",
]  # fmt: skip
PARTS: tuple[Part, ...] = get_args(Part)
SIGHT: frozenset[Part] = frozenset({"vision", "connector"})
BUNDLED = Path(__file__).parent / "architectures"
EXPERTS = re.compile(r"(?P<experts>.*\.mlp\.experts)\.(?P<which>gate_up_proj|down_proj)$")


class Feeds(BaseModel):
    """A norm of a layer, and all the matrices that read what it gives."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    norm: str
    feeds: tuple[str, ...]


class MapFile(BaseModel):
    """One YAML file, as written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_types: tuple[str, ...] = ()
    extends: str | None = None
    parts: tuple[dict[Part, str], ...]
    fused: tuple[tuple[str, ...], ...] = ()
    fused_experts: Literal["rows", "columns"] | None = None
    norms: tuple[Feeds, ...] = ()
    norm_offset: Literal[0, 1] = 0

    @field_validator("parts")
    @classmethod
    def patterns_compile(cls, parts: tuple[dict[Part, str], ...]) -> tuple[dict[Part, str], ...]:
        for pattern in (pattern for line in parts for pattern in line.values()):
            try:
                re.compile(pattern)
            except re.error as problem:
                raise ValueError(f"'{pattern}' is not a regex: {problem}") from problem
        return parts


@dataclass(frozen=True, slots=True)
class Architecture:
    """`parts` in order: the first pattern that matches says what a tensor is part of.

    `fused` are endings of modules that vLLM loads as one; `fused_experts` is how all experts of a layer lie in one
    tensor, if the family stores them so (`rows`: [experts, out, in], `columns`: [experts, in, out]). `norms` feed
    what is named with them, by endings, too; they multiply with `norm_offset` + weight.
    """

    name: str
    parts: tuple[tuple[Part, re.Pattern[str]], ...]
    fused: tuple[tuple[str, ...], ...]
    fused_experts: Literal["rows", "columns"] | None
    norms: tuple[Feeds, ...] = ()
    norm_offset: int = 0

    def part_of(self, tensor: str) -> Part | None:
        return next((part for part, pattern in self.parts if pattern.match(tensor)), None)

    def patterns(self, part: Part) -> list[str]:
        return [pattern.pattern for own, pattern in self.parts if own == part]


def bundled_maps() -> dict[str, Path]:
    """Where each model_type's map is."""
    return {
        model_type: path for path in sorted(BUNDLED.glob("*.yaml")) for model_type in read_map(path).model_types
    }


def find_architecture(config: dict[str, Any], own: Path | None = None) -> Architecture:
    """The map for a model's config.json, or `own`. Raises UnsupportedArchitecture, RecipeError."""
    if own is not None:
        return read_architecture(own)
    model_type = config.get("model_type")
    known = bundled_maps()
    if model_type not in known:
        raise UnsupportedArchitecture(
            f"no architecture map for model_type '{model_type}': there are {', '.join(sorted(known))}; write one "
            "(quantize/architectures/ has examples) and name it with --architecture"
        )
    return read_architecture(known[model_type])


def read_architecture(path: Path) -> Architecture:
    """A map with what it extends, which comes after its own parts. Raises RecipeError."""
    content = read_map(path)
    parts, fused, norms = content.parts, content.fused, content.norms
    if content.extends is not None:
        extended = BUNDLED / f"{content.extends}.yaml"
        if not extended.is_file():
            raise RecipeError(f"{path} extends '{content.extends}', but there is no map '{content.extends}'")
        shared = read_map(extended)
        parts, fused, norms = parts + shared.parts, fused + shared.fused, norms or shared.norms
    compiled = tuple((part, re.compile(pattern)) for line in parts for part, pattern in line.items())
    return Architecture(path.stem, compiled, fused, content.fused_experts, norms, content.norm_offset)


def read_map(path: Path) -> MapFile:
    return read_yaml(path, MapFile)
