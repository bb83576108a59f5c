"""What vLLM loads (`ec_connector_module_path=fovea_encoder_cache`): its calls, handed to one of two halves.

In the engine core's process that is `scheduling.py`, in each worker `loading.py`; in the API server only the class
methods are used. vLLM makes no provision for a connector that raises: whatever does, turns the cache off.
"""

import functools
import logging
import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from vllm.distributed.ec_transfer.ec_connector.base import ECConnectorBase, ECConnectorRole
from vllm.distributed.parallel_state import get_pcp_group, get_pp_group, get_tp_group
from vllm.platforms import current_platform

from server.engine.encoder_cache import opening
from server.engine.encoder_cache.arena import Arena
from server.engine.encoder_cache.deployment import namespace_in, namespace_of, read_deployment
from server.engine.encoder_cache.figures import of_reading
from server.engine.encoder_cache.loading import Loading
from server.engine.encoder_cache.options import (
    Options,
    encoding_of,
    host_bytes_of,
    lookup_wait_s_of,
    options_here,
)
from server.engine.encoder_cache.prometheus import EncoderCacheMetrics
from server.engine.encoder_cache.scheduling import Scheduling
from server.engine.encoder_cache.stats import EncoderCacheStats
from server.engine.encoder_cache.steps import NOTHING, Setup, StepOrders, StepReport
from server.engine.vllm_log import speak_through_vllm

log = logging.getLogger(__name__)

# Of vLLM's time to stop, for what is still to be written.
DRAIN_S = 5.0
Call = TypeVar("Call", bound=Callable[..., Any])


def guarded(answer: Any) -> Callable[[Call], Call]:
    """`answer`, and no more of the cache, when a call of vLLM's fails in ways that nobody foresaw."""

    def guard(call: Call) -> Call:
        @functools.wraps(call)
        def guarded_call(self: "FoveaEncoderCache", *args: Any, **kwargs: Any) -> Any:
            try:
                return call(self, *args, **kwargs)
            except Exception:  # the edge of vLLM's loop, which ends the engine for anything raised here
                log.exception("The embedding cache failed in %s", call.__name__)
                self.turn_off(f"{call.__name__} failed")
                return answer

        return guarded_call  # type: ignore[return-value]

    return guard


