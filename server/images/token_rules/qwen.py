"""Qwen2-VL, Qwen2.5-VL, Qwen3-VL (MoE), Qwen3.5 (MoE): as many tiles as the picture has after resizing.

Source: `smart_resize` and `get_number_of_image_patches` of transformers' Qwen2VLImageProcessor, which all of them
share (models/qwen2_vl/image_processing_qwen2_vl.py); templates write <|vision_start|> and <|vision_end|> around.
"""

import math
from dataclasses import dataclass, replace
from typing import Self

from server.images.token_rules.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class QwenTokenRule:
    """Sides are rounded to patch x merge pixels and the area is brought within `min_pixels`..`max_pixels`."""

    patch: int
    merge: int
    min_pixels: int
    max_pixels: int
    name: str = "qwen-vl"
    markers: int = 2

    @classmethod
    def read(cls, checkpoint: Checkpoint) -> Self:
        """Raises ConfigError."""
        images = checkpoint.images
        size = images.part("size")
        return cls(
            patch=images.count("patch_size"),
            merge=images.count("merge_size"),
            min_pixels=size.count("shortest_edge", images.optional("min_pixels")),
            max_pixels=size.count("longest_edge", images.optional("max_pixels")),
        )

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
        columns, rows = self.resized(width, height)
        return (columns // self.patch // self.merge) * (rows // self.patch // self.merge)
