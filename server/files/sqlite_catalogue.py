"""The catalogue of the embedded store: SQLite, shared by all gateways of one machine."""

import asyncio
import fcntl
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import astuple, fields, replace
from pathlib import Path
from typing import TypeVar

from server.errors import ConfigError, FileQuotaExceeded, FileStoreFailed, FileStoreFull
from server.files.record import FileRecord, Listing, Removed, Usage
from server.metrics import Metrics

T = TypeVar("T")
VERSION = 1
BUSY_TIMEOUT_S = 5
COLUMNS = ", ".join(field.name for field in fields(FileRecord))
# What is counted, and which bytes are shared, is read off the rows each time: there is no sum that could drift.
SCHEMA = """
BEGIN;
CREATE TABLE files (
    tenant TEXT NOT NULL, id TEXT NOT NULL, purpose TEXT NOT NULL, filename TEXT NOT NULL, media_type TEXT NOT NULL,
    bytes INTEGER NOT NULL, digest TEXT NOT NULL, blob TEXT NOT NULL,
    created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX files_by_digest ON files (tenant, digest);
CREATE INDEX files_by_blob ON files (blob);
CREATE INDEX files_by_expiry ON files (expires_at);
PRAGMA user_version = 1;
COMMIT;
"""


class SqliteCatalogue:
    """One thread writes and one reads, each with a connection of its own: readers never wait for writers (WAL)."""

    def __init__(self, path: Path, metrics: Metrics) -> None:
        """Raises ConfigError where the file cannot be opened, or is not a sound catalogue."""
        self._metrics = metrics
        try:
            self._writes = open_catalogue(path)
            self._reads = connect(path)
        except (sqlite3.Error, OSError) as problem:
            raise ConfigError(f"files.path: cannot use {path}: {problem}") from problem
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="files-write")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="files-read")

    async def close(self) -> None:
        for thread, connection in ((self._reader, self._reads), (self._writer, self._writes)):
            await asyncio.get_running_loop().run_in_executor(thread, connection.close)
            thread.shutdown(wait=False)

    async def usage(self, tenant: str, now: int) -> Usage:
        return await self._read(lambda: used(self._reads, tenant, now))

    async def find(self, tenant: str, file_id: str, now: int) -> FileRecord | None:
        question = f"SELECT {COLUMNS} FROM files WHERE tenant = ? AND id = ? AND expires_at > ?"  # noqa: S608
        row = await self._read(lambda: self._reads.execute(question, (tenant, file_id, now)).fetchone())
        return FileRecord(*row) if row else None

    async def page(self, tenant: str, wanted: Listing, now: int) -> list[FileRecord]:
        beyond, direction = (">", "ASC") if wanted.order == "asc" else ("<", "DESC")
        question = f"SELECT {COLUMNS} FROM files WHERE tenant = ? AND expires_at > ?"  # noqa: S608
        values: list[object] = [tenant, now]
        if wanted.after is not None:
            question += f" AND id {beyond} ?"
            values.append(wanted.after)
        if wanted.purpose is not None:
            question += " AND purpose = ?"
            values.append(wanted.purpose)
        question += f" ORDER BY id {direction} LIMIT ?"
        rows = await self._read(lambda: self._reads.execute(question, [*values, wanted.limit]).fetchall())
        return [FileRecord(*row) for row in rows]

    async def add(self, tenant: str, record: FileRecord, quota: Usage, now: int) -> str | None:
        return await self._write(lambda: add(self._writes, tenant, record, quota, now))

    async def remove(self, tenant: str, file_id: str, now: int) -> Removed | None:
        return await self._write(lambda: remove(self._writes, tenant, file_id, now))

    async def holds(self, tenant: str | None, digest: str, now: int) -> bool:
        question, values = "SELECT 1 FROM files WHERE digest = ? AND expires_at > ?", [digest, now]
        if tenant is not None:
            question, values = question + " AND tenant = ?", [*values, tenant]
        row = await self._read(lambda: self._reads.execute(question + " LIMIT 1", values).fetchone())
        return row is not None

    async def expire(self, now: int, most: int) -> tuple[int, list[str]]:
        return await self._write(lambda: expire(self._writes, now, most))

    async def named(self, blobs: Sequence[str]) -> set[str]:
        question = f"SELECT DISTINCT blob FROM files WHERE blob IN ({', '.join('?' * len(blobs))})"  # noqa: S608
        rows = await self._read(lambda: self._reads.execute(question, list(blobs)).fetchall())
        return {row[0] for row in rows}

    async def _read(self, work: Callable[[], T]) -> T:
        with self._errors():
            return await asyncio.get_running_loop().run_in_executor(self._reader, work)

    async def _write(self, work: Callable[[], T]) -> T:
        with self._errors():
            return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """The only place where SQLite's errors become ours."""
        try:
            yield
        except sqlite3.Error as problem:
            full = getattr(problem, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
            self._metrics.file_failures.labels("catalogue", "full" if full else "failed").inc()
            if full:
                raise FileStoreFull("There is no room left for files.") from problem
            raise FileStoreFailed("The catalogue of files does not answer.") from problem


def connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous = FULL")  # what has been answered outlives a power cut
    return connection


def open_catalogue(path: Path) -> sqlite3.Connection:
    """A connection to the catalogue, made where it is not there: by one gateway while the others wait."""
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path.touch(mode=0o600)
        connection = connect(path)
        connection.execute("PRAGMA journal_mode = WAL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            connection.executescript(SCHEMA)
            version = VERSION
        if version != VERSION:
            raise sqlite3.DatabaseError(f"it is of version {version}, this gateway reads {VERSION}")
        # Came later. Gateways that do not know it yet name their columns, and go on.
        if not any(row[1] == "facts" for row in connection.execute("PRAGMA table_info(files)").fetchall()):
            connection.execute("ALTER TABLE files ADD COLUMN facts TEXT NOT NULL DEFAULT ''")
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError("it is damaged")
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def used(connection: sqlite3.Connection, tenant: str, now: int) -> Usage:
    question = "SELECT count(*), coalesce(sum(bytes), 0) FROM files WHERE tenant = ? AND expires_at > ?"
    return Usage(*connection.execute(question, (tenant, now)).fetchone())


def add(connection: sqlite3.Connection, tenant: str, record: FileRecord, quota: Usage, now: int) -> str | None:
    with transaction(connection):
        held = used(connection, tenant, now)
        if held.files + 1 > quota.files or held.bytes + record.bytes > quota.bytes:
            raise FileQuotaExceeded.of(quota.files, quota.bytes)
        question = "SELECT blob FROM files WHERE tenant = ? AND digest = ? LIMIT 1"
        row = connection.execute(question, (tenant, record.digest)).fetchone()
        blob: str = row[0] if row else record.blob
        if not blob:
            return None
        values = (tenant, *astuple(replace(record, blob=blob)))
        places = ", ".join("?" * len(values))
        connection.execute(f"INSERT INTO files (tenant, {COLUMNS}) VALUES ({places})", values)  # noqa: S608
    return blob


def remove(connection: sqlite3.Connection, tenant: str, file_id: str, now: int) -> Removed | None:
    with transaction(connection):
        question = f"DELETE FROM files WHERE tenant = ? AND id = ? AND expires_at > ? RETURNING {COLUMNS}"  # noqa: S608
        rows = connection.execute(question, (tenant, file_id, now)).fetchall()
        if not rows:
            return None
        record = FileRecord(*rows[0])
        return Removed(record, freed(connection, [(record.blob,)]))


def expire(connection: sqlite3.Connection, now: int, most: int) -> tuple[int, list[str]]:
    with transaction(connection):
        question = "SELECT tenant, id, blob FROM files WHERE expires_at <= ? ORDER BY expires_at LIMIT ?"
        rows = connection.execute(question, (now, most)).fetchall()
        connection.executemany("DELETE FROM files WHERE tenant = ? AND id = ?", [row[:2] for row in rows])
        return len(rows), freed(connection, [row[2:] for row in rows])


def freed(connection: sqlite3.Connection, rows: list[tuple[str]]) -> list[str]:
    """Those blobs of removed rows that no other row names."""
    question = "SELECT 1 FROM files WHERE blob = ? LIMIT 1"
    return [
        blob for blob in sorted({row[0] for row in rows}) if not connection.execute(question, (blob,)).fetchone()
    ]
