import subprocess
import sys
from pathlib import Path

from loadtest.peers.interpreter import best_python, measure, python_with


def test_what_is_no_python_is_not_taken_for_one(tmp_path: Path) -> None:
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\necho hello\n")
    other.chmod(0o755)
    assert measure(other) is None
    assert measure(tmp_path / "missing") is None
    version, took_s = measure(Path(sys.executable)) or ("", 0.0)
    assert version == sys.version.split()[0]
    assert took_s > 0


def test_the_one_that_is_used_has_just_the_packages_of_an_environment(tmp_path: Path) -> None:
    python = python_with(Path(sys.prefix), tmp_path)
    script = "import orjson, sys; print(orjson.__file__, sys.prefix, *sys.version_info[:2])"
    done = subprocess.run([python, "-I", "-c", script], capture_output=True, text=True, check=True)
    place, prefix, *version = done.stdout.split()
    assert Path(place).is_relative_to(Path(sys.prefix).resolve())
    assert Path(prefix) == tmp_path / "python"
    assert tuple(map(int, version)) == sys.version_info[:2]
    assert best_python()[1].startswith("Python 3.")
