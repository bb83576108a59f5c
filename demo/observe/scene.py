"""A deployment to look at: engines that keep embeddings, a gateway, its callers, and Prometheus watching them."""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2

from demo.observe.callers import gateway_settings
from demo.observe.load import Load
from demo.observe.pictures import picture_host
from demo.observe.programs import Prometheus, Target, prometheus
from demo.processes import ProcessFailed, Running, running
from server.together import free_port

START_S = 420
# Little enough that albums push one another out of vLLM's own encoder memory.
ENCODER_TOKENS = 512
READY = re.compile(r"^fovea_engine_ready\{.*\} 1\.0$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Scene:
    """A gateway and its load, and who watches them."""

    gateway: str
    load: Load
    prometheus: Prometheus
    targets: Sequence[Target]


@dataclass(frozen=True, slots=True)
class StartedEngine:
    process: Running
    url: str

    def wait(self) -> None:
        """Raises ProcessFailed."""
        self.process.wait_for("ready at http", START_S)


def start_engine(
    stack: ExitStack, checkpoint: Path, name: str, embeddings: Path, shared: str, **environ: str
) -> StartedEngine:
    """With every tier of the embedding cache; stopped when `stack` is left."""
    port = free_port()
    arguments = ["--model", str(checkpoint), "--name", name, "--port", str(port), "--grace", "0"]
    arguments += ["--embedding-cache", str(embeddings), "--max-num-batched-tokens", str(ENCODER_TOKENS)]
    arguments += ["--embedding-cache-shared", shared] if shared else []
    process = stack.enter_context(running("server", "engine", *arguments, **environ))
    return StartedEngine(process, f"http://127.0.0.1:{port}")


@contextmanager
def scene(
    folder: Path,
    engines: Sequence[str],
    model: str,
    *,
    preprocessor: Path,
    store: str,
    interval_s: int,
    alertmanager: str | None = None,
    seed: int = 1,
) -> Iterator[Scene]:
    """In front of `engines`, which are called engine-0, engine-1, ... in this order. Raises ProcessFailed."""
    port = free_port()
    options = ["--port", str(port), "--preprocessor", str(preprocessor)]
    for url in engines:
        options += ["--engine", url]
    gateway = f"http://127.0.0.1:{port}"
    targets = [Target("fovea-gateway", gateway)]
    targets += [
        Target("fovea-engine", url, (("engine", f"engine-{number}"),)) for number, url in enumerate(engines)
    ]
    with ExitStack() as stack:
        host = stack.enter_context(picture_host())
        settings = gateway_settings(folder, store, host)
        process = stack.enter_context(running("server", "gateway", *options, **settings))
        watching = stack.enter_context(prometheus(folder, targets, interval_s, alertmanager))
        wait_for_engines(process, gateway, len(engines))
        yield Scene(gateway, Load(gateway, model, host, seed), watching, targets)


def wait_for_engines(process: Running, gateway: str, number: int) -> None:
    """Until the gateway has had an answer from each. Raises ProcessFailed."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.process.poll() is not None:
            raise ProcessFailed(f"the gateway ended:\n{process.tail()}")
        with suppress(httpx2.HTTPError):
            found = httpx2.get(f"{gateway}/metrics", timeout=10).text
            if len(READY.findall(found)) == number:
                return
        time.sleep(0.2)
    raise ProcessFailed(f"an engine is not ready:\n{process.tail()}")
