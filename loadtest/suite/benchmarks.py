"""The table of benchmarks: one line makes `make bench` run one more. A test holds it to loadtest/bench_*.py."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

HERE = Path(__file__).parent.parent


class Phase(StrEnum):
    """When one is run. What counts CPU or memory bears a neighbour on another core; what counts time does not."""

    LONG = "long"
    BESIDE = "beside"
    ALONE = "alone"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """`environments`: of deploy/environments/environments.py, besides the gateway's. `page`: the name of its .md
    and .json in docs/benchmarks. `minutes`: expected, on two cores."""

    name: str
    module: str
    page: str
    asks: str
    phase: Phase
    minutes: float
    environments: tuple[str, ...] = ()

    @property
    def is_there(self) -> bool:
        return (HERE / f"{self.module}.py").exists()

    def outputs(self, docs: Path) -> tuple[Path, Path]:
        return docs / f"{self.page}.json", docs / f"{self.page}.md"


_PEERS = ("nginx", "peer-vllm-router", "peer-smg", "peer-litellm", "peer-production-stack")
_LISTED = (
    Benchmark(
        "soak", "bench_soak", "soak",
        "do memory and open files stay as they are in half an hour at 80 % load?",
        Phase.LONG, 31, ("engine",),
    ),
    Benchmark(
        "scaling", "bench_scaling", "scaling",
        "what does a request cost with 100 times as many pictures, streams, tenants, engines, cache entries?",
        Phase.BESIDE, 6,
    ),
    Benchmark(
        "metrics", "bench_metrics", "metrics",
        "what does counting add to a request, and what does a scrape take?",
        Phase.BESIDE, 2,
    ),
    Benchmark(
        "quantize", "bench_quantize", "quantize",
        "what memory and CPU does our writer take beside llm-compressor's?",
        Phase.BESIDE, 8, ("quantize",),
    ),
    Benchmark(
        "gateway", "bench_gateway", "gateway",
        "what does the gateway add to a request, by stage and beside other gateways?",
        Phase.ALONE, 8, _PEERS,
    ),
    Benchmark(
        "cache", "bench_embedding_cache", "embedding-cache",
        "how much sooner does a repeated picture's answer begin?",
        Phase.ALONE, 12, ("engine", "valkey"),
    ),
    Benchmark(
        "end-to-end", "bench_end_to_end", "end-to-end",
        "what does a caller see of the gateway between it and vLLM?",
        Phase.ALONE, 5, ("engine", "nginx"),
    ),
)  # fmt: skip
BENCHMARKS = {each.name: each for each in _LISTED if each.is_there}
