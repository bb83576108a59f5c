"""/v1/files: uploads, lists, contents, deletion, in either dialect."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from urllib.parse import quote

from starlette.datastructures import QueryParams
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from server.admission.keys import KeyRing
from server.api.files.anthropic import AnthropicFiles
from server.api.files.dialect import Dialect
from server.api.files.openai import OpenAIFiles
from server.api.files.upload import IN_FLIGHT, read_upload
from server.api.leaving import ClientLeft, UntilCallerLeaves
from server.api.routes import Account
from server.api.wire import header
from server.domain import Tenant
from server.engines.pool import EnginePool
from server.errors import FilesNotEnabled, WrongMethod
from server.files.record import FileRecord
from server.files.store import FileStore, Inspect
from server.memory import ByteBudget, Holding
from server.metrics import Metrics

OPENAI, ANTHROPIC = OpenAIFiles(), AnthropicFiles()


@dataclass(frozen=True, slots=True)
class Call:
    """One request of a known tenant."""

    scope: Scope
    receive: Receive
    dialect: Dialect
    tenant: Tenant
    holding: Holding

    @property
    def file_id(self) -> str:
        return str(self.scope["path_params"]["id"])


Handler = Callable[[FileStore, Call], Awaitable[ASGIApp]]


class FilesEndpoint:
    """One path of the files API. Accounts for every request exactly once, however it ends."""

    def __init__(
        self,
        store: FileStore | None,
        handlers: Mapping[str, Handler],
        keys: KeyRing,
        budget: ByteBudget,
        metrics: Metrics,
        pool: EnginePool,
    ) -> None:
        self._store = store
        self._handlers = handlers
        self._keys = keys
        self._budget = budget
        self._metrics = metrics
        self._pool = pool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        account = Account("files", self._metrics, self._pool)
        with account, self._budget.hold() as holding:
            handler = self._handlers.get(scope["method"])
            if handler is None:
                raise WrongMethod(f"Use {' or '.join(self._handlers)} here.")
            tenant = await self._keys.authenticate(scope["headers"], "files")
            if self._store is None:
                raise FilesNotEnabled("No files are kept here: the operator may set files.path.")
            dialect = ANTHROPIC if is_anthropic(scope) else OPENAI
            response = await handler(self._store, Call(scope, receive, dialect, tenant, holding))
            await response(scope, receive, send)


class FileContent:
    """A file's bytes as they come; what reads them is closed when the caller leaves."""

    def __init__(self, record: FileRecord, chunks: AsyncGenerator[bytes, None]) -> None:
        self._record = record
        self._chunks = chunks
        self._complete = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._chunks):
            try:
                with UntilCallerLeaves(scope):
                    await self._send(send)
            except ClientLeft:
                if not self._complete:
                    raise

    async def _send(self, send: Send) -> None:
        # It is never shown as a page of ours, whatever it holds.
        headers = {
            "content-type": self._record.media_type,
            "content-length": str(self._record.bytes),
            "content-disposition": f"attachment; filename*=UTF-8''{quote(self._record.filename, safe='')}",
            "x-content-type-options": "nosniff",
            "cache-control": "private, no-store",
        }
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": pairs})
        async for chunk in self._chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        self._complete = True
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def make_file_routes(
    store: FileStore | None,
    inspect: Inspect,
    max_bytes: int,
    timeout_s: float,
    keys: KeyRing,
    budget: ByteBudget,
    metrics: Metrics,
    pool: EnginePool,
    removed: Callable[[Tenant, FileRecord], None],
) -> list[BaseRoute]:
    """The routes; without a `store` each says that there is none. `removed` hears of every file that is gone."""

    async def upload(files: FileStore, call: Call) -> ASGIApp:
        await call.holding.take(IN_FLIGHT)
        async with files.receive(call.tenant) as place:
            said = await read_upload(call.scope, call.receive, call.dialect, place, max_bytes, timeout_s)
            call.holding.give(IN_FLIGHT)
            record = await files.keep(call.tenant, place, said, inspect, call.holding)
        return JSONResponse(call.dialect.describe(record))

    async def delete_file(files: FileStore, call: Call) -> ASGIApp:
        removed(call.tenant, await files.remove(call.tenant, call.file_id))
        return JSONResponse(call.dialect.describe_deleted(call.file_id))

    handlers: dict[str, dict[str, Handler]] = {
        "/v1/files": {"GET": list_files, "POST": upload},
        "/v1/files/{id}": {"GET": get_file, "DELETE": delete_file},
        "/v1/files/{id}/content": {"GET": get_content},
    }
    return [
        Route(path, FilesEndpoint(store, methods, keys, budget, metrics, pool))
        for path, methods in handlers.items()
    ]


def is_anthropic(scope: Scope) -> bool:
    """Whether a request for /v1/files, which both APIs have, is of Anthropic's."""
    return header(scope, b"anthropic-version") is not None


async def list_files(files: FileStore, call: Call) -> ASGIApp:
    query = QueryParams(call.scope["query_string"])
    return JSONResponse(await call.dialect.list_files(files, call.tenant, query))


async def get_file(files: FileStore, call: Call) -> ASGIApp:
    return JSONResponse(call.dialect.describe(await files.find(call.tenant, call.file_id)))


async def get_content(files: FileStore, call: Call) -> ASGIApp:
    return FileContent(*await files.open(call.tenant, call.file_id))
