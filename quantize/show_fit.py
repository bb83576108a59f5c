"""Fits for people and for programs."""

import json
from collections.abc import Sequence
from typing import Any

from quantize.fit import Fit, vllm_flags

GB = 1e9


def make_table(fits: Sequence[Fit]) -> str:
    """One line a GPU and recipe; the terms of the first line, and flags for every one that fits, below."""
    wish = fits[0].wish
    lines = [
        f"{wish.concurrency} conversations of {wish.context:,} tokens at once, pictures up to "
        f"{wish.width}x{wish.height} px, KV cache in {'FP8' if wish.kv_bytes == 1 else 'BF16'}; GB are decimal",
        f"{'GPU':<19} {'runs as':<7} {'recipe':<21} {'needs':>7} {'has':>7}  {'verdict':<8} "
        f"{'longest context':>15} {'most at once':>12}",
    ]
    for fit in fits:
        verdict = "fits" if fit.fits else "does not"
        lines.append(
            f"{fit.gpu.label:<19} {fit.runs_as:<7} {fit.recipe:<21} {fit.needed / GB:>7.2f} "
            f"{fit.gpu.usable / GB:>7.2f}  {verdict:<8} {fit.most_context:>15,} {fit.most_sequences:>12,}"
        )
    lines += ["", "needs = " + " + ".join(f"{name} {size / GB:.2f}" for name, size in fits[0].terms.items())]
    lines[-1] += f" ({fits[0].gpu.label}, {fits[0].recipe})"
    for flags in dict.fromkeys(" ".join(vllm_flags(fit)) for fit in fits if fit.fits):
        lines.append(f"vLLM: {flags}")
    return "\n".join(lines)


def make_json(fits: Sequence[Fit]) -> str:
    return json.dumps([as_object(fit) for fit in fits], indent=2)


def as_object(fit: Fit) -> dict[str, Any]:
    return {
        "gpu": fit.gpu.name,
        "runs_as": fit.runs_as,
        "recipe": fit.recipe,
        "fits": fit.fits,
        "usable_bytes": fit.gpu.usable,
        "needed_bytes": fit.needed,
        "terms": fit.terms,
        "longest_context": fit.most_context,
        "most_at_once": fit.most_sequences,
        "vllm_flags": vllm_flags(fit) if fit.fits else None,
    }
