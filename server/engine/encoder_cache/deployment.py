"""What the cache must know of the engine that it serves, read off vLLM's configuration (0.32)."""

import logging
import os
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from server.engine.encoder_cache.checkpoint import NoFingerprint
from server.engine.encoder_cache.engine_parts import fingerprint_of_engine
from server.engine.encoder_cache.entry import Encoding

log = logging.getLogger(__name__)

# Executors whose workers all share the scheduler's machine, and with it its memory. None is vLLM's choice of these.
LOCAL_EXECUTORS = (None, "uni", "mp")


@dataclass(frozen=True, slots=True)
class Deployment:
    """`obstacle`: why there can be no cache. `loading_ranks` workers load (and encode, with all of a picture's
    embedding each); a step computes `window_tokens` of a request at most."""

    obstacle: str
    engine_id: str
    dtype: str
    loading_ranks: int
    window_tokens: int


def read_deployment(vllm_config: Any) -> Deployment:
    model, parallel = vllm_config.model_config, vllm_config.parallel_config
    return Deployment(
        obstacle=obstacle_of(vllm_config),
        engine_id=str(vllm_config.ec_transfer_config.engine_id),
        dtype=str(model.dtype).removeprefix("torch."),
        loading_ranks=parallel.tensor_parallel_size * parallel.prefill_context_parallel_size,
        # What a draft model looks ahead at is less than as much again.
        window_tokens=2 * vllm_config.scheduler_config.max_num_batched_tokens,
    )


def obstacle_of(vllm_config: Any) -> str:
    model, parallel = vllm_config.model_config, vllm_config.parallel_config
    executor = parallel.distributed_executor_backend
    if model.multimodal_config is None:
        return "the model takes no pictures"
    if model.is_encoder_decoder:
        return "vLLM runs no encoder cache for encoder-decoder models"
    if parallel.nnodes > 1 or executor not in LOCAL_EXECUTORS:
        return f"workers on other machines do not share this one's memory (executor {executor or 'mp'})"
    if vllm_config.ec_manager_config.encoder_cache_manager_cls is not None:
        return "vLLM was given another manager of its encoder cache"
    return ""


def namespace_in(namespace: str, encoding: Encoding) -> str:
    """Engines that keep embeddings exactly never find what others have rounded, nor the other way round."""
    return namespace if encoding == "raw" else blake3(f"{namespace} {encoding}".encode()).hexdigest()


def namespace_of(vllm_config: Any) -> tuple[str, bool]:
    """And whether it is this engine's alone, until it ends: the checkpoint cannot tell what it sees with."""
    try:
        return fingerprint_of_engine(vllm_config, os.environ).hex, False
    except (NoFingerprint, OSError) as problem:
        log.warning("Embeddings are kept for this engine alone, and until it ends: %s", problem)
        return blake3(str(vllm_config.ec_transfer_config.engine_id).encode()).hexdigest(), True
