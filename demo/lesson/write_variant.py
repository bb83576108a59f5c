"""Writes a variant of a checkpoint: `python -m demo.lesson.write_variant SOURCE OUT VARIANT`.

The file stays BF16. Prints how many bytes the weights would take if they were stored as they were rounded.
"""

import json
import shutil
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file

from demo.lesson.variants import METHOD, VARIANTS, Rounding, scheme_of
from quantize.rounding import rounded, stored_bytes

BF16_BYTES = 2


def write_variant(source: Path, out: Path, rounding: Rounding) -> int:
    """A whole checkpoint folder; returns the bytes its weights would take."""
    shutil.copytree(source, out, ignore=shutil.ignore_patterns("*.safetensors", "fovea-report.json"))
    tensors = load_file(source / "model.safetensors")
    size = 0
    for name, tensor in tensors.items():
        scheme = scheme_of(name, tensor.ndim, rounding)
        if scheme is None:
            size += tensor.numel() * BF16_BYTES
        else:
            size += stored_bytes(tuple(tensor.shape), scheme)
            tensors[name] = rounded(tensor, scheme)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    if rounding.activations:
        config = json.loads((out / "config.json").read_text())
        schemes = {"vision": rounding.vision, "layers": rounding.layers, "rest": rounding.rest}
        config["quantization_config"] = {"quant_method": METHOD, **schemes}
        (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    return size


def main() -> None:
    source, out, name = sys.argv[1:]
    print(write_variant(Path(source), Path(out), VARIANTS[name]))


if __name__ == "__main__":
    main()
