"""Step `vision`: what encoding a picture takes, by its size, and what loading its embedding takes instead.

transformers' own tower with random weights, in BF16, called as it is (no graph): one picture at a time, its
pixels on the GPU already. Embeddings come from pinned host memory, and from memory that is not.
"""

from typing import Any

import torch

from loadtest.gpu.bench import Bench, StepFailed
from loadtest.qwen3_5_checkpoint import make_vision_config
from loadtest.qwen3_5_shapes import Sizes

PATCH, MERGE = 16, 2
NUMBERS = 3 * 2 * PATCH * PATCH  # of a patch: colours, frames (a picture is shown twice), rows, columns
OPERATORS = ("nms", "qnms")
SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
MOST_ERROR = 0.02
_libraries: list[Any] = []  # a Library withdraws its operators when it is collected


class FlatPatches(torch.nn.Module):
    """The convolution over patches as the product that it is: each patch lies apart, and is as large as the kernel.

    vLLM does the same; convolutions in three dimensions are slow in BF16."""

    def __init__(self, convolution: Any) -> None:
        super().__init__()
        self.weight = convolution.weight.flatten(1)
        self.bias = convolution.bias

    def forward(self, pixels: Any) -> Any:
        return torch.nn.functional.linear(pixels, self.weight, self.bias)


def measure(bench: Bench) -> None:
    missing = [side for side in bench.amounts.sides if not bench.notes.has(str(side))]
    if missing:
        tower = build_tower(bench.amounts.sizes, bench.clock.device)
        with torch.inference_mode():
            for side in missing:
                bench.say(f"{side}x{side}")
                with bench.failures.note(f"{side}x{side}"):
                    bench.notes.add(str(side), measure_side(bench, tower, side))


def build_tower(sizes: Sizes, device: Any) -> Any:
    """Raises StepFailed where patches come out differently than by the convolution."""
    allow_torchvision()
    from transformers.models.qwen3_5.configuration_qwen3_5 import Qwen3_5VisionConfig
    from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5VisionModel

    config = {name: value for name, value in make_vision_config(sizes).items() if name != "model_type"}
    torch.manual_seed(0)
    with torch.device(device):
        tower = Qwen3_5VisionModel._from_config(
            Qwen3_5VisionConfig(**config), dtype=torch.bfloat16, attn_implementation="sdpa"
        ).eval()
    some = torch.randn(MERGE * MERGE, NUMBERS, dtype=torch.bfloat16, device=device)
    with torch.inference_mode():
        wanted, flat = tower.patch_embed(some), FlatPatches(tower.patch_embed.proj)
        error = float((flat(some) - wanted).float().norm() / wanted.float().norm())
    if not error < MOST_ERROR:
        raise StepFailed(f"patches are off by {error:.2g}")
    tower.patch_embed = flat
    return tower


def allow_torchvision() -> None:
    """Its CUDA build imports beside a torch without CUDA where these are defined; transformers imports it."""
    if torch.version.cuda is None and not _libraries:
        library = torch.library.Library("torchvision", "DEF")
        for operator in OPERATORS:
            library.define(operator + SIGNATURE)
        _libraries.append(library)


def measure_side(bench: Bench, tower: Any, side: int) -> dict[str, Any]:
    device, cuda = bench.clock.device, bench.clock.cuda
    patches = (side // PATCH) ** 2
    pixels = torch.randn(patches, NUMBERS, dtype=torch.bfloat16, device=device)
    grid = torch.tensor([[1, side // PATCH, side // PATCH]], device=device)
    ends = torch.tensor([0, patches], dtype=torch.int32)  # on the CPU: every block asks for it there

    def encode() -> Any:
        return tower(pixels, grid_thw=grid, cu_seqlens=ends).pooler_output

    if cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    embedding = encode()
    peak = torch.cuda.max_memory_allocated() - before if cuda else None
    plain = embedding.cpu()
    pinned = plain.pin_memory() if cuda else plain.clone()
    target = torch.zeros_like(embedding)
    target.copy_(pinned, non_blocking=True)
    if not torch.equal(target, embedding):
        raise StepFailed(f"the embedding of {side}x{side} did not arrive as it was")
    ms = bench.clock.wait_in_turns({
        "encode": encode,
        "pinned": lambda: target.copy_(pinned, non_blocking=True),
        "pageable": lambda: target.copy_(plain),
    })  # fmt: skip
    sizes = {"side": side, "patches": patches, "tokens": len(embedding), "nbytes": embedding.nbytes}
    return {**sizes, "peak": peak, "ms": ms}
