"""Puts our metrics into vLLM's own registry, in its API server: `inside/fovea_metrics.py` names it to vLLM.

Whatever goes wrong here is one line in the log: the engine serves on without these metrics.
"""

import asyncio
import importlib
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry

from server.engine.metrics.checkpoint import Checkpoint
from server.engine.metrics.collector import EngineCollector, Source
from server.engine.metrics.declared import Readings
from server.engine.metrics.gpus import GpuMetrics, Gpus
from server.engine.metrics.host import HostMemory
from server.engine.metrics.kv_usage import of_this_process
from server.engine.metrics.memory import EngineMemory, memory_of
from server.engine.metrics.processes import Processes
from server.engine.metrics.sampler import Sampler
from server.engine.metrics_options import VERSION_VARIABLE, WORKER_EXTENSION
from server.engine.vllm_log import speak_through_vllm

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]
NVML = "vllm.third_party.pynvml"
# The workers answer between two steps.
WORKERS_S = 120


class Metrics:
    """ASGI middleware, for the moment before vLLM's server listens: then it has its engine."""

    def __init__(self, app: App, registry: CollectorRegistry = REGISTRY) -> None:
        self._app = app
        self._registry = registry
        self._asking: asyncio.Task[None] | None = None

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        if scope["type"] == "lifespan":
            self._begin(scope)
        await self._app(scope, receive, send)

    def _begin(self, scope: Message) -> None:
        speak_through_vllm("server.engine.metrics")
        try:
            client = scope["app"].state.engine_client
            memory = open_metrics(client, os.environ, self._registry)
            self._asking = asyncio.create_task(ask_workers(client, memory))
        except Exception as problem:  # noqa: BLE001 - see the module's words
            log.warning("The engine serves without Fovea's metrics: %s: %s", type(problem).__name__, problem)


def open_metrics(client: Any, environ: Mapping[str, str], registry: CollectorRegistry) -> EngineMemory:
    """Registers all that there is; `client` is vLLM's own of its engine."""
    config = client.vllm_config
    encoder_tokens = getattr(getattr(client, "input_processor", None), "mm_encoder_cache_size", 0)
    memory = memory_of(config, encoder_tokens, of_this_process)
    model = config.model_config
    checkpoint = Checkpoint(memory.model_name, model.model, model.revision, environ)
    reading = Sampler(checkpoint.read, "fovea-checkpoint")
    reading.start()
    processes = Processes()
    info: Readings = {"fovea_engine_info": {(environ.get(VERSION_VARIABLE, "unknown"), vllm_version()): 1}}
    gpus = gpu_source(config, processes, environ)
    registry.register(EngineCollector([lambda: info, gpus, HostMemory(), processes, memory, reading.readings]))
    return memory


def gpu_source(vllm_config: Any, processes: Processes, environ: Mapping[str, str]) -> Source:
    """vLLM's build for CPUs uses no GPU, whatever the machine has: it tells of those that are named to it."""
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if vllm_config.device_config.device_type != "cuda" and not visible:
        return lambda: {"fovea_gpus": {(): 0}}
    gpus = Gpus(lambda: importlib.import_module(NVML), visible, processes.family)
    sampler = Sampler(gpus.read, "fovea-gpus")
    sampler.start()
    return GpuMetrics(sampler)


async def ask_workers(client: Any, memory: EngineMemory) -> None:
    """How much each has allocated for KV: all of them, or it is not known."""
    if client.vllm_config.parallel_config.worker_extension_cls != WORKER_EXTENSION:
        return
    try:
        told = await asyncio.wait_for(client.collective_rpc("fovea_kv_cache_bytes"), WORKERS_S)
        memory.kv_bytes = sum(told) if all(told) else 0
    except Exception as problem:  # noqa: BLE001 - see the module's words
        log.warning("What the KV cache takes in bytes is not known: %s: %s", type(problem).__name__, problem)


def vllm_version() -> str:
    """Of the one that we are in."""
    return str(getattr(sys.modules.get("vllm"), "__version__", "unknown"))
