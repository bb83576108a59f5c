"""Step `forward`: every matrix product of the model in a row, with the weights that our writer made.

Kernel-level: what rounds activations is in it, attention, Gated DeltaNet's recurrence, norms, activations and
sampling are not. All checkpoints are in the GPU's memory at once and take turns.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from loadtest.gpu import fp8
from loadtest.gpu.bench import Bench, StepFailed
from loadtest.gpu.products import HEAD, list_products

Call = Callable[[], object]
DECODE, PREFILL = "decode", "prefill"


@dataclass(frozen=True, slots=True)
class Operand:
    """One matrix to multiply by: BF16, or codes with their scales."""

    kind: str
    weights: Any

    @property
    def columns(self) -> int:
        return int((self.weights.codes if isinstance(self.weights, fp8.Rounded) else self.weights).shape[1])

    def multiply(self, inputs: Any) -> Any:
        if isinstance(self.weights, fp8.Rounded):
            return fp8.multiply(fp8.round_rows(inputs), self.weights)
        return torch.nn.functional.linear(inputs, self.weights)


def measure(bench: Bench) -> None:
    stages = [(DECODE, count) for count in bench.amounts.decode] + [(PREFILL, n) for n in bench.amounts.prefill]
    missing = [(stage, tokens) for stage, tokens in stages if not bench.notes.has(f"{stage} {tokens}")]
    if not missing:
        return
    if not (checkpoints := bench.checkpoints()):
        raise StepFailed("there is no checkpoint: the step `checkpoint` makes them")
    models: dict[str, list[Operand]] = {}
    for name, folder in checkpoints.items():
        bench.say(f"loading {name}")
        models[name] = load_operands(folder, bench.amounts.sizes.layers, bench.clock.device)
    nbytes = {name: weight_bytes(operands) for name, operands in models.items()}
    for stage, tokens in missing:
        bench.say(f"{stage} {tokens}")
        with bench.failures.note(f"{stage} {tokens}"):
            device = bench.clock.device
            calls = {name: [make_call(each, stage, tokens, device)] for name, each in models.items()}
            ms = bench.clock.take_turns(calls)
            bench.notes.add(f"{stage} {tokens}", {"stage": stage, "tokens": tokens, "nbytes": nbytes, "ms": ms})


def make_call(operands: list[Operand], stage: str, tokens: int, device: Any) -> Call:
    """One pass. A prompt's logits are wanted of its last token alone."""
    of_head = 1 if stage == PREFILL else tokens
    inputs = {
        (columns, count): torch.randn(count, columns, dtype=torch.bfloat16, device=device)
        for columns in {operand.columns for operand in operands}
        for count in {tokens, of_head}
    }

    def run() -> None:
        for operand in operands:
            operand.multiply(inputs[operand.columns, of_head if operand.kind == HEAD else tokens])

    return run


def weight_bytes(operands: list[Operand]) -> int:
    """What one pass reads."""
    wide = [operand.weights for operand in operands if not isinstance(operand.weights, fp8.Rounded)]
    narrow = [operand.weights for operand in operands if isinstance(operand.weights, fp8.Rounded)]
    matrices = [*wide, *(each.codes for each in narrow), *(each.scales for each in narrow)]
    return sum(int(each.nbytes) for each in matrices)


def load_operands(folder: Path, layers: int, device: Any) -> list[Operand]:
    """In order. Parts of one type become one matrix, as in vLLM."""
    weight_map = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    files: dict[str, Any] = {}

    def read(name: str) -> Any:
        file = weight_map[name]
        if file not in files:
            files[file] = safe_open(folder / file, framework="pt", device=str(device))
        return files[file].get_tensor(name)

    operands = []
    for product in list_products(layers):
        parts = [
            fp8.Rounded(read(f"{part}.weight"), read(f"{part}.weight_scale").float())
            if f"{part}.weight_scale" in weight_map
            else read(f"{part}.weight")
            for part in product.parts
        ]
        operands += [Operand(product.kind, weights) for weights in join(parts)]
    return operands


def join(parts: list[Any]) -> list[Any]:
    """One matrix of them all, where they are of one type."""
    if all(isinstance(part, fp8.Rounded) for part in parts):
        codes = torch.cat([part.codes.view(torch.uint8) for part in parts]).view(fp8.E4M3)
        return [fp8.Rounded(codes, torch.cat([part.scales for part in parts]))]
    if not any(isinstance(part, fp8.Rounded) for part in parts):
        return [torch.cat(parts)]
    return parts
