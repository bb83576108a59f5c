"""Chooses the rule of a checkpoint by what it says of itself."""

from collections.abc import Callable, Mapping
from pathlib import Path

from server.errors import ConfigError
from server.images.token_rules.checkpoint import Checkpoint, read_checkpoint
from server.images.token_rules.gemma import GemmaTokenRule
from server.images.token_rules.idefics import IdeficsTokenRule
from server.images.token_rules.internvl import InternVLTokenRule
from server.images.token_rules.llava import LlavaNextTokenRule, LlavaTokenRule
from server.images.token_rules.pixtral import PixtralTokenRule
from server.images.token_rules.qwen import QwenTokenRule
from server.token_rule import TokenRule

Reader = Callable[[Checkpoint], TokenRule]


def read_llava(checkpoint: Checkpoint) -> TokenRule:
    """Pixtral in its Hugging Face form is a llava with another tower."""
    pixtral = checkpoint.vision.text("model_type") == "pixtral"
    return PixtralTokenRule.read(checkpoint) if pixtral else LlavaTokenRule.read(checkpoint)


# By config.json's model_type; those that quantize knows, but for mllama, which vLLM 0.32 does not serve.
FAMILIES: Mapping[str, Reader] = {
    "qwen2_vl": QwenTokenRule.read,
    "qwen2_5_vl": QwenTokenRule.read,
    "qwen3_vl": QwenTokenRule.read,
    "qwen3_vl_moe": QwenTokenRule.read,
    "qwen3_5": QwenTokenRule.read,
    "qwen3_5_moe": QwenTokenRule.read,
    "gemma3": GemmaTokenRule.read,
    "llava": read_llava,
    "llava_next": LlavaNextTokenRule.read,
    "mistral3": PixtralTokenRule.read,
    "internvl": InternVLTokenRule.read,
    "internvl_chat": InternVLTokenRule.read_chat,
    "idefics3": IdeficsTokenRule.read,
    "smolvlm": IdeficsTokenRule.read,
}
# By the preprocessor's own name, where there is no config.json beside it.
PREPROCESSORS: Mapping[str, Reader] = {
    "Qwen2VL": QwenTokenRule.read,
    "Gemma3": GemmaTokenRule.read,
    "Llava": LlavaTokenRule.read,
    "LlavaNext": LlavaNextTokenRule.read,
    "Pixtral": PixtralTokenRule.read,
    "GotOcr2": InternVLTokenRule.read,
    "Idefics3": IdeficsTokenRule.read,
    "SmolVLM": IdeficsTokenRule.read,
}


def read_rule(path: Path) -> TokenRule | None:
    """Of a checkpoint's folder or its preprocessor_config.json; None where its family is not known here.

    Raises ConfigError where what is there cannot be read, or is no preprocessor's.
    """
    checkpoint = read_checkpoint(path)
    if family := checkpoint.model.text("model_type"):
        reader = FAMILIES.get(family)
        return reader(checkpoint) if reader else None
    named = checkpoint.images.text("image_processor_type", "feature_extractor_type")
    if named:
        reader = PREPROCESSORS.get(named.removesuffix("Fast").partition("ImageProcessor")[0])
        return reader(checkpoint) if reader else None
    if "patch_size" in checkpoint.images and "merge_size" in checkpoint.images:
        return QwenTokenRule.read(checkpoint)
    raise ConfigError(f"{checkpoint.path} is not a preprocessor configuration: it names no model and no processor")
