"""vLLM's own router, in Rust (PyPI: vllm-router)."""

from collections.abc import Mapping
from pathlib import Path

from loadtest.gateway.processes import free_port
from loadtest.peers.peer import VENVS, installed_version, set_up

ENVIRONMENT = "peer-vllm-router"


class VllmRouter:
    name = "vllm-router"
    settings = "its cheapest policy (round robin), errors alone logged"
    get = set_up(ENVIRONMENT)

    def is_there(self) -> bool:
        return (VENVS / ENVIRONMENT / "bin" / "vllm-router").exists()

    def version(self) -> str:
        return installed_version(ENVIRONMENT, "vllm-router")

    def environ(self, folder: Path) -> Mapping[str, str]:
        return {}

    def command(self, port: int, upstream: int, folder: Path) -> list[str]:
        command = [str(VENVS / ENVIRONMENT / "bin" / "vllm-router"), "--host", "127.0.0.1", "--port", str(port)]
        command += ["--worker-urls", f"http://127.0.0.1:{upstream}", "--worker-startup-check-interval", "1"]
        return [*command, "--policy", "round_robin", "--log-level", "error", "--prometheus-port", str(free_port())]
