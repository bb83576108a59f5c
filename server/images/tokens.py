"""How many tokens an image takes: the model's own preprocessor rule, applied to the size in the header.

Source: `smart_resize` and `get_number_of_image_patches` of transformers' Qwen2-VL image processor, which
Qwen3-VL and Qwen3.5 share.
"""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from server.errors import ConfigError


@dataclass(frozen=True, slots=True)
class QwenTokenRule:
    """Sides are rounded to patch x merge pixels and the area is brought within `min_pixels`..`max_pixels`."""

    patch: int
    merge: int
    min_pixels: int
    max_pixels: int

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a checkpoint's preprocessor_config.json. Raises ConfigError."""
        try:
            config = json.loads(path.read_text())
            size = config.get("size") or {}
            return cls(
                patch=int(config["patch_size"]),
                merge=int(config["merge_size"]),
                min_pixels=int(size.get("shortest_edge") or config["min_pixels"]),
                max_pixels=int(size.get("longest_edge") or config["max_pixels"]),
            )
        except OSError as problem:
            raise ConfigError(f"cannot read {path}: {type(problem).__name__}") from problem
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise ConfigError(f"{path} is not a preprocessor configuration of the Qwen-VL kind") from problem

    def within(self, max_pixels: int) -> Self:
        """The same with a smaller maximum."""
        return replace(self, max_pixels=max_pixels)

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) in pixels that the preprocessor resizes to."""
        factor = self.patch * self.merge
        rows, columns = round(height / factor) * factor, round(width / factor) * factor
        if rows * columns > self.max_pixels:
            beta = math.sqrt((height * width) / self.max_pixels)
            rows = max(factor, math.floor(height / beta / factor) * factor)
            columns = max(factor, math.floor(width / beta / factor) * factor)
        elif rows * columns < self.min_pixels:
            beta = math.sqrt(self.min_pixels / (height * width))
            rows = math.ceil(height * beta / factor) * factor
            columns = math.ceil(width * beta / factor) * factor
        return columns, rows

    def tokens(self, width: int, height: int) -> int:
        """Tokens of one image of `width` x `height` pixels, vision markers not counted."""
        columns, rows = self.resized(width, height)
        return (columns // self.patch // self.merge) * (rows // self.patch // self.merge)
