"""What the embedding cache relies on in vLLM: signatures, call sites, fields, and what its cache manager means.

`python -m tests.contract.vllm_calls` runs where vLLM is and prints, as JSON, a sentence for each thing that is not
as it was in 0.32 (test_encoder_cache_in_vllm.py: there must be none). Whoever moves to another vLLM reads it first.
"""

import dataclasses
import inspect
import json
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from vllm.config import ECTransferConfig, ModelConfig, ParallelConfig, SchedulerConfig, VllmConfig
from vllm.config.ec_manager_config import EncoderCacheManagerConfig
from vllm.distributed.ec_transfer.ec_connector.base import ECConnectorBase
from vllm.distributed.ec_transfer.ec_connector.factory import ECConnectorFactory
from vllm.distributed.ec_transfer.ec_connector.metrics import ECConnectorLogging, ECConnectorProm
from vllm.distributed.ec_transfer.ec_connector.utils import ECOutputAggregator
from vllm.engine.arg_utils import EngineArgs
from vllm.multimodal.inputs import MultiModalFeatureSpec, PlaceholderRange
from vllm.v1.core.encoder_cache_manager import EncoderCacheManager
from vllm.v1.core.sched.output import NewRequestData, SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.engine.core import EngineCore
from vllm.v1.metrics.loggers import PrometheusStatLogger
from vllm.v1.outputs import ECConnectorOutput
from vllm.v1.worker.ec_connector_model_runner_mixin import ECConnectorModelRunnerMixin
from vllm.v1.worker.gpu.ec_connector import ActiveECConnector
from vllm.v1.worker.gpu.mm.encoder_cache import EncoderCache
from vllm.v1.worker.gpu_model_runner import GPUModelRunner
from vllm.v1.worker.gpu_worker import Worker, init_worker_distributed_environment

