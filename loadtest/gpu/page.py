"""docs/benchmarks/gpu.md, out of the files of figures that the steps leave."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loadtest.gpu.notes import Record, read_notes
from loadtest.gpu.steps import STEPS
from loadtest.gpu.tables import (
    table_of_ceilings,
    table_of_forward,
    table_of_served,
    table_of_shapes,
    table_of_sight,
    table_of_weights,
    table_of_writing,
)

Results = Mapping[str, Record]
PENDING = "*Pending.*"
WIDTH = 116

INTRODUCTION = """A checkpoint of Qwen3.5-9B's real shapes (32 layers, 27 vision blocks, the whole vocabulary;
no MTP head) with random weights in BF16, and its children by `fovea-quantize run`: nothing here depends on what
weights say. Compared figures took turns: a ratio is of one round; shown are medians, with the least and largest
ratio."""

KERNEL_LEVEL = """**Kernel-level: these are matrix products, not a serving engine.** Attention, Gated DeltaNet's
recurrence, norms, activations, sampling and scheduling are not in them, so that a whole model gains less than
these ratios say. BF16 is torch's matmul; FP8 is `torch._scaled_mm` with one scale a row of weights and one a
token, E4M3 both, which are rounded in one Triton kernel before each product: the arithmetic of vLLM's CUTLASS
W8A8, by other kernels. CUDA graphs are replayed without gaps; each FP8 product by itself was held to one in
FP32 of the same codes first."""

NOT_YET = """**The GPU's tables are pending: nobody has run this on a GPU yet.** What will be measured, and how, is
fixed here and in `loadtest/gpu/`; its dry run on a CPU is tested. No figure is given until one was measured."""

REPEAT = """To repeat: `make bench-gpu`, or as [its page](../../loadtest/gpu/README.md) says where there is no
network. Try it without a GPU: `.venv/quantize/bin/python -m loadtest.gpu --dry-run` (a toy on the CPU; its
figures mean nothing)."""

SECTIONS: dict[str, tuple[str, str]] = {
    "ceilings": (
        "What this GPU can do",
        """The largest copy within its memory (bytes read and written) and square products of random numbers, on
torch: no step below can be faster.""",
    ),
    "weights": (
        "Weights in the GPU's memory",
        """Every tensor as it is stored, the vision tower and the embeddings too. "Allocated" and "peak" are
torch's, "driver" is what the whole GPU had less free: nothing of KV cache, activations or CUDA graphs. Loading
is from files just written, which the kernel may still have had in memory.""",
    ),
    "forward": (
        "Every product of the model in a row",
        f"""{KERNEL_LEVEL} Decode: so many sequences, one token each. Prefill: one prompt of so many tokens, of
whose last one alone the logits are wanted. Weights are those of our checkpoints, all in memory at once, so that
every pass reads them from there, not from the GPU's cache. Times are of one pass; "x" is how many times faster
than BF16.""",
    ),
    "by_shape": (
        "Product by product",
        """The same products one by one (kernel-level, as above), matrices put together as vLLM does:
microseconds of BF16, of FP8 with its inputs rounded, and of FP8's product alone; how many times faster than
BF16 the former is. Copies of a matrix take turns, more than the GPU's cache holds.""",
    ),
    "vision": (
        "Seeing a picture, or having seen it",
        """Milliseconds until it is done, for one who waits, launching included. Encoding is transformers' own
vision tower in BF16 (attention by torch's `scaled_dot_product_attention`, patches by a product as in vLLM; no
CUDA graph), one picture at a time, its pixels on the GPU already: decoding and resizing it on the CPU are not
in it. Loading is the copy of its embedding from host memory: pinned, as that is which `fovea engine
--embedding-cache` loads from, or not. What looking it up costs an engine is not in it.""",
    ),
    "served": (
        "On vLLM",
        """End to end: prompts of random tokens, all at once. Prefill is a batch with answers of one token;
decode is what longer answers take beyond it.""",
    ),
    "checkpoint": (
        "Writing the checkpoints",
        """`fovea-quantize run` with its proof (NumPy, no GPU): on this machine's disk and CPUs.""",
    ),
}
TABLES = {
    "ceilings": table_of_ceilings,
    "weights": table_of_weights,
    "forward": table_of_forward,
    "by_shape": table_of_shapes,
    "vision": table_of_sight,
    "served": table_of_served,
    "checkpoint": table_of_writing,
}


def read_results(folder: Path) -> dict[str, Record]:
    """By step; steps of which there is nothing are not in it."""
    found = {name: read_notes(folder / f"{name}.json") for name in STEPS}
    return {name: notes for name, notes in found.items() if notes}


def make_page(results: Results) -> str:
    sections = [section(name, results.get(name, {})) for name in SECTIONS]
    raw = ", ".join(f"[{name}.json](gpu/{name}.json)" for name in STEPS if name in results)
    parts = ["# On a GPU: FP8, and embeddings that are kept", head(results), INTRODUCTION, *sections]
    parts.append(f"Raw data: {raw}. {REPEAT}" if raw else REPEAT)
    return "\n\n".join(fill(part) for part in parts) + "\n"


def head(results: Results) -> str:
    machines: list[dict[str, Any]] = []
    for notes in results.values():
        if notes["machine"] not in machines:
            machines.append(notes["machine"])
    if not machines:
        return NOT_YET
    days = sorted({day for notes in results.values() for day in (notes.get("begun"), notes.get("date")) if day})
    if any("gpu" not in machine for machine in machines):
        return "**A dry run: a toy on a CPU. These figures mean nothing.**"
    when = f"{days[0]} to {days[-1]}" if len(days) > 1 else "".join(days)
    lines = [f"*Written by `make bench-gpu`; every figure comes from the runs of {when}.*"]
    return "\n".join([*lines, *(f"*{describe(machine)}.*" for machine in machines)])


def describe(machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    gpu = f"{machine['gpu']} ({machine['gpu_bytes'] / 2**30:.0f} GiB), driver {machine['driver']}"
    return f"{gpu}, CUDA {machine['cuda']}, {machine['cpus']} CPUs ({machine['processor']}), {versions}"


def fill(text: str) -> str:
    """Paragraphs at the width of the page; tables and headings as they are."""
    parts = text.split("\n\n")
    return "\n\n".join(part if part.startswith(("|", "#")) else wrap(part) for part in parts)


def wrap(paragraph: str) -> str:
    return textwrap.fill(paragraph, WIDTH, break_long_words=False, break_on_hyphens=False)


def section(name: str, notes: Record) -> str:
    title, text = SECTIONS[name]
    parts = [f"## {title}", text]
    records = list(notes.get("records", {}).items())
    if records:
        parts.append(TABLES[name](dict(records)))
    elif notes.get("done"):
        parts.append("Not measured: there was no vLLM for that GPU.")
    else:
        parts.append(PENDING)
    if failed := notes.get("failed"):
        parts.append(f"*Not all of it was measured: {failed}.*")
    return "\n\n".join(parts)
