"""Proves from the files alone that a quantized checkpoint is what its plan promises."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from quantize.checkpoint import (
    REWRITTEN,
    StoredTensor,
    read_config,
    read_tensors,
    sidecar_files,
    weight_files,
)
from quantize.durable import hash_file
from quantize.errors import DamagedManifest
from quantize.findings import Findings, code_violations
from quantize.manifest import SUMS, files_below, read_sums
from quantize.plan import Fate, Plan
from quantize.quantization_config import make_quantization_config
from quantize.weights_file import SCALE, Output

SIGHT = frozenset({"vision", "connector"})


def verify_weights(plan: Plan, folder: Path) -> Findings:
    """Every tensor against the plan and its source, with a bar. Raises UnsupportedCheckpoint."""
    from quantize import proof_of_codes  # NumPy

    findings = Findings()
    after = read_tensors(folder)
    promised = {output.name: output for fate in plan.fates for output in fate.outputs}
    findings.violations += [f"{name}: missing from the output" for name in promised if name not in after]
    findings.violations += [f"{name}: was not promised" for name in after if name not in promised]
    digest = hashlib.sha256()
    fates = sorted(plan.fates, key=lambda fate: fate.name)
    for fate in with_bar(fates, plan.before):
        there = [output for output in fate.outputs if output.name in after]
        wrong = [output.name for output in there if not has_shape(after[output.name], output)]
        findings.violations += [f"{name}: has another type or shape than promised" for name in wrong]
        if wrong or len(there) < len(fate.outputs):
            continue
        if fate.quantized:
            for output in fate.outputs:
                if output.made == "codes":
                    codes, scales = after[output.name], after[output.name + SCALE]
                    found = proof_of_codes.compare(fate.source, output, codes, scales)
                    findings.quantized.append(found)
                    findings.violations += code_violations(found)
        elif after[fate.name].equals(fate.source):
            findings.kept += 1
            if fate.part in SIGHT:
                findings.sight_tensors += 1
                add_to_digest(digest, fate.name, fate.source)
        else:
            findings.violations.append(f"{fate.name}: must be untouched, but changed")
    findings.sight_sha256 = digest.hexdigest()
    return findings


def with_bar(fates: list[Fate], size: int) -> Iterator[Fate]:
    """Each fate once; the bar advances by its bytes when the next is asked for."""
    with tqdm(total=size, unit="B", unit_scale=True, mininterval=0.5, desc="proof", leave=False) as bar:
        for fate in fates:
            yield fate
            bar.update(fate.source.size)


def has_shape(tensor: StoredTensor, output: Output) -> bool:
    return (tensor.dtype, tensor.shape, tensor.size) == (output.dtype, output.shape, output.size)


def add_to_digest(digest: "hashlib._Hash", name: str, tensor: StoredTensor) -> None:
    """Name, type, shape and bytes: the same for a checkpoint and its child if these are."""
    digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
    for chunk in tensor.chunks():
        digest.update(chunk)


def verify_files(plan: Plan, folder: Path) -> Iterator[str]:
    """Everything but the tensors: config, other files, SHA256SUMS. One plain sentence for each thing wrong."""
    config = read_config(folder)
    added = config.pop("quantization_config", None)
    if config != plan.config:
        changed = sorted(
            key for key in config.keys() | plan.config.keys() if config.get(key) != plan.config.get(key)
        )
        yield f"config.json differs from the source's in {', '.join(changed)}"
    if added != make_quantization_config(plan):
        yield "config.json: quantization_config is not what the recipe says"
    carried = {str(path.relative_to(plan.source)) for path in sidecar_files(plan.source)}
    for name in sorted(carried):
        if not (folder / name).is_file():
            yield f"{name}: missing from the output"
        elif (folder / name).read_bytes() != (plan.source / name).read_bytes():
            yield f"{name}: differs from the source's"
    ours = {path.name for path in weight_files(folder)} | REWRITTEN
    yield from (f"{name}: was not in the source" for name in files_below(folder) if name not in carried | ours)
    yield from verify_sums(folder)


def verify_sums(folder: Path) -> Iterator[str]:
    try:
        sums = read_sums(folder)
    except DamagedManifest as problem:
        yield str(problem)
        return
    names = files_below(folder)
    yield from (f"{name}: {SUMS} does not know it" for name in names if name not in sums)
    for name, digest in sums.items():
        if name not in names:
            yield f"{name}: {SUMS} promises it, but it is not there"
        elif hash_file(folder / name) != digest:
            yield f"{name}: is not the file that {SUMS} describes"
