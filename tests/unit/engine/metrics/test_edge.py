import asyncio
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace as Some
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from server.engine.metrics.edge import Metrics, gpu_source
from server.engine.metrics.gpus import GpuMetrics
from server.engine.metrics.processes import Processes
from server.engine.metrics_options import WORKER_EXTENSION
from tests.unit.engine.encoder_cache.toy_checkpoint import write_toy

LONG_S = 60


@pytest.fixture(autouse=True)
def vllms_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Our lines go to vLLM's handlers; afterwards to nobody's again."""
    ours, theirs = logging.getLogger("server.engine.metrics"), logging.getLogger("vllm")
    before = ours.handlers, ours.propagate, ours.level
    theirs.addHandler(caplog.handler)
    yield
    theirs.removeHandler(caplog.handler)
    ours.handlers, ours.propagate, ours.level = before


def client(folder: Path, extension: str = WORKER_EXTENSION, device: str = "cpu", workers: Any = (30, 12)) -> Any:
    """vLLM's, of its engine, as far as we look."""

    async def collective_rpc(method: str) -> list[int]:
        assert method == "fovea_kv_cache_bytes"
        if isinstance(workers, Exception):
            raise workers
        return list(workers)

    model = Some(
        model=str(folder),
        revision=None,
        served_model_name="m",
        dtype=Some(itemsize=2),
        hf_config=Some(),
        get_inputs_embeds_size=lambda: 256,
    )
    config = Some(
        model_config=model,
        cache_config=Some(kv_cache_size_tokens=1000),
        parallel_config=Some(worker_extension_cls=extension),
        device_config=Some(device_type=device),
    )
    processor = Some(mm_encoder_cache_size=2048)
    return Some(vllm_config=config, input_processor=processor, collective_rpc=collective_rpc)


class Server:
    """vLLM's API server: counts the calls that reach it."""

    def __init__(self, engine_client: Any) -> None:
        self.state = Some(engine_client=engine_client)
        self.calls: list[str] = []
        self.registry = CollectorRegistry()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.calls.append(scope["type"])
        for _ in range(5):  # what was begun goes on
            await asyncio.sleep(0)

    def begin(self, *types: str) -> None:
        async def run() -> None:
            metrics = Metrics(self, self.registry)
            for each in types or ("lifespan", "http"):
                await metrics({"type": each, "app": self}, None, None)  # type: ignore[arg-type]

        asyncio.run(run())

    def told(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


def test_our_metrics_are_in_the_registry_when_the_server_begins_to_listen(tmp_path: Path) -> None:
    server = Server(client(write_toy(tmp_path / "toy")))
    server.begin()
    assert server.calls == ["lifespan", "http"]
    assert server.told("fovea_kv_cache_capacity_tokens", model_name="m") == 1000
    assert server.told("fovea_kv_cache_capacity_bytes", model_name="m") == 42
    assert server.told("fovea_encoder_memory_capacity_bytes", model_name="m") == 2048 * 256 * 2
    assert server.told("fovea_gpus") == 0
    deadline = time.monotonic() + LONG_S  # a thread reads the checkpoint
    while server.told("fovea_weights_bytes", model_name="m", component="vision") is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_nothing_is_told_of_a_server_that_never_begins(tmp_path: Path) -> None:
    server = Server(client(tmp_path))
    server.begin("http")
    assert list(server.registry.collect()) == []


def test_an_engine_of_another_make_serves_without_our_metrics(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(Some())
    server.begin()
    assert server.calls == ["lifespan", "http"]
    assert list(server.registry.collect()) == []
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "The engine serves without Fovea's metrics"
    ]


@pytest.mark.parametrize(
    "broken",
    [{"workers": RuntimeError("gone")}, {"workers": ["much"]}, {"workers": [30, 0]}, {"extension": "theirs.Own"}],
)
def test_workers_that_cannot_be_asked_leave_the_bytes_out_alone(tmp_path: Path, broken: dict[str, Any]) -> None:
    server = Server(client(write_toy(tmp_path / "toy"), **broken))
    server.begin()
    assert server.told("fovea_kv_cache_capacity_bytes", model_name="m") is None
    assert server.told("fovea_kv_cache_capacity_tokens", model_name="m") == 1000


@pytest.mark.parametrize(
    ("device", "visible", "looks"),
    [("cpu", None, False), ("cpu", "", False), ("cpu", "0", True), ("cuda", None, True)],
)
def test_an_engine_on_cpus_looks_for_gpus_only_where_some_are_named(
    tmp_path: Path, device: str, visible: str | None, looks: bool
) -> None:
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    source = gpu_source(client(tmp_path, device=device).vllm_config, Processes(), environ)
    assert isinstance(source, GpuMetrics) is looks
    if not looks:
        assert source() == {"fovea_gpus": {(): 0}}
