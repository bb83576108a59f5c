"""Gemma 3: the same number for every picture, and for each crop of it where pan and scan is on.

Source: `Gemma3ImageProcessor.pan_and_scan` and `Gemma3Processor.replace_image_token` in transformers'
models/gemma3; around the soft tokens stand <start_of_image>, <end_of_image> and two empty lines, a token each.
"""

import math
from dataclasses import dataclass
from typing import Self

from server.images.token_rules.checkpoint import Checkpoint

MARKERS = 4
# "Here is the original image ... and here are some crops to help you see better ...", in Gemma's vocabulary.
CROPS_SENTENCE = 16


@dataclass(frozen=True, slots=True)
class GemmaTokenRule:
    """`max_crops` is 0 where pan and scan is off, the default; with it, the sentence about crops is a guess."""

    each: int
    max_crops: int = 0
    min_crop: int = 256
    min_ratio: float = 1.2
    name: str = "gemma3"
    markers: int = MARKERS

    @classmethod
    def read(cls, checkpoint: Checkpoint) -> Self:
        """Raises ConfigError."""
        images = checkpoint.images
        own = checkpoint.model.optional("mm_tokens_per_image") or images.optional("image_seq_length")
        each = checkpoint.processor.count("image_seq_length", own, 256)
        if not images.flag("do_pan_and_scan", False):
            return cls(each)
        return cls(
            each,
            images.count("pan_and_scan_max_num_crops", 4),
            images.count("pan_and_scan_min_crop_size", 256),
            images.number("pan_and_scan_min_ratio_to_activate", 1.2),
        )

    def crops(self, width: int, height: int) -> int:
        long, short = max(width, height), min(width, height)
        if not self.max_crops or long / short < self.min_ratio:
            return 0
        crops = min(long // self.min_crop, math.floor(long / short + 0.5))
        crops = min(self.max_crops, max(2, crops))
        return 0 if min(math.ceil(long / crops), short) < self.min_crop else crops

    def tokens(self, width: int, height: int) -> int:
        crops = self.crops(width, height)
        return self.each * (1 + crops) + (MARKERS * crops + CROPS_SENTENCE if crops else 0)
