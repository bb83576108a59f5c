"""Every error the gateway answers with, by who must act.

    GatewayError
    ├── CallerError 400 invalid_request            edit the request
    │   ├── MalformedHttp 400 invalid_http
    │   ├── HeadTooSlow 408 head_too_slow
    │   ├── HeadTooLarge 431 head_too_large
    │   ├── MalformedBody 400 invalid_json
    │   ├── WrongHost 421 wrong_host                the operator may set http.hosts
    │   ├── WrongMediaType 415 unsupported_media_type
    │   ├── BodyTooLarge 413 body_too_large
    │   ├── FieldRefused 400 field_not_allowed
    │   ├── Unauthenticated 401 invalid_api_key
    │   ├── InsufficientScope 403 insufficient_scope
    │   ├── PriorityNotAllowed 403 priority_not_allowed
    │   ├── UnknownModel 404 model_not_found
    │   ├── UnknownRoute 404 not_found
    │   ├── WrongMethod 405 method_not_allowed
    │   ├── OverBudget 400 over_budget              more than this caller's limit, however long it waits
    │   ├── ContextTooLong 400 context_length_exceeded
    │   ├── KvCacheExceeded 400 kv_cache_exceeded   or the operator gives an engine more memory
    │   ├── AnswerTooLarge 400 answer_too_large
    │   ├── MalformedUpload 400 invalid_upload
    │   ├── FileTooLarge 413 file_too_large
    │   ├── FileQuotaExceeded 403 file_quota_exceeded   delete files first
    │   ├── FileNotFound 404 file_not_found
    │   ├── FilesNotEnabled 404 files_not_enabled       the operator sets files.path
    │   ├── VideoError 400 invalid_video
    │   │   ├── VideosNotTaken 400 videos_not_taken
    │   │   ├── VideoUrlRefused 400 video_url_refused
    │   │   ├── VideoFetchFailed 400 video_fetch_failed
    │   │   ├── VideoTooLarge 413 video_too_large
    │   │   ├── VideoTooLong 400 video_too_long
    │   │   └── TooManyVideos 400 too_many_videos
    │   └── ImageError 400 invalid_image
    │       ├── ImageUrlRefused 400 image_url_refused
    │       ├── ImageFetchFailed 400 image_fetch_failed
    │       ├── ImageTooLarge 413 image_too_large
    │       ├── TooManyImages 400 too_many_images
    │       └── UnsupportedImage 415 unsupported_image_format
    ├── BusyError 429 overloaded                   wait, then try again
    │   ├── RateLimitExceeded 429 rate_limit_exceeded
    │   ├── QueueFull 429 queue_full
    │   ├── WaitedTooLong 429 waited_too_long
    │   ├── WaitTooLong 429 deadline_unreachable    or give it more time
    │   ├── TooManyConnections 503 too_many_connections
    │   ├── NoEngineReady 503 no_engine_ready
    │   ├── Draining 503 draining                   this gateway stops: ask another
    │   └── NoIdentityKeys 503 identity_keys_unavailable
    ├── EngineError 502 engine_failed              the operator looks
    │   ├── EngineUnreachable 502 engine_failed    refused, no such name, wrong certificate
    │   ├── EngineGone 502 engine_failed           its connection ended before its answer did
    │   ├── EngineIncoherent 502 engine_failed     its answer is not HTTP as we take it
    │   └── EngineTimeout 504 engine_timeout
    │       ├── EngineConnectTimeout 504 engine_connect_timeout
    │       ├── FirstTokenTimeout 504 engine_first_token_timeout
    │       ├── IdleTimeout 504 engine_idle_timeout
    │       └── TotalTimeout 504 engine_total_timeout
    ├── DeadlineExceeded 504 deadline_exceeded     the caller gave it too little time
    ├── FileStoreFailed 503 file_store_failed      the operator looks
    │   └── FileStoreFull 507 file_store_full
    └── InternalError 500 internal_error           ours: a bug
    ConfigError                                    exit code 2, never answered over HTTP

The text of an error is shown to callers: it names no address of ours and holds no image data.
"""

from typing import Self

from server.printable import printable

# A caller's own words are said back, but not megabytes of them, and nothing that forges a line.
MOST_MESSAGE = 1000
MOST_PARAM = 200


class GatewayError(Exception):
    """An answer that is not a completion. `param` is the offending part's path in the request body."""

    status: int = 500
    code: str = "internal_error"
    kind: str = "server_error"

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = printable(message, MOST_MESSAGE)
        self.param = printable(param, MOST_PARAM) if param is not None else None


class CallerError(GatewayError):
    """The request must be edited before it can succeed."""

    status, code, kind = 400, "invalid_request", "invalid_request_error"


class MalformedHttp(CallerError):
    code = "invalid_http"


class HeadTooSlow(CallerError):
    status, code = 408, "head_too_slow"


class HeadTooLarge(CallerError):
    status, code = 431, "head_too_large"


class WrongHost(CallerError):
    status, code = 421, "wrong_host"


class WrongMediaType(CallerError):
    status, code = 415, "unsupported_media_type"


class MalformedBody(CallerError):
    code = "invalid_json"


class BodyTooLarge(CallerError):
    status, code = 413, "body_too_large"


class FieldRefused(CallerError):
    code = "field_not_allowed"


