"""The part that needs torch: llm-compressor's `oneshot`, in its own process and environment.

`python -m quantize.compress SOURCE OUT JOB` writes weights and a config to OUT; the caller finishes it. JOB is JSON
with "scheme", "targets" and "ignore" as llm-compressor takes them.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from quantize.torchvision_on_cpu import allow_torchvision

allow_torchvision()
from llmcompressor import oneshot  # noqa: E402
from llmcompressor.modifiers.quantization import QuantizationModifier  # noqa: E402
from transformers import AutoModelForImageTextToText  # noqa: E402


def compress(source: Path, out: Path, job: dict[str, Any]) -> None:
    """Quantize `source` (loaded whole, on the CPU, in its own dtype) into `out`."""
    model = AutoModelForImageTextToText.from_pretrained(source, dtype="auto", device_map=None)
    modifier = QuantizationModifier(targets=job["targets"], scheme=job["scheme"], ignore=job["ignore"])
    # llm-compressor adds 1 to Qwen3.5's norms while it works and takes it off afterwards, in BF16: that rounds
    # them. Nothing of one dimension is ever quantized, so all of it is put back as it was.
    originals = {name: p.detach().clone() for name, p in model.named_parameters() if p.ndim == 1}
    with torch.no_grad():
        oneshot(model=model, recipe=modifier)
        for name, parameter in model.named_parameters():
            if name in originals:
                parameter.copy_(originals[name])
    model.save_pretrained(out, save_compressed=True)


def main() -> None:
    source, out, job = sys.argv[1:]
    compress(Path(source), Path(out), json.loads(job))


if __name__ == "__main__":
    main()