class FoveaEncoderCache(ECConnectorBase):
    """Nothing that vLLM calls raises, and a picture that was promised is always loaded."""

    def __init__(self, vllm_config: Any, role: ECConnectorRole) -> None:
        super().__init__(vllm_config, role)
        speak_through_vllm(*opening.OURS)
        self._options = options_here(vllm_config.ec_transfer_config.ec_connector_extra_config)
        self._scheduling: Scheduling | None = None
        self._loading: Loading | None = None
        self._close: list[Callable[[], None]] = []
        if role == ECConnectorRole.SCHEDULER:
            self._start_scheduling(vllm_config)
        else:
            self._start_loading()

    @guarded(None)
    def _start_scheduling(self, vllm_config: Any) -> None:
        deployment = read_deployment(vllm_config)
        if deployment.obstacle:
            log.warning("No embedding cache: %s", deployment.obstacle)
            return
        options = self._options
        namespace, private = namespace_of(vllm_config)
        encoding = encoding_of(options)
        namespace = namespace_in(namespace, encoding)
        device = current_platform.device_type
        wait_s = lookup_wait_s_of(options, device)
        try:
            arena = Arena.create(host_bytes_of(options, device), deployment.engine_id)
        except OSError as problem:
            log.warning("No embedding cache: no host memory to share with workers (%s)", problem.strerror)
            return
        reading = opening.open_reading(options, arena, namespace, private, wait_s, os.environ)
        setup = Setup(arena.handle, namespace, private, encoding)
        ranks, window = deployment.loading_ranks, deployment.window_tokens
        self._scheduling = scheduling = Scheduling(reading.lookups, setup, ranks, deployment.dtype, window, wait_s)
        scheduling.tally.collect_from(lambda: of_reading(reading, scheduling.is_on))
        self._close = [reading.close]
        log.info(
            "Embedding cache: namespace %s, %d MiB of host memory, %s",
            namespace[:12],
            arena.capacity_bytes >> 20,
            " and ".join(tier.name for tier in reading.tiers),
        )

    @guarded(None)
    def _start_loading(self) -> None:
        """The ranks of the first pipeline stage have the encoder; the first of them writes."""
        device = torch.device(current_platform.device_type)
        if device.type == "cuda":
            device = torch.device("cuda", torch.cuda.current_device())
        first = get_tp_group().rank_in_group == 0 and get_pcp_group().rank_in_group == 0
        writes = first and get_pp_group().is_first_rank
        open_ours = functools.partial(open_writer, self._options, writes)
        self._loading = Loading(device, open_ours)

    def turn_off(self, reason: str) -> None:
        if self._scheduling is not None:
            self._scheduling.turn_off(reason)
        if self._loading is not None:
            self._loading.turn_off(reason)

    # The scheduler's process.

    @guarded(True)
    def ensure_cache_available(self, request: Any, num_computed_tokens: int) -> bool:
        return self._scheduling is None or self._scheduling.ensure_available(request, num_computed_tokens)

    @guarded(False)
    def has_cache_item(self, identifier: str) -> bool:
        return self._scheduling is not None and self._scheduling.has_item(identifier)

    @guarded(None)
    def update_state_after_alloc(self, request: Any, index: int) -> None:
        if self._scheduling is not None:
            self._scheduling.allocated(request.mm_features[index].identifier)

    @guarded(NOTHING)
    def build_connector_meta(self, scheduler_output: Any) -> StepOrders:
        if self._scheduling is None:
            return NOTHING
        self._note(scheduler_output.num_scheduled_tokens)
        return self._scheduling.orders(scheduler_output)

    @guarded(None)
    def _note(self, scheduled: dict[str, int]) -> None:
        """For itself: what was promised is ordered, whatever else goes wrong."""
        if self._scheduling is not None:
            self._scheduling.seen.scheduled(scheduled)

    @guarded(None)
    def update_connector_output(self, connector_output: Any) -> None:
        report = connector_output.ec_connector_worker_meta
        if self._scheduling is not None and report is not None:
            self._scheduling.told(report)

    @guarded(set())
    def take_unavailable_requests(self) -> set[str]:
        return set() if self._scheduling is None else self._scheduling.take_unavailable()

    @guarded((False, None))
    def request_finished(self, request: Any) -> tuple[bool, dict[str, Any] | None]:
        if self._scheduling is not None:
            self._scheduling.finished(request)
        return False, None

    @guarded(None)
    def get_ec_connector_stats(self) -> Any:
        """Of the scheduler's half: the V1 runner asks no worker, so theirs come with their reports."""
        if self._scheduling is None:
            return None
        return self._scheduling.tally.take(self._scheduling.seen.take())

    # The workers.

    @guarded(None)
    def start_load_caches(self, encoder_cache: dict[str, torch.Tensor], **kwargs: Any) -> None:
        orders = self._connector_metadata
        if self._loading is not None and isinstance(orders, StepOrders):
            self._loading.start(orders, encoder_cache)

    @guarded(None)
    def save_caches(self, encoder_cache: dict[str, torch.Tensor], mm_hash: str, **kwargs: Any) -> None:
        if self._loading is not None:
            self._loading.save(mm_hash, encoder_cache[mm_hash])

    @guarded(None)
    def build_connector_worker_meta(self) -> StepReport | None:  # type: ignore[override]
        return None if self._loading is None else self._loading.report()

    # Either.

    @guarded(None)
    def shutdown(self) -> None:
        if self._loading is not None:
            self._loading.close(DRAIN_S)
        for close in self._close:
            close()
        self._close = []

    # The API server.

    @classmethod
    def build_ec_connector_stats(cls, data: dict[str, Any] | None = None) -> Any:
        return EncoderCacheStats(data)

    @classmethod
    def build_prom_metrics(
        cls,
        vllm_config: Any,
        metric_types: dict[Any, Any],
        labelnames: list[str],
        per_engine_labelvalues: dict[int, list[object]],
    ) -> Any:
        speak_through_vllm(*opening.OURS)
        return EncoderCacheMetrics(metric_types, labelnames, per_engine_labelvalues)


def open_writer(options: Options, writes: bool, setup: Setup) -> opening.Writing | None:
    return opening.open_writer(options, setup.namespace, setup.private, os.environ) if writes else None
