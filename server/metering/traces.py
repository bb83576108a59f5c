"""What is counted of traces."""

from server.metering.declaring import Declarations
from server.metering.labels import Label


class TraceMetrics:
    def __init__(self, declare: Declarations) -> None:
        self.trace_spans = declare.counter(
            "fovea_trace_spans",
            "Spans of traces; failed: their receiver did not take them, dropped: too many waited",
            Label("outcome", ("sent", "failed", "dropped")),
        )
