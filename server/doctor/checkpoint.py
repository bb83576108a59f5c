"""A checkpoint folder and its report: whole, quantized how, proved, and gated for what it sees."""

from collections.abc import Iterator
from pathlib import Path

from server.doctor.finding import Finding, failure, ok, warning
from server.doctor.machine import show_bytes
from server.engine.checkpoint_policy import Refusal, Waiting, check_belongs
from server.engine.encoder_cache.checkpoint import NoFingerprint
from server.engine.launch_checks import check_model
from server.engine.metrics.checkpoint import (
    kind_of,
    quantization_of,
    read_report,
    recipe_of,
    section,
    tensors_of,
)
from server.engine.vllm_build import LaunchError


def check_checkpoint(model: str) -> Iterator[Finding]:
    """Headers alone are read, not the weights."""
    folder = Path(model).expanduser()
    try:
        check_model(str(folder))
    except LaunchError as problem:
        yield failure("checkpoint", str(problem), "name the folder that holds config.json and the weights")
        return
    if not folder.is_dir():
        yield warning(
            "checkpoint", f"{model} is a hub's: only folders are looked at", "download it, and name its folder"
        )
        return
    try:
        tensors = tensors_of(folder)
    except (NoFingerprint, OSError) as problem:
        yield failure("checkpoint", f"{folder}: {problem}", "fetch the checkpoint again, or quantize it anew")
        return
    if not tensors:
        yield failure("checkpoint", f"{folder} holds no weights in safetensors", "fetch its *.safetensors files")
        return
    size = show_bytes(sum(tensor.size for tensor in tensors))
    yield ok("checkpoint", f"{folder}: {size} of weights, quantization {quantization_of(folder)}")
    try:
        promised = section(section(read_report(folder), "quantize"), "bytes").get("after")
        if kind_of(read_report(folder)) != "none":
            check_belongs(folder, tensors, promised, "gated")
    except (Refusal, Waiting) as problem:
        yield failure("checkpoint's report", str(problem), "no engine starts with it under --require-report")
        return
    yield from check_report(folder)


def check_report(folder: Path) -> Iterator[Finding]:
    """A checkpoint that is not quantized by us needs none."""
    report = read_report(folder)
    quantized, kind, recipe = quantization_of(folder) != "none", kind_of(report), recipe_of(report)
    verdict = section(report, "sight").get("verdict")
    gate = "measure it: fovea-quantize evaluate, then fovea-quantize gate"
    if kind == "none" and not quantized:
        yield ok("checkpoint's report", "none, and none is needed: it is not quantized")
    elif kind == "none":
        yield warning("checkpoint's report", "none: nobody has shown what this quantization changed", gate)
    elif kind == "gated" and verdict == "green":
        yield ok("checkpoint's report", f"recipe {recipe}; its sight has passed the gate")
    elif kind == "gated":
        yield failure(
            "checkpoint's report", f"recipe {recipe}; its sight has failed the gate ({verdict})", "serve another"
        )
    elif kind == "verified":
        yield warning("checkpoint's report", f"recipe {recipe}, proved; nobody has measured its sight", gate)
    else:
        do = "fovea-quantize verify"
        yield warning("checkpoint's report", f"recipe {recipe}, and no proof of its bytes", do)
