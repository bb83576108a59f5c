"""In the engine's processes: a connector's every call is timed, and the encoder's runs are counted.

What is seen goes to the file that FOVEA_BENCH_WATCH names, a JSON object a line, at the end of each step: seconds
in calls by name, the pictures that were encoded, and how long requests were told to come again. Neither vLLM's
connector nor ours knows of it: vLLM saves what it has encoded, once each.
"""

import functools
import json
import os
import time
from typing import Any

CALLS = (
    "ensure_cache_available", "has_cache_item", "update_state_after_alloc", "build_connector_meta",
    "update_connector_output", "take_unavailable_requests", "update_state_after_free", "request_finished",
    "has_pending_push_work", "get_ec_connector_stats", "start_save_caches", "start_load_caches", "save_caches",
    "get_finished", "build_connector_worker_meta",
)  # fmt: skip
# The last of a step, in the scheduler's process and in a worker's.
LAST = ("get_ec_connector_stats", "build_connector_worker_meta")


class Watch:
    """Appends, so that processes may share the file."""

    def __init__(self) -> None:
        self._file = os.open(os.environ["FOVEA_BENCH_WATCH"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._calls: dict[str, float] = {}
        self._encoded: list[str] = []
        self._deferred: dict[str, float] = {}
        self._waited = 0.0

    def note(
        self, name: str, seconds: float, arguments: tuple[Any, ...], named: dict[str, Any], answer: Any
    ) -> None:
        self._calls[name] = self._calls.get(name, 0.0) + seconds
        if name == "save_caches":
            self._encoded.append(str(named.get("mm_hash") or arguments[-1]))
        elif name == "ensure_cache_available":
            self._note_waiting(arguments[0].request_id, bool(answer))
        elif name in LAST:
            self._write()

    def _note_waiting(self, request: str, may_go_on: bool) -> None:
        if not may_go_on:
            self._deferred.setdefault(request, time.perf_counter())
        elif request in self._deferred:
            self._waited += time.perf_counter() - self._deferred.pop(request)

    def _write(self) -> None:
        seen = {"calls": self._calls, "encoded": self._encoded, "waited": self._waited}
        os.write(self._file, (json.dumps(seen) + "\n").encode())
        self._calls, self._encoded, self._waited = {}, [], 0.0


def timed(watch: Watch, name: str, call: Any) -> Any:
    @functools.wraps(call)
    def timed_call(*arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        answer = call(*arguments, **named)
        watch.note(name, time.perf_counter() - began, arguments, named, answer)
        return answer

    return timed_call


def put_watch_on(connector: Any) -> None:
    watch = Watch()
    for name in CALLS:
        setattr(connector, name, timed(watch, name, getattr(connector, name)))
