"""The router of vLLM's production-stack, in Python: of one commit, since it is on no package registry."""

from collections.abc import Mapping
from pathlib import Path

from loadtest.peers.interpreter import python_with
from loadtest.peers.peer import VENVS

ENVIRONMENT = "peer-production-stack"


class ProductionStack:
    name = "production-stack"
    settings = "its round robin over one static backend, errors alone logged"
    get = f"python3 deploy/environments/set_up.py {ENVIRONMENT}"

    def is_there(self) -> bool:
        return any((VENVS / ENVIRONMENT).glob("lib/python*/site-packages/vllm_router/app.py"))

    def version(self) -> str:
        """What it was fetched as, or what who made the environment by hand wrote there."""
        noted = VENVS / ENVIRONMENT / "VERSION"
        return noted.read_text().strip() if noted.exists() else "of an unknown version"

    def environ(self, folder: Path) -> Mapping[str, str]:
        return {}

    def command(self, port: int, upstream: int, folder: Path) -> list[str]:
        python = python_with(VENVS / ENVIRONMENT, folder)
        command = [str(python), "-m", "vllm_router.app", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--service-discovery", "static", "--static-backends", f"http://127.0.0.1:{upstream}"]
        command += ["--static-models", "demo"]
        return [*command, "--routing-logic", "roundrobin", "--log-level", "error"]
