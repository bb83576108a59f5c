"""`make images`: builds the container images with docker or buildah, and writes what is in each to build/sbom/.

pip's indexes and certificates are handed to the build as secrets, so that no layer holds them; folders of wheels
that pip knows are mounted.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deploy.environments.set_up import pip_settings
from deploy.images.sbom import write_sbom

# The environments have no pip.
PYTHON = str(Path(sys.base_prefix) / "bin" / "python3")
ROOT = Path(__file__).resolve().parent.parent.parent
SBOMS = ROOT / "build" / "sbom"
# By the names in the chart's values.
IMAGES = {
    "gateway": "gateway.Dockerfile",
    "engine": "engine.Dockerfile",
    "engine-cpu": "engine-cpu.Dockerfile",
    "quantize": "quantize.Dockerfile",
}
BY_DEFAULT = ("gateway", "quantize", "engine-cpu")
# What buildah is told where no daemon runs: overlayfs, no network of its own, and nothing that would need systemd.
BUILDAH = ("buildah", "--storage-driver", "overlay", "bud", "--isolation", "chroot", "--network", "host")
DOCKER = ("docker", "buildx", "build", "--load")


class BuildError(Exception):
    """One sentence that says what to do."""


@dataclass(frozen=True)
class Build:
    """`name` of IMAGES as `tag`. `options` are the builder's own; `wheels`: a folder that is looked into first."""

    name: str
    tag: str
    wheels: Path | None = None
    options: Sequence[str] = field(default_factory=tuple)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(IMAGES)} [{' '.join(BY_DEFAULT)}]")
    parser.add_argument("--tag", default=version(), help="[the version]")
    parser.add_argument(
        "--prefix", default="fovea-", help="what images' names begin with; a registry, say [fovea-]"
    )
    parser.add_argument("--wheels", type=Path, help="folder of wheels, instead of PyTorch's index [what pip knows]")
    parser.add_argument("--option", action="append", default=[], help="passed on to the builder; repeatable")
    args = parser.parse_args()
    try:
        for name in args.names or BY_DEFAULT:
            if name not in IMAGES:
                raise BuildError(f"no image is called {name}: {', '.join(IMAGES)}")
            tag = f"{args.prefix}{name}:{args.tag}"
            build(find_builder(), Build(name, tag, args.wheels or known_wheels(), args.option))
            sbom = write_sbom(runner(), tag, SBOMS / f"{name}.cdx.json")
            print(f"images: {tag}; what is in it: {sbom.relative_to(ROOT)}")
    except BuildError as problem:
        print(f"images: {problem}", file=sys.stderr)
        return 1
    return 0


def find_builder() -> Sequence[str]:
    if shutil.which("docker"):
        return DOCKER
    if shutil.which("buildah") and shutil.which("podman"):
        return BUILDAH
    raise BuildError("no builder was found: install docker, or buildah and podman (Debian: apt-get install).")


def runner() -> str:
    return "docker" if shutil.which("docker") else "podman"


def build(builder: Sequence[str], wanted: Build) -> None:
    """Raises BuildError; the builder's own lines have said why."""
    command = [*builder, "--file", str(ROOT / "docker" / IMAGES[wanted.name]), "--tag", wanted.tag]
    command += ["--build-arg", f"VERSION={version()}", "--build-arg", f"REVISION={revision()}"]
    if builder[0] == "buildah":
        command += ["--format", "docker"]  # OCI's own has no health checks
    if wanted.wheels and wanted.name == "engine-cpu":
        command += ["--build-context", f"wheels={wanted.wheels}", "--build-arg", "TORCH=--find-links /wheels"]
    with secrets() as options:
        done = subprocess.run([*command, *options, *wanted.options, str(ROOT)], check=False)
    if done.returncode:
        raise BuildError(
            f"{wanted.name} could not be built (exit code {done.returncode}; the lines above say why)."
        )


@contextmanager
def secrets() -> Iterator[list[str]]:
    """Options that hand over what pip knows of indexes, for pip and for uv, and whom it trusts."""
    settings = pip_settings(PYTHON)
    default = [url for url in settings.get("index-url", [])[-1:] if not url.startswith("file:")]
    more = [url for url in dict.fromkeys(settings.get("extra-index-url", [])) if not url.startswith("file:")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pip").write_text(
            "[global]\n"
            + "".join(f"index-url = {url}\n" for url in default)
            + (f"extra-index-url = {' '.join(more)}\n" if more else "")
        )
        (folder / "uv").write_text(
            (
                'index-strategy = "unsafe-best-match"\n' if more else ""
            )  # what pip does: an index more is a choice more
            + "".join(f'[[index]]\nurl = "{url}"\n' for url in more)
            + "".join(f'[[index]]\nurl = "{url}"\ndefault = true\n' for url in default)
        )
        files = {"pip": folder / "pip", "uv": folder / "uv"}
        if cert := settings.get("cert", [])[-1:]:
            files["ca"] = Path(cert[0])
        yield [part for id_, path in files.items() for part in ("--secret", f"id={id_},src={path}")]


def known_wheels() -> Path | None:
    """A folder that pip looks into and that holds torch."""
    for place in pip_settings(PYTHON).get("find-links", []):
        if list(Path(place).glob("torch-*.whl")):
            return Path(place)
    return None


def version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def revision() -> str:
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
