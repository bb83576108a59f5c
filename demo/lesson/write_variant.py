"""Writes a variant of a checkpoint: `python -m demo.lesson.write_variant SOURCE OUT VARIANT`.

The file stays BF16. Prints how many bytes the weights would take if they were stored as they were rounded.
"""

import argparse
import json
import shutil
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
    parser = argparse.ArgumentParser(prog="python -m demo.lesson.write_variant", description=__doc__)
    parser.add_argument("source", type=Path, help="checkpoint folder")
    parser.add_argument("out", type=Path, help="folder to write; it must not exist yet")
    parser.add_argument("variant", choices=VARIANTS)
    args = parser.parse_args()
    print(write_variant(args.source, args.out, VARIANTS[args.variant]))


if __name__ == "__main__":
    main()
