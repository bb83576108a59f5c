"""The types that a request passes through, one a stage: Parsed -> Ready -> relayed Answer."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

from server.allowance import Subject
from server.errors import GatewayError

Json = dict[str, Any]
Route = Literal["chat", "completions", "responses", "tokenize", "detokenize"]
Detail = Literal["auto", "low", "high"]
KeyScope = Literal["inference", "files", "admin"]
# The highest first.
Priority = Literal["interactive", "standard", "batch"]
PRIORITIES: tuple[Priority, ...] = get_args(Priority)
# Where an engine had a picture's embedding from, the costliest first; `hit-gpu`: it was in vLLM's own memory.
ImageCache = Literal["miss", "hit-shared", "hit-disk", "hit-host", "hit-gpu"]
IMAGE_CACHE: tuple[ImageCache, ...] = get_args(ImageCache)
# Whether a request's first picture went to the engine that it belongs to; none: there is one engine only, or
# affinity is off.
Affinity = Literal["home", "spilled", "none"]
AFFINITIES: tuple[Affinity, ...] = get_args(Affinity)
# What an engine is in the pool's eyes: `starting` has yet to prove itself, `ejected` was put out for failing.
EngineState = Literal["ready", "starting", "ejected", "unhealthy", "unreachable"]
ENGINE_STATES: tuple[EngineState, ...] = get_args(EngineState)
# Of everybody, where no keys are asked for.
ANONYMOUS_NAME = "anonymous"
# What a tenant may be called. It stands in logs, in cache keys and in paths of stores.
TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:|=+-]{0,127}")
TENANT_RULE = "letters, digits and . _ @ : | = + -, at most 128, a letter or digit first"

# A body as it came.
Raw = bytes | bytearray
# Names in lower case.
RawHeaders = tuple[tuple[bytes, bytes], ...]
# A body in pieces, to be sent one after another.
Payload = tuple[bytes | memoryview, ...]


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whom a request belongs to; `name` comes from our key list or a signed token, never from the caller.

    `key` says which of the tenant's keys it came with, for the audit; it tells no tenants apart. `priority` is the
    highest that this key's requests may have, and what they have unless they ask for less; `weight` is the
    tenant's share of an engine where others wait, too. `allowance` are those whose budgets its requests draw from.
    """

    name: str
    key: str = field(default="", compare=False)
    priority: Priority = field(default="standard", compare=False)
    weight: float = field(default=1.0, compare=False)
    allowance: tuple[Subject, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a caller asks for beside its request. `deadline` (of time.monotonic) ends all of it."""

    priority: Priority = "standard"
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class InlineImage:
    """An image that came inside a body. `data` is what `encoded` says, which is a view of that body's own bytes and
    the base64 that we would write."""

    encoded: memoryview
    data: bytes


@dataclass(slots=True)
class ImageSource:
    """Where one image of a request comes from; or one video, by its shape.

    `path` locates the part (`messages[0].content[1].image_url`); `part` is the part inside the parsed body,
    which the pipeline rewrites in place once the image is resolved. `detail` is what the caller asks for; `shape`
    is how the route writes an image. Where the image is `inline`, `url` is what stands before its base64.
    """

    path: str
    url: str
    part: Json
    detail: Detail = "auto"
    shape: Literal["chat", "responses", "video"] = "chat"
    inline: InlineImage | None = None


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request of known shape. `body` is ours alone: nobody else holds a reference to it.

    `text_bytes` are sure to be in a prompt; `extra_bytes` are what its template may write besides (tools, calls,
    thoughts). A batch has several `prompts`, which share `text_bytes`, and `answers` in all.
    `nonce` is what the marks of its images were made of (`server.marks`), where any were made.
    """

    route: Route
    model: str
    stream: bool
    max_tokens: int | None
    text_bytes: int
    images: tuple[ImageSource, ...]
    body: Json
    videos: tuple[ImageSource, ...] = ()
    extra_bytes: int = 0
    prompts: int = 1
    answers: int = 1
    nonce: str = field(default="", compare=False)

    def forget(self) -> None:
        """Let go of everything large: the engine's payload has been made of it."""
        self.body.clear()
        for source in (*self.images, *self.videos):
            source.url, source.inline = "", None
            source.part.clear()


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """A checked image, `encoded` as base64 for the engine. `digest` names it everywhere; sizes are pixels, as seen.

    `notes` say what was changed about the caller's own bytes (`server.images.rendition`).
    """

    digest: str
    media_type: str
    width: int
    height: int
    encoded: bytes | memoryview
    notes: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Of the image itself."""
        return len(self.encoded) // 4 * 3 - bytes(self.encoded[-2:]).count(b"=")


@dataclass(frozen=True, slots=True)
class UploadedImage:
    """What is to be remembered of a picture that was looked at and is kept (`server.images.names`)."""

    media_type: str
    facts: str = ""


@dataclass(frozen=True, slots=True)
class LoadedVideo:
    """Bytes whose container has been walked, and nothing more: only an engine decodes them."""

    digest: str
    media_type: str
    encoded: bytes
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What a request will take of an engine, in tokens; `image_tokens` is exact where the rule is known."""

    image_tokens: int
    text_tokens: int
    max_tokens: int

    @property
    def total(self) -> int:
        return self.image_tokens + self.text_tokens + self.max_tokens


class MediaSlot(NamedTuple):
    """A picture in a payload that its engine may know by name (`digest`): its base64 is the payload's `chunk`, and
    the last `head` bytes before that and the first `tail` behind it are its too. `size` is an estimate of what an
    engine's processor makes of it, in bytes."""

    digest: str
    chunk: int
    head: int
    tail: int
    size: int


@dataclass(slots=True)
class ReadyRequest:
    """A priced request as the engine shall see it. `affinity` is the routing key; `tenant` a name; `slots` are
    pictures for which a name may be enough."""

    route: Route
    model: str
    stream: bool
    cost: Cost
    affinity: str
    payload: Payload
    headers: Mapping[str, str]
    tenant: str = ""
    terms: Terms = Terms()
    slots: tuple[MediaSlot, ...] = ()

    def forget(self) -> None:
        """Let go of the payload: it has been sent and answered."""
        self.payload = ()


@dataclass(slots=True)
class Answer:
    """An engine's answer under way: `frames` must be closed by whoever takes it.

    `whole` is set where the answer came in one piece: its bytes, for whoever would send head and body at once;
    `frames` gives the same bytes to whoever does not look. Who replaces one replaces both.

    `image_notes` say which images were changed before the engine saw them ("0=downscaled; 2=first-frame");
    `image_cache` where the engine had their embeddings from (each picture once), where it tells; `limit_headers`
    what the caller has left. `failure` is what ended it after it had begun, told to the engine's record when the
    answer is given back. `events` of a stream have been sent on.
    """

    status: int
    media_type: str
    engine: str
    frames: AsyncGenerator[bytes, None]
    image_notes: str = ""
    whole: bytes | None = None
    limit_headers: RawHeaders = ()
    failure: GatewayError | None = None
    events: int = 0
    image_cache: tuple[ImageCache, ...] = ()


# Passes an answer on. It is lent for as long as that takes.
Deliver = Callable[[Answer], Awaitable[None]]


def costliest(outcomes: tuple[ImageCache, ...]) -> ImageCache:
    """Of several pictures', that of the one that was waited for longest."""
    return min(outcomes, key=IMAGE_CACHE.index)
