"""Pixtral in its Hugging Face form, and Mistral 3: a token a patch, and one that ends each row.

Source: `PixtralProcessor._get_num_multimodal_tokens` and `get_resize_output_image_size` in transformers'
models/pixtral.
"""

import math
from dataclasses import dataclass
from typing import Self

from server.images.token_rules.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class PixtralTokenRule:
    """`patch` pixels a token, those that are merged into one counted in; no side is longer than `longest_edge`."""

    patch: int
    longest_edge: int
    name: str = "pixtral"
    markers: int = 0

    @classmethod
    def read(cls, checkpoint: Checkpoint) -> Self:
        """Raises ConfigError."""
        images, vision = checkpoint.images, checkpoint.vision
        own = images.part("patch_size").optional("height")
        patch = checkpoint.processor.count("patch_size", own, vision.optional("patch_size"), 16)
        merge = checkpoint.processor.count("spatial_merge_size", checkpoint.model.optional("spatial_merge_size"), 1)
        longest = images.part("size").count("longest_edge", vision.optional("image_size"), 1024)
        return cls(patch * merge, longest)

    def tokens(self, width: int, height: int) -> int:
        ratio = max(width, height) / self.longest_edge
        if ratio > 1:
            width, height = math.floor(width / ratio), math.floor(height / ratio)
        columns, rows = (width - 1) // self.patch + 1, (height - 1) // self.patch + 1
        return (columns + 1) * rows
