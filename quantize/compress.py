"""The part that needs torch: llm-compressor's `oneshot`, in its own process and environment.

`python -m quantize.compress SOURCE OUT JOB` writes weights and a config to OUT; the caller finishes it. JOB is the
JSON that `quantize.llm_compressor` makes.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.utils.data import DataLoader

from quantize.torchvision_on_cpu import allow_torchvision

allow_torchvision()
from llmcompressor import oneshot  # noqa: E402
from llmcompressor.modifiers import Modifier  # noqa: E402
from llmcompressor.modifiers.gptq import GPTQModifier  # noqa: E402
from llmcompressor.modifiers.quantization import QuantizationModifier  # noqa: E402
from llmcompressor.modifiers.transform.awq import AWQMapping, AWQModifier  # noqa: E402
from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier  # noqa: E402
from llmcompressor.pipelines.cache import IntermediatesCache  # noqa: E402
from transformers import AutoModelForImageTextToText, AutoProcessor  # noqa: E402

MOST_SIDE = 1024  # px: larger pictures are scaled down


def compress(source: Path, out: Path, job: dict[str, Any]) -> None:
    """Quantize `source` (loaded whole, on the CPU, in its own dtype; a GPU gets one layer after the other)."""
    model = AutoModelForImageTextToText.from_pretrained(source, dtype="auto", device_map=None)
    # llm-compressor adds 1 to Qwen3.5's norms while it works and takes it off afterwards, in BF16: that rounds
    # them. Nothing of one dimension is ever quantized, so all of it is put back as it was, unless it was rescaled.
    rescaled = [re.compile(norm.removeprefix("re:")) for norm, _ in job["rescaled"]]
    originals = {
        name: parameter.detach().clone()
        for name, parameter in model.named_parameters()
        if parameter.ndim == 1 and not any(norm.match(name.removesuffix(".weight")) for norm in rescaled)
    }
    data = read_samples(source, Path(job["samples"])) if job["samples"] else None
    if not torch.accelerator.is_available():
        # AWQ pins its memory, which without a GPU is an error (llm-compressor 0.14).
        IntermediatesCache.pin_memory = lambda *_: None
    with torch.no_grad():
        oneshot(
            model=model,
            recipe=make_modifiers(job),
            dataset=DataLoader(data, batch_size=None) if data else None,
            num_calibration_samples=len(data) if data else 0,
        )
        for name, parameter in model.named_parameters():
            if name in originals:
                parameter.copy_(originals[name])
    model.save_pretrained(out, save_compressed=True)


def make_modifiers(job: dict[str, Any]) -> list[Modifier]:
    """What llm-compressor is to do, in order."""
    ends = {"ignore": job["ignore"], "config_groups": {"group_0": {"targets": job["targets"], **job["group"]}}}
    modifiers: list[Modifier] = []
    if job["smoothing"] is not None:
        mappings = [[readers, norm] for norm, readers in job["rescaled"]]
        modifiers.append(SmoothQuantModifier(smoothing_strength=job["smoothing"], mappings=mappings))
    if job["method"] == "awq":
        modifiers.append(AWQModifier(mappings=[AWQMapping(norm, readers) for norm, readers in job["rescaled"]]))
    modifiers.append(GPTQModifier(**ends) if job["method"] == "gptq" else QuantizationModifier(**ends))
    return modifiers


def read_samples(source: Path, path: Path) -> list[dict[str, torch.Tensor]]:
    """The model's inputs for each line of a file: one conversation about one picture."""
    processor = AutoProcessor.from_pretrained(source)
    samples = []
    for line in path.read_text().splitlines():
        sample = json.loads(line)
        with Image.open(sample["image"]) as image:
            picture = image.convert("RGB")
        picture.thumbnail((MOST_SIDE, MOST_SIDE))
        content = [{"type": "image", "image": picture}, {"type": "text", "text": sample["prompt"]}]
        messages = [{"role": "user", "content": content}]
        if sample["answer"]:
            messages.append({"role": "assistant", "content": [{"type": "text", "text": sample["answer"]}]})
        inputs = processor.apply_chat_template(
            messages,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            add_generation_prompt=not sample["answer"],
        )
        samples.append(dict(inputs))
    return samples


def main() -> None:
    source, out, job = sys.argv[1:]
    compress(Path(source), Path(out), json.loads(job))


if __name__ == "__main__":
    main()
