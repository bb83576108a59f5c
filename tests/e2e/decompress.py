"""What compressed-tensors itself makes of a checkpoint: `python -m tests.e2e.decompress SOURCE CHECKPOINT`.

Prints JSON: how far the weights of every quantized matrix are from the source's, root mean square over root mean
square. Runs in the environment that has torch and transformers.
"""

import json
import sys

import torch

from quantize.torchvision_on_cpu import allow_torchvision

allow_torchvision()
from transformers import AutoModelForImageTextToText  # noqa: E402
from transformers.utils.quantization_config import CompressedTensorsConfig  # noqa: E402


def main() -> None:
    source, checkpoint = sys.argv[1:]
    before = AutoModelForImageTextToText.from_pretrained(source, dtype=torch.float32).state_dict()
    model = AutoModelForImageTextToText.from_pretrained(
        checkpoint, dtype=torch.bfloat16, quantization_config=CompressedTensorsConfig(run_compressed=False)
    )
    errors = {}
    for name, module in model.named_modules():
        if getattr(module, "quantization_scheme", None) is not None:
            exact, there = before[f"{name}.weight"], module.weight.float()
            errors[f"{name}.weight"] = float((exact - there).norm() / exact.norm())
    print(json.dumps(errors))


if __name__ == "__main__":
    main()
