"""What OpenAI's and Anthropic's APIs of files say in their own ways. The rest is the same for both."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from starlette.datastructures import QueryParams

from server.domain import Json, Tenant
from server.errors import CallerError
from server.files.record import FileRecord, Listing
from server.files.store import FileStore
from server.files.upload import Described

WHOLE = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Page:
    """Files in the order that was asked for, and whether others come after them."""

    records: list[FileRecord]
    has_more: bool


class Dialect(Protocol):
    """`fields` are the parts of an upload beside `file`; `unnamed` is the name of a file that has none, where it
    may have none."""

    fields: tuple[str, ...]
    unnamed: str | None

    def describe_upload(self, filename: str, texts: Mapping[str, str]) -> Described:
        """What an upload says of its file; `texts` are its fields. Raises CallerError."""

    def describe(self, record: FileRecord) -> Json: ...

    def describe_deleted(self, file_id: str) -> Json: ...

    async def list_files(self, files: FileStore, tenant: Tenant, query: QueryParams) -> Json:
        """Raises CallerError, naming the parameter, and FileNotFound for a place that is no id."""


async def read_page(files: FileStore, tenant: Tenant, wanted: Listing) -> Page:
    """One more than is wanted tells whether there are more."""
    found = await files.page(tenant, Listing(wanted.purpose, wanted.limit + 1, wanted.order, wanted.after))
    return Page(found[: wanted.limit], len(found) > wanted.limit)


def whole_number(text: str, allowed: range, field: str, what: str = "field") -> int:
    """Raises CallerError."""
    if not WHOLE.fullmatch(text) or int(text) not in allowed:
        raise CallerError(f"The {what} '{field}' must be a whole number from {allowed[0]} to {allowed[-1]}.", field)
    return int(text)
