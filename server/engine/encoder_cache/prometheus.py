"""The cache's metrics on the engine's own /metrics, in vLLM's API server: `stats.py` brings the numbers there."""

from typing import Any

from prometheus_client import Counter, Gauge

from server.engine.encoder_cache import outcomes

PREFIX = "fovea_encoder_cache"
# By the first part of a figure's name: what follows "|" in it are the values of these labels.
COUNTERS: dict[str, tuple[tuple[str, ...], str]] = {
    "lookups": (("result",), "Pictures whose embedding vLLM did not have in its own memory, by what was found."),
    "reads": (("tier",), "Embeddings read; of the tier host, into vLLM's memory by its workers."),
    "read_bytes": (("tier",), "Bytes read."),
    "read_seconds": (("tier",), "Seconds that reading took, summed up over threads and workers."),
    "written_bytes": (("tier",), "Bytes written."),
    "write_seconds": (("tier",), "Seconds that writing took."),
    "evictions": (("tier",), "Embeddings that made room for others."),
    "dropped": (("queue",), "Embeddings that were not written, since too much was waiting to be."),
    "errors": (("tier", "reason"), "What went wrong; each was a miss, or an embedding not written."),
}
GAUGES: dict[str, tuple[tuple[str, ...], str]] = {
    "entries": (("tier",), "Embeddings held."),
    "bytes": (("tier",), "Bytes held."),
    "queue_bytes": (("queue",), "Bytes that wait to be written."),
    "on": ((), "1, or 0 once the cache has turned itself off."),
}
# Told from the start, so that a rate of it is known when it first happens.
AT_ONCE = (
    *(f"lookups|{result}" for result in ("hit_host", "hit_disk", "hit_shared", "miss")),
    *(f"errors|host|{reason}" for reason in ("late", "no_room", "refused", "unfit")),
    *(f"errors|disk|{reason}" for reason in ("checksum", "truncated")),
    *("evictions|host", "evictions|disk", "dropped|saving", "dropped|promotion"),
)
# Reasons of errors are words of ours; if ever they were not, this many more are told apart.
MOST_CHILDREN = 512


class EncoderCacheMetrics:
    """vLLM's ECConnectorPromMetrics, by its methods. One for all engines of an API server."""

    def __init__(
        self, metric_types: dict[Any, Any], labelnames: list[str], per_engine_labelvalues: dict[int, list[object]]
    ) -> None:
        self._engines = per_engine_labelvalues
        self._families: dict[str, Any] = {}
        for name, (labels, words) in COUNTERS.items():
            full = f"{PREFIX}_{name}_total"
            self._families[name] = metric_types[Counter](full, words, labelnames=[*labelnames, *labels])
        for name, (labels, words) in GAUGES.items():
            self._families[name] = metric_types[Gauge](
                f"{PREFIX}_{name}", words, labelnames=[*labelnames, *labels], multiprocess_mode="mostrecent"
            )
        self._children: dict[tuple[int, str], Any] = {}
        for engine in per_engine_labelvalues:
            for figure in AT_ONCE:
                self._child(engine, figure)

    def observe(self, transfer_stats_data: dict[str, Any], engine_idx: int = 0) -> None:
        """`EncoderCacheStats.data` of some steps of one engine."""
        for figure, number in transfer_stats_data.get("counts", {}).items():
            if child := self._child(engine_idx, figure):
                child.inc(number)
        for figure, number in transfer_stats_data.get("held", {}).items():
            if child := self._child(engine_idx, figure):
                child.set(number)
        outcomes.note(transfer_stats_data.get("outcomes", {}))

    def _child(self, engine: int, figure: str) -> Any:
        """None for a figure that is none of ours."""
        child = self._children.get((engine, figure))
        if child is None and len(self._children) < MOST_CHILDREN:
            name, *values = figure.split("|")
            labels = (COUNTERS | GAUGES).get(name, ((), ""))[0]
            if name in self._families and len(values) == len(labels) and engine in self._engines:
                child = self._families[name].labels(*self._engines[engine], *values)
                self._children[engine, figure] = child
        return child
