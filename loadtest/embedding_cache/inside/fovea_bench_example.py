"""vLLM's example connector, watched: `"ec_connector_module_path": "fovea_bench_example"`."""

from typing import Any

from fovea_bench_watch import put_watch_on
from vllm.distributed.ec_transfer.ec_connector.example_connector import ECExampleConnector


class WatchedExample(ECExampleConnector):
    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        put_watch_on(self)
