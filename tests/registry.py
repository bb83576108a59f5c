"""A real OCI registry on this machine: Debian's docker-registry, the reference implementation of the protocol."""

import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, Popen
from time import monotonic, sleep

from server.together import free_port
from tests.conftest import ROOT

UNPACKED = ROOT / ".venv" / "programs" / "usr" / "bin" / "docker-registry"
CONFIG = """
version: 0.1
storage:
  filesystem: {{rootdirectory: {folder}}}
http: {{addr: "127.0.0.1:{port}"}}
log: {{level: error}}
"""


def find_registry() -> str | None:
    """On the PATH, or where the set-up put it."""
    return shutil.which("docker-registry") or (str(UNPACKED) if UNPACKED.exists() else None)


@contextmanager
def serving_registry(program: str, folder: Path) -> Iterator[str]:
    """Its host and port; what it is sent lies in `folder`."""
    port = free_port()
    config = folder / "registry.yaml"
    config.write_text(CONFIG.format(folder=folder / "registry", port=port))
    process = Popen([program, "serve", config], stdout=DEVNULL, stderr=DEVNULL)
    try:
        deadline = monotonic() + 60
        while not answers(f"http://127.0.0.1:{port}/v2/"):
            assert process.poll() is None
            assert monotonic() < deadline
            sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url) as response:
            return bool(response.status == 200)
    except OSError:
        return False
