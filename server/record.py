"""What is known of the request under way, for its log lines: filled in by each stage as it comes to know.

It holds nothing that a caller wrote: names of ours, numbers, prefixes of digests.
"""

from contextvars import ContextVar
from dataclasses import dataclass, field

from server.span import Span, enter

DIGEST_PREFIX = 8


@dataclass(slots=True)
class RequestRecord:
    """`path` is the route's pattern, never the path that was asked for; `model` one that we serve.

    `span` is the request's, where it is traced; where traces are on and it is not, `traceparent` tells engines so.
    """

    request_id: str = ""
    method: str = ""
    path: str = ""
    status: int = 0
    code: str = ""
    ms: float = 0
    tenant: str = ""
    key: str = ""
    route: str = ""
    model: str = ""
    engine: str = ""
    body_bytes: int = 0
    images: list[str] = field(default_factory=list)
    image_bytes: int = 0
    image_tokens: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    span: Span | None = None
    traceparent: str = ""

    def enter(self, stage: str) -> None:
        """What the request's time goes into from now on."""
        enter(self.span, stage)

    def saw_image(self, digest: str, count: int) -> None:
        self.images.append(digest[:DIGEST_PREFIX])
        self.image_bytes += count


_current: ContextVar[RequestRecord | None] = ContextVar("request record", default=None)


def begin_record(request_id: str) -> RequestRecord:
    """Of this task, and of those that it starts."""
    record = RequestRecord(request_id)
    _current.set(record)
    return record


def current_record() -> RequestRecord:
    """The request's that is under way here; outside of any, one that nobody reads."""
    return _current.get() or RequestRecord()