# Parameters of ECConnectorBase's methods, as vLLM may pass them: by name, position, or either.
METHODS = {
    "__init__": "vllm_config, role",
    "shutdown": "",
    "bind_connector_metadata": "connector_metadata",
    "clear_connector_metadata": "",
    "register_caches": "ec_caches",
    "start_load_caches": "encoder_cache, **kwargs",
    "save_caches": "encoder_cache, mm_hash, **kwargs",
    "start_save_caches": "**kwargs",
    "start_worker_services": "",
    "get_finished": "finished_req_ids",
    "build_connector_worker_meta": "",
    "get_ec_connector_stats": "",
    "has_cache_item": "identifier",
    "ensure_cache_available": "request, num_computed_tokens",
    "take_unavailable_requests": "",
    "update_state_after_free": "request, index",
    "update_state_after_alloc": "request, index",
    "build_connector_meta": "scheduler_output",
    "update_connector_output": "connector_output",
    "request_finished": "request",
    "has_pending_push_work": "",
    "build_ec_connector_stats": "data",
    "build_prom_metrics": "vllm_config, metric_types, labelnames, per_engine_labelvalues",
}
FIELDS: dict[type, str] = {
    ECTransferConfig: "ec_connector ec_role ec_connector_module_path ec_connector_extra_config engine_id",
    SchedulerOutput: "free_encoder_mm_hashes num_scheduled_tokens total_num_scheduled_tokens ec_connector_metadata",
    NewRequestData: "req_id mm_features num_computed_tokens",
    MultiModalFeatureSpec: "identifier mm_position",
    PlaceholderRange: "offset length",
    ECConnectorOutput: "ec_connector_worker_meta ec_connector_stats",
    EncoderCacheManagerConfig: "encoder_cache_manager_cls",
    ParallelConfig: "tensor_parallel_size prefill_context_parallel_size nnodes distributed_executor_backend",
    SchedulerConfig: "max_num_batched_tokens",
    ModelConfig: "dtype multimodal_config",
    VllmConfig: "model_config parallel_config scheduler_config ec_transfer_config ec_manager_config",
}
# In the source of each, without its white space: these, in this order.
CALLS: dict[Any, list[str]] = {
    ECConnectorFactory.create_connector: ["return connector_cls(config, role)"],
    ECConnectorModelRunnerMixin.maybe_save_ec_to_connector: [
        "connector.save_caches(encoder_cache=encoder_cache, mm_hash=mm_hash)"
    ],
    ECConnectorModelRunnerMixin._get_ec_connector_output: [
        "ec_connector.bind_connector_metadata(scheduler_output.ec_connector_metadata)",
        "ec_connector.start_save_caches(encoder_cache=encoder_cache, **kwargs)",
        "ec_connector.start_load_caches(encoder_cache, **kwargs)",
        "yield output",
        "output.ec_connector_worker_meta = ec_connector.build_connector_worker_meta()",
        "ec_connector.clear_connector_metadata()",
    ],
    ActiveECConnector.maybe_get_output: [
        "ec_connector.bind_connector_metadata(scheduler_output.ec_connector_metadata)",
        "ec_connector.start_save_caches(encoder_cache=self.encoder_cache)",
        "ec_connector.start_load_caches(self.encoder_cache)",
        "cached_hashes = set(self.encoder_cache)",
        "yield output",
        "self.encoder_cache.keys() - cached_hashes",
        "ec_connector.save_caches(encoder_cache=self.encoder_cache, mm_hash=mm_hash)",
        "output.ec_connector_stats = ec_connector.get_ec_connector_stats()",
        "output.ec_connector_worker_meta = ec_connector.build_connector_worker_meta()",
    ],
    Worker.load_model: ["get_ec_transfer().start_worker_services()"],
    Worker.shutdown: ["ensure_ec_transfer_shutdown()"],
    init_worker_distributed_environment: [
        "ensure_model_parallel_initialized(",  # so that the connector knows its rank
        "ensure_ec_transfer_initialized(vllm_config)",
    ],
    Scheduler.schedule: [
        "self.ec_connector.ensure_cache_available(",
        "self._try_schedule_encoder_inputs(",
        "new_blocks = self.kv_cache_manager.allocate_slots(",
        "self._allocate_encoder_inputs(",
        "self._ec_transfer_pending(request, num_computed_tokens)",
        "self._try_schedule_encoder_inputs(",
        "self._allocate_encoder_inputs(",
        "free_encoder_mm_hashes=self.encoder_cache_manager.get_freed_mm_hashes()",
        "self.ec_connector.build_connector_meta(scheduler_output)",
        "self._update_after_schedule(scheduler_output)",
    ],
    Scheduler._ec_transfer_pending: [
        "self.ec_connector.ensure_cache_available(request, num_computed_tokens)"
    ],
    Scheduler._try_schedule_encoder_inputs: [
        "item_identifier in mm_hashes_to_schedule",
        "self.encoder_cache_manager.check_and_update_cache(request, i)",
        "self.encoder_cache_manager.can_allocate(",
        "self.ec_connector.has_cache_item(item_identifier)",
        "external_load_encoder_input.append(i)",
        "encoder_inputs_to_schedule.append(i)",
    ],
    Scheduler._allocate_encoder_inputs: [
        "self.encoder_cache_manager.allocate(request, input_id)",
        "self.ec_connector.update_state_after_alloc(request, input_id)",
    ],
    Scheduler.update_from_output: [
        "error_req_ids.update(self.ec_connector.take_unavailable_requests())",
        "self.finish_requests(error_req_ids, RequestStatus.FINISHED_ERROR)",
        "self.ec_connector.update_connector_output(ec_connector_output)",
        "self.ec_connector.get_ec_connector_stats()",
        "ec_connector_stats=ec_connector_stats",
    ],
    Scheduler._free_request: ["self.ec_connector.request_finished(request)"],
    Scheduler.make_stats: ["ec_connector_stats.data if ec_connector_stats else None"],
    Scheduler.shutdown: ["self.ec_connector.shutdown()"],
    Scheduler.reset_encoder_cache: ["self.encoder_cache_manager.reset()"],
    EngineCore.reset_encoder_cache: [
        "self.scheduler.reset_encoder_cache()", "self.model_executor.reset_encoder_cache()",
    ],
    EngineCore.__init__: ["self.model_executor.init_ec_output_aggregator()"],
    GPUModelRunner._process_encoder_cache_scheduler_output: [
        "in scheduler_output.free_encoder_mm_hashes", "self.encoder_cache.pop(mm_hash, None)",
    ],
    GPUModelRunner._update_states: ["self._process_encoder_cache_scheduler_output(scheduler_output)"],
    GPUModelRunner._preprocess: [
        "self.maybe_get_ec_connector_output(scheduler_output, encoder_cache=self.encoder_cache,)",
        "self._execute_mm_encoder(scheduler_output)",
        "self._gather_mm_embeddings(scheduler_output)",
    ],
    GPUModelRunner._cache_encoder_output: [
        "self.encoder_cache[mm_hash] = output", "self.maybe_save_ec_to_connector(self.encoder_cache, mm_hash)",
    ],
    GPUModelRunner.reset_encoder_cache: ["self.encoder_cache.clear()"],
    EncoderCache.reset_encoder_cache: ["self.encoder_outputs.clear()"],
    EncoderCache.free_encoder_cache: ["self.encoder_outputs.pop(mm_hash, None)"],
    ECOutputAggregator.aggregate: ["worker_meta = (meta if worker_meta is None else worker_meta.aggregate(meta))"],
    ECConnectorLogging.observe: [
        "self.connector_cls.build_ec_connector_stats(transfer_stats_data)",
        "self.transfer_stats_accumulator.aggregate(transfer_stats)",
    ],
    ECConnectorLogging.log: [
        "self.transfer_stats_accumulator.is_empty()", "self.transfer_stats_accumulator.reduce()",
    ],
    ECConnectorProm.__init__: [
        "connector_cls.build_prom_metrics(vllm_config, metric_types, labelnames, per_engine_labelvalues,)"
    ],
    ECConnectorProm.observe: ["self.prom_metrics.observe(transfer_stats_data, engine_idx)"],
    PrometheusStatLogger.record: ["self.ec_connector_prom.observe(scheduler_stats.ec_connector_stats, engine_idx"],
    EngineArgs.add_cli_args: ['"--ec-transfer-config"'],
}  # fmt: skip


