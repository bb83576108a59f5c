"""Activations rounded before every matrix product, inside stock vLLM: simulates variants that it cannot load.

A vLLM plugin (`vllm_plugin/` makes it known); serves checkpoints whose `quantization_config` is {"quant_method":
METHOD, "vision": scheme, "layers": scheme, "rest": scheme} with schemes of `quantize.rounding` or null. Weights
were rounded before (`demo.lesson.write_variant`); here activations are, with one symmetric scale a token.
"""

from typing import Any

import torch
from torch import Tensor, nn
from vllm.model_executor.layers.linear import LinearBase, UnquantizedLinearMethod
from vllm.model_executor.layers.quantization import register_quantization_config
from vllm.model_executor.layers.quantization.base_config import QuantizationConfig, QuantizeMethodBase
from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead, UnquantizedEmbeddingMethod

from demo.lesson.variants import METHOD, part_of
from quantize.rounding import rounded


class RoundedLinear(UnquantizedLinearMethod):
    """vLLM's own product, of rounded activations."""

    def __init__(self, scheme: str) -> None:
        super().__init__()
        self.scheme = scheme

    def apply(self, layer: nn.Module, x: Tensor, bias: Tensor | None = None) -> Tensor:
        return super().apply(layer, round_tokens(x, self.scheme), bias)


class RoundedHead(UnquantizedEmbeddingMethod):
    """The same for lm_head."""

    def __init__(self, scheme: str) -> None:
        super().__init__()
        self.scheme = scheme

    def apply(self, layer: nn.Module, x: Tensor, bias: Tensor | None = None) -> Tensor:
        return super().apply(layer, round_tokens(x, self.scheme), bias)


def round_tokens(x: Tensor, scheme: str) -> Tensor:
    """`x` [..., width]: each vector of `width` has its own scale."""
    return rounded(x.reshape(-1, x.shape[-1]), scheme).reshape(x.shape)


class SimulatedConfig(QuantizationConfig):
    """Which scheme each part's activations go through."""

    def __init__(self, schemes: dict[str, str | None]) -> None:
        super().__init__()
        self.schemes = schemes

    @classmethod
    def get_name(cls) -> str:
        return METHOD

    def get_supported_act_dtypes(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float32]

    @classmethod
    def get_min_capability(cls) -> int:
        return 0

    @staticmethod
    def get_config_filenames() -> list[str]:
        return []

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SimulatedConfig":
        return cls({part: config[part] for part in ("vision", "layers", "rest")})

    def get_quant_method(self, layer: nn.Module, prefix: str) -> QuantizeMethodBase | None:
        scheme = self.schemes[part_of(prefix)]
        if isinstance(layer, LinearBase):
            return RoundedLinear(scheme) if scheme else UnquantizedLinearMethod()
        if isinstance(layer, ParallelLMHead) and scheme:
            return RoundedHead(scheme)
        return None


def register() -> None:
    """Called in each of vLLM's processes, more than once in some."""
    register_quantization_config(METHOD)(SimulatedConfig)
