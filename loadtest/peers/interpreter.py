"""Which Python serves the gateways that are written in it: the fastest of its version that is here.

Distributions and container images build theirs with profiles; Python's own build, and so that of version managers,
does without unless it is asked, and then takes a fifth more for the same. The benchmark's page says what was used.
"""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

# Beside the one that runs this: where distributions and container images have theirs.
PLACES = ("/usr/local/bin", "/usr/bin")
# Calls, attributes, dictionaries and bytes, as requests are made of; the shortest of many runs.
MEASURE = """
import json, sys, timeit
class Each:
    def __init__(self, name): self.name, self.seen = name, {}
    def see(self, key, value): self.seen[key] = value; return self.seen.get(key)
def work():
    each = Each("a")
    return [each.see(n % 7, b"x".join((b"1", b"%d" % n))) for n in range(200)]
print(json.dumps([sys.version.split()[0], min(timeit.repeat(work, number=20, repeat=30))]))
"""


@cache
def best_python() -> tuple[Path, str]:
    """The interpreter, and how to call it on the page."""
    minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
    own = Path(sys.base_prefix) / "bin" / minor
    places = dict.fromkeys(each.resolve() for each in (own, *(Path(place) / minor for place in PLACES)))
    measured = [(found[1], place, found[0]) for place in places if (found := measure(place)) is not None]
    if not measured:
        return own, f"Python {sys.version.split()[0]}"
    took_s, python, version = min(measured)
    slowest_s = max(measured)[0]
    others = "" if len(measured) == 1 else f", the fastest of {len(measured)} here (by {slowest_s / took_s:.2f})"
    return python, f"Python {version}{others}"


def measure(python: Path) -> tuple[str, float] | None:
    """Its version, and how long it takes for the same; None where it is none."""
    try:
        done = subprocess.run([python, "-I", "-c", MEASURE], capture_output=True, text=True, check=True, timeout=60)
        version, took_s = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return str(version), float(took_s)


def python_with(packages_of: Path, folder: Path) -> Path:
    """An interpreter in `folder` that has the packages of the environment `packages_of`, and nobody else's."""
    python, _ = best_python()
    subprocess.run([python, "-I", "-m", "venv", "--without-pip", folder / "python"], check=True, timeout=60)
    (site,) = (folder / "python").glob("lib/python*/site-packages")
    (packages,) = packages_of.resolve().glob("lib/python*/site-packages")
    (site / "packages.pth").write_text(f"import site; site.addsitedir({str(packages)!r})\n")
    return folder / "python" / "bin" / "python"
