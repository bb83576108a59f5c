"""What is in an image, as CycloneDX: the Python distributions and the Debian packages, told by the image itself."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

# Run in the image: no shell, and nothing is installed.
ASK = """
import json, pathlib, importlib.metadata as m
print(json.dumps({
  "python": sorted({(d.metadata["Name"], d.version) for d in m.distributions()}),
  "dpkg": pathlib.Path("/var/lib/dpkg/status").read_text(),
  "os": pathlib.Path("/etc/os-release").read_text(),
}))
"""
FIELD = r"^{}: (.+)$"


def write_sbom(runner: str, image: str, path: Path) -> Path:
    """`path`, with what `runner` (docker or podman) finds in `image`."""
    command = [runner, "run", "--rm", "--network", "none", "--entrypoint", "python", image, "-c", ASK]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(make_sbom(image, json.loads(done.stdout)))
    return path


def make_sbom(image: str, told: dict[str, Any]) -> str:
    bom = Bom()
    name, _, tag = image.rpartition("/")[2].partition(":")
    bom.metadata.component = Component(name=name, version=tag, type=ComponentType.CONTAINER, bom_ref=image)
    for name, version in told["python"]:
        url = PackageURL("pypi", name=re.sub(r"[-_.]+", "-", name).lower(), version=version)
        bom.components.add(Component(name=name, version=version, purl=url, bom_ref=str(url)))
    namespace = field_of(told["os"].replace("=", ": "), "ID") or "debian"
    for entry in told["dpkg"].split("\n\n"):
        if (package := field_of(entry, "Package")) and "ok installed" in field_of(entry, "Status"):
            version = field_of(entry, "Version")
            arch = {"arch": field_of(entry, "Architecture")}
            url = PackageURL("deb", namespace, package, version, qualifiers=arch)
            bom.components.add(Component(name=package, version=version, purl=url, bom_ref=str(url)))
    bom.register_dependency(bom.metadata.component, bom.components)
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def field_of(entry: str, name: str) -> str:
    found = re.search(FIELD.format(name), entry, re.MULTILINE)
    return found.group(1).strip('"') if found else ""
