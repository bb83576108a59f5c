"""Our metrics in vLLM's API server, as vLLM loads them: `--middleware fovea_metrics.Metrics`, and a plug-in."""

from fovea_packages import make_ours_importable

make_ours_importable()

from server.engine.metrics.edge import Metrics  # noqa: E402
from server.engine.metrics.stat_logger import KvUsageLogger  # noqa: E402

__all__ = ["KvUsageLogger", "Metrics"]
