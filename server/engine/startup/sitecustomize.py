"""Lets stock vLLM run beside a CPU-only torch, in every process that vLLM starts.

Our launcher puts this folder on PYTHONPATH. Nothing happens until one of two modules is imported, and nothing at
all where torch has CUDA:

- torchvision: vLLM needs its pure-Python transforms only, but importing it registers fake kernels for operators
  that its compiled library, a CUDA build, would have defined.
- vllm.platforms.cpu: where a CPU has AVX-512 BF16, vLLM 0.32 runs linear attention (Qwen3.5) through a C++
  convolution that refuses what vLLM's own layer hands it ("causal_conv1d_fwd_cpu: expect x to be transposed"), and
  the first request ends the engine. Said not to have it, vLLM takes the way that it takes on all other CPUs.
"""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_libraries: list[object] = []  # a torch Library withdraws its operators when it is collected


def define_operators() -> None:
    import torch  # only a process that imports torchvision pays for it

    if torch.version.cuda is None:
        library = torch.library.Library("torchvision", "DEF")
        for operator in OPERATORS:
            library.define(operator)
        _libraries.append(library)


def hide_bf16_instructions() -> None:
    import torch  # vLLM has imported it already

    if torch.version.cuda is None:
        torch.cpu._is_avx512_bf16_supported = lambda: False


BEFORE: dict[str, Callable[[], None]] = {
    "torchvision": define_operators,
    "vllm.platforms.cpu": hide_bf16_instructions,
}


class BeforeImports(MetaPathFinder):
    """Finds nothing; notices the first import of each module that something has to happen before."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if prepare := BEFORE.pop(fullname, None):
            prepare()
        return None


sys.meta_path.insert(0, BeforeImports())
