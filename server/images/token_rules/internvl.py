"""InternVL: a picture is cut into the grid of tiles that is most like it, and shown whole besides.

Source: `InternVLProcessor._get_num_multimodal_tokens` in transformers' models/internvl, `get_optimal_tiled_canvas`
in models/got_ocr2; for checkpoints in its authors' own form (internvl_chat), `calculate_internvl_targets` in vLLM's
transformers_utils/processors/internvl.py. <img> and </img> stand around.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

from server.errors import ConfigError
from server.images.token_rules.checkpoint import Checkpoint

MOST_TILES = 256


@dataclass(frozen=True)
class InternVLTokenRule:
    """`tile` (width, height) in pixels, `each` tokens a tile; `thumbnail`: the whole picture is one more tile."""

    tile: tuple[int, int]
    each: int
    min_tiles: int
    max_tiles: int
    thumbnail: bool = True
    name: str = "internvl"
    markers: int = 2

    @classmethod
    def read(cls, checkpoint: Checkpoint) -> Self:
        """As transformers writes it. Raises ConfigError."""
        images = checkpoint.images
        size = images.part("size")
        tile = size.count("width"), size.count("height")
        each = checkpoint.processor.count("image_seq_length", checkpoint.model.optional("image_seq_length"), 256)
        # The processor cuts pictures whatever the image processor says of itself.
        return cls(tile, each, images.count("min_patches", 1), bounded(images.count("max_patches", 12)))

    @classmethod
    def read_chat(cls, checkpoint: Checkpoint) -> Self:
        """As InternVL's authors write it. Raises ConfigError."""
        model, vision = checkpoint.model, checkpoint.vision
        side = model.count("force_image_size", vision.optional("image_size"))
        ratio = model.number("downsample_ratio", 0.5, least=0.01)
        each = int((side // vision.count("patch_size")) ** 2 * ratio**2)
        dynamic = model.flag("dynamic_image_size", True)
        fewest = model.count("min_dynamic_patch", 1) if dynamic else 1
        most = bounded(model.count("max_dynamic_patch", 12)) if dynamic else 1
        return cls((side, side), each, fewest, most, model.flag("use_thumbnail", True))

    @cached_property
    def grids(self) -> list[tuple[int, int]]:
        sides = range(1, self.max_tiles + 1)
        found = [(c, r) for c in sides for r in sides if self.min_tiles <= c * r <= self.max_tiles]
        return sorted(found, key=lambda grid: grid[0] * grid[1])

    def tiles(self, width: int, height: int) -> int:
        best, best_difference = (1, 1), float("inf")
        for grid in self.grids:
            difference = abs(width / height - grid[0] / grid[1])
            pixels = self.tile[0] * self.tile[1] * grid[0] * grid[1]
            # Of two that are as much like it, the larger while the picture has half its pixels.
            if difference < best_difference or (difference == best_difference and width * height > 0.5 * pixels):
                best, best_difference = grid, difference
        return best[0] * best[1]

    def tokens(self, width: int, height: int) -> int:
        tiles = self.tiles(width, height)
        return self.each * (tiles + 1 if self.thumbnail and tiles > 1 else tiles)


def bounded(tiles: int) -> int:
    if tiles > MOST_TILES:
        raise ConfigError(f"a picture of {tiles} tiles is more than is counted ({MOST_TILES})")
    return tiles
