"""vLLM's statistics of each step, of which we note one: vLLM loads it as a plug-in (inside/stat_logger/)."""

from typing import Any

from vllm.v1.metrics.loggers import AggregateStatLoggerBase

from server.engine.metrics.kv_usage import of_this_process


class KvUsageLogger(AggregateStatLoggerBase):
    """By vLLM's methods (0.32)."""

    def __init__(self, vllm_config: Any, engine_indexes: list[int]) -> None:
        of_this_process.begin(engine_indexes)

    def record(
        self, scheduler_stats: Any, iteration_stats: Any, mm_cache_stats: Any = None, engine_idx: int = 0
    ) -> None:
        share = getattr(scheduler_stats, "kv_cache_usage", None)
        if isinstance(share, int | float):  # vLLM's statistics are no stable interface, and its steps must go on
            of_this_process.note(engine_idx, share)

    def log_engine_initialized(self) -> None:
        """Nothing is left to do then."""
