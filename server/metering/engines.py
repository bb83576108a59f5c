"""What is counted of engines, and what they last told of themselves."""

from server.domain import AFFINITIES, ENGINE_STATES
from server.metering.declaring import Declarations
from server.metering.labels import ENGINE, Label


class EngineMetrics:
    def __init__(self, declare: Declarations) -> None:
        self.engine_ready = declare.loop_gauge(
            "fovea_engine_ready", "1 where the engine answers", ENGINE, across="min"
        )
        self.engine_state = declare.loop_gauge(
            "fovea_engine_state",
            "1 for the state that the engine is in; starting: it has to prove itself, ejected: put out for "
            "failing, unhealthy: /health is not 200, as it is stopping or dead",
            ENGINE,
            Label("state", ENGINE_STATES),
            across="max",
        )
        self.engine_running = declare.loop_gauge(
            "fovea_engine_requests_running", "Requests sent to the engine and not finished", ENGINE, across="sum"
        )
        self.engine_waiting = declare.loop_gauge(
            "fovea_engine_requests_waiting",
            "Requests waiting inside the engine, as it last told; nothing before it has",
            ENGINE,
            across="max",
        )
        self.engine_kv_usage = declare.loop_gauge(
            "fovea_engine_kv_cache_usage_ratio",
            "Part of the engine's KV cache in use, 0 to 1, as it last told; nothing before it has",
            ENGINE,
            across="max",
        )
        self.engine_ejections = declare.counter(
            "fovea_engine_ejections", "Times that an engine was put out for failing too many", ENGINE
        )
        self.affinity = declare.loop_counter(
            "fovea_affinity",
            "Requests with pictures, by the engine that they were sent to first; home: where their first picture "
            "belongs, spilled: elsewhere, as that was full or out, none: there is one engine "
            "only, or engines.affinity is off",
            Label("outcome", AFFINITIES),
        )
        self.retries = declare.counter("fovea_engine_retries", "Requests sent to a second engine")
        self.retries_refused = declare.counter(
            "fovea_engine_retries_refused", "Second tries that the retry budget did not allow"
        )
        self.hedges = declare.counter(
            "fovea_engine_hedges", "Requests sent to a second engine because the first was slow"
        )
        self.hedges_won = declare.counter(
            "fovea_engine_hedges_won", "Of these, those that the second engine answered first"
        )
