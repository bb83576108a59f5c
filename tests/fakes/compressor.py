"""Stands in for llm-compressor: the nearest integers in NumPy, norms rescaled by what it likes.

Called as `python -m quantize.compress SOURCE OUT JOB` is: `install` makes an interpreter of it.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantize import fp8
from quantize.checkpoint import read_tensors
from tests.unit.quantize.checkpoints import Tensor, write_safetensors

ROOT = Path(__file__).parent.parent.parent


def install(folder: Path) -> str:
    """A program to name in FOVEA_QUANTIZE_PYTHON. It leaves the job beside itself, as job.json."""
    program = folder / "python"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from tests.fakes.compressor import main\nmain(sys.argv[3:])\n"
    )
    program.chmod(0o755)
    return str(program)


def main(arguments: list[str]) -> None:
    source, out, text = arguments
    job = json.loads(text)
    if job["samples"]:
        job["shown"] = [json.loads(line) for line in Path(job["samples"]).read_text().splitlines()]
    Path(sys.argv[0]).with_name("job.json").write_text(json.dumps(job))
    Path(out).mkdir()
    write_safetensors(Path(out) / "model.safetensors", dict(compress(Path(source), job)))


def compress(source: Path, job: dict[str, Any]) -> list[tuple[str, Tensor]]:
    made: list[tuple[str, Tensor]] = []
    weights = job["group"]["weights"]
    for name, tensor in read_tensors(source).items():
        module = name.removesuffix(".weight")
        ignored = [each for each in job["ignore"] if re.match(each.removeprefix("re:"), module)]
        norms = [norm for norm, _ in job["rescaled"] if re.match(norm.removeprefix("re:"), module)]
        readers = [
            readers
            for _, readers in job["rescaled"]
            if any(re.match(reader.removeprefix("re:"), module) for reader in readers)
        ]
        words = np.frombuffer(tensor.read(), np.uint16)
        if norms:  # Qwen3.5's multiply with 1 + weight
            values = (fp8.widen(words, "BF16") + 1) / factors(len(words)) - 1
            made.append((name, ("BF16", tensor.shape, to_bf16(values).tobytes())))
        elif len(tensor.shape) != 2 or ignored or "embed" in name:
            made.append((name, (tensor.dtype, tensor.shape, tensor.read())))
        else:
            values = fp8.widen(words, "BF16").reshape(tensor.shape)
            if readers:
                values = values * factors(tensor.shape[1])
            made += pack(name, values) if weights["num_bits"] == 4 else round_to_int8(name, values)
    return made


def factors(count: int) -> NDArray[np.float32]:
    return np.linspace(0.5, 2, count, dtype=np.float32)


def round_to_int8(name: str, values: NDArray[np.float32]) -> list[tuple[str, Tensor]]:
    scale = to_bf16(np.abs(values).max(axis=1, keepdims=True) / 127)
    codes = np.clip(np.rint(values / fp8.widen(scale, "BF16")), -128, 127).astype(np.int8)
    rows, columns = values.shape
    return [
        (name, ("I8", (rows, columns), codes.tobytes())),
        (name + "_scale", ("BF16", (rows, 1), scale.tobytes())),
    ]


def pack(name: str, values: NDArray[np.float32], group: int = 128) -> list[tuple[str, Tensor]]:
    rows, columns = values.shape
    grouped = values.reshape(rows, -1, group)
    scale = to_bf16(np.abs(grouped).max(axis=2) / 7.5)
    codes = np.clip(np.rint(grouped / fp8.widen(scale, "BF16")[..., None]), -8, 7).astype(np.int64) + 8
    words = (codes.reshape(rows, -1, 8) << (4 * np.arange(8))).sum(axis=2).astype("<u4")
    return [
        (name + "_packed", ("I32", (rows, columns // 8), words.tobytes())),
        (name + "_scale", ("BF16", (rows, columns // group), scale.tobytes())),
        (name + "_shape", ("I64", (2,), np.array([rows, columns], "<i8").tobytes())),
    ]


def to_bf16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The nearest, ties away from zero."""
    return ((values.astype(np.float32).view(np.uint32) + 0x8000) >> 16).astype(np.uint16)
