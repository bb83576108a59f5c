"""What is known of runs of `make bench`: how long each benchmark last took and of which commit it was
(docs/benchmarks/run.json), and, in build/, what the run that was broken off had done."""

import hashlib
import json
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from loadtest.suite.benchmarks import Benchmark

SOURCES = ("loadtest", "server", "engine", "quantize", "demo", "deploy/environments", "pyproject.toml")


@dataclass(frozen=True, slots=True)
class Took:
    """Of one benchmark's last good run. `digest` is that of the JSON that it wrote."""

    seconds: float
    commit: str
    digest: str


@dataclass(slots=True)
class Runs:
    """`whole`: seconds of the last run of everything in one go, set-up included; `day` and `machine` are its."""

    day: str = ""
    machine: str = ""
    whole: float = 0.0
    took: dict[str, Took] = field(default_factory=dict)


def read_runs(path: Path) -> Runs:
    if not path.exists():
        return Runs()
    told = json.loads(path.read_text())
    return Runs(told["day"], told["machine"], told["whole"], {n: Took(**each) for n, each in told["took"].items()})


def write_runs(path: Path, runs: Runs) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(runs), indent=1) + "\n")


def commit_here() -> str:
    """The commit, and a digest of what was changed since; "unknown" outside of a checkout."""
    try:
        head = git("rev-parse", "--short=12", "HEAD").decode().strip()
        changed = git("diff", "HEAD", "--", *SOURCES)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}+{hashlib.sha256(changed).hexdigest()[:8]}" if changed else head


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], check=True, capture_output=True).stdout  # noqa: S607


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def still_to_run(chosen: Iterable[Benchmark], done: Runs, commit: str, docs: Path) -> list[Benchmark]:
    """Less those whose page is what this commit wrote."""
    left = []
    for each in chosen:
        took, (raw, page) = done.took.get(each.name), each.outputs(docs)
        is_done = took and took.commit == commit != "unknown" and took.digest == digest_of(raw) and page.exists()
        if not is_done:
            left.append(each)
    return left
