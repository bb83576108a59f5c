"""Plans and findings for people and for programs."""

import json
from collections import Counter

from quantize.findings import Findings
from quantize.plan import Plan, sum_by_part
from quantize.recipe import Scheme

CODES: dict[Scheme, str] = {"FP8_DYNAMIC": "FP8", "W8A8": "INT8", "W4A16": "4 bits"}


def make_table(plan: Plan, tensors: bool) -> str:
    """Bytes by part; with `tensors`, every tensor's fate and reason before them."""
    lines = []
    if tensors:
        width = max(len(fate.name) for fate in plan.fates)
        for fate in plan.fates:
            shape = "x".join(map(str, fate.source.shape))
            lines.append(
                f"{fate.name:<{width}}  {fate.source.dtype:<5} {shape:<18} {fate.verdict:<9} {fate.reason}"
            )
        lines.append("")
    lines.append(f"{plan.recipe.name} on {plan.source} (map: {plan.architecture.name})")
    lines.append(f"{'part':<17} {'tensors':>7} {'before, MB':>12} {'after, MB':>12}")
    for part, each in sum_by_part(plan).items():
        lines.append(f"{part:<17} {each.tensors:>7} {megabytes(each.before):>12} {megabytes(each.after):>12}")
    lines.append(f"{'all':<17} {len(plan.fates):>7} {megabytes(plan.before):>12} {megabytes(plan.after):>12}")
    count = Counter(fate.verdict for fate in plan.fates)
    rescaled = f" {count['rescale']} rescaled," if count["rescale"] else ""
    lines.append(
        f"{count['quantize']} tensors are quantized,{rescaled} {count['keep']} kept: "
        f"{1 - plan.after / plan.before:.1%} saved"
    )
    if plan.tied and "lm_head" in plan.recipe.quantize:
        lines.append("lm_head is the embeddings here (tied): it is kept")
    return "\n".join(lines)


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.2f}"


def make_json(plan: Plan) -> str:
    parts = {
        part: {"tensors": each.tensors, "bytes_before": each.before, "bytes_after": each.after}
        for part, each in sum_by_part(plan).items()
    }
    content = {
        "source": str(plan.source),
        "recipe": plan.recipe.model_dump(mode="json"),
        "architecture": plan.architecture.name,
        "ignore": plan.ignore,
        "bytes_before": plan.before,
        "bytes_after": plan.after,
        "file_bytes_after": plan.file_bytes,
        "tied": plan.tied,
        "parts": parts,
        "tensors": [
            {
                "name": fate.name,
                "part": fate.part,
                "dtype": fate.source.dtype,
                "shape": fate.source.shape,
                "fate": fate.verdict,
                "reason": fate.reason,
                "bytes_before": fate.source.size,
                "bytes_after": fate.after,
            }
            for fate in plan.fates
        ],
    }
    return json.dumps(content, indent=2)


def describe_findings(plan: Plan, findings: Findings | None) -> list[str]:
    weights = f"weights: {plan.before:,} -> {plan.after:,} bytes ({1 - plan.after / plan.before:.1%} saved)"
    if findings is None:
        return [weights, "not proved yet: fovea-quantize verify does it"]
    rescaled = f"{findings.rescaled} rescaled, " if findings.rescaled else ""
    what = CODES[plan.recipe.scheme]
    lines = [
        f"tensors: {len(findings.quantized)} quantized to {what}, {rescaled}{findings.kept} kept bit for bit",
        weights,
    ]
    if findings.sight_tensors:
        lines.append(
            f"vision tower bit-identical: {findings.sight_tensors} tensors, SHA-256 {findings.sight_sha256}"
        )
    if findings.quantized:
        worst = max(findings.quantized, key=lambda each: each.error)
        lines.append(f"largest RMS error of a quantized matrix: {worst.error:.2%} ({worst.name})")
    return lines
