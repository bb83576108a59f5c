"""Our connector, watched: `"ec_connector_module_path": "fovea_bench_ours"`."""

from typing import Any

from fovea_bench_watch import put_watch_on
from fovea_encoder_cache import FoveaEncoderCache


class WatchedFovea(FoveaEncoderCache):
    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        put_watch_on(self)
