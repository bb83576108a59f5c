"""/v1/files, as Anthropic's API has it: asked for with the header anthropic-version, which its SDKs always send."""

from collections.abc import Mapping
from datetime import UTC, datetime

from starlette.datastructures import QueryParams

from server.api.files.dialect import Page, read_page, whole_number
from server.domain import Json, Tenant
from server.errors import CallerError, FileNotFound
from server.files.record import FILE_ID, FileRecord, Listing
from server.files.store import FileStore
from server.files.upload import Described

LISTED = range(1, 1001)
LISTED_BY_DEFAULT = 20
MOST_IDS = 100
EVERY = 10_000  # of a tenant's files: settings let none have more
TTL_S = range(3600, 90 * 24 * 3600 + 1)
PAGE = "page_"
# Backwards, or of a session: we have neither.
REFUSED = ("before_id", "scope_id")


class AnthropicFiles:
    fields: tuple[str, ...] = ("expires_in_seconds",)
    unnamed: str | None = "unnamed"

    def describe_upload(self, filename: str, texts: Mapping[str, str]) -> Described:
        (field,) = self.fields
        seconds = texts.get(field)
        return Described(filename, "vision", None if seconds is None else whole_number(seconds, TTL_S, field))

    def describe(self, record: FileRecord) -> Json:
        """Anthropic's FileMetadata."""
        return {
            "type": "file",
            "id": record.id,
            "filename": record.filename,
            "mime_type": record.media_type,
            "size_bytes": record.bytes,
            "created_at": as_date(record.created_at),
            "expires_at": as_date(record.expires_at),
            "downloadable": True,
        }

    def describe_deleted(self, file_id: str) -> Json:
        return {"type": "file_deleted", "id": file_id}

    async def list_files(self, files: FileStore, tenant: Tenant, query: QueryParams) -> Json:
        """`next_page` is how the API goes on now, `has_more` and the ids how it did while it was a beta."""
        page = await read(files, tenant, query)
        last = page.records[-1].id if page.records else None
        return {
            "data": [self.describe(record) for record in page.records],
            "next_page": f"{PAGE}{last}" if page.has_more else None,
            "has_more": page.has_more,
            "first_id": page.records[0].id if page.records else None,
            "last_id": last,
        }


async def read(files: FileStore, tenant: Tenant, query: QueryParams) -> Page:
    """Raises CallerError, naming the parameter, and FileNotFound for a place that is no id."""
    for name in REFUSED:
        if name in query:
            raise CallerError(f"The parameter '{name}' is not taken here.", name)
    ids = list(dict.fromkeys(query.getlist("ids[]") + query.getlist("ids")))
    if not ids:
        limit = whole_number(query.get("limit", str(LISTED_BY_DEFAULT)), LISTED, "limit", "parameter")
        return await read_page(files, tenant, Listing(None, limit, "desc", read_place(query)))
    if len(ids) > MOST_IDS or any(name in query for name in ("limit", "page", "after_id")):
        raise CallerError(f"The parameter 'ids' holds at most {MOST_IDS}, and goes with no other.", "ids")
    # One look for all of them: in a bucket, each would read the whole catalogue of the tenant anew.
    known = {each.id: each for each in await files.page(tenant, Listing(None, EVERY, "desc", None))}
    return Page([known[each] for each in ids if each in known], has_more=False)


def read_place(query: QueryParams) -> str | None:
    """The id after which a page begins."""
    page, after = query.get("page"), query.get("after_id")
    if page is not None and after is not None:
        raise CallerError("The parameters 'page' and 'after_id' do not go together.", "page")
    place = after if page is None else page.removeprefix(PAGE)
    if place is not None and not FILE_ID.fullmatch(place):
        raise FileNotFound("There is no such file.", "after_id" if page is None else "page")
    return place


def as_date(seconds: int) -> str:
    """RFC 3339."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
