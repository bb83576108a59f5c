"""What to start, and the command line and the environment that vLLM gets for it."""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from server.engine import metrics_options, trace_options
from server.engine.cache_options import CacheOptions, transfer_config
from server.engine.checkpoint_policy import Policy
from server.engine.trace_options import TraceOptions
from server.engine.vllm_build import VllmBuild

STARTUP_FOLDER = Path(__file__).parent / "startup"
INSIDE_FOLDER = Path(__file__).parent / "inside"
# In that folder.
LEAVING = "fovea_leaving.Leaving"
EMBEDDINGS = "fovea_embeddings.Embeddings"
VLLM_SERVER = "vllm.entrypoints.openai.api_server"
# Of an engine on several nodes, what runs on all but the first: workers alone (in the folder inside/).
VLLM_WORKERS, HEADLESS = "fovea_headless", "--headless"
# An engine must never fetch: no host has this name (RFC 2606), and so no URL passes vLLM's check.
NO_MEDIA_DOMAIN = "engines-fetch-nothing.invalid"
DRAIN_S = 15
GRACE_S = 5  # gateways look every 2 s


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start. `options` are vLLM's own flags, passed on; they win over our defaults.

    Told to stop, it is not healthy for `grace_s` and still takes requests; then it takes no more, and has `drain_s`
    for what runs.
    """

    model: str
    served_name: str
    host: str
    port: int
    options: tuple[str, ...]
    grace_s: float = GRACE_S
    drain_s: int = DRAIN_S
    embedding_cache: CacheOptions | None = None
    metrics: bool = True
    traces: TraceOptions | None = None
    required_report: Policy | None = None


def make_command(launch: Launch, build: VllmBuild) -> list[str]:
    """vLLM's command line: ours first, then the caller's flags; a default is left out where the caller set it."""
    set_by_caller = {option.split("=", 1)[0].replace("_", "-") for option in launch.options}
    module = VLLM_WORKERS if HEADLESS in launch.options else VLLM_SERVER
    command = [str(build.python), "-m", module, "--model", launch.model]
    command += ["--served-model-name", launch.served_name, "--host", launch.host, "--port", str(launch.port)]
    command += ["--middleware", LEAVING]
    defaults = default_options(launch.model, build.device) | {"--shutdown-timeout": [str(launch.drain_s)]}
    if launch.embedding_cache is not None:
        command += ["--middleware", EMBEDDINGS]
        defaults["--ec-transfer-config"] = [transfer_config(launch.embedding_cache)]
    if launch.metrics:
        command += ["--middleware", metrics_options.MIDDLEWARE]
        defaults |= metrics_options.worker_options(launch.options)
    if launch.traces is not None:
        defaults[trace_options.FLAG] = [launch.traces.endpoint]
    for flag, values in defaults.items():
        if flag not in set_by_caller and f"--no-{flag[2:]}" not in set_by_caller:
            command += [flag, *values]
    return [*command, *launch.options]


def default_options(model: str, device: Literal["cpu", "cuda"]) -> dict[str, list[str]]:
    """Flags that suit a small machine (CPU) or one GPU, and keep the engine from fetching anything."""
    options: dict[str, list[str]] = {
        "--allowed-media-domains": [NO_MEDIA_DOMAIN],
        "--disable-uvicorn-access-log": [],
    }
    if device == "cpu":
        options |= {"--enforce-eager": [], "--max-num-seqs": ["16"]}
    if parser := tool_parser_of(Path(model)):
        options |= {"--enable-auto-tool-choice": [], "--tool-call-parser": [parser]}
    return options


def tool_parser_of(checkpoint: Path) -> str | None:
    """vLLM's parser for the tool calls that the chat template asks the model to write."""
    try:
        template = (checkpoint / "chat_template.jinja").read_text()
    except OSError:
        return None
    if "<function=" in template:
        return "qwen3_coder"
    return "hermes" if "<tool_call>" in template else None


def make_environ(environ: Mapping[str, str], build: VllmBuild, launch: Launch) -> dict[str, str]:
    """The engine's environment: no telemetry, no redirects, no hub for a local checkpoint."""
    made = {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        **environ,
    }
    if Path(launch.model).exists():
        made.setdefault("HF_HUB_OFFLINE", "1")
    if launch.traces is not None:
        made = {**trace_options.environ_of(launch.traces), **made}
    folders = [str(INSIDE_FOLDER)]
    if build.device == "cpu":
        made.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
        folders.insert(0, str(STARTUP_FOLDER))
    if launch.metrics:
        folders += metrics_options.plugin_folders(launch.options)
        made = metrics_options.metric_environ(made, launch.options)
    made["PYTHONPATH"] = os.pathsep.join(filter(None, [*folders, environ.get("PYTHONPATH")]))
    return made


def drain_of(launch: Launch) -> float:
    """The caller may have told vLLM itself."""
    options = " ".join(launch.options).replace("=", " ").replace("_", "-").split()
    if "--shutdown-timeout" in options[:-1]:
        with contextlib.suppress(ValueError):
            return float(options[options.index("--shutdown-timeout") + 1])
    return launch.drain_s
