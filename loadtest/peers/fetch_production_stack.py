"""`python -m loadtest.peers.fetch_production_stack ENVIRONMENT`: production-stack's router, which no registry has.

It comes out of one commit of its repository, into an environment with what it depends on.
Needs git. `PRODUCTION_STACK_CLONE` names a clone to take it from, where the repository cannot be reached.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

REPOSITORY = "https://github.com/vllm-project/production-stack"
COMMIT = "a6c01db05f65f556235413ba8dbcfb0c01132fff"
VERSION = "0.1.12 (14 commits later, a6c01db)"
PACKAGE = "src/vllm_router"
FETCH_S = 120
CLONE = "PRODUCTION_STACK_CLONE"


class FetchError(Exception):
    """One sentence that says what to do."""


def fetch(environment: Path, repository: str) -> None:
    """Into the environment's site-packages, and which it is into its file VERSION. Raises FetchError."""
    (site,) = environment.glob("lib/python*/site-packages")
    with tempfile.TemporaryDirectory(dir=environment) as place:
        folder = Path(place)
        git(folder, "init", "--quiet")
        git(folder, "fetch", "--quiet", "--depth", "1", repository, COMMIT)
        git(folder, "archive", "--output", "package.tar", COMMIT, PACKAGE)
        with tarfile.open(folder / "package.tar") as packed:
            packed.extractall(folder, filter="data")
        replace(folder / PACKAGE, site / "vllm_router", folder / "before")
    (environment / "VERSION").write_text(f"{VERSION}\n")


def replace(new: Path, place: Path, before: Path) -> None:
    if place.exists():
        place.rename(before)
    new.rename(place)


def git(folder: Path, *arguments: str) -> None:
    environ = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    command = ["/usr/bin/env", "git", *arguments]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=FETCH_S
        )
    except subprocess.TimeoutExpired:
        raise FetchError(f"{REPOSITORY} did not answer within {FETCH_S} s: {advice()}.") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:]
        raise FetchError(f"{REPOSITORY} cannot be had ({said[0] if said else 'git said nothing'}): {advice()}.")


def advice() -> str:
    return f"where it cannot be reached, name a clone of it that has {COMMIT[:7]} in {CLONE}"


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(f"usage: python -m {__spec__.name if __spec__ else __file__} ENVIRONMENT")
    given = os.environ.get(CLONE)
    try:
        fetch(Path(sys.argv[1]).resolve(), str(Path(given).resolve()) if given else REPOSITORY)
    except FetchError as problem:
        sys.exit(str(problem))


if __name__ == "__main__":
    main()
