"""Which GPU a checkpoint fits, at which context and concurrency: arithmetic, every term of it shown.

What vLLM 0.32 puts into `gpu_memory_utilization` of the memory: weights, activations of one full batch, the encoder
cache, CUDA's own, and the rest as KV cache. Activations and CUDA's share are estimates; the other terms are exact.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from quantize.errors import UsageError
from quantize.model_shape import ModelShape
from quantize.recipe import Scheme
from quantize.yaml_file import read_yaml

GPUS = Path(__file__).parent / "gpus.yaml"
MIB = 1024**2
UTILIZATION = 0.92  # vLLM 0.32's default
KV_BYTES = {"bf16": 2, "fp8": 1}
CUDA_BYTES = 900 * MIB  # context, libraries, graphs: an estimate
SYSTEM_BYTES = 2500 * MIB  # of shared memory: an estimate, too
FP8_FROM, BF16_FROM = 8.9, 8.0
BIG_BYTES = 70 * 1024**3  # from here on vLLM batches more


class Gpu(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    label: str
    memory_mib: Annotated[int, Field(gt=0)]
    capability: float
    shared: bool = False

    @property
    def usable(self) -> int:
        """Bytes that vLLM may take."""
        whole = self.memory_mib * MIB - (SYSTEM_BYTES if self.shared else 0)
        return int(whole * UTILIZATION)

    @property
    def in_flight(self) -> int:
        """Tokens of the batches that vLLM works on at once: the next is scheduled while one runs."""
        return 2 * self.batched_tokens

    @property
    def batched_tokens(self) -> int:
        """vLLM's `max_num_batched_tokens` for its server."""
        return 8192 if self.memory_mib * MIB >= BIG_BYTES and not self.name.startswith("a100") else 2048

    def runs(self, scheme: Scheme | None) -> str:
        """How vLLM multiplies weights of this scheme here; None are those of the source."""
        if scheme == "FP8_DYNAMIC":
            return "W8A8" if self.capability >= FP8_FROM else "W8A16"
        if scheme is not None:
            return scheme
        return "BF16" if self.capability >= BF16_FROM else "FP16"


class GpuFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    gpus: tuple[Gpu, ...]


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be served: tokens of the longest conversation, how many at once, pixels of its largest picture."""

    context: int
    concurrency: int
    width: int
    height: int
    kv_bytes: int = 2


@dataclass(frozen=True, slots=True)
class Weights:
    """What one recipe leaves, in bytes; `scheme` is None for the source as it is."""

    recipe: str
    scheme: Scheme | None
    size: int


@dataclass(frozen=True, slots=True)
class Fit:
    """`terms` in bytes, by name. `most_context` (at the wished concurrency) and `most_sequences` (at the wished
    context) are 0 where not even the weights fit."""

    gpu: Gpu
    recipe: str
    scheme: Scheme | None
    terms: dict[str, int]
    most_context: int
    most_sequences: int
    wish: Wish

    @property
    def fits(self) -> bool:
        return self.most_sequences >= self.wish.concurrency

    @property
    def runs_as(self) -> str:
        return self.gpu.runs(self.scheme)

    @property
    def needed(self) -> int:
        return sum(self.terms.values())


def read_gpus(names: list[str]) -> list[Gpu]:
    """All, or those named. Raises UsageError."""
    known = {gpu.name: gpu for gpu in read_yaml(GPUS, GpuFile).gpus}
    for name in names:
        if name not in known:
            raise UsageError(f"no GPU '{name}' is known: there are {', '.join(known)}")
    return [known[name] for name in names] if names else list(known.values())


def make_fit(gpu: Gpu, weights: Weights, shape: ModelShape, wish: Wish) -> Fit:
    """Whether these weights of this shape serve the wish on this GPU."""
    state = shape.state_bytes(wish.kv_bytes)
    sequence = shape.kv_bytes(wish.context, wish.kv_bytes, gpu.in_flight) + state
    fixed = {
        "weights": weights.size,
        "activations": activation_bytes(shape, gpu, wish),
        "encoder cache": max(gpu.batched_tokens, shape.image_tokens(wish.width, wish.height)) * shape.hidden * 2,
        "CUDA": CUDA_BYTES,
    }
    left = gpu.usable - sum(fixed.values())
    terms = {
        **fixed,
        "KV cache": shape.kv_bytes(wish.context, wish.kv_bytes, gpu.in_flight) * wish.concurrency,
        "linear attention's state": state * wish.concurrency,
    }
    return Fit(
        gpu,
        weights.recipe,
        weights.scheme,
        terms,
        most_context(shape, gpu, wish, left),
        max(0, left // sequence),
        wish,
    )


def activation_bytes(shape: ModelShape, gpu: Gpu, wish: Wish) -> int:
    """An estimate: one full batch through an MLP and its residuals, or the largest picture's patches through the
    vision tower's; and the logits of every sequence."""
    batch = gpu.batched_tokens * (3 * shape.intermediate + 4 * shape.hidden) * 2
    logits = wish.concurrency * shape.vocabulary * 6
    tokens = max(gpu.batched_tokens, shape.image_tokens(wish.width, wish.height))
    patches = tokens * shape.merge**2
    sight = patches * (2 * shape.vision_intermediate + 5 * shape.vision_hidden) * 2
    return max(batch, sight) + logits


def most_context(shape: ModelShape, gpu: Gpu, wish: Wish, left: int) -> int:
    """The longest that `concurrency` sequences may have at once, to a whole block; at most the model's own."""
    each = left // wish.concurrency - shape.state_bytes(wish.kv_bytes)
    block = shape.block_tokens(wish.kv_bytes)
    low, high = 0, max(1, (shape.longest_context or 1 << 20) // block)
    while low < high:
        middle = (low + high + 1) // 2
        if shape.kv_bytes(middle * block, wish.kv_bytes, gpu.in_flight) <= each:
            low = middle
        else:
            high = middle - 1
    return low * block


def vllm_flags(fit: Fit) -> list[str]:
    """What to give to `fovea engine` or vLLM for this wish."""
    flags = [f"--max-model-len {fit.wish.context}", f"--max-num-seqs {fit.wish.concurrency}"]
    flags.append(f"--gpu-memory-utilization {UTILIZATION}")
    if fit.wish.kv_bytes == 1:
        flags.append("--kv-cache-dtype fp8")
    if fit.gpu.capability < BF16_FROM:
        flags.append("--dtype float16")
    return flags
