"""The LiteLLM proxy, in Python (PyPI: litellm[proxy])."""

import json
from collections.abc import Mapping
from pathlib import Path

from loadtest.peers.interpreter import python_with
from loadtest.peers.peer import VENVS, installed_version, set_up

ENVIRONMENT = "peer-litellm"


class LiteLLM:
    name = "LiteLLM"
    settings = "one worker, no database and no key, its provider `hosted_vllm`, errors alone logged"
    get = set_up(ENVIRONMENT)

    def is_there(self) -> bool:
        return (VENVS / ENVIRONMENT / "bin" / "litellm").exists()

    def version(self) -> str:
        return installed_version(ENVIRONMENT, "litellm")

    def environ(self, folder: Path) -> Mapping[str, str]:
        # Its price list comes with it; fetching the newest one is nothing that a benchmark should wait for.
        return {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_TELEMETRY": "False"}

    def command(self, port: int, upstream: int, folder: Path) -> list[str]:
        params = {"model": "hosted_vllm/demo", "api_base": f"http://127.0.0.1:{upstream}/v1", "api_key": "none"}
        settings = {
            "model_list": [{"model_name": "demo", "litellm_params": params}],
            "general_settings": {"dangerously_permit_weak_or_unset_master_key": True},
        }
        config = folder / "config.yaml"
        config.write_text(json.dumps(settings))  # JSON is YAML
        python = python_with(VENVS / ENVIRONMENT, folder)
        command = [str(python), str(VENVS / ENVIRONMENT / "bin" / "litellm"), "--config", str(config)]
        return [*command, "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1", "--telemetry", "False"]
