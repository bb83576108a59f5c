"""production-stack's router comes out of one commit of its repository."""

import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.peers import fetch_production_stack as fetching

ROOT = Path(__file__).parents[3]


def git(folder: Path, *arguments: str) -> str:
    named = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "uploadpack.allowAnySHA1InWant=true"]
    done = subprocess.run(["git", *named, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture(name="clone")
def make_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two commits, of which the first is the pinned one."""
    clone = tmp_path / "clone"
    package = clone / fetching.PACKAGE
    package.mkdir(parents=True)
    git(clone, "init", "--quiet")
    for which in ("pinned", "later"):
        (package / "app.py").write_text(f"WHICH = {which!r}\n")
        (clone / "outside.py").write_text("")
        git(clone, "add", ".")
        git(clone, "commit", "--quiet", "-m", which)
    monkeypatch.setattr(fetching, "COMMIT", git(clone, "rev-parse", "HEAD~1"))
    return clone


@pytest.fixture(name="environment")
def make_environment(tmp_path: Path) -> Path:
    (tmp_path / "environment/lib/python3.11/site-packages").mkdir(parents=True)
    return tmp_path / "environment"


def test_the_pinned_commit_is_taken_and_replaces_what_was_there(clone: Path, environment: Path) -> None:
    site = environment / "lib/python3.11/site-packages"
    (site / "vllm_router").mkdir()
    (site / "vllm_router" / "old.py").touch()
    fetching.fetch(environment, str(clone))
    assert [path.name for path in site.rglob("*.py")] == ["app.py"]
    assert (site / "vllm_router" / "app.py").read_text() == "WHICH = 'pinned'\n"
    assert (environment / "VERSION").read_text() == f"{fetching.VERSION}\n"
    assert sorted(path.name for path in environment.iterdir()) == ["VERSION", "lib"]


def test_a_repository_without_the_commit_is_told_and_leaves_nothing(
    clone: Path, environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "COMMIT", "0" * 40)
    with pytest.raises(fetching.FetchError, match=r"cannot be had.*PRODUCTION_STACK_CLONE"):
        fetching.fetch(environment, str(clone))
    assert [path.name for path in environment.iterdir()] == ["lib"]


def test_where_it_cannot_be_had_one_sentence_says_what_to_do(environment: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "loadtest.peers.fetch_production_stack", environment],
        cwd=ROOT, env={"PATH": "/usr/bin:/bin", "PRODUCTION_STACK_CLONE": str(tmp_path / "none")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "name a clone of it that has" in done.stderr
