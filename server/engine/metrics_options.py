"""What the launcher tells vLLM so that our metrics are on its /metrics, and where it must not."""

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

MIDDLEWARE = "fovea_metrics.Metrics"  # in the folder inside/
WORKER_EXTENSION = "fovea_worker.TellsKvCacheBytes"
STAT_LOGGER = "fovea_kv_usage"
STAT_LOGGER_FOLDER = Path(__file__).parent / "inside" / "stat_logger"
VERSION_VARIABLE = "FOVEA_ENGINE_VERSION"
SWITCH = "FOVEA_ENGINE_METRICS"
# With these, workers may run on machines that have nothing of ours: they could not be started.
ELSEWHERE = ("ray", "--nnodes", "-n", "--node-rank", "-r", "--config")  # a file may say any of them
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"


def is_on(environ: Mapping[str, str]) -> bool:
    return environ.get(SWITCH, "on") != "off"


def worker_options(options: Sequence[str]) -> dict[str, list[str]]:
    """Flags by which vLLM's workers can be asked what they have allocated."""
    words = {word for option in options for word in option.replace("_", "-").split("=")}
    elsewhere = any(word in ELSEWHERE or re.fullmatch(r"-[nr]\d+", word) for word in words)
    return {} if elsewhere else {"--worker-extension-cls": [WORKER_EXTENSION]}


def plugin_folders(options: Sequence[str]) -> list[str]:
    """Told to keep no statistics, vLLM would keep them all the same for a plug-in's sake: so there is none then."""
    return [] if "--disable-log-stats" in {_flag(option) for option in options} else [str(STAT_LOGGER_FOLDER)]


def metric_environ(environ: Mapping[str, str], options: Sequence[str]) -> dict[str, str]:
    """So that vLLM loads the plug-in too where it was told which to load, and keeps its metrics in memory: there is
    one API server, and in files for several ours would not be."""
    made = {name: value for name, value in environ.items() if name != MULTIPROCESS}
    if "VLLM_PLUGINS" in made and plugin_folders(options):
        made["VLLM_PLUGINS"] += f",{STAT_LOGGER}"
    return {VERSION_VARIABLE: our_version(), **made}


def our_version() -> str:
    try:
        return version("fovea")
    except PackageNotFoundError:
        return "unknown"


def _flag(option: str) -> str:
    return option.split("=", 1)[0].replace("_", "-")
