"""The model card: what fovea-report.json knows, as a README.md."""

from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from quantize.checkpoint import README
from quantize.durable import replace_file
from quantize.errors import UsageError
from quantize.manifest import read_report, renew_sums

TAGS = ("vllm", "compressed-tensors", "fovea")
CODES = {
    "FP8_DYNAMIC": "FP8 (E4M3) with one scale a row",
    "W8A8": "INT8 with one scale a row",
    "W4A16": "4-bit integers with one scale for a group of a row's columns",
}
SHORT = {"FP8_DYNAMIC": "fp8", "W8A8": "int8", "W4A16": "int4"}


def write_card(folder: Path, name: str, base_model: str | None) -> Path:
    """Write README.md from the report; of the one that was there, what heads it is kept. Raises UsageError."""
    report = read_report(folder)
    if not isinstance(report.get("quantize"), dict):
        raise UsageError(f"{folder} has no fovea-report.json of a run: make the checkpoint with fovea-quantize run")
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701  (Markdown, of our own report)
        trim_blocks=True,
        lstrip_blocks=True,
    )
    scheme = SHORT[report["quantize"]["recipe"]["scheme"]]
    front = make_front(read_front(folder / README), scheme, base_model)
    text = environment.get_template("card.md.jinja").render(
        front=yaml.safe_dump(front, sort_keys=False).strip(),
        name=name,
        base_model=base_model,
        made={"calibration": None, **report["quantize"]},
        codes=CODES,
        sight=report.get("sight"),
        size=lambda size: f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.2f} MB",
        megabytes=lambda size: f"{size / 1e6:,.2f}",
        percent=lambda share: f"{share:.1%}",
    )
    replace_file(folder / README, text)
    renew_sums(folder, [README])
    return folder / README


def read_front(path: Path) -> dict[str, Any]:
    """The YAML between two lines of dashes with which the hub's cards begin; nothing where there is none."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        return {}
    if not text.startswith("---\n") or "\n---" not in text[4:]:
        return {}
    try:
        front = yaml.safe_load(text[4:].partition("\n---")[0])
    except yaml.YAMLError:
        return {}
    return front if isinstance(front, dict) else {}


def make_front(before: dict[str, Any], scheme: str, base_model: str | None) -> dict[str, Any]:
    """What the hub reads: licence and languages stay, what describes the weights is new."""
    tags = before.get("tags")
    kept = [str(tag) for tag in tags] if isinstance(tags, list) else []
    front = {**before, "tags": list(dict.fromkeys([*kept, *TAGS, scheme])), "library_name": "vllm"}
    if base_model is not None:
        front |= {"base_model": base_model, "base_model_relation": "quantized"}
    return front
