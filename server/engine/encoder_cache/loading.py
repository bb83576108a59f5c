"""The half of the connector that lives in each of vLLM's workers: loads what was promised, saves what was encoded.

Orders come from `scheduling.py` with each step, and the report goes back with its output. Every rank loads; one of
them writes.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

import torch

from server.engine.encoder_cache import device_copies, row_fp8
from server.engine.encoder_cache.arena_view import ArenaView
from server.engine.encoder_cache.entry import ITEM_BYTES, Embedding, Encoding, key_of
from server.engine.encoder_cache.figures import of_writing
from server.engine.encoder_cache.opening import Writing
from server.engine.encoder_cache.stats import growth
from server.engine.encoder_cache.steps import Load, Setup, StepOrders, StepReport

log = logging.getLogger(__name__)

# Lies in vLLM's encoder cache beside the pictures. It goes when vLLM clears that, as it does when weights change.
SENTINEL = "fovea: the weights are the checkpoint's"
REPORT_S = 0.5


class Loading:
    """Whatever is ordered is in vLLM's cache when `start` returns: if it could not be read, zeros that the report
    names, so that the scheduler fails who would see them. A missing item would end the engine.
    """

    def __init__(
        self,
        device: Any,
        open_writer: Callable[[Setup], Writing | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._device = device
        self._open_writer = open_writer
        self._clock = clock
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._view: ArenaView | None = None
        self._writer: Writing | None = None
        self._encoding: Encoding = "raw"
        self._report = StepReport(0)
        self._totals: dict[str, float] = {}
        self._next_s = 0.0
        self._watching = False
        self._step_began_s = time.time()

    def start(self, orders: StepOrders, encoder_cache: dict[str, Any]) -> None:
        """Before the encoder runs and embeddings are gathered."""
        self._step_began_s = time.time()
        if orders.setup is not None and self._view is None:
            self._set_up(orders.setup)
        if orders.step:
            self._report.step = orders.step
            self._report.workers = 0 if self._view is None else 1
        stale = self._is_stale(encoder_cache)
        for load in orders.loads:
            encoder_cache[load.identifier] = self._load(load, stale)

    def save(self, identifier: str, tensor: Any) -> None:
        """A picture was encoded."""
        if self._writer is None or self._report.off:
            return
        key, size = key_of(identifier), tensor.numel() * tensor.element_size()
        if device_copies.name_of(tensor.dtype) not in ITEM_BYTES or tensor.dim() != 2:
            self._report.counts["errors|disk|shape"] += 1
            return
        copy, created_s = device_copies.HostCopy(tensor), self._step_began_s
        if self._writer.behind.offer(key, lambda: self._embedding_of(key, copy, created_s), size):
            copy.start(self._stream)

    def report(self) -> StepReport | None:
        """What the scheduler does not know yet; None if there is nothing."""
        if self._writer is not None:
            self._report.saved += self._writer.behind.take_done()
            if self._clock() >= self._next_s:
                self._next_s = self._clock() + REPORT_S
                totals, self._report.held = of_writing(self._writer)
                for name, number in growth(self._totals, totals).items():
                    self._report.counts[name] += number  # type: ignore[assignment]
                self._totals = totals
        report = self._report
        if not (report.step or report.saved or report.counts or report.off):
            return None
        self._report = StepReport(0)
        return report

    def turn_off(self, reason: str) -> None:
        self._report.off = self._report.off or reason

    def close(self, drain_s: float) -> None:
        if self._writer is not None:
            self._writer.close(drain_s)
        if self._view is not None:
            self._view.close()

    def _set_up(self, setup: Setup) -> None:
        try:
            self._view = ArenaView.attach(setup.arena)
        except (OSError, ValueError) as problem:
            self._report.off = f"a worker cannot open the scheduler's host memory ({problem})"
            return
        self._encoding = setup.encoding
        self._writer = self._open_writer(setup)

    def _is_stale(self, encoder_cache: dict[str, Any]) -> bool:
        """Whether vLLM has cleared its cache since the last time."""
        if SENTINEL in encoder_cache:
            return False
        encoder_cache[SENTINEL] = torch.empty(0)
        if not self._watching:
            self._watching = True
            return False
        self._report.off = "vLLM has cleared its encoder cache, as it does when weights change"
        self._writer = None
        return True

    def _load(self, load: Load, stale: bool) -> Any:
        began = time.perf_counter()
        try:
            if self._view is None:
                raise OSError("not attached")
            buffer = device_copies.host_buffer(load.span.length, self._device)
            self._view.read(load.span, device_copies.bytes_of(buffer))
            tensor = self._place(buffer, load)
        except Exception:  # whatever it is: vLLM's worker asserts that the item is there
            log.exception("An embedding could not be loaded: the requests that need it fail")
            self.turn_off("a worker could not load what was promised")
            self._report.failed.append(load.identifier)
            return torch.zeros(load.shape, dtype=device_copies.DTYPES[load.dtype], device=self._device)
        if stale:
            self._report.failed.append(load.identifier)
        counts = self._report.counts
        counts["read_bytes|host"] += load.span.length
        counts["reads|host"] += 1
        counts["read_seconds|host"] += time.perf_counter() - began  # type: ignore[assignment]
        return tensor

    def _place(self, buffer: Any, load: Load) -> Any:
        if load.encoding == "raw":
            return device_copies.place(buffer, load.shape, load.dtype, self._device)
        squeezed = buffer.to(self._device, non_blocking=True)
        return row_fp8.restore(squeezed, load.shape, device_copies.DTYPES[load.dtype])

    def _embedding_of(self, key: str, copy: device_copies.HostCopy, created_s: float) -> Embedding:
        """In the writing thread. Raises ValueError for what FP8 cannot hold.

        `created_s` is from before the encoder ran: a deletion since, be it while this waited to be written, is a
        later one, and holds (`forgotten.py`).
        """
        tensor = copy.wait()
        shape, dtype = tuple(tensor.shape), device_copies.name_of(tensor.dtype)
        kept = tensor if self._encoding == "raw" else row_fp8.squeeze(tensor)
        if kept is None:
            raise ValueError("inf or nan")
        return Embedding(key, shape, dtype, self._encoding, device_copies.bytes_of(kept), created_s)
