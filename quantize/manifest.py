"""What a finished checkpoint says of itself: fovea-report.json, and SHA256SUMS (which `sha256sum -c` reads).

Whoever changes the report afterwards (the gate's verdict) changes its line in SHA256SUMS with it.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from quantize.checkpoint import is_noted
from quantize.durable import hash_file, replace_file
from quantize.errors import DamagedManifest, UsageError

REPORT = "fovea-report.json"
SUMS = "SHA256SUMS"
LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def read_report(folder: Path) -> dict[str, Any]:
    """The report, or an empty one. Raises UsageError."""
    path = folder / REPORT
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as problem:
        raise UsageError(f"{path} is not readable JSON: repair or remove it") from problem
    if not isinstance(content, dict):
        raise UsageError(f"{path} does not hold an object: repair or remove it")
    return content


def update_report(folder: Path, section: str, content: dict[str, Any]) -> Path:
    """Put one section in, leave the others, and correct SHA256SUMS if there is one. Raises UsageError."""
    if not (folder / "config.json").is_file():
        raise UsageError(f"{folder} is not a checkpoint folder: it has no config.json")
    path = folder / REPORT
    replace_file(path, json.dumps({**read_report(folder), section: content}, indent=2) + "\n")
    renew_sums(folder, [REPORT])
    return path


def renew_sums(folder: Path, names: Iterable[str]) -> None:
    """Correct the lines of files that have changed, where there is a SHA256SUMS at all. Raises DamagedManifest."""
    if (folder / SUMS).exists():
        write_sums(folder, {**read_sums(folder), **{name: hash_file(folder / name) for name in names}})


def write_sums(folder: Path, digests: dict[str, str]) -> None:
    """`digests` by path relative to `folder`."""
    replace_file(folder / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())))


def read_sums(folder: Path) -> dict[str, str]:
    """Raises DamagedManifest."""
    try:
        data = (folder / SUMS).read_bytes()
    except OSError as problem:
        raise DamagedManifest(f"{folder / SUMS} cannot be read") from problem
    return parse_sums(data, str(folder / SUMS))


def parse_sums(data: bytes, where: str) -> dict[str, str]:
    """Raises DamagedManifest: every line must be one that `write_sums` would write, in its order."""
    try:
        text = data.decode()
    except UnicodeDecodeError as problem:
        raise DamagedManifest(f"{where} cannot be read") from problem
    found = [LINE.fullmatch(line) for line in text.split("\n")[:-1]]
    digests = {match[2]: match[1] for match in found if match}
    if text != "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())):
        raise DamagedManifest(f"{where} is damaged")
    return digests


def files_below(folder: Path) -> list[str]:
    """Every file but SHA256SUMS and what engines note, relative to `folder`."""
    files = (path for path in folder.rglob("*") if path.is_file() and not is_noted(path))
    names = (str(path.relative_to(folder)) for path in files)
    return sorted(name for name in names if name != SUMS)
