"""Idefics 3 and SmolVLM: rows and columns of tiles, each with its own label, and the picture as a whole.

Source: `Idefics3Processor._get_num_multimodal_tokens` and `get_number_of_image_patches` in transformers'
models/idefics3, which models/smolvlm repeats. Both models' vocabularies have one token for two newlines.
"""

import math
from dataclasses import dataclass
from typing import Self

from server.images.token_rules.checkpoint import Checkpoint

MOST_SIDE = 4096


@dataclass(frozen=True, slots=True)
class IdeficsTokenRule:
    """Where pictures are `split`, the longer side is brought to `longest_edge` pixels and cut into tiles of `tile`;
    `each` tokens a tile."""

    each: int
    longest_edge: int
    tile: int
    split: bool
    name: str = "idefics3"
    markers: int = 0

    @classmethod
    def read(cls, checkpoint: Checkpoint) -> Self:
        """Raises ConfigError."""
        images = checkpoint.images
        return cls(
            checkpoint.processor.count("image_seq_len", 169),
            images.part("size").count("longest_edge", 4 * 364),
            images.part("max_image_size").count("longest_edge", 364),
            images.flag("do_image_splitting", True),
        )

    def tokens(self, width: int, height: int) -> int:
        rows, columns = self.grid(width, height)
        # Around each tile's: <fake_token_around_image> and <row_1_col_1>; a newline a row; around the whole
        # picture's: <fake_token_around_image> and <global-img> before it, the former again after it.
        return self.each + 3 + ((self.each + 2) * columns + 1) * rows

    def grid(self, width: int, height: int) -> tuple[int, int]:
        """(rows, columns) of tiles; none where one holds the picture."""
        if not self.split:
            return 0, 0
        if width >= height:
            height, width = int(self.longest_edge / (width / height)), self.longest_edge
            height = max(height + height % 2, 1)
        else:
            width, height = int(self.longest_edge * (width / height)), self.longest_edge
            width = max(width + width % 2, 1)
        if max(width, height) > MOST_SIDE:
            if width >= height:
                height, width = max(int(MOST_SIDE / (width / height)), 1), MOST_SIDE
            else:
                width, height = max(int(MOST_SIDE * (width / height)), 1), MOST_SIDE
        rows, columns = math.ceil(height / self.tile), math.ceil(width / self.tile)
        return (rows, columns) if rows > 1 or columns > 1 else (0, 0)
