"""Lets torchvision's CUDA build import beside a CPU-only torch: image processors use its pure-Python part only.

The package index has no other build. Importing it registers fake kernels for two operators that its compiled
library would have defined; we define them first. (`server.engine.startup` does the same inside vLLM.)
"""

import torch

OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_libraries: list[torch.library.Library] = []  # a Library withdraws its operators when it is collected


def allow_torchvision() -> None:
    """Call before anything imports torchvision; once is enough, and where torch has CUDA nothing is done."""
    if torch.version.cuda is None and not _libraries:
        library = torch.library.Library("torchvision", "DEF")
        for operator in OPERATORS:
            library.define(operator)
        _libraries.append(library)
