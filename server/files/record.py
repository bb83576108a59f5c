"""What is known of an uploaded file, and how ids and names of bytes are made."""

import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from blake3 import blake3

Purpose = Literal["vision", "user_data"]
Order = Literal["asc", "desc"]
FILE_ID = re.compile(r"file-[0-9a-f]{44}")


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file of one tenant. `blob` names where its bytes lie: equal bytes of a tenant share one blob.

    `digest` is the BLAKE3 of the bytes; times are seconds since 1970. `facts` are what it takes to tell under which
    names engines know the picture, once its bytes are gone (`server.images.names`).
    """

    id: str
    purpose: Purpose
    filename: str
    media_type: str
    bytes: int
    digest: str
    blob: str
    created_at: int
    expires_at: int
    facts: str = ""


@dataclass(frozen=True, slots=True)
class Removed:
    """A record that is gone, and the blobs that nothing names any more."""

    record: FileRecord
    freed: list[str]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a tenant's unexpired files add up to. Each file counts whole, shared bytes or not."""

    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Listing:
    """Which files of a tenant are wanted: at most `limit` that come after the id `after`."""

    purpose: str | None
    limit: int
    order: Order
    after: str | None


class Catalogue(Protocol):
    """Who has which file. Every method is atomic, and safe with other gateways on the same catalogue.

    A blob that no record names is never named by one again: whoever sees it freed may delete it.
    """

    async def usage(self, tenant: str, now: int) -> Usage: ...

    async def find(self, tenant: str, file_id: str, now: int) -> FileRecord | None: ...

    async def page(self, tenant: str, wanted: Listing, now: int) -> list[FileRecord]: ...

    async def add(self, tenant: str, record: FileRecord, quota: Usage, now: int) -> str | None:
        """The blob that `record` got: one that the tenant has under the same digest, else its own `blob`.

        None, and nothing is added, where it has neither. Raises FileQuotaExceeded.
        """

    async def remove(self, tenant: str, file_id: str, now: int) -> Removed | None:
        """None where there is no such file."""

    async def holds(self, tenant: str | None, digest: str, now: int) -> bool:
        """Whether the tenant (None: anybody) has a file with these bytes."""

    async def expire(self, now: int, most: int) -> tuple[int, list[str]]:
        """Forget up to about `most` expired files: how many, and the blobs that this freed."""

    async def named(self, blobs: Sequence[str]) -> set[str]:
        """Those of `blobs` that some record names."""

    async def close(self) -> None: ...


def tenant_key(name: str) -> str:
    """A tenant's name as it may stand in a path."""
    return blake3(name.encode("utf-8", "surrogatepass")).hexdigest(length=16)


def new_file_id(clock: float | None = None) -> str:
    """Sorts by time of making, so that a page can go on after a file that has been deleted; 128 random bits."""
    return f"file-{int((time.time() if clock is None else clock) * 1000):012x}{secrets.token_hex(16)}"


def new_blob_name(tenant: str) -> str:
    return f"{tenant}/{secrets.token_hex(16)}"
