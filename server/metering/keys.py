"""What is counted of keys, and of the identity provider's."""

from server.metering.declaring import Declarations
from server.metering.labels import Label


class KeyMetrics:
    def __init__(self, declare: Declarations) -> None:
        self.keys = declare.gauge("fovea_keys", "API keys that are known", across="max")
        self.keys_reloads = declare.counter(
            "fovea_keys_file_reads", "New contents of the keys file", Label("outcome", ("read", "refused"))
        )
        self.keys_file_broken = declare.gauge(
            "fovea_keys_file_broken", "1 while the keys file cannot be read and older keys stay", across="max"
        )
        self.identity_key_fetches = declare.counter(
            "fovea_identity_key_fetches",
            "Fetches of the identity provider's keys",
            Label("outcome", ("fetched", "failed")),
        )
        # Of several workers, the one that waits longest.
        self.identity_keys_fetched = declare.gauge(
            "fovea_identity_keys_fetched_seconds", "Unix time of the last that came whole", across="min"
        )