class Unauthenticated(CallerError):
    status, code, kind = 401, "invalid_api_key", "authentication_error"


class InsufficientScope(CallerError):
    status, code, kind = 403, "insufficient_scope", "permission_error"


class PriorityNotAllowed(CallerError):
    status, code, kind = 403, "priority_not_allowed", "permission_error"


class UnknownModel(CallerError):
    status, code = 404, "model_not_found"


class UnknownRoute(CallerError):
    status, code = 404, "not_found"


class WrongMethod(CallerError):
    status, code = 405, "method_not_allowed"


class OverBudget(CallerError):
    """Larger than the whole of a budget: waiting would not help."""

    code = "over_budget"


class ContextTooLong(CallerError):
    code = "context_length_exceeded"


class KvCacheExceeded(CallerError):
    code = "kv_cache_exceeded"


class AnswerTooLarge(CallerError):
    code = "answer_too_large"


class MalformedUpload(CallerError):
    code = "invalid_upload"


class FileTooLarge(CallerError):
    status, code = 413, "file_too_large"


class FileQuotaExceeded(CallerError):
    status, code = 403, "file_quota_exceeded"

    @classmethod
    def of(cls, files: int, size: int) -> Self:
        return cls(f"At most {files} files of {size} bytes in all are kept: delete some first.", "file")


class FileNotFound(CallerError):
    status, code = 404, "file_not_found"


class FilesNotEnabled(CallerError):
    """404, not 501: clients try a 5xx again, and no second try will help."""

    status, code = 404, "files_not_enabled"


class ImageError(CallerError):
    code = "invalid_image"

    def at(self, param: str) -> Self:
        """The same of one part of a request."""
        return type(self)(self.message, param)


class ImageUrlRefused(ImageError):
    code = "image_url_refused"


class ImageFetchFailed(ImageError):
    code = "image_fetch_failed"


class ImageTooLarge(ImageError):
    status, code = 413, "image_too_large"


class TooManyImages(ImageError):
    code = "too_many_images"


class UnsupportedImage(ImageError):
    status, code = 415, "unsupported_image_format"


class VideoError(CallerError):
    code = "invalid_video"


class VideosNotTaken(VideoError):
    code = "videos_not_taken"


class VideoUrlRefused(VideoError):
    code = "video_url_refused"


class VideoFetchFailed(VideoError):
    code = "video_fetch_failed"


class VideoTooLarge(VideoError):
    status, code = 413, "video_too_large"


class VideoTooLong(VideoError):
    code = "video_too_long"


class TooManyVideos(VideoError):
    code = "too_many_videos"


class BusyError(GatewayError):
    """The same request may succeed after `retry_after_s`."""

    status, code, kind = 429, "overloaded", "rate_limit_error"

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RateLimitExceeded(BusyError):
    """A key or tenant has drawn what it may, for now; `headers` say how much that is."""

    code = "rate_limit_exceeded"

    def __init__(self, message: str, retry_after_s: int = 1, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(message, retry_after_s)
        self.headers = headers


class QueueFull(BusyError):
    """As many requests wait as may."""

    code = "queue_full"


class WaitedTooLong(BusyError):
    """No room came free in the time that the request had."""

    code = "waited_too_long"


class WaitTooLong(BusyError):
    """At the rate at which room comes free, the request's time would be over before its turn: it need not wait."""

    code = "deadline_unreachable"


class TooManyConnections(BusyError):
    status, code, kind = 503, "too_many_connections", "server_error"


class NoEngineReady(BusyError):
    status, code, kind = 503, "no_engine_ready", "server_error"


class Draining(BusyError):
    status, code, kind = 503, "draining", "server_error"


class NoIdentityKeys(BusyError):
    status, code, kind = 503, "identity_keys_unavailable", "server_error"


class EngineError(GatewayError):
    """An engine misbehaved: the operator looks."""

    status, code = 502, "engine_failed"


class EngineUnreachable(EngineError):
    """No connection to it comes about."""


class EngineGone(EngineError):
    """Its connection ended before its answer did."""


class EngineIncoherent(EngineError):
    """What it answers is no response as we take them: nothing of it is believed."""


class EngineTimeout(EngineError):
    """It did not do in time what a setting gives it time for."""

    status, code = 504, "engine_timeout"


class EngineConnectTimeout(EngineTimeout):
    code = "engine_connect_timeout"


class FirstTokenTimeout(EngineTimeout):
    code = "engine_first_token_timeout"


class IdleTimeout(EngineTimeout):
    code = "engine_idle_timeout"


class TotalTimeout(EngineTimeout):
    """An answer was too long in coming, all of it together. That need not be the engine's fault."""

    code = "engine_total_timeout"


class DeadlineExceeded(GatewayError):
    """The time that the caller gave its request (`x-request-timeout`) is over, and so is the engine's work."""

    status, code = 504, "deadline_exceeded"


class FileStoreFailed(GatewayError):
    """Uploaded files cannot be written or read: the operator looks at disk, catalogue or bucket."""

    status, code = 503, "file_store_failed"


class FileStoreFull(FileStoreFailed):
    status, code = 507, "file_store_full"


class InternalError(GatewayError):
    """A bug of ours; the log line with the request's id says more."""


class ConfigError(Exception):
    """The process must not start: exit code 2 and one sentence."""
