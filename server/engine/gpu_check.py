"""Whether a checkpoint can be served on the GPUs that this engine sees: asked before vLLM is loaded.

What is not certain is no reason to refuse: vLLM then says it itself, minutes later. Figures are vLLM 0.32's.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.engine.encoder_cache.checkpoint import NoFingerprint, read_object
from server.engine.metrics.checkpoint import component_of, section, tensors_of
from server.engine.nvml import Driver, Gpu, dotted

# Compute capabilities. Ada and Hopper have FP8 in their tensor cores (CompressedTensorsW8A8Fp8); below, vLLM's
# Marlin kernels compute FP8 weights in 16 bits. INT8 (w8a8-int8) and 4 bits (w4a16) want as much as those.
FP8_TENSOR_CORES, QUANTIZED_WEIGHTS = (8, 9), (7, 5)
# Below 8.9 FlashInfer alone computes attention with an FP8 cache (TritonAttentionImpl refuses), and from here on.
FP8_CACHE = (8, 0)
UTILIZATION = 0.92
GB = 10**9
# With these nobody here knows on which GPUs, or in which form, the weights will be.
ELSEWHERE = ("--config", "--nnodes", "-n", "--node-rank", "-r", "--headless")
DATA_PARALLEL = "--data-parallel-"
OTHER_FORM = (
    "--quantization", "-q", "--cpu-offload-gb", "--offload-backend", "--language-model-only", "--load-format",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wish:
    """What the checkpoint and vLLM's options ask for; None: not known here."""

    scheme: str  # "fp8", "int8", "int4", "other", "none"
    weights_bytes: int | None
    tensor_parallel: int
    pipeline_parallel: int
    data_parallel: int
    utilization: float
    cache_dtype: str
    elsewhere: bool

    @property
    def gpus(self) -> int:
        return self.tensor_parallel * self.pipeline_parallel * self.data_parallel

    @property
    def split(self) -> str:
        ways = {"tensor": self.tensor_parallel, "pipeline": self.pipeline_parallel, "data": self.data_parallel}
        told = " x ".join(f"--{way}-parallel-size {count}" for way, count in ways.items() if count > 1)
        return f" ({told})" if told else ""


def read_wish(model: str, options: Sequence[str]) -> Wish:
    given = values_of(options)
    return Wish(
        scheme_of(Path(model)),
        None if any(name in given for name in OTHER_FORM) else weights_of(Path(model)),
        whole(given, "--tensor-parallel-size", "-tp"),
        whole(given, "--pipeline-parallel-size", "-pp"),
        whole(given, f"{DATA_PARALLEL}size", "-dp"),
        utilization_of(given),
        given.get("--kv-cache-dtype", "auto"),
        is_elsewhere(given),
    )


def is_elsewhere(given: Mapping[str, str]) -> bool:
    """Whether GPUs of other machines, or of other processes beside this one, may be meant."""
    ranks = any(name.startswith(DATA_PARALLEL) and name != f"{DATA_PARALLEL}size" for name in given)
    return ranks or any(name in given for name in ELSEWHERE) or "ray" in given.values()


def refusals(driver: Driver, visible: str | None, wish: Wish) -> Iterator[str]:
    """Why it cannot be: one sentence each, the first to mend first. `visible`: CUDA_VISIBLE_DEVICES."""
    gpus = visible_gpus(driver, visible)
    if gpus is None or wish.elsewhere or any(gpu.cut_up for gpu in gpus):
        return
    if wish.gpus > len(gpus):
        where = f" (CUDA_VISIBLE_DEVICES={visible})" if visible is not None else ""
        yield (
            f"this engine needs {counted(wish.gpus)}{wish.split} and sees {len(gpus)}{where}: split it less, or "
            "give it more GPUs"
        )
        return
    used = gpus[: wish.gpus]
    weakest = min(used, key=lambda gpu: gpu.capability)
    if wish.scheme != "none" and weakest.capability < QUANTIZED_WEIGHTS:
        yield (
            f"{told(weakest)}, and vLLM runs FP8, INT8 and 4-bit weights from {dotted(QUANTIZED_WEIGHTS)} on: no "
            "recipe does there, serve the unquantized checkpoint with --dtype half"
        )
    if wish.cache_dtype.startswith("fp8") and weakest.capability < FP8_CACHE:
        yield (
            f"{told(weakest)}, and vLLM keeps an FP8 KV cache from {dotted(FP8_CACHE)} on: leave out "
            f"--kv-cache-dtype {wish.cache_dtype}"
        )
    yield from too_large(used, wish)


