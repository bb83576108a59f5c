"""Which kinds of modules suffer most from quantization: one kind at a time is rounded, everything else kept."""

import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict
from tqdm import tqdm

from quantize.checkpoint import check_source, weight_files
from quantize.errors import ToolFailed, UsageError
from quantize.journal import Journal
from quantize.llm_compressor import find_python
from quantize.other_environments import tool_environment

Say = Callable[[str], None]


class Sensitivity(BaseModel):
    """One kind of module, rounded alone.

    `cosine` and `snr_db` compare image embeddings (None dB: untouched); `kl` is the mean divergence of the answer's
    tokens in nats, `changed` the share of answers of which greedy decoding changes.
    """

    model_config = ConfigDict(extra="forbid")

    kind: str
    modules: int
    parameters: int
    cosine: float
    snr_db: float | None
    kl: float
    changed: float


def find_pictures(folder: Path, most: int) -> list[Path]:
    """The first `most` readable pictures by name. Raises UsageError."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder of pictures")
    found = []
    for path in sorted(folder.iterdir()):
        try:
            with Image.open(path) as image:
                image.verify()
        except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError):
            continue
        found.append(path)
        if len(found) == most:
            break
    if not found:
        raise UsageError(f"{folder} holds no picture that can be read")
    return found


def measure_sensitivity(
    model: Path,
    pictures: list[Path],
    question: str,
    scheme: str,
    out: Path,
    environ: Mapping[str, str],
    say: Say,
) -> list[Sensitivity]:
    """Measure every kind that the journal in `out` lacks; most sensitive first. Raises QuantizeError."""
    check_source(model)
    run = {
        "model": str(model.resolve()),
        "weights": [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in weight_files(model)],
        "pictures": [path.name for path in pictures],
        "question": question,
        "scheme": scheme,
    }
    with Journal(out / "kinds.jsonl", run) as journal:
        job = {
            "model": str(model),
            "pictures": [str(path) for path in pictures],
            "question": question,
            "scheme": scheme,
            "done": [entry["kind"] for entry in journal.entries],
        }
        if job["done"]:
            say(f"going on: {len(job['done'])} kinds are in {journal.path}")
        _run(job, journal, environ)
    results = [Sensitivity.model_validate(entry) for entry in journal.entries]
    return sorted(results, key=lambda each: (-each.kl, each.snr_db if each.snr_db is not None else math.inf))


def write_results(results: list[Sensitivity], about: dict[str, Any], out: Path) -> None:
    """sensitivity.json and the self-contained sensitivity.html with its plot."""
    content = {**about, "kinds": [each.model_dump() for each in results]}
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("sensitivity.html.jinja").render(results=results, about=about)
    for name, text in (("sensitivity.json", json.dumps(content, indent=2) + "\n"), ("sensitivity.html", page)):
        part = out / f".{name}.part"
        part.write_text(text)
        part.replace(out / name)


def make_table(results: list[Sensitivity]) -> str:
    """Most sensitive first, with a bar for the divergence of answers."""
    width = max(len(each.kind) for each in results)
    most = max((each.kl for each in results), default=0.0) or 1.0
    lines = [f"{'kind':{width}}  {'params':>13}  cosine   SNR dB  changed       KL"]
    for each in results:
        ratio = "  same" if each.snr_db is None else f"{each.snr_db:6.1f}"
        bar = "#" * round(20 * each.kl / most)
        lines.append(
            f"{each.kind:{width}}  {each.parameters:13,}  {each.cosine:.4f}  {ratio}  {each.changed:7.1%}  "
            f"{each.kl:7.4f}  {bar}"
        )
    return "\n".join(line.rstrip() for line in lines)


def _run(job: dict[str, Any], journal: Journal, environ: Mapping[str, str]) -> None:
    python = find_python(environ)
    process = subprocess.Popen(
        [str(python), "-m", "quantize.measure_sensitivity"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=tool_environment(environ),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    bar = None
    try:
        process.stdin.write(json.dumps(job))
        process.stdin.close()
        for line in process.stdout:
            entry = json.loads(line)
            if "kinds" in entry:
                total = len(entry["kinds"])
                bar = tqdm(total=total, initial=len(job["done"]), unit="kind", file=sys.stderr)
            else:
                journal.add(entry)
                if bar is not None:
                    bar.update()
    except (BrokenPipeError, ValueError):
        process.kill()  # it said something else, or ended before it had read its job
    finally:
        if bar is not None:
            bar.close()
        if sys.exc_info()[0] is not None:
            process.kill()
        process.wait()
    if process.returncode:
        raise ToolFailed(f"the measurement ended with code {process.returncode}: its output above says why")
