"""Which Python serves the gateways that are written in it: an optimized build, as container images have, where this
machine has one.

Python's own build leaves `--enable-optimizations` out unless it is asked for, and version managers do not ask: such
a Python takes a fifth more for the same (docs/benchmarks/gateway.md says which one was used).
"""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

# Beside the one that runs this: where distributions and container images have theirs.
PLACES = ("/usr/local/bin", "/usr/bin")
ASKED = (
    "import json, sys, sysconfig; print(json.dumps([sys.version.split()[0], "
    "'--enable-optimizations' in (sysconfig.get_config_var('CONFIG_ARGS') or '')]))"
)


@cache
def best_python() -> tuple[Path, str]:
    """The interpreter, and how to call it on the page."""
    minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
    own = Path(sys.base_prefix) / "bin" / minor
    for candidate in (own, *(Path(place) / minor for place in PLACES)):
        found = ask(candidate)
        if found is not None and found[1]:
            return candidate, f"Python {found[0]}, an optimized build"
    return own, f"Python {sys.version.split()[0]}, not built with optimizations: there is none here that is"


def ask(python: Path) -> tuple[str, bool] | None:
    """Its version, and whether it was built with optimizations; None where it is none."""
    try:
        done = subprocess.run([python, "-I", "-c", ASKED], capture_output=True, text=True, check=True, timeout=30)
        version, optimized = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return str(version), bool(optimized)


def python_with(packages_of: Path, folder: Path) -> Path:
    """An interpreter in `folder` that has the packages of the environment `packages_of`, and nobody else's."""
    python, _ = best_python()
    subprocess.run([python, "-I", "-m", "venv", "--without-pip", folder / "python"], check=True, timeout=60)
    (site,) = (folder / "python").glob("lib/python*/site-packages")
    (packages,) = packages_of.resolve().glob("lib/python*/site-packages")
    (site / "packages.pth").write_text(f"import site; site.addsitedir({str(packages)!r})\n")
    return folder / "python" / "bin" / "python"
