"""The driver's XID errors: events of NVML that are counted when a scrape comes by."""

from collections import Counter
from typing import Any

from server.engine.metrics.visible_gpus import Gpu

# Told from the start, so that a rate of them is known when they first happen: memory, bus, NVLink, firmware, hangs.
AT_ONCE = (13, 31, 48, 63, 64, 74, 79, 94, 95, 119)
MOST_NUMBERS = 64
MOST_AT_ONCE = 256


class Xids:
    """Of one GPU. One that has no such events, or does not let us hear of them, tells nothing."""

    def __init__(self, nvml: Any, gpu: Gpu) -> None:
        self._nvml = nvml
        self.counts: Counter[str] = Counter()
        self._events: Any = None
        try:
            events = nvml.nvmlEventSetCreate()
            nvml.nvmlDeviceRegisterEvents(gpu.handle, nvml.nvmlEventTypeXidCriticalError, events)
        except nvml.NVMLError:
            return
        self._events = events
        self.counts.update({str(xid): 0 for xid in AT_ONCE})

    def drain(self) -> None:
        """Never waits. Raises nothing: that a GPU is lost, other calls say."""
        for _ in range(MOST_AT_ONCE if self._events is not None else 0):
            try:
                event = self._nvml.nvmlEventSetWait(self._events, 0)
            except self._nvml.NVMLError:  # NVMLError_Timeout: none is left
                return
            xid = str(event.eventData)
            self.counts[xid if xid in self.counts or len(self.counts) < MOST_NUMBERS else "other"] += 1
