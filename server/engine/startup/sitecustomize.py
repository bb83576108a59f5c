"""Lets torchvision's CUDA build import beside a CPU-only torch, in every process that vLLM starts.

vLLM needs torchvision's pure-Python transforms only, but importing it registers fake kernels for operators
that its compiled library would have defined. Our launcher puts this folder on PYTHONPATH; nothing happens
until torchvision is imported, and nothing at all where torch has CUDA.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_libraries: list[object] = []  # a torch Library withdraws its operators when it is collected


class TorchvisionOperators(MetaPathFinder):
    """Finds nothing; notices the first import of torchvision."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            import torch  # only a process that imports torchvision pays for it

            if torch.version.cuda is None:
                library = torch.library.Library("torchvision", "DEF")
                for operator in OPERATORS:
                    library.define(operator)
                _libraries.append(library)
        return None


sys.meta_path.insert(0, TorchvisionOperators())
