"""What a caller asks of the gate beside its request: a priority, and a time by which all must be over."""

import re
import time
from collections.abc import Callable, Iterable
from typing import get_args

from server.domain import PRIORITIES, Priority, Tenant, Terms
from server.errors import CallerError, PriorityNotAllowed

PRIORITY = b"x-fovea-priority"
TIMEOUT = b"x-request-timeout"
SECONDS = re.compile(rb"[0-9]{1,9}(\.[0-9]{1,9})?")
# Nearly all requests name neither header: theirs are not made anew.
UNSAID: dict[Priority, Terms] = {priority: Terms(priority) for priority in get_args(Priority)}


class TermsReader:
    """Reads both headers. A timeout above `most_s` counts as that: nobody waits for longer."""

    def __init__(self, most_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most_s = most_s
        self._clock = clock

    def read(self, headers: Iterable[tuple[bytes, bytes]], tenant: Tenant) -> Terms:
        """The deadline counts from now. Raises CallerError, PriorityNotAllowed."""
        priority = timeout = None
        for name, value in headers:
            if name == PRIORITY:
                if priority is not None:
                    raise CallerError("The header x-fovea-priority is there twice.")
                priority = value
            elif name == TIMEOUT:
                if timeout is not None:
                    raise CallerError("The header x-request-timeout is there twice.")
                timeout = value
        if priority is None and timeout is None:
            return UNSAID[tenant.priority]
        asked = tenant.priority if priority is None else read_priority(priority, tenant.priority)
        return UNSAID[asked] if timeout is None else Terms(asked, self._clock() + self._read_timeout_s(timeout))

    def _read_timeout_s(self, value: bytes) -> float:
        timeout_s = float(value) if SECONDS.fullmatch(value) else 0
        if not timeout_s:
            raise CallerError("The header x-request-timeout must be a number of seconds above 0, like 30 or 2.5.")
        return min(timeout_s, self._most_s)


def read_priority(value: bytes, most: Priority) -> Priority:
    for priority in PRIORITIES:
        if value == priority.encode():
            if PRIORITIES.index(priority) < PRIORITIES.index(most):
                raise PriorityNotAllowed(f"This key's requests have the priority '{most}' or a lower one.")
            return priority
    raise CallerError(f"The header x-fovea-priority must be one of: {', '.join(PRIORITIES)}.")