def changed() -> Iterator[str]:
    for name, parameters in METHODS.items():
        if not hasattr(ECConnectorBase, name):
            yield f"ECConnectorBase has no {name} any more"
        elif (found := parameters_of(getattr(ECConnectorBase, name))) != parameters:
            yield f"ECConnectorBase.{name} takes ({found}) instead of ({parameters})"
    ours = METHODS.keys() | {"role", "is_producer", "is_consumer"}
    for name in sorted(vars(ECConnectorBase).keys() - ours):
        if not name.startswith("_"):
            yield f"ECConnectorBase has something new, {name}: does vLLM call it, and with what?"
    for kind, names in FIELDS.items():
        known = {each.name for each in dataclasses.fields(kind)}
        if gone := [name for name in names.split() if name not in known]:
            yield f"{kind.__name__} has no {', '.join(gone)} any more"
    for where, calls in CALLS.items():
        yield from missing_of(where, calls)
    yield from of_the_cache_manager()


def parameters_of(function: Any) -> str:
    found = [each for each in inspect.signature(function).parameters.values() if each.name not in ("self", "cls")]
    return ", ".join(f"**{each.name}" if each.kind == each.VAR_KEYWORD else each.name for each in found)


def missing_of(where: Any, calls: list[str]) -> Iterator[str]:
    source = squeezed(inspect.getsource(inspect.unwrap(where)))
    at = 0
    for call in calls:
        found = source.find(squeezed(call), at)
        if found < 0:
            yield f"{where.__qualname__} does not say {call!r} any more, or not in this place"
            return
        at = found + 1


def squeezed(text: str) -> str:
    return re.sub(r"\s+|,(?=\s*\))", "", text)


def of_the_cache_manager() -> Iterator[str]:
    """That what leaves is told with the step, unless it came back in the same one."""
    one, two = asking("one", "cat"), asking("two", "dog")
    manager: Any = EncoderCacheManager(10)
    if manager.check_and_update_cache(one, 0) or not manager.can_allocate(one, 0, 100, 0):
        yield "EncoderCacheManager knows a picture that it was never given, or has no room while it is empty"
    manager.allocate(one, 0)
    if not manager.check_and_update_cache(asking("three", "cat"), 0):
        yield "EncoderCacheManager does not share what another request has made it allocate"
    manager.free(one)
    manager.free(asking("three", "cat"))
    if manager.get_freed_mm_hashes():
        yield "EncoderCacheManager drops what nobody refers to before it needs the room"
    manager.can_allocate(two, 0, 100, 0)
    manager.allocate(two, 0)
    if manager.get_freed_mm_hashes() != ["cat"]:
        yield "EncoderCacheManager does not tell what it has dropped"
    manager.free(two)
    manager.can_allocate(one, 0, 100, 0)
    manager.allocate(one, 0)
    manager.free(one)
    manager.can_allocate(two, 0, 100, 0)
    manager.allocate(two, 0)
    if manager.get_freed_mm_hashes() != ["cat"]:
        yield "EncoderCacheManager tells that it has dropped what came back in the same step"


def asking(name: str, picture: str) -> Any:
    feature = SimpleNamespace(identifier=picture)
    return SimpleNamespace(request_id=name, mm_features=[feature], get_num_encoder_embeds=lambda _: 8)


def main() -> None:
    print(json.dumps(list(changed())))


if __name__ == "__main__":
    main()
