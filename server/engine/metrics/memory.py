"""What vLLM has set aside for KV and for embeddings, and how much KV is used: by its configuration (0.32)."""

from dataclasses import dataclass
from typing import Any

from server.engine.metrics.declared import Readings
from server.engine.metrics.kv_usage import KvUsage


@dataclass(slots=True)
class EngineMemory:
    """`kv_bytes` of one engine core's workers together: known once they have been asked; 0 until then."""

    model_name: str
    kv_tokens: int
    encoder_tokens: int
    encoder_bytes: int
    usage: KvUsage
    kv_bytes: int = 0

    def __call__(self) -> Readings:
        """What is not known is left out."""
        engines, used, model = self.usage.engines or 1, self.usage.used, (self.model_name,)
        told: dict[str, float] = {
            "fovea_kv_cache_capacity_bytes": engines * self.kv_bytes,
            "fovea_kv_cache_capacity_tokens": engines * self.kv_tokens,
            "fovea_encoder_memory_capacity_tokens": self.encoder_tokens,
            "fovea_encoder_memory_capacity_bytes": self.encoder_bytes,
        }
        told = {name: number for name, number in told.items() if number}
        if self.usage.engines and self.kv_bytes:
            told["fovea_kv_cache_used_bytes"] = round(used * self.kv_bytes)
        if self.usage.engines and self.kv_tokens:
            told["fovea_kv_cache_used_tokens"] = round(used * self.kv_tokens)
            told["fovea_kv_cache_high_water_tokens"] = round(self.usage.peak * self.kv_tokens)
        return {name: {model: number} for name, number in told.items()}


def memory_of(vllm_config: Any, encoder_tokens: int, usage: KvUsage) -> EngineMemory:
    """`encoder_tokens`: what vLLM's encoder cache holds, by its own reckoning."""
    model = vllm_config.model_config
    width = embedding_width(model) if encoder_tokens else 0
    return EngineMemory(
        model_name=str(model.served_model_name),
        kv_tokens=vllm_config.cache_config.kv_cache_size_tokens or 0,
        encoder_tokens=encoder_tokens,
        encoder_bytes=encoder_tokens * width * model.dtype.itemsize,
        usage=usage,
    )


def embedding_width(model_config: Any) -> int:
    """Numbers in an image token's embedding: as wide as the language model's, or several layers' side by side
    (DeepStack: vllm/model_executor/models/qwen3_vl.py)."""
    vision = getattr(model_config.hf_config, "vision_config", None)
    layers = getattr(vision, "deepstack_visual_indexes", None) or ()
    return int(model_config.get_inputs_embeds_size()) * (1 + len(layers))
