"""Starts stock vLLM's OpenAI server with sane defaults, forwards signals, and says when it can answer.

Runs in any environment: vLLM itself may live in another one (`vllm_build`). Imports nothing of the gateway.
"""

import json
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping

from server.engine.launch_checks import check_gpus, check_launch
from server.engine.stopping import SPARE_STOP_S, Stop, die_with_parent, wait_for_end
from server.engine.vllm_build import find_python, inspect_build
from server.engine.vllm_command import HEADLESS, Launch, drain_of, make_command, make_environ


def run_engine(launch: Launch, environ: Mapping[str, str], report: Callable[[str], None]) -> int:
    """Run the engine until it ends. Returns its exit code, 0 after a stop that we were asked for.

    `report` gets one line when the engine starts and one when it has answered a generation.
    """
    check_launch(launch, environ, report)
    build = inspect_build(find_python(environ))
    if build.device == "cuda":
        check_gpus(launch, environ, report)
    report(f"vLLM {build.version} ({build.device}) is loading {launch.served_name}")
    began = time.monotonic()
    process = subprocess.Popen(
        make_command(launch, build),
        env=make_environ(environ, build, launch),
        start_new_session=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - no threads run yet
    )
    stop = Stop(process, launch.grace_s, drain_of(launch))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop.hear)
    url = f"http://{_reachable(launch.host)}:{launch.port}"
    if HEADLESS in launch.options:
        report("its workers serve the engine on another node (--master-addr): nothing answers here")
    elif wait_until_it_answers(url, launch.served_name, lambda: process.poll() is None):
        stop.serves = True
        report(f"ready at {url} after {time.monotonic() - began:.0f} s: {launch.served_name} answers")
    code = wait_for_end(process, stop, launch.grace_s + drain_of(launch) + SPARE_STOP_S)
    return 0 if stop.asked else code or 1


def wait_until_it_answers(url: str, model: str, alive: Callable[[], bool], poll_s: float = 0.5) -> bool:
    """Poll until a generation of one token comes back (True) or the process is gone (False)."""
    while alive():
        if _get_ok(f"{url}/health") and _generates(url, model):
            return True
        time.sleep(poll_s)
    return False


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
