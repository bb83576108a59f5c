"""In an interpreter of its own: it is about what is imported there."""

import subprocess
import sys
from pathlib import Path

import pytest

INSIDE = Path(__file__).parents[4] / "server" / "engine" / "inside"


@pytest.mark.parametrize(
    ("before", "says"),
    [
        pytest.param("", "server.engine.encoder_cache.outcomes", id="nobody has imported it"),
        pytest.param(
            "import types; sys.modules['server'] = types.ModuleType('server')",
            "another package",
            id="somebody else's",
        ),
    ],
)
def test_our_package_is_found_by_its_own_path_alone(before: str, says: str, tmp_path: Path) -> None:
    program = (
        f"import sys; sys.path[:] = [each for each in sys.path if 'packages' not in each]; {before}\n"
        "from fovea_packages import make_ours_importable\n"
        "try:\n make_ours_importable()\nexcept ImportError as problem:\n print(problem)\n"
        "else:\n from server.engine.encoder_cache import outcomes\n print(outcomes.__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(INSIDE)!r})\n{program}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert says in done.stdout
