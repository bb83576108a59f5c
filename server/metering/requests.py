"""What is counted of requests, from their last byte to the last of their answers."""

from importlib.metadata import version

from server.metering.declaring import Declarations
from server.metering.labels import CODE, ERROR_CODE, MODEL, ROUTE, STATUS, TENANT, VERSION, Label

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
# Between two reads of a stream.
GAP_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5)


class RequestMetrics:
    def __init__(self, declare: Declarations) -> None:
        self.requests = declare.loop_counter(
            "fovea_requests", "Requests answered", ROUTE, MODEL, STATUS, CODE, TENANT
        )
        self.in_flight = 0
        in_flight = declare.loop_gauge("fovea_requests_in_flight", "Requests being handled", across="sum")
        in_flight.show((), lambda: self.in_flight)
        self.bytes_in_flight = declare.gauge(
            "fovea_bytes_in_flight", "Bytes of bodies and images that requests hold", across="sum"
        )
        self.first_token = declare.loop_histogram(
            "fovea_time_to_first_token_seconds",
            "Of streams: from the request's last byte to the answer's first",
            ROUTE,
            MODEL,
            buckets=SECONDS,
        )
        self.inter_token = declare.loop_histogram(
            "fovea_inter_token_seconds",
            "Between two reads of a stream from its engine, each of one token or of several",
            MODEL,
            buckets=GAP_SECONDS,
        )
        self.duration = declare.loop_histogram(
            "fovea_request_duration_seconds",
            "From a request's last byte to the last byte of its answer",
            ROUTE,
            MODEL,
            buckets=SECONDS,
        )
        self.tokens = declare.loop_counter(
            "fovea_tokens",
            "Tokens of prompts and answers, as engines counted them",
            MODEL,
            Label("kind", ("prompt", "completion")),
        )
        self.rejections = declare.counter("fovea_rejections", "Requests refused, by error code", ERROR_CODE)
        self.cancelled = declare.counter("fovea_requests_cancelled", "Requests whose caller left before the end")
        build = declare.gauge("fovea_build_info", "1; the label says which version this is", VERSION, across="max")
        build.labels(version("fovea")).set(1)
