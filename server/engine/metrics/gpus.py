"""Reads this engine's GPUs through NVML, in the sampler's thread: any call may fail, and any may hang."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Container
from typing import Any

from server.engine.metrics.declared import Readings
from server.engine.metrics.gpu_queries import QUERIES, Query, processes
from server.engine.metrics.sampler import Sampler
from server.engine.metrics.visible_gpus import Gpu, find_gpus
from server.engine.metrics.xids import Xids

log = logging.getLogger(__name__)

REOPEN_S = 60.0
ALL = "-"
# What these do not answer is not there; any other failure is an error, and some are of the whole GPU.
ABSENT = (
    "NotSupported", "NoPermission", "FunctionNotFound", "NotFound", "NoData", "InvalidArgument", "Deprecated",
    "VgpuEccNotSupported", "ArgumentVersionMismatch",
)  # fmt: skip
GONE = {
    "GpuIsLost": "lost", "ResetRequired": "reset_required", "Uninitialized": "driver", "DriverNotLoaded": "driver",
    "GpuNotFound": "lost",
}  # fmt: skip
WORDS = {**GONE, "Timeout": "timeout"}
# What stays told of a GPU that does not answer any more.
COUNTS = ("fovea_gpu_errors_total", "fovea_gpu_xid_errors_total")


class Gpus:
    """`load` returns the module pynvml; `ours` the ids of this engine's processes."""

    def __init__(
        self,
        load: Callable[[], Any],
        visible: str | None,
        ours: Callable[[], Container[int]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._visible = visible
        self._queries: tuple[Query, ...] = (*QUERIES, processes(ours))
        self._clock = clock
        self._nvml: Any = None
        self._driver = ""
        self._gpus: list[tuple[Gpu, Xids]] = []
        self._next_open_s = float("-inf")
        self._told_missing = False
        self.errors: Counter[tuple[str, ...]] = Counter()

    def read(self) -> Readings:
        self._open_if_due()
        told: dict[str, dict[tuple[str, ...], float]] = {}
        answering = 0
        for gpu, xids in self._gpus:
            xids.drain()
            found = self._read_gpu(gpu)
            answering += bool(found)
            found["fovea_gpu_xid_errors_total"] = {(xid,): count for xid, count in xids.counts.items()}
            for name, samples in found.items():
                told.setdefault(name, {}).update({(gpu.label, *labels): value for labels, value in samples.items()})
        return {"fovea_gpus": {(): answering}, **told, "fovea_gpu_errors_total": dict(self.errors)}

    def _read_gpu(self, gpu: Gpu) -> dict[str, dict[tuple[str, ...], float]]:
        """Nothing of one that is gone."""
        told: dict[str, dict[tuple[str, ...], float]] = {"fovea_gpu_info": {(gpu.name, gpu.uuid, self._driver): 1}}
        for query in self._queries:
            try:
                told |= query(self._nvml, gpu.handle)
            except self._nvml.NVMLError as problem:
                kind = kind_of(problem)
                if kind not in ABSENT:
                    self.errors[gpu.label, WORDS.get(kind, "other")] += 1
                if kind in GONE:
                    return {}
        return told

    def _open_if_due(self) -> None:
        """Where it cannot be opened, it is tried again every minute: the driver may come later than we."""
        if self._nvml is not None or self._clock() < self._next_open_s:
            return
        self._next_open_s = self._clock() + REOPEN_S
        nvml = self._load()
        try:
            nvml.nvmlInit()
            self._driver, found = nvml.nvmlSystemGetDriverVersion(), find_gpus(nvml, self._visible)
        except nvml.NVMLError as problem:
            if not self._told_missing:
                self._told_missing = True
                log.warning("There are no metrics of GPUs: %s", problem)
            return
        self._nvml, self._gpus = nvml, [(gpu, Xids(nvml, gpu)) for gpu in found]
        self.errors.update({(gpu.label, "lost"): 0 for gpu in found})


class GpuMetrics:
    """What scrapes are told: the sampler's last readings, but of a driver that hangs only that it does."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._hangs = False
        self._times = 0

    def __call__(self) -> Readings:
        readings = dict(self._sampler.readings())
        hangs = self._sampler.hangs
        if hangs and not self._hangs:
            self._times += 1
            log.warning("The GPUs' driver (NVML) has not answered for ten seconds: there are no metrics of GPUs.")
        self._hangs = hangs
        if hangs:
            readings = {"fovea_gpus": {(): 0}, **{name: readings[name] for name in COUNTS if name in readings}}
        if readings:
            errors = readings.get("fovea_gpu_errors_total", {})
            readings["fovea_gpu_errors_total"] = {**errors, (ALL, "hang"): self._times}
        return readings


def kind_of(problem: Exception) -> str:
    """pynvml makes a class for each of NVML's codes."""
    return type(problem).__name__.removeprefix("NVMLError_")
