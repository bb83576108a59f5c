"""LLaVA: the same number for every picture. LLaVA-NeXT: that, and the patches of the best fitting resolution.

Source: `LlavaProcessor._get_num_multimodal_tokens`, `LlavaNextProcessor._get_number_of_features` and
`select_best_resolution` in transformers' models/llava, models/llava_next and image_processing_utils.py.
"""

from dataclasses import dataclass
from typing import Self

from server.errors import ConfigError
from server.images.token_rules.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class LlavaTokenRule:
    each: int
    name: str = "llava"
    markers: int = 0

    @classmethod
    def read(cls, checkpoint: Checkpoint) -> Self:
        """Raises ConfigError."""
        images = checkpoint.images
        crop, image_size = images.part("crop_size"), checkpoint.vision.optional("image_size")
        patch, extra = patch_of(checkpoint), extra_of(checkpoint)
        rows, columns = crop.count("height", image_size) // patch, crop.count("width", image_size) // patch
        return cls(rows * columns + extra)

    def tokens(self, width: int, height: int) -> int:
        return self.each


@dataclass(frozen=True, slots=True)
class LlavaNextTokenRule:
    """`side` of the vision tower's pictures, `resolutions` (height, width) that a picture may be brought to, in
    pixels; `extra` tokens besides those of patches."""

    side: int
    patch: int
    extra: int
    resolutions: tuple[tuple[int, int], ...]
    name: str = "llava-next"
    markers: int = 0

    @classmethod
    def read(cls, checkpoint: Checkpoint) -> Self:
        """Raises ConfigError."""
        images = checkpoint.images
        size = images.part("size")
        side = size.optional("shortest_edge") or min(size.count("height"), size.count("width"))
        resolutions = tuple(images.pairs("image_grid_pinpoints")) or tuple(
            checkpoint.model.pairs("image_grid_pinpoints")
        )
        if not resolutions:
            raise ConfigError(f"{checkpoint.path}: image_grid_pinpoints is missing")
        return cls(side, patch_of(checkpoint), extra_of(checkpoint), resolutions)

    def tokens(self, width: int, height: int) -> int:
        best_height, best_width = self.best_resolution(width, height)
        patches = self.side // self.patch
        rows, columns = patches * (best_height // self.side), patches * (best_width // self.side)
        # The part of the grid that is only padding is cut off again.
        if width / height > columns / rows:
            rows -= (rows - int(round(height * (columns / width), 7))) // 2 * 2
        else:
            columns -= (columns - int(round(width * (rows / height), 7))) // 2 * 2
        return rows * columns + rows + patches * patches + self.extra

    def best_resolution(self, width: int, height: int) -> tuple[int, int]:
        """The (height, width) that keeps the most pixels of the picture, and of those the least waste."""

        def worth(resolution: tuple[int, int]) -> tuple[int, int]:
            scale = min(resolution[1] / width, resolution[0] / height)
            kept = min(int(width * scale) * int(height * scale), width * height)
            return kept, kept - resolution[0] * resolution[1]

        return max(self.resolutions, key=worth)


def patch_of(checkpoint: Checkpoint) -> int:
    return checkpoint.processor.count("patch_size", checkpoint.vision.optional("patch_size"))


def extra_of(checkpoint: Checkpoint) -> int:
    """The vision tower's own token (CLIP has one, SigLIP none), less what the model leaves out.

    Where processor_config.json does not say, as vLLM has it (`get_num_selected_vision_tokens`).
    """
    processor = checkpoint.processor
    strategy = processor.text("vision_feature_select_strategy") or checkpoint.model.text(
        "vision_feature_select_strategy"
    )
    default = strategy in ("default", "")
    own = processor.count("num_additional_image_tokens", 1 if default else 0, least=0)
    return own - 1 if default else own
