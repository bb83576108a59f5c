"""What transformers' own processors make of pictures, for tests/e2e/test_token_rules.py.

`python -m tests.e2e.count_image_tokens FOLDER < SIZES`: writes each family's checkpoint files (no weights) to
FOLDER/NAME, and prints, by NAME, the tokens that its processor counts for each [width, height], and for the first
few those that follow from the pixels that it really makes. Runs where vLLM is.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers.models.gemma3.image_processing_gemma3 import Gemma3ImageProcessor
from transformers.models.gemma3.processing_gemma3 import Gemma3Processor
from transformers.models.got_ocr2.image_processing_got_ocr2 import GotOcr2ImageProcessor
from transformers.models.idefics3.image_processing_idefics3 import Idefics3ImageProcessor
from transformers.models.idefics3.processing_idefics3 import Idefics3Processor
from transformers.models.internvl.processing_internvl import InternVLProcessor
from transformers.models.llava.image_processing_llava import LlavaImageProcessor
from transformers.models.llava.processing_llava import LlavaProcessor
from transformers.models.llava_next.image_processing_llava_next import LlavaNextImageProcessor
from transformers.models.llava_next.processing_llava_next import LlavaNextProcessor
from transformers.models.pixtral.image_processing_pixtral import PixtralImageProcessor
from transformers.models.pixtral.processing_pixtral import PixtralProcessor
from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor
from transformers.models.smolvlm.image_processing_smolvlm import SmolVLMImageProcessor

REAL = 4  # sizes whose pixels are made
Batch = dict[str, Any]


class Family:
    """One checkpoint: `attributes` are the processor's own, and what its processor_config.json says; `made` counts
    the tokens that follow from the pixels made of one picture."""

    def __init__(
        self,
        model_type: str,
        processor: type[Any],
        images: Any,
        attributes: dict[str, Any],
        made: Callable[[Batch], int] | None = None,
        **model: Any,
    ) -> None:
        self.model = {"model_type": model_type, **model}
        self.attributes, self.images, self.made = attributes, images, made
        # Without its tokenizer, which counting asks one question only (Idefics 3).
        self.processor = processor.__new__(processor)
        self.processor.image_processor = images
        self.processor.tokenizer = lambda text, **_: {"input_ids": [0]}
        for name, value in attributes.items():
            setattr(self.processor, name, value)

    def write(self, folder: Path) -> None:
        self.images.save_pretrained(folder)
        (folder / "config.json").write_text(json.dumps(self.model))
        (folder / "processor_config.json").write_text(json.dumps(self.attributes))

    def count(self, sizes: list[list[int]]) -> list[int]:
        pairs = [(height, width) for width, height in sizes]
        found: list[int] = self.processor._get_num_multimodal_tokens(image_sizes=pairs)["num_image_tokens"]
        return found

    def count_pixels(self, sizes: list[list[int]]) -> list[int]:
        if self.made is None:
            return []
        kwargs = {"return_row_col_info": True} if "idefics" in self.model["model_type"] else {}
        pictures = [torch.zeros(3, height, width, dtype=torch.uint8) for width, height in sizes]
        return [self.made(self.images(images=[one], return_tensors="pt", **kwargs)) for one in pictures]


def qwen_made(merge: int) -> Callable[[Batch], int]:
    return lambda made: int(made["image_grid_thw"].prod()) // merge**2


def pixtral_made(patch: int) -> Callable[[Batch], int]:
    def count(made: Batch) -> int:
        height, width = (int(side) for side in made["image_sizes"][0])
        return (width // patch + 1) * (height // patch)

    return count


PINPOINTS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
FAMILIES = {
    "qwen2_vl": Family("qwen2_vl", Qwen2_5_VLProcessor, Qwen2VLImageProcessor(), {}, qwen_made(2)),
    "qwen2_5_vl": Family(
        "qwen2_5_vl",
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor(size={"shortest_edge": 3136, "longest_edge": 12845056}),
        {},
        qwen_made(2),
    ),
    "qwen3_vl": Family(
        "qwen3_vl_moe",
        Qwen3VLProcessor,
        Qwen2VLImageProcessor(patch_size=16, size={"shortest_edge": 65536, "longest_edge": 16777216}),
        {},
        qwen_made(2),
    ),
    "qwen3_5": Family(
        "qwen3_5",
        Qwen3VLProcessor,
        Qwen2VLImageProcessor(patch_size=16, size={"shortest_edge": 20736, "longest_edge": 30976}),
        {},
        qwen_made(2),
    ),
    "gemma3": Family(
        "gemma3",
        Gemma3Processor,
        Gemma3ImageProcessor(size={"height": 896, "width": 896}),
        {"image_seq_length": 256},
    ),
    "llava": Family(
        "llava",
        LlavaProcessor,
        LlavaImageProcessor(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}),
        {"patch_size": 14, "num_additional_image_tokens": 1, "vision_feature_select_strategy": "default"},
        lambda made: made["pixel_values"].shape[-1] // 14 * (made["pixel_values"].shape[-2] // 14),
    ),
    "llava_siglip": Family(
        "llava",
        LlavaProcessor,
        LlavaImageProcessor(size={"shortest_edge": 384}, crop_size={"height": 384, "width": 384}),
        {"patch_size": 16, "num_additional_image_tokens": 0, "vision_feature_select_strategy": "full"},
    ),
    "llava_next": Family(
        "llava_next",
        LlavaNextProcessor,
        LlavaNextImageProcessor(
            size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}, image_grid_pinpoints=PINPOINTS
        ),
        {"patch_size": 14, "num_additional_image_tokens": 1, "vision_feature_select_strategy": "default"},
    ),
    "pixtral": Family(
        "llava",
        PixtralProcessor,
        PixtralImageProcessor(size={"longest_edge": 1024}, patch_size={"height": 16, "width": 16}),
        {"patch_size": 16, "spatial_merge_size": 1},
        pixtral_made(16),
        vision_config={"model_type": "pixtral"},
    ),
    "mistral3": Family(
        "mistral3",
        PixtralProcessor,
        PixtralImageProcessor(size={"longest_edge": 1540}, patch_size={"height": 28, "width": 28}),
        {"patch_size": 14, "spatial_merge_size": 2},
        pixtral_made(28),
    ),
    "internvl": Family(
        "internvl",
        InternVLProcessor,
        GotOcr2ImageProcessor(size={"height": 448, "width": 448}, max_patches=12, crop_to_patches=True),
        {"image_seq_length": 256},
        lambda made: 2 + 256 * int(made["num_patches"].sum()),
    ),
    "idefics3": Family(
        "idefics3",
        Idefics3Processor,
        Idefics3ImageProcessor(size={"longest_edge": 1456}, max_image_size={"longest_edge": 364}),
        {"image_seq_len": 169},
        lambda made: 172 + (171 * made["cols"][0][0] + 1) * made["rows"][0][0],
    ),
    "smolvlm": Family(
        "smolvlm",
        Idefics3Processor,  # SmolVLM's has no function that counts; vLLM counts so, too
        SmolVLMImageProcessor(size={"longest_edge": 2048}, max_image_size={"longest_edge": 512}),
        {"image_seq_len": 64},
    ),
}


def main() -> None:
    folder, sizes = Path(sys.argv[1]), json.load(sys.stdin)
    found = {}
    for name, family in FAMILIES.items():
        family.write(folder / name)
        found[name] = {"counted": family.count(sizes), "made": family.count_pixels(sizes[:REAL])}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
