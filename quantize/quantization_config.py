"""What config.json says about the quantized modules, as compressed-tensors 0.17 and later (vLLM 0.32) read it."""

from typing import Any

from quantize.plan import Plan
from quantize.recipe import REGEX, Scheme

LM_HEAD = f"{REGEX}.*lm_head"


FORMATS: dict[Scheme, str] = {
    "FP8_DYNAMIC": "float-quantized",
    "W8A8": "int-quantized",
    "W4A16": "pack-quantized",
}


def make_quantization_config(plan: Plan) -> dict[str, Any]:
    """Weights with one scale a row (W4A16: a group), activations with one a token, found at run time, or (W4A16) as
    they are; ignores as regexes.

    llm-compressor expands its regexes into module names, which vLLM's renaming then misses
    (https://github.com/vllm-project/llm-compressor/issues/2641).
    """
    recipe = plan.recipe
    packed = recipe.scheme == "W4A16"
    number: dict[str, Any] = {
        "actorder": None, "block_structure": None, "group_size": None, "num_bits": 4 if packed else 8,
        "observer_kwargs": {}, "scale_dtype": None, "symmetric": True,
        "type": "float" if recipe.scheme == "FP8_DYNAMIC" else "int", "zp_dtype": None,
    }  # fmt: skip
    weights = {**number, "dynamic": False, "observer": "memoryless_minmax", "strategy": "channel"}
    if packed:
        weights |= {"strategy": "group", "group_size": recipe.group_size}
    if recipe.method == "gptq":
        weights["actorder"] = "static"
    group = {
        "format": FORMATS[recipe.scheme],
        "input_activations": None if packed else {**number, "dynamic": True, "observer": None, "strategy": "token"},
        "output_activations": None,
        "targets": quantized_targets(plan),
        "weights": weights,
    }
    return {
        "config_groups": {"group_0": group},
        "format": FORMATS[recipe.scheme],
        "global_compression_ratio": None,
        "ignore": plan.ignore,
        "kv_cache_scheme": None,
        "quant_method": "compressed-tensors",
        "quantization_status": "compressed",
        "sparsity_config": {},
        "transform_config": {},
        "version": "0.17.0",
    }


def quantized_targets(plan: Plan) -> list[str]:
    """lm_head is quantized only where it is named: vLLM does not count it among linear layers."""
    heads = any(fate.part == "lm_head" and fate.quantized for fate in plan.fates)
    return ["Linear", LM_HEAD] if heads else ["Linear"]
