"""One embedding as bytes: a header that says whose it is and proves it, then the payload. Every tier stores these.

An entry is only ever served when its magic, version, header sum, namespace, key, shape, length and payload sum are
all right, so whatever else lies where an entry should be is a miss. The sums find accidents: BLAKE3 without a key
is no signature, and who may write to a tier may write what is served from it.
"""

import math
import struct
from dataclasses import dataclass
from typing import Literal

from blake3 import blake3

Encoding = Literal["raw", "fp8-row"]
Reason = Literal["foreign", "version", "truncated", "checksum", "key", "namespace", "shape"]

MAGIC = b"FOVEAEMB"
VERSION = 1
HEADER_BYTES = 256
HEADER_SUM_BYTES = 16
MAX_DIMENSIONS = 4
ENCODINGS: tuple[Encoding, ...] = ("raw", "fp8-row")
ITEM_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}
SCALE_BYTES = 4

# magic, version, encoding, dimensions, dtype, shape, payload bytes, created, namespace, key, sum of the payload;
# then zeros up to the header's own sum, which covers everything before it.
FIELDS = struct.Struct("<8sHBB12s4QQd32s32s32s")
PREFIX = struct.Struct("<8sH")
ZEROS = bytes(HEADER_BYTES - HEADER_SUM_BYTES - FIELDS.size)


class BadEntry(Exception):
    """What was read is not the entry that was asked for. `reason` is one of a few words, for counters."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


@dataclass(frozen=True, slots=True)
class Embedding:
    """A picture's embedding on the host. `data` is `shape` of `dtype` as they lie in memory, or, where the encoding
    is "fp8-row", its codes of one byte followed by one float32 scale a row.
    """

    key: str
    shape: tuple[int, ...]
    dtype: str
    encoding: Encoding
    data: memoryview
    created_s: float


@dataclass(frozen=True, slots=True)
class Header:
    """What a header that proved whole says. `payload_sum` is what the payload is still to be held against."""

    namespace: str
    key: str
    shape: tuple[int, ...]
    dtype: str
    encoding: Encoding
    payload_bytes: int
    created_s: float
    payload_sum: bytes


def key_of(identifier: str) -> str:
    """64 hex digits for vLLM's identifier of a picture (any string): no identifier is ever part of a path."""
    return blake3(identifier.encode("utf-8", "surrogatepass")).hexdigest()


def payload_bytes_of(shape: tuple[int, ...], dtype: str, encoding: Encoding) -> int:
    """Raises KeyError where the dtype is none of ours."""
    items = math.prod(shape)
    if encoding == "fp8-row":
        return items + SCALE_BYTES * math.prod(shape[:-1])
    return items * ITEM_BYTES[dtype]


def pack(embedding: Embedding, namespace: str) -> tuple[bytes, memoryview]:
    """The header and the payload (the embedding's own memory: no copy). `namespace` and the key are 64 hex digits.

    Raises ValueError for an embedding that no reader would take back.
    """
    payload = embedding.data.cast("B")
    shape = embedding.shape
    if not 1 <= len(shape) <= MAX_DIMENSIONS or min(shape) < 1 or embedding.dtype not in ITEM_BYTES:
        raise ValueError(f"no entry can hold {embedding.dtype} of shape {shape}")
    if len(payload) != payload_bytes_of(shape, embedding.dtype, embedding.encoding):
        raise ValueError(f"{len(payload)} bytes are not {embedding.dtype} of shape {shape}")
    head = FIELDS.pack(
        MAGIC,
        VERSION,
        ENCODINGS.index(embedding.encoding),
        len(shape),
        embedding.dtype.encode(),
        *shape,
        *(0,) * (MAX_DIMENSIONS - len(shape)),
        len(payload),
        embedding.created_s,
        digest_of(namespace),
        digest_of(embedding.key),
        blake3(payload).digest(),
    )
    head += ZEROS
    return head + blake3(head).digest(HEADER_SUM_BYTES), payload


def unpack(raw: memoryview | bytes, namespace: str, key: str) -> Embedding:
    """The embedding of that key, its data a view into `raw`. Raises BadEntry for anything else."""
    view = memoryview(raw).cast("B")
    header = read_header(view, namespace, key)
    payload = view[HEADER_BYTES:]
    if len(payload) != header.payload_bytes:
        raise BadEntry("truncated")
    if blake3(payload).digest() != header.payload_sum:
        raise BadEntry("checksum")
    return Embedding(key, header.shape, header.dtype, header.encoding, payload, header.created_s)


def read_header(raw: memoryview | bytes, namespace: str | None = None, key: str | None = None) -> Header:
    """What the first HEADER_BYTES say. Raises BadEntry, also for another namespace or key than the given."""
    head = bytes(raw[:HEADER_BYTES])
    if not head.startswith(MAGIC):
        raise BadEntry("truncated" if MAGIC.startswith(head) else "foreign")
    if len(head) < HEADER_BYTES:
        raise BadEntry("truncated")
    if PREFIX.unpack_from(head)[1] != VERSION:
        raise BadEntry("version")
    covered = head[:-HEADER_SUM_BYTES]
    if blake3(covered).digest(HEADER_SUM_BYTES) != head[-HEADER_SUM_BYTES:]:
        raise BadEntry("checksum")
    header = parse_fields(covered)
    if namespace is not None and header.namespace != namespace:
        raise BadEntry("namespace")
    if key is not None and header.key != key:
        raise BadEntry("key")
    return header


def parse_fields(covered: bytes) -> Header:
    """Of a header whose sum is right: what is wrong now was written wrong. Raises BadEntry."""
    _, _, encoding, dimensions, dtype, *rest = FIELDS.unpack_from(covered)
    sizes, (payload_bytes, created_s, namespace, key, payload_sum) = rest[:MAX_DIMENSIONS], rest[MAX_DIMENSIONS:]
    name = dtype.rstrip(b"\0").decode("ascii", "replace")
    shape = tuple(sizes[:dimensions])
    if encoding >= len(ENCODINGS) or name not in ITEM_BYTES or not 1 <= dimensions <= MAX_DIMENSIONS:
        raise BadEntry("shape")
    if min(shape) < 1 or any(sizes[dimensions:]) or not math.isfinite(created_s):
        raise BadEntry("shape")
    if payload_bytes != payload_bytes_of(shape, name, ENCODINGS[encoding]):
        raise BadEntry("shape")
    return Header(
        namespace.hex(), key.hex(), shape, name, ENCODINGS[encoding], payload_bytes, created_s, payload_sum
    )


def digest_of(name: str) -> bytes:
    """Raises ValueError unless it is 64 lowercase hex digits."""
    digest = bytes.fromhex(name)
    if digest.hex() != name or len(digest) != 32:
        raise ValueError("a namespace and a key are 64 hex digits each")
    return digest
