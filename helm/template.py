"""Helm as the set-up brings it, and what it makes of the chart: text and objects for `write` and for tests."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "helm" / "fovea"
PRESETS = CHART / "presets"
# By the environment that holds it; examples are rendered by the newest.
HELMS = ("helm-v3", "helm-v4")
RELEASE = ("fovea", "--namespace", "fovea")

# An object as YAML reads it.
Manifest = dict[str, Any]


class HelmError(Exception):
    """Helm refused; its own words."""


def find_helm(environment: str) -> Path | None:
    """Where the set-up put it, or, the version left to whom it belongs, on the PATH."""
    installed = ROOT / ".venv" / environment / "bin" / "helm"
    if installed.exists():
        return installed
    on_path = shutil.which("helm")
    return Path(on_path) if on_path else None


def run_helm(helm: Path, *arguments: str, folder: Path = ROOT) -> str:
    """What Helm prints. Its own files stay out of the home, and a cluster's address out of what it does."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("HELM_", "KUBE"))}
    done = subprocess.run([helm, *arguments], capture_output=True, text=True, cwd=folder, env=environ, check=False)
    if done.returncode:
        raise HelmError((done.stderr + done.stdout).strip())
    return done.stdout


def render(helm: Path, *options: str, release: Sequence[str] = RELEASE, chart: Path = CHART) -> str:
    """The YAML of all objects; raises HelmError where values are refused."""
    return run_helm(helm, "template", *release, str(chart), *options)


def objects(rendered: str) -> list[Manifest]:
    """In the order of the text."""
    return [each for each in yaml.load_all(rendered, yaml.CSafeLoader) if each]


def preset_names() -> list[str]:
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))
