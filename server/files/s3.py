"""A bucket of S3, and files' bytes in it."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import ObjectStore, S3Store

from server.errors import FileStoreFailed
from server.files.blobs import CHUNK
from server.files.incoming import Part
from server.metrics import Metrics


def open_bucket(name: str, prefix: str, endpoint: str | None, region: str) -> ObjectStore:
    """A client of one bucket; credentials come from AWS's own variables and services. Connects to nothing."""
    place: dict[str, Any] = {} if endpoint is None else {"endpoint": endpoint}
    return S3Store(
        name,
        prefix=prefix or None,
        region=region,
        client_options={
            "allow_http": (endpoint or "").startswith("http://"),
            "connect_timeout": timedelta(seconds=5),
            "timeout": timedelta(seconds=60),
        },
        retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=20)},
        **place,
    )


class Bucket:
    """The only place where a bucket's errors become ours."""

    def __init__(self, store: ObjectStore, metrics: Metrics) -> None:
        self.store = store
        self._metrics = metrics

    @contextmanager
    def errors(self) -> Iterator[None]:
        try:
            yield
        except (AlreadyExistsError, PreconditionError):
            raise
        except (BaseError, OSError, ValueError) as problem:
            self._metrics.file_failures.labels("s3", "failed").inc()
            raise FileStoreFailed("The store of files does not answer.") from problem

    async def get(self, path: str) -> "obstore.GetResult | None":
        with self.errors():
            try:
                return await obstore.get_async(self.store, path)
            except FileNotFoundError as problem:
                # A bucket that is not there is no answer to whether a file is.
                if "NoSuchBucket" in str(problem):
                    self._metrics.file_failures.labels("s3", "failed").inc()
                    raise FileStoreFailed("The store of files does not answer.") from problem
                return None


class S3Blobs:
    """`blobs`/NAME for each; what is larger than a few MB is sent in pieces."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def publish(self, part: Part, name: str) -> None:
        with self._bucket.errors():
            await obstore.put_async(self._bucket.store, f"blobs/{name}", part.path, max_concurrency=2)

    async def read(self, name: str) -> bytes | None:
        found = await self._bucket.get(f"blobs/{name}")
        if found is None:
            return None
        with self._bucket.errors():
            return bytes(await found.bytes_async())

    async def open(self, name: str) -> AsyncGenerator[bytes, None] | None:
        found = await self._bucket.get(f"blobs/{name}")
        return None if found is None else self._chunks(found)

    async def _chunks(self, found: "obstore.GetResult") -> AsyncGenerator[bytes, None]:
        with self._bucket.errors():
            async for chunk in found.stream(min_chunk_size=CHUNK):
                yield bytes(chunk)

    async def delete(self, names: list[str]) -> None:
        with self._bucket.errors():
            await obstore.delete_async(self._bucket.store, [f"blobs/{name}" for name in names])

    async def older_than(self, age_s: float) -> AsyncGenerator[list[str], None]:
        before = datetime.now(UTC) - timedelta(seconds=age_s)
        batches = obstore.list(self._bucket.store, "blobs", chunk_size=500)
        with self._bucket.errors():
            async for batch in batches:
                yield [each["path"].removeprefix("blobs/") for each in batch if each["last_modified"] < before]

    async def close(self) -> None:
        pass
