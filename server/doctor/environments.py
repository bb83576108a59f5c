"""What is installed: vLLM and torch where engines run, and the extras that settings ask for. Imports neither."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from server.doctor.finding import Finding, failure, ok, warning
from server.engine.vllm_build import LaunchError, VllmBuild, find_python, inspect_build
from server.settings import Settings

TIMEOUT_S = 60
# torch's own file of versions, read as text: importing torch takes seconds and gigabytes.
SCRIPT = """
import json
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
spec = find_spec("torch")
text = (Path(spec.origin).parent / "version.py").read_text() if spec else ""
print(json.dumps({"torch": metadata.version("torch") if spec else None, "text": text}))
"""
CUDA = re.compile(r"^cuda\b[^=]*= *['\"](\d+)\.(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Torch:
    """`cuda` is what it was built for; None: for the CPU."""

    version: str
    cuda: tuple[int, int] | None


def wanted_vllm() -> str:
    """The version that this release of ours was tested with."""
    lines = metadata.requires("fovea") or []
    found = [match[1] for line in lines if (match := re.match(r"vllm *== *([\w.]+)", line))]
    return found[0] if found else ""


def find_engine(environ: Mapping[str, str]) -> VllmBuild | LaunchError:
    try:
        return inspect_build(find_python(environ))
    except LaunchError as problem:
        return problem


def read_torch(python: Path) -> Torch | None:
    try:
        done = subprocess.run(
            [str(python), "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=TIMEOUT_S
        )
        told = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    if told["torch"] is None:
        return None
    match = CUDA.search(told["text"])
    return Torch(told["torch"], (int(match[1]), int(match[2])) if match else None)


def check_engine(build: VllmBuild | LaunchError, torch: Torch | None, wanted: str) -> Iterator[Finding]:
    if isinstance(build, LaunchError):
        yield warning("vllm", "it is not installed: this machine can run a gateway, and no engine", str(build))
        return
    told = f"{build.version} for {'CPUs' if build.device == 'cpu' else 'CUDA'}"
    if wanted and build.version.split("+")[0] != wanted:
        do = f"install vLLM {wanted}: it is what this version of Fovea was tested with"
        yield warning("vllm", f"{told}; {wanted} was tested", do)
    else:
        yield ok("vllm", told)
    if torch is None:
        yield failure("torch", "it is not beside vLLM", "install fovea[engine-cpu] or fovea[engine-cuda] there")
    else:
        built = "the CPU" if torch.cuda is None else f"CUDA {torch.cuda[0]}.{torch.cuda[1]}"
        yield ok("torch", f"{torch.version}, for {built}")


def extras_of(settings: Settings) -> dict[str, tuple[str, str]]:
    """Setting -> the module that it needs, and the extra that brings it."""
    pools = settings.engines.pools
    asked = {
        "limits.store_url": (settings.limits.store_url is not None, "redis", "redis"),
        "traces.endpoint": (settings.traces.endpoint is not None, "opentelemetry.exporter", "traces"),
        "images.formats": ("heic" in settings.images.formats, "pillow_heif", "heic"),
        "engines.pools": (any(pool.kubernetes for pool in pools), "kubernetes_asyncio", "kubernetes"),
    }
    return {setting: (module, extra) for setting, (is_asked, module, extra) in asked.items() if is_asked}


def check_extras(settings: Settings) -> Iterator[Finding]:
    for setting, (module, extra) in extras_of(settings).items():
        if is_there(module):
            yield ok(f"fovea[{extra}]", f"installed, for {setting}")
        else:
            yield failure(f"fovea[{extra}]", f"{setting} needs it", f"pip install 'fovea[{extra}]'")


def is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it is in
        return False
