"""/v1/files, as OpenAI's API has it."""

from collections.abc import Mapping

from starlette.datastructures import QueryParams

from server.api.files.dialect import read_page, whole_number
from server.domain import Json, Tenant
from server.errors import CallerError, FileNotFound
from server.files.record import FILE_ID, FileRecord, Listing, Order, Purpose
from server.files.store import FileStore
from server.files.upload import Described

LISTED = range(1, 10_001)
ORDERS: dict[str, Order] = {"asc": "asc", "desc": "desc"}
PURPOSES: dict[str, Purpose] = {"vision": "vision", "user_data": "user_data"}
ANCHOR, SECONDS = "expires_after[anchor]", "expires_after[seconds]"
TTL_S = range(3600, 30 * 24 * 3600 + 1)


class OpenAIFiles:
    fields: tuple[str, ...] = ("purpose", ANCHOR, SECONDS)
    unnamed: str | None = None

    def describe_upload(self, filename: str, texts: Mapping[str, str]) -> Described:
        purpose = PURPOSES.get(texts.get("purpose", ""))
        if purpose is None:
            raise CallerError(f"The field 'purpose' must be one of {', '.join(PURPOSES)}.", "purpose")
        return Described(filename, purpose, read_ttl(texts))

    def describe(self, record: FileRecord) -> Json:
        """OpenAI's File object."""
        return {
            "id": record.id,
            "object": "file",
            "bytes": record.bytes,
            "created_at": record.created_at,
            "expires_at": record.expires_at,
            "filename": record.filename,
            "purpose": record.purpose,
            "status": "processed",
        }

    def describe_deleted(self, file_id: str) -> Json:
        return {"id": file_id, "object": "file", "deleted": True}

    async def list_files(self, files: FileStore, tenant: Tenant, query: QueryParams) -> Json:
        page = await read_page(files, tenant, parse_listing(query))
        return {
            "object": "list",
            "data": [self.describe(record) for record in page.records],
            "first_id": page.records[0].id if page.records else "",
            "last_id": page.records[-1].id if page.records else "",
            "has_more": page.has_more,
        }


def parse_listing(query: QueryParams) -> Listing:
    """Raises CallerError, naming the parameter, and FileNotFound for an `after` that is no id."""
    limit = whole_number(query.get("limit", str(LISTED[-1])), LISTED, "limit", "parameter")
    order, after = query.get("order", "desc"), query.get("after")
    if order not in ORDERS:
        raise CallerError("The parameter 'order' must be asc or desc.", "order")
    if after is not None and not FILE_ID.fullmatch(after):
        raise FileNotFound("There is no such file.", "after")
    return Listing(query.get("purpose"), limit, ORDERS[order], after)


def read_ttl(texts: Mapping[str, str]) -> int | None:
    """Seconds that the caller wants the file kept. Raises CallerError."""
    anchor, seconds = texts.get(ANCHOR), texts.get(SECONDS)
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise CallerError(f"The field '{ANCHOR}' must be created_at.", ANCHOR)
    return whole_number(seconds or "", TTL_S, SECONDS)
