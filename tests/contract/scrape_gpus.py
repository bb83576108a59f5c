"""Scrapes our GPU metrics as vLLM's API server does, with the real pynvml: once for each line on standard input.

Run by itself (`test_gpu_metrics.py`): which NVML is found is settled when a process starts. A line says by how many
seconds its clock jumps ahead, and "settled" where the scrape is to have readings of after that. An answer ends with
a line with a dot.
"""

import logging
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from server.engine.metrics.collector import EngineCollector
from server.engine.metrics.gpus import GpuMetrics, Gpus
from server.engine.metrics.processes import Processes
from server.engine.metrics.sampler import Sampler


def load(path: str) -> Any:
    """vLLM's copy of pynvml, without vLLM."""
    spec = spec_from_file_location("pynvml", Path(path))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["pynvml"] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(pynvml: str, visible: str) -> None:
    ahead = 0.0

    def clock() -> float:
        return time.monotonic() + ahead

    logging.basicConfig(stream=sys.stdout, format="LOG %(message)s")
    nvml = load(pynvml)
    gpus = Gpus(lambda: nvml, None if visible == "all" else visible, Processes().family, clock)
    sampler = Sampler(gpus.read, "gpus", clock)
    sampler.start()
    registry = CollectorRegistry()
    registry.register(EngineCollector([GpuMetrics(sampler)]))
    for line in sys.stdin:
        later_s, _, settled = line.strip().partition(" ")
        ahead += float(later_s)
        found = generate_latest(registry)
        if settled:
            while sampler.under_way_s is not None:
                time.sleep(0.002)
            found = generate_latest(registry)
        print(found.decode() + ".", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
