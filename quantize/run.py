"""One run: a plan becomes a checkpoint, beside the target first, renamed into place whole or not at all."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from quantize.calibration import Samples, write_samples
from quantize.checkpoint import INDEX, README, read_tensors, sidecar_files, weight_files
from quantize.durable import copy_file, disk_errors, hash_file, replace_file, sync_folder
from quantize.errors import PlanViolated, UsageError
from quantize.findings import Findings
from quantize.llm_compressor import find_python, run_compressor
from quantize.manifest import files_below, read_report, update_report, write_sums
from quantize.plan import Plan, sum_by_part
from quantize.quantization_config import make_quantization_config
from quantize.recipe import Recipe
from quantize.staging import OURS, Stage, check_room, staged
from quantize.verify import verify_weights

Engine = Literal["stream", "llmcompressor"]
Say = Callable[[str], None]
SPARE_BYTES = 16 * 1024 * 1024  # for files that are written, not copied
SHOWN_VIOLATIONS = 10


def run_plan(
    plan: Plan,
    target: Path,
    engine: Engine,
    workers: int,
    prove: bool,
    environ: Mapping[str, str],
    say: Say,
    samples: Samples | None = None,
) -> Findings | None:
    """Write the checkpoint, or go on with one that an earlier run left unfinished. Raises QuantizeError.

    `samples` are for recipes that are calibrated. What the proof found, if one was asked for.
    """
    calibration = samples.describe() if samples else None
    with staged(plan.source, target, identify(plan, engine, calibration)) as stage, disk_errors(stage.folder):
        done = stage.digests
        if done:
            say(f"going on: {len(done)} of {len(plan.shards)} weight files are done")
        rest = sum(path.stat().st_size for path in sidecar_files(plan.source))
        finished = sum((stage.folder / name).stat().st_size for name in done)
        check_room(stage.folder, plan.file_bytes + rest + SPARE_BYTES - finished)
        if engine == "stream":
            stream_weights(plan, stage, workers)
        else:
            compress_weights(plan, samples, stage, environ)
        write_rest(plan, stage)
        findings = None
        if prove:
            say("proving what was promised")
            findings = verify_weights(plan, stage.folder)
            if findings.violations:
                stage.discard()
                raise PlanViolated(describe_violations(findings.violations))
        update_report(stage.folder, "quantize", describe_run(plan, engine, calibration, findings))
        digests = stage.digests
        others = [name for name in files_below(stage.folder) if name not in OURS]
        write_sums(stage.folder, {name: digests.get(name) or hash_file(stage.folder / name) for name in others})
        stage.publish()
    return findings


def is_made(target: Path, recipe: Recipe) -> bool:
    """Whether a run of this recipe has put a checkpoint there, by its report. Raises UsageError otherwise."""
    if not target.exists():
        return False
    said = read_report(target).get("quantize")
    if not isinstance(said, dict) or said.get("recipe") != recipe.model_dump(mode="json"):
        raise UsageError(f"{target} exists already, and {recipe.name} has not made it: remove it or choose another")
    return True


def choose_engine(recipe: Recipe, wanted: Engine | None) -> Engine:
    """Ours where it can. Raises UsageError."""
    streams = recipe.scheme == "FP8_DYNAMIC"
    if wanted == "stream" and not streams:
        raise UsageError(f"--engine stream writes FP8 only: {recipe.name} needs llmcompressor")
    return wanted or ("stream" if streams else "llmcompressor")


def stream_weights(plan: Plan, stage: Stage, workers: int) -> None:
    """Every weight file that is not done yet, each noted down once it is durable."""
    from quantize.stream import write_weights  # NumPy

    done = stage.digests
    with tqdm(total=plan.before, unit="B", unit_scale=True, mininterval=0.5) as bar:
        for name, outputs in plan.shards.items():
            if name in done:
                bar.initial += sum(source.size for source in plan.sources.values() if source.file.name == name)
                continue
            part = stage.folder / f"{name}.part"
            digest = write_weights(part, outputs, plan.sources, workers, bar.update)
            part.rename(stage.folder / name)
            stage.add(name, digest)


def compress_weights(plan: Plan, samples: Samples | None, stage: Stage, environ: Mapping[str, str]) -> None:
    """llm-compressor's weight files. It has to hold the whole model, and cannot go on where it stopped."""
    if stage.digests:
        return
    raw, shown = stage.folder / "raw", stage.folder / "samples"
    for folder in (raw, shown):
        shutil.rmtree(folder, ignore_errors=True)
    python = find_python(environ)
    run_compressor(python, plan, write_samples(samples, shown) if samples else None, raw, environ)
    for path in weight_files(raw):
        path.chmod(0o644)  # safetensors writes 0600, which another user's engine could not read
    for path in weight_files(raw):
        path.rename(stage.folder / path.name)
    for folder in (raw, shown):
        shutil.rmtree(folder, ignore_errors=True)
    for path in weight_files(stage.folder):
        stage.add(path.name, hash_file(path))


def write_rest(plan: Plan, stage: Stage) -> None:
    """Other files byte for byte; the source's config and `quantization_config`; an index where one is needed."""
    for path in sidecar_files(plan.source):
        copy_file(path, stage.folder / path.relative_to(plan.source))
    if (plan.source / README).is_file():  # until a card of its own takes its place
        copy_file(plan.source / README, stage.folder / README)
    config = {**plan.config, "quantization_config": make_quantization_config(plan)}
    replace_file(stage.folder / "config.json", json.dumps(config, indent=2) + "\n")
    if (plan.source / INDEX).is_file() or len(weight_files(stage.folder)) > 1:
        tensors = read_tensors(stage.folder)
        files = {name: tensor.file.name for name, tensor in sorted(tensors.items())}
        size = sum(tensor.size for tensor in tensors.values())
        index = {"metadata": {"total_size": size}, "weight_map": files}
        replace_file(stage.folder / INDEX, json.dumps(index, indent=2) + "\n")
    sync_folder(stage.folder)


def identify(plan: Plan, engine: Engine, calibration: dict[str, Any] | None) -> dict[str, Any]:
    """What must be the same for a run to go on with another's work."""
    files = {name: (plan.source / name).stat() for name in plan.shards}
    config = json.dumps(plan.config, sort_keys=True).encode()
    return {
        "source": str(plan.source.resolve()),
        "weights": [[name, each.st_size, each.st_mtime_ns] for name, each in files.items()],
        "config": hashlib.sha256(config).hexdigest(),
        "recipe": plan.recipe.model_dump(mode="json"),
        "architecture": plan.architecture.name,
        "engine": engine,
        "calibration": calibration,
        "fovea": version("fovea"),
    }


def describe_run(
    plan: Plan, engine: Engine, calibration: dict[str, Any] | None, findings: Findings | None
) -> dict[str, Any]:
    """The report's "quantize" section."""
    return {
        "recipe": plan.recipe.model_dump(mode="json"),
        "architecture": plan.architecture.name,
        "engine": engine,
        "calibration": calibration,
        "fovea": version("fovea"),
        "ignore": plan.ignore,
        "bytes": {"before": plan.before, "after": plan.after},
        "parts": {part: asdict(each) for part, each in sum_by_part(plan).items()},
        "proof": findings.summary() if findings else None,
    }


def describe_violations(violations: list[str]) -> str:
    shown = violations[:SHOWN_VIOLATIONS]
    if len(violations) > len(shown):
        shown.append(f"... and {len(violations) - len(shown)} more")
    return "the output is not what the plan promises, so nothing was published:\n  " + "\n  ".join(shown)
