"""Step `checkpoint`: writes the model with random weights, and `fovea-quantize run` makes its FP8 children."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from loadtest.gpu.bench import BF16, Bench, StepFailed
from loadtest.qwen3_5_checkpoint import write_checkpoint
from loadtest.qwen3_5_shapes import Sizes

# Whose tokenizer, template and preprocessor vLLM finds beside the weights.
BASE = Path("demo/model")
TOKEN_IDS = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
SECTIONS = 3  # of the rotary embedding: time, height, width


def measure(bench: Bench) -> None:
    source = bench.build / BF16
    if not source.exists():
        bench.say("writing the checkpoint")
        bench.build.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        nbytes = write_source(source, bench.amounts.sizes)
        bench.notes.add(BF16, {"nbytes": nbytes, "wall_s": time.monotonic() - began})
    for recipe in bench.amounts.recipes:
        if not (bench.build / recipe).exists():
            bench.say(f"fovea-quantize run --recipe {recipe}")
            with bench.failures.note(recipe):
                quantize(bench, source, recipe)


def write_source(folder: Path, sizes: Sizes) -> int:
    """Whole or not at all; returns the bytes of weights."""
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    nbytes = write_checkpoint(part, sizes)
    for path in BASE.iterdir() if BASE.exists() else ():
        if path.suffix in (".json", ".jinja") and path.name != "config.json":
            shutil.copy(path, part)
    if BASE.exists():
        config = json.loads((part / "config.json").read_text())
        adapt_config(config, json.loads((BASE / "config.json").read_text()), sizes)
        (part / "config.json").write_text(json.dumps(config, indent=2))
    os.replace(part, folder)
    return nbytes


def adapt_config(config: dict[str, Any], base: dict[str, Any], sizes: Sizes) -> None:
    """To the tokenizer, and to what vLLM asks of positions."""
    config |= {name: base[name] for name in TOKEN_IDS}
    config["vision_config"] |= {"model_type": "qwen3_5_vision", "deepstack_visual_indexes": []}
    half = sizes.head // 8  # a quarter of each head turns, in pairs
    section = [half // SECTIONS + (place < half % SECTIONS) for place in range(SECTIONS)]
    config["text_config"]["rope_parameters"] = {
        "rope_type": "default", "rope_theta": 10_000_000.0, "partial_rotary_factor": 0.25,
        "mrope_section": section, "mrope_interleaved": True,
    }  # fmt: skip


def quantize(bench: Bench, source: Path, recipe: str) -> None:
    """Notes its cost. It goes on with what an earlier call left unfinished. Raises StepFailed."""
    out = bench.build / recipe
    command = [sys.executable, "-m", "quantize.cli", "run", str(source), str(out), "--recipe", recipe]
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "loadtest.gpu.cost", *command], check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise StepFailed((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    cost = {"wall_s": time.monotonic() - began, **json.loads(done.stdout)}
    bench.notes.add(recipe, {"nbytes": weight_bytes(out), **cost})


def weight_bytes(folder: Path) -> int:
    index = folder / "model.safetensors.index.json"
    if index.exists():
        return int(json.loads(index.read_text())["metadata"]["total_size"])
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
