"""The variants of the demo model that the lesson compares: which part is rounded to what.

Simulated: each weight is rounded and put back (`demo.lesson.write_variant`), so that any vLLM serves it;
activations are rounded while vLLM runs (`demo.lesson.rounded_activations`). What rounding does to sight is real.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

HERE = Path(__file__).parent
METHOD = "fovea_demo_rounding"
Part = Literal["vision", "layers", "rest"]


@dataclass(frozen=True, slots=True)
class Rounding:
    """What weights are rounded to: the vision tower with its merger, the language model's layers, embeddings with
    lm_head (None: kept); and whether the activations that meet them are, too."""

    vision: str | None
    layers: str | None
    rest: str | None
    activations: bool = True


VARIANTS = {
    "fp8-everything": Rounding("fp8", "fp8", "fp8"),
    "int8-everything": Rounding("int8", "int8", "int8"),
    "int4-language": Rounding(None, "int4", None),
    "int4-vision": Rounding("int4", None, None),
    "int4-everything": Rounding("int4", "int4", "int4"),
    "int4-weights": Rounding("int4", "int4", "int4", activations=False),
    "int2-language-weights": Rounding(None, "int2", None, activations=False),
    "int2-vision-weights": Rounding("int2", None, None, activations=False),
}


def part_of(name: str) -> Part:
    """Which part of the model a tensor or module belongs to, by its name in the file or in vLLM."""
    if name.startswith("visual.") or ".visual." in name:
        return "vision"
    return "layers" if ".layers." in name else "rest"


def scheme_of(name: str, dimensions: int, rounding: Rounding) -> str | None:
    """What this tensor is rounded to: weight matrices only; vectors and the short depthwise convolutions stay."""
    if dimensions < 2 or not name.endswith(".weight") or ".conv1d." in name:
        return None
    scheme: str | None = getattr(rounding, part_of(name))
    return scheme


def engine_environ() -> dict[str, str]:
    """What `fovea up` needs in its environment for vLLM to find the plugin that rounds activations."""
    folders = (str(HERE.parent.parent), str(HERE / "vllm_plugin"), os.environ.get("PYTHONPATH"))
    return {"PYTHONPATH": os.pathsep.join(filter(None, folders))}
