"""How long calls take on the device: of CUDA graphs between CUDA events, or by the CPU's clock in a dry run.

What is compared takes turns, round by round: a ratio is of one round. A graph leaves out what launching costs the
CPU, as vLLM's graphs do. One run follows another without a gap, until a round has lasted long enough.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

Call = Callable[[], object]
MOST_RUNS = 1000
# Of one matrix, so many copies are multiplied by in turn that the GPU's cache cannot hold them.
CACHES = 4


@dataclass(frozen=True, slots=True)
class Clock:
    """`cuda`: or else the CPU."""

    cuda: bool
    rounds: int
    round_ms: float

    @property
    def device(self) -> torch.device:
        return torch.device("cuda" if self.cuda else "cpu")

    def take_turns(self, calls: Mapping[str, Sequence[Call]]) -> dict[str, list[float]]:
        """Milliseconds of one call of each, round by round. Each one's calls run in a row, as one graph."""
        runs = {name: self._prepare(each) for name, each in calls.items()}
        counts = {name: self._count(run) for name, run in runs.items()}
        found: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(self.rounds):
            for name, run in runs.items():
                found[name].append(self._time(run, counts[name]) / counts[name] / len(calls[name]))
        return found

    def wait_in_turns(self, calls: Mapping[str, Call]) -> dict[str, list[float]]:
        """Milliseconds until each call's work is done, launching included: what one who waits for it sees."""
        found: dict[str, list[float]] = {name: [] for name in calls}
        for number in range(self.rounds + 1):
            for name, call in calls.items():
                self._settle()
                began = time.perf_counter()
                call()
                self._settle()
                if number:  # the first warms up
                    found[name].append(1000 * (time.perf_counter() - began))
        return found

    def copies(self, nbytes: int) -> int:
        """How many sets of so many bytes are more than the device's cache holds. One on a CPU."""
        if not self.cuda:
            return 1
        cache: int = torch.cuda.get_device_properties(self.device).L2_cache_size
        return max(1, math.ceil(CACHES * cache / nbytes))

    def _prepare(self, calls: Sequence[Call]) -> Call:
        def run() -> None:
            for call in calls:
                call()

        if not self.cuda:
            run()
            return run
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # libraries choose their kernels and compile before anything is captured
            for _ in range(2):
                run()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        replay: Call = graph.replay
        replay()
        return replay

    def _count(self, run: Call) -> int:
        once = max(self._time(run, 1), 1e-3)
        return max(1, min(MOST_RUNS, round(self.round_ms / once)))

    def _time(self, run: Call, count: int) -> float:
        if not self.cuda:
            began = time.perf_counter()
            for _ in range(count):
                run()
            return 1000 * (time.perf_counter() - began)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        for _ in range(count):
            run()
        end.record()
        torch.cuda.synchronize()
        taken: float = start.elapsed_time(end)
        return taken

    def _settle(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()
