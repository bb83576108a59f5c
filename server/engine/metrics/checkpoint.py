"""What the checkpoint that is served says of itself: bytes by its headers, recipe and sight by its report."""

import json
import logging
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from server.engine.encoder_cache.checkpoint import (
    NoFingerprint,
    Tensor,
    find_checkpoint,
    read_header,
    read_object,
    weight_files,
)
from server.engine.metrics.declared import Readings

log = logging.getLogger(__name__)

REPORT = "fovea-report.json"
MOST_REPORT_BYTES = 16 << 20
MOST_SKILLS = 64
CONSOLIDATED = "consolidated"  # the same weights once more, in another layout
# By names as families are published and as transformers saves them; the first that matches. All else is language.
COMPONENTS = tuple(
    (component, re.compile(pattern))
    for component, pattern in (
        ("mtp", r"mtp\."),
        ("lm_head", r"(.*\.)?lm_head\."),
        (
            "vision",
            r"(.*\.)?(visual|vision_\w+|mlp1|multi_modal_projector|mm_projector|connector|image_newline|"
            r"patch_merger)(\.|$)",
        ),
        ("embeddings", r"(.*\.)?embed_tokens\."),
    )
)


class Checkpoint:
    """Read when asked, which may take long on a slow disk: weights once, the report whenever it has changed (the
    sight gate writes it while the checkpoint is served)."""

    def __init__(self, model_name: str, model: str, revision: str | None, environ: Mapping[str, str]) -> None:
        self._name = model_name
        self._where = (model, environ, revision)
        self._folder: Path | None = None
        self._weights: Readings | None = None
        self._report: Readings = {}
        self._report_stamp: tuple[int, int] | str | None = "unread"

    def read(self) -> Readings:
        if self._weights is None:
            self._weights = self._read_weights()
        if self._folder is not None and (stamp := stamp_of(self._folder / REPORT)) != self._report_stamp:
            self._report, self._report_stamp = self._read_report(self._folder), stamp
        return {**self._weights, **self._report}

    def _read_weights(self) -> Readings:
        try:
            self._folder = find_checkpoint(*self._where)
            tensors = tensors_of(self._folder)
        except (NoFingerprint, OSError) as problem:
            log.info("The checkpoint's metrics are missing: %s", problem)
            return {}
        parts, types = Counter[str](), Counter[str]()
        for tensor in tensors:
            parts[component_of(tensor.name)] += tensor.size
            types[tensor.dtype.lower()] += tensor.size
        return {
            "fovea_weights_bytes": {(self._name, part): size for part, size in parts.items()},
            "fovea_checkpoint_bytes": {(self._name, dtype): size for dtype, size in types.items()},
        }

    def _read_report(self, folder: Path) -> Readings:
        report = read_report(folder)
        info = (self._name, recipe_of(report), quantization_of(folder), kind_of(report))
        sight = section(report, "sight")
        return {
            "fovea_checkpoint_info": {info: 1},
            "fovea_sight_report": {(self._name,): float(sight.get("verdict") == "green")},
            "fovea_sight_correct_ratio": {(self._name, *key): ratio for key, ratio in ratios_of(sight).items()},
        }


def tensors_of(folder: Path) -> list[Tensor]:
    """Of a checkpoint in safetensors, each tensor once; none of others. Raises NoFingerprint, OSError."""
    files = [path for path in weight_files(folder) if path.suffix == ".safetensors"]
    plain = [path for path in files if not path.name.startswith(CONSOLIDATED)]
    return [tensor for path in plain or files for tensor in read_header(path).tensors]


def component_of(name: str) -> str:
    return next((component for component, pattern in COMPONENTS if pattern.match(name)), "language")


def stamp_of(path: Path) -> tuple[int, int] | None:
    """None: there is no such file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def read_report(folder: Path) -> dict[str, Any]:
    """Empty where there is none that can be read."""
    path = folder / REPORT
    try:
        if path.stat().st_size > MOST_REPORT_BYTES:
            return {}
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def section(report: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = report.get(name)
    return found if isinstance(found, dict) else {}


def recipe_of(report: Mapping[str, Any]) -> str:
    return str(section(section(report, "quantize"), "recipe").get("name") or "none")


def kind_of(report: Mapping[str, Any]) -> str:
    if section(report, "sight").get("verdict"):
        return "gated"
    made = section(report, "quantize")
    if not made:
        return "none"
    return "verified" if made.get("proof") else "unverified"


def quantization_of(folder: Path) -> str:
    """As config.json says, where vLLM looks: "compressed-tensors", "none"."""
    try:
        config = read_object(folder / "config.json")
    except NoFingerprint:
        return "none"
    places = (config, section(config, "text_config"))
    found = [section(place, name) for place in places for name in ("quantization_config", "compression_config")]
    return next((str(each.get("quant_method") or "unknown") for each in found if each), "none")


def ratios_of(sight: Mapping[str, Any]) -> dict[tuple[str, str], float]:
    """By skill and side, over all levels: the group that says so, or the skill's only one."""
    groups = section(sight, "report").get("groups")
    ratios: dict[tuple[str, str], float] = {}
    for group in groups if isinstance(groups, list) else ():
        skill = str(group["skill"])
        if len(ratios) < 2 * MOST_SKILLS and ((skill, "base") not in ratios or group["level"] == "all"):
            for side, ours in (("base", "base"), ("candidate", "quantized")):
                ratios[skill, ours] = float(group[side]["accuracy"]["value"])
    return ratios
