"""What is looked at before vLLM is started, so that what cannot work is said at once, in a sentence."""

import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from server.engine.cache_check import refusal, warning
from server.engine.cache_options import SHARED_VARIABLE
from server.engine.checkpoint_policy import Policy, settled
from server.engine.gpu_check import notices, read_wish, refusals
from server.engine.nvml import NoNvml, read_driver
from server.engine.vllm_build import LaunchError
from server.engine.vllm_command import Launch


def check_launch(launch: Launch, environ: Mapping[str, str], report: Callable[[str], None]) -> None:
    """All that can be known before it is known which vLLM there is. Raises LaunchError."""
    check_model(launch.model)
    check_port(launch.host, launch.port)
    if launch.required_report is not None:
        report(check_report(launch.model, launch.required_report))
    if launch.embedding_cache is not None:
        if sentence := refusal(launch.embedding_cache, launch.model, launch.options):
            raise LaunchError(sentence)
        if line := warning(environ.get(SHARED_VARIABLE, "")):
            report(line)


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
