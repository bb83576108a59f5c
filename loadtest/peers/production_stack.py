"""The router of vLLM's production-stack, in Python. It is on no package registry: who wants it measured makes the
environment themselves, with what its own documentation says, and its package `vllm_router` in it."""

from collections.abc import Mapping
from pathlib import Path

from loadtest.peers.interpreter import python_with
from loadtest.peers.peer import VENVS

ENVIRONMENT = "peer-production-stack"


class ProductionStack:
    name = "production-stack"
    settings = "its round robin over one static backend, errors alone logged"
    get = f"its router is on no registry: install it, as its documentation says, into .venv/{ENVIRONMENT}"

    def is_there(self) -> bool:
        return any((VENVS / ENVIRONMENT).glob("lib/python*/site-packages/vllm_router/app.py"))

    def version(self) -> str:
        """Where it was installed from a checkout without its history, what the file VERSION beside it says."""
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
