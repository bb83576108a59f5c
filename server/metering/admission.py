"""What is counted of the lines in front of engines, and of limits."""

from server.allowance import BUDGETS
from server.metering.declaring import Declarations
from server.metering.labels import POOL, PRIORITY, Label
from server.metering.requests import SECONDS

STORE_SECONDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)


class AdmissionMetrics:
    def __init__(self, declare: Declarations) -> None:
        self.waiting = declare.loop_gauge(
            "fovea_requests_waiting", "Requests waiting for admission", POOL, PRIORITY, across="sum"
        )
        self.wait = declare.loop_histogram(
            "fovea_admission_wait_seconds",
            "Time spent waiting for admission, by those who had to",
            POOL,
            PRIORITY,
            buckets=SECONDS,
        )
        self.deadline_misses = declare.loop_counter(
            "fovea_admission_deadline_misses",
            "Requests that waited for admission until their time was over, or came when it was",
            POOL,
            PRIORITY,
        )
        self.held_tokens = declare.loop_gauge(
            "fovea_admission_held_tokens", "Tokens that requests at the engines may take", POOL, across="sum"
        )
        self.held_places = declare.loop_gauge(
            "fovea_admission_held_places", "Requests let in and not finished", POOL, across="sum"
        )
        self.capacity_tokens = declare.loop_gauge(
            "fovea_admission_capacity_tokens", "Most tokens held at once; 0: unknown", POOL, across="sum"
        )
        self.capacity_places = declare.loop_gauge(
            "fovea_admission_capacity_places", "Most requests let in at once", POOL, across="sum"
        )
        self.brake = declare.loop_gauge(
            "fovea_admission_brake",
            "1 while full KV caches or requests waiting in engines take from that",
            POOL,
            across="max",
        )
        self.limit_refusals = declare.counter(
            "fovea_limit_refusals",
            "Requests refused by a limit, by whose it is and which",
            Label("of", ("key", "tenant")),
            Label("budget", BUDGETS),
        )
        self.limit_store_up = declare.gauge(
            "fovea_limit_store_up",
            "1 while limits are shared through their store, or no store is set",
            across="min",
        )
        self.limit_store_up.set(1)
        self.limit_store_errors = declare.counter(
            "fovea_limit_store_errors",
            "Times that the store of limits was lost",
            Label("kind", ("timeout", "connection", "refused")),
        )
        self.limit_store_seconds = declare.histogram(
            "fovea_limit_store_seconds", "Time of one exchange with the store of limits", buckets=STORE_SECONDS
        )
