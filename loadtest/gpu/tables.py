"""The tables of docs/benchmarks/gpu.md, each of one step's records."""

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from loadtest.gpu.amounts import RECIPES

BF16 = "bf16"
GB = 1e9
Records = Mapping[str, dict[str, Any]]


def table(heads: list[str], rows: Iterable[list[str]], words: int = 1) -> str:
    """The first `words` columns are text, the others numbers."""
    rules = ["---" if number < words else "---:" for number in range(len(heads))]
    lines = [heads, rules, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def faster(than: list[float], these: list[float]) -> str:
    """How many times, round by round."""
    ratios = [slow / quick for slow, quick in zip(than, these, strict=True)]
    return f"{median(ratios):.2f}x ({min(ratios):.2f}-{max(ratios):.2f})"


def names_of(records: Iterable[str]) -> list[str]:
    known = list(records)
    return [name for name in (BF16, *RECIPES) if name in known]


def table_of_ceilings(records: Records) -> str:
    rows = []
    if "copy" in records:
        copied = records["copy"]
        rows.append(["copy", f"{copied['nbytes'] / median(copied['ms']) / 1e6:,.0f} GB/s"])
    if "product" in records:
        side = records["product"]["side"]
        for name, ms in records["product"]["ms"].items():
            rate = 2 * side**3 / median(ms) / 1e9
            rows.append([f"{side}x{side}x{side} in {name.upper()}", f"{rate:,.0f} TFLOP/s"])
    return table(["", "measured"], rows)


def table_of_weights(records: Records) -> str:
    source = records.get(BF16, {}).get("stored")
    rows = []
    for name in names_of(records):
        of = records[name]
        shown = [f"{of[key] / GB:.2f}" if key in of else "" for key in ("stored", "allocated", "peak", "device")]
        share = f"{of['stored'] / source:.0%}" if source else ""
        rows.append([f"`{name}`", *shown, share, f"{of['load_s']:.1f}"])
    return table(["", "stored, GB", "allocated", "peak", "driver", "of BF16", "loading, s"], rows)


def table_of_forward(records: Records) -> str:
    names = names_of({name for each in records.values() for name in each["ms"]})
    heads = ["", "tokens", *(f"`{name}`, ms" for name in names), *(f"`{name}`" for name in names if name != BF16)]
    rows = []
    for each in records.values():
        ms = each["ms"]
        times = [f"{median(ms[name]):.2f}" if name in ms else "" for name in names]
        ratios = [faster(ms[BF16], ms[name]) if {name, BF16} <= ms.keys() else "" for name in names if name != BF16]
        rows.append([each["stage"], f"{each['tokens']:,}", *times, *ratios])
    nbytes = next(iter(records.values()))["nbytes"]
    read = ", ".join(f"{nbytes[name] / GB:.2f} GB of `{name}`" for name in names if name in nbytes)
    return f"{table(heads, rows)}\n\nOne pass reads {read}."


def table_of_shapes(records: Records) -> str:
    heads = ["", "matrix", "in the model", "tokens", "BF16, us", "FP8, us", "FP8 product, us", "FP8 : BF16"]
    rows = []
    for each in records.values():
        ms = each["ms"]
        times = [f"{1000 * median(ms[name]):,.1f}" for name in (BF16, "fp8", "fp8 product")]
        matrix = f"{each['rows']:,} x {each['columns']:,}"
        counts = [str(each["times"]), f"{each['tokens']:,}"]
        rows.append([f"`{each['kind']}`", matrix, *counts, *times, faster(ms[BF16], ms["fp8"])])
    return table(heads, rows, words=2)


def table_of_sight(records: Records) -> str:
    heads = ["picture", "tokens", "embedding, MB", "encode, ms", "pinned, ms", "not pinned, ms", "pinned : encode"]
    rows = []
    for each in records.values():
        ms = each["ms"]
        times = [f"{median(ms['encode']):.2f}", *(f"{median(ms[name]):.3f}" for name in ("pinned", "pageable"))]
        size = [f"{each['side']}x{each['side']}", f"{each['tokens']:,}", f"{each['nbytes'] / 1e6:.2f}"]
        memory = f"{each['peak'] / 1e6:,.0f}" if each.get("peak") else ""
        rows.append([*size, *times, faster(ms["encode"], ms["pinned"]), memory])
    return table([*heads, "encoder's memory, MB"], rows)


def table_of_served(records: Records) -> str:
    heads = ["", "sequences", "prompt", "answer", "prefill, tokens/s", "decode, tokens/s", "prefill", "decode"]
    rows = []
    sources = records.get(BF16, {}).get("batches", [])
    for name in names_of(records):
        for number, batch in enumerate(records[name]["batches"]):
            prefill, decode = stages(batch)
            counts = [f"{batch[key]:,}" for key in ("sequences", "prompt", "answer")]
            rates = [batch["sequences"] * batch["prompt"] / median(prefill)]
            rates.append(batch["sequences"] * (batch["answer"] - 1) / median(decode))
            ratios = ["", ""]
            if name != BF16 and sources:
                pairs = zip(stages(sources[number]), (prefill, decode), strict=True)
                ratios = [f"{median(slow) / median(quick):.2f}x" for slow, quick in pairs]
            rows.append([f"`{name}`", *counts, *(f"{rate:,.0f}" for rate in rates), *ratios])
    builds = sorted({of["vllm"] for of in records.values()})
    return f"{table(heads, rows)}\n\nvLLM {', '.join(builds)}."


def stages(batch: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Seconds of prefill and of decode, round by round."""
    rest = [whole - first for first, whole in zip(batch["first_s"], batch["all_s"], strict=True)]
    return batch["first_s"], rest


def table_of_writing(records: Records) -> str:
    rows = []
    for name in names_of(records):
        of = records[name]
        cpu = f"{of['cpu_s']:.0f}" if "cpu_s" in of else ""
        peak = f"{of['peak_bytes'] / 1e6:,.0f}" if "peak_bytes" in of else ""
        rows.append([f"`{name}`", f"{of['nbytes'] / GB:.2f}", f"{of['wall_s']:.0f}", cpu, peak])
    return table(["", "weights, GB", "wall, s", "CPU, s", "peak memory, MB"], rows)
