"""What we ask vLLM's workers, as vLLM loads it: `--worker-extension-cls fovea_worker.TellsKvCacheBytes`."""

from fovea_packages import make_ours_importable

make_ours_importable()

from server.engine.metrics.worker import TellsKvCacheBytes  # noqa: E402

__all__ = ["TellsKvCacheBytes"]
