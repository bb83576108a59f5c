"""What an engine says of its own memory and queue, read out of its /metrics: for admission and for prices.

Names and labels are vLLM 0.32's (`vllm/v1/metrics/loggers.py`, `vllm/config/cache.py`).
"""

import math
import re
from dataclasses import dataclass

from server.errors import EngineError

MOST_METRICS_BYTES = 4 * 1024**2
# Data-parallel ranks of one engine; each has its own line of everything.
MOST_RANKS = 256
LEAST_NUMBER, MOST_NUMBER = 1e-9, 1e15

Labels = dict[bytes, bytes]

LINE = re.compile(
    rb"^vllm:(cache_config_info|kv_cache_usage_perc|num_requests_running|num_requests_waiting)"
    rb"\{([^\n]{0,8192})\} (\S{1,32})\r?$",
    re.MULTILINE,
)
LABEL = re.compile(rb'(\w{1,64})="([^"\\]*)"')


@dataclass(frozen=True, slots=True)
class EngineReport:
    """One engine, all its data-parallel ranks together. What it does not tell is None.

    `blocks` are those of vLLM's block pools, `block_size` tokens each; `kv_usage` (0..1) is the part of them that
    requests hold, the mean over ranks. `kv_tokens` is what the pools hold when all requests are as long as the
    context; `kv_bytes_per_token` is a pool's bytes by these. `most_tokens` is what one request can have at most, if
    it is alone on its rank.

    Where a model has linear attention beside full attention (Qwen3.5), both draw on one pool. A block then is as
    large as a sequence's state, so vLLM makes `block_size` large (256 for the demo's model), and every sequence,
    however short, holds `state_blocks` besides one for each `block_size` tokens. `blocks * block_size` is more than
    such a pool holds, `kv_tokens` less than the truth for none but shorter requests: count in `blocks_for`.
    """

    running: int
    waiting: int
    blocks: int | None = None
    block_size: int | None = None
    kv_tokens: int | None = None
    most_tokens: int | None = None
    kv_usage: float | None = None
    kv_bytes_per_token: float | None = None
    cache_dtype: str | None = None
    state_blocks: int = 0
    blocks_per_token: float | None = None

    def blocks_for(self, tokens: int) -> int | None:
        """Blocks that a sequence of so many tokens holds."""
        if self.blocks_per_token is None:
            return None
        return self.state_blocks + math.ceil(tokens * self.blocks_per_token)


def read_report(metrics: bytes) -> EngineReport:
    """Read a whole exposition in Prometheus' text format. Raises EngineError: it is no vLLM's, or none at all."""
    if len(metrics) > MOST_METRICS_BYTES:
        raise EngineError("an engine's metrics are too long")
    series: dict[bytes, dict[bytes, tuple[Labels, float]]] = {}
    for name, labels, value in LINE.findall(metrics):
        found = dict(LABEL.findall(labels))
        ranks = series.setdefault(name, {})
        ranks[found.get(b"engine", b"0")] = found, read_number(value)
        if len(ranks) > MOST_RANKS:
            raise EngineError("an engine's metrics name too many ranks")
    caches = [labels for labels, _ in series.get(b"cache_config_info", {}).values()]
    return make_report({name: [value for _, value in ranks.values()] for name, ranks in series.items()}, caches)


def make_report(gauges: dict[bytes, list[float]], caches: list[Labels]) -> EngineReport:
    """Out of each gauge's value on every rank, and the labels in which vLLM describes their caches.

    All ranks are described by the one configuration that vLLM has: there `num_gpu_blocks` is already their sum, and
    everything else one rank's (`core_client.py`, `_apply_ready_response`).
    """
    running, waiting = gauges.get(b"num_requests_running"), gauges.get(b"num_requests_waiting")
    if not running or not waiting:
        raise EngineError("an engine's metrics do not tell what runs and what waits")
    usage = gauges.get(b"kv_cache_usage_perc")
    if usage and max(usage) > 1:
        raise EngineError("an engine's metrics tell more memory in use than there is")
    cache, ranks = (caches[0] if caches else {}), len(caches)
    blocks, block_size = number_of(cache, b"num_gpu_blocks"), number_of(cache, b"block_size")
    tokens, pool = number_of(cache, b"kv_cache_size_tokens"), number_of(cache, b"kv_cache_memory_bytes")
    each = blocks / ranks if blocks else None
    state_blocks, per_token = sequence_blocks(cache, each, block_size, tokens)
    return EngineReport(
        running=round(sum(running)),
        waiting=round(sum(waiting)),
        blocks=round(blocks) if blocks else None,
        block_size=round(block_size) if block_size else None,
        kv_tokens=round(tokens * ranks) if tokens else None,
        most_tokens=most_tokens(tokens, each, state_blocks, per_token),
        kv_usage=sum(usage) / len(usage) if usage else None,
        kv_bytes_per_token=pool / tokens if pool and tokens else None,
        cache_dtype=cache.get(b"cache_dtype", b"").decode(errors="replace") or None,
        state_blocks=state_blocks,
        blocks_per_token=per_token,
    )


def sequence_blocks(
    cache: Labels, blocks: float | None, block_size: float | None, tokens: float | None
) -> tuple[int, float | None]:
    """(blocks of state, blocks a token) of a sequence, by what vLLM says of sequences as long as the context.

    It tells how many of these a rank's `blocks` hold. Without linear attention all blocks grow with length: several
    a `block_size`, where layers of several kinds (sliding windows beside full attention) have blocks of their own.
    """
    concurrency = number_of(cache, b"kv_cache_max_concurrency")
    if not blocks or not block_size or not tokens or not concurrency:
        return 0, None
    each, context = blocks / concurrency, tokens / concurrency
    if cache.get(b"mamba_cache_mode", b"none") == b"none":
        return 0, max(each / context, 1 / block_size)
    return max(0, round(each - math.ceil(context / block_size))), 1 / block_size


def most_tokens(
    tokens: float | None, blocks: float | None, state_blocks: int, blocks_per_token: float | None
) -> int | None:
    """Of one request on a rank that holds `tokens` in requests as long as the context: where these do not fit, its
    state takes a larger part of the `blocks`."""
    if tokens is None:
        return None
    if blocks is None or blocks_per_token is None:
        return round(tokens)
    return max(0, round(min(tokens, (blocks - state_blocks) / blocks_per_token)))


def number_of(labels: Labels, name: bytes) -> float | None:
    """None where the label is not there, or says None. Raises EngineError."""
    value = labels.get(name, b"None")
    return None if value == b"None" else read_number(value)


def read_number(text: bytes) -> float:
    try:
        value = float(text)
    except ValueError as problem:
        raise EngineError("an engine's metrics have a number that is none") from problem
    if value != 0 and not LEAST_NUMBER <= value <= MOST_NUMBER:  # nor is NaN
        raise EngineError("an engine's metrics have a number that cannot be")
    return value
