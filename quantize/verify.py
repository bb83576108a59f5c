"""Proves from the files alone that a quantized checkpoint is what its plan promises."""

import hashlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from tqdm import tqdm

from quantize.architecture import SIGHT
from quantize.checkpoint import (
    REWRITTEN,
    StoredTensor,
    read_config,
    read_tensors,
    sidecar_files,
    weight_files,
)
from quantize.durable import hash_file
from quantize.errors import DamagedManifest, PlanViolated
from quantize.findings import Findings, Quantized, code_violations
from quantize.manifest import SUMS, files_below, read_sums
from quantize.other_environments import find_interpreter, tool_environment
from quantize.plan import Fate, Plan
from quantize.quantization_config import make_quantization_config
from quantize.weights_file import SCALE, Output

# Run where vLLM is.
PARSE = """
import importlib.metadata, json, sys
from quantize.torchvision_on_cpu import allow_torchvision
allow_torchvision()
from compressed_tensors.quantization import QuantizationConfig
QuantizationConfig.model_validate(json.load(sys.stdin))
print(importlib.metadata.version("compressed-tensors"))
"""


def verify_weights(plan: Plan, folder: Path) -> Findings:
    """Every tensor against the plan and its source, with a bar. Raises UnsupportedCheckpoint."""
    findings = Findings()
    after = read_tensors(folder)
    promised = {output.name: output for fate in plan.fates for output in fate.outputs}
    findings.violations += [f"{name}: missing from the output" for name in promised if name not in after]
    findings.violations += [f"{name}: was not promised" for name in after if name not in promised]
    digest = hashlib.sha256()
    fates = sorted(plan.fates, key=lambda fate: fate.name)
    for fate in with_bar(fates, plan.before):
        there = [output for output in fate.outputs if output.name in after]
        wrong = [output.name for output in there if not same_form(after[output.name], output)]
        findings.violations += [f"{name}: has another type or shape than promised" for name in wrong]
        if wrong or len(there) < len(fate.outputs):
            continue
        if fate.quantized:
            for output in fate.outputs:
                if output.made == "codes":
                    found = compare(plan, fate, output, after)
                    findings.quantized.append(found)
                    findings.violations += code_violations(found)
        elif fate.readers:
            findings.rescaled += 1
        elif after[fate.name].equals(fate.source):
            findings.kept += 1
            if fate.part in SIGHT:
                findings.sight_tensors += 1
                add_to_digest(digest, fate.name, fate.source)
        else:
            findings.violations.append(f"{fate.name}: must be untouched, but changed")
    findings.sight_sha256 = digest.hexdigest()
    return findings


def compare(plan: Plan, fate: Fate, output: Output, after: Mapping[str, StoredTensor]) -> Quantized:
    """One matrix with its codes. Raises DamagedShard."""
    from quantize import proof_of_codes, proof_of_integers  # NumPy

    if plan.recipe.scheme == "FP8_DYNAMIC":
        return proof_of_codes.compare(fate.source, output, after[output.name], after[output.name + SCALE])
    factors = None
    if fate.norm is not None and fate.norm in after:
        norm, rescaled = plan.sources[fate.norm], after[fate.norm]
        if same_form(norm, rescaled):  # else that is a violation of its own
            factors = proof_of_integers.column_factors(norm, rescaled, plan.architecture.norm_offset)
    return proof_of_integers.compare(fate.source, output, after, plan.recipe.scheme, factors)


def with_bar(fates: list[Fate], size: int) -> Iterator[Fate]:
    """Each fate once; the bar advances by its bytes when the next is asked for."""
    with tqdm(total=size, unit="B", unit_scale=True, mininterval=0.5, desc="proof", leave=False) as bar:
        for fate in fates:
            yield fate
            bar.update(fate.source.size)


def same_form(one: StoredTensor, other: StoredTensor | Output) -> bool:
    return (one.dtype, one.shape, one.size) == (other.dtype, other.shape, other.size)


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


def parse_config(folder: Path, environ: Mapping[str, str]) -> str:
    """One line: which compressed-tensors, that of vLLM's environment, reads the config. Raises PlanViolated."""
    python = find_interpreter("compressed_tensors", "FOVEA_ENGINE_PYTHON", "engine", environ)
    if python is None:
        return "SKIPPED: no vLLM found (make setup, or FOVEA_ENGINE_PYTHON): nobody has parsed the config"
    done = subprocess.run(
        [python, "-c", PARSE],
        input=json.dumps(read_config(folder)["quantization_config"]),
        capture_output=True,
        text=True,
        check=False,
        env=tool_environment(environ),
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise PlanViolated(f"vLLM's compressed-tensors does not read {folder / 'config.json'}: {last}")
    return f"config parsed by compressed-tensors {done.stdout.split()[-1]}"