def too_large(gpus: Sequence[Gpu], wish: Wish) -> Iterator[str]:
    """By the weights alone: cache, activations and CUDA itself come on top."""
    if wish.weights_bytes is None:
        return
    smallest = min(gpus, key=lambda gpu: gpu.total_bytes)
    room = smallest.total_bytes * wish.utilization
    share = wish.weights_bytes / (wish.tensor_parallel * wish.pipeline_parallel)
    if share >= room:
        weights = f"{wish.weights_bytes / GB:.1f} GB of weights"
        if share < wish.weights_bytes:
            weights += f", {share / GB:.1f} GB on each GPU"
        yield (
            f"the checkpoint has {weights}, and vLLM may use {room / GB:.1f} GB of {smallest.name} "
            f"({smallest.total_bytes / GB:.1f} GB x {wish.utilization:g}): split it over more GPUs "
            "(--tensor-parallel-size), or take a smaller recipe (fovea-quantize fit says which)"
        )


def notices(driver: Driver, visible: str | None, wish: Wish) -> Iterator[str]:
    """What may surprise, and is said once at the start."""
    gpus = visible_gpus(driver, visible)
    if not gpus or wish.elsewhere:
        return
    weakest = min(gpus[: wish.gpus], key=lambda gpu: gpu.capability)
    if wish.scheme == "fp8" and weakest.capability < FP8_TENSOR_CORES:
        yield (
            f"{told(weakest)}: FP8 weights run as W8A16 there (Marlin), which saves memory and no time; the recipe "
            "w8a8-int8 saves both"
        )
    if wish.cache_dtype.startswith("fp8") and FP8_CACHE <= weakest.capability < FP8_TENSOR_CORES:
        yield f"{told(weakest)}: an FP8 KV cache works with FlashInfer's attention alone there"


def visible_gpus(driver: Driver, visible: str | None) -> list[Gpu] | None:
    """As CUDA reads the variable; None: it names parts of GPUs (MIG), of which nothing is known here."""
    if visible is None:
        return list(driver.gpus)
    found: list[Gpu] = []
    for name in filter(None, map(str.strip, visible.split(","))):
        if name.startswith("MIG-"):
            return None
        if name.isdecimal():
            matching = list(driver.gpus[int(name) : int(name) + 1])
        else:
            matching = [gpu for gpu in driver.gpus if gpu.uuid.startswith(name)]
        if len(matching) != 1:
            break  # what follows is not seen, either
        found += matching
    return found


def scheme_of(folder: Path) -> str:
    """How the weights are kept, by config.json; "none" where that is not known, too."""
    try:
        config = read_object(folder / "config.json")
    except NoFingerprint:
        return "none"
    found = section(config, "quantization_config") or section(section(config, "text_config"), "quantization_config")
    if not found:
        return "none"
    if found.get("quant_method") == "fp8":
        return "fp8"
    groups = section(found, "config_groups").values()
    kinds = {kind_of(section(group, "weights")) for group in groups if isinstance(group, dict)}
    return kinds.pop() if len(kinds) == 1 else "other"


def kind_of(weights: Mapping[str, Any]) -> str:
    return {("float", 8): "fp8", ("int", 8): "int8", ("int", 4): "int4"}.get(
        (str(weights.get("type")), int(weights.get("num_bits") or 0)), "other"
    )


def weights_of(folder: Path) -> int | None:
    """What vLLM loads at least: not the head that drafts, nor a head that is the embeddings, nor 32 bits of any."""
    try:
        config = read_object(folder / "config.json")
        tensors = tensors_of(folder)
    except (NoFingerprint, OSError):
        return None
    tied = any(place.get("tie_word_embeddings") for place in (config, section(config, "text_config")))
    left = {"mtp", "lm_head"} if tied else {"mtp"}
    sizes = (
        each.size // 2 if each.dtype == "F32" else each.size
        for each in tensors
        if component_of(each.name) not in left
    )
    return sum(sizes) or None


def values_of(options: Sequence[str]) -> dict[str, str]:
    """By flag, as vLLM's parser takes them: `--a b`, `--a=b`, `--a_b c`; the last wins."""
    found: dict[str, str] = {}
    for at, option in enumerate(options):
        if re.match(r"--?[a-zA-Z]", option):
            flag, equals, value = option.partition("=")
            after = options[at + 1] if at + 1 < len(options) else ""
            found[flag.replace("_", "-")] = value if equals else after
    return found


def whole(given: Mapping[str, str], *names: str) -> int:
    """1 where it is not given, or is nothing that vLLM would take."""
    text = next((given[name] for name in names if name in given), "1")
    return max(1, int(text)) if text.isdecimal() else 1


def utilization_of(given: Mapping[str, str]) -> float:
    try:
        found = float(given.get("--gpu-memory-utilization", UTILIZATION))
    except ValueError:
        return 1.0
    return found if 0 < found <= 1 else 1.0


def told(gpu: Gpu) -> str:
    return f"{gpu.name} has compute capability {dotted(gpu.capability)}"


def counted(gpus: int) -> str:
    return "1 GPU" if gpus == 1 else f"{gpus} GPUs"
