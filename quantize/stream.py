"""The streaming writer: one weight file at a time, a few rows of one matrix at a time, whatever the model's size.

Peak memory is a few chunks a thread. Kept tensors are copied inside the kernel (`copy_file_range`).
"""

import errno
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantize import fp8
from quantize.checkpoint import StoredTensor
from quantize.durable import disk_errors, hash_file
from quantize.errors import DamagedShard
from quantize.weights_file import SCALE, SCALE_BYTES, Output, layout, make_header

CHUNK_BYTES = 2 * 1024 * 1024
NO_KERNEL_COPY = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})
Progress = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of one matrix: where they are read, and where their codes and scales go (`codes_at`, `scales_at`).

    `start`, `codes_at` and `scales_at` in bytes; `stride` as in `Output`.
    """

    name: str
    source: Path
    dtype: str
    start: int
    shape: tuple[int, int]
    stride: int
    codes_at: int
    scales_at: int


def write_weights(
    path: Path, outputs: list[Output], sources: Mapping[str, StoredTensor], workers: int, progress: Progress
) -> str:
    """Write one safetensors file, durable once this returns, and return its SHA-256.

    `progress` is called with bytes of the source as they are done. Raises DiskError, DamagedShard.
    """
    header = make_header(outputs)
    places = {output.name: len(header) + start for output, (start, _) in layout(outputs).items()}
    with disk_errors(path), path.open("wb+") as stream:
        target = stream.fileno()
        os.truncate(target, len(header) + sum(output.size for output in outputs))
        write_all(target, header, 0)
        for output in outputs:
            if output.made == "copy":
                copy_bytes(sources[output.source], target, places[output.name], progress)
        own = threading.local()
        with ThreadPoolExecutor(workers, initializer=lambda: setattr(own, "space", fp8.Workspace())) as pool:
            work = make_work(outputs, places, sources)
            for done in pool.map(lambda rows: quantize_into(rows, target, own.space), work):
                progress(done)
        os.fsync(target)
    return hash_file(path)


def copy_bytes(tensor: StoredTensor, target: int, at: int, progress: Progress) -> None:
    with tensor.file.open("rb") as stream:
        source, start, left = stream.fileno(), tensor.start, tensor.size
        while left:
            done = _copy_some(source, start, target, at, min(left, CHUNK_BYTES))
            if not done:
                raise DamagedShard(f"{tensor.file} became shorter while it was read")
            start, at, left = start + done, at + done, left - done
            progress(done)


def _copy_some(source: int, start: int, target: int, at: int, count: int) -> int:
    try:
        done = os.copy_file_range(source, target, count, start, at)
    except OSError as problem:
        if problem.errno not in NO_KERNEL_COPY:
            raise
        done = 0
    if done:  # some file systems copy nothing and call it success
        return done
    return os.pwrite(target, os.pread(source, count, start), at)


def make_work(
    outputs: list[Output], places: Mapping[str, int], sources: Mapping[str, StoredTensor]
) -> Iterator[Rows]:
    """Every quantized matrix in chunks of rows."""
    for output in outputs:
        if output.made == "codes":
            yield from in_chunks(output, sources[output.source], places[output.name], places[output.name + SCALE])


def in_chunks(output: Output, source: StoredTensor, codes_at: int, scales_at: int) -> Iterator[Rows]:
    """One matrix, its codes and scales to lie at these bytes. One that lies transposed comes whole (experts do)."""
    rows, columns = output.shape
    step = rows if output.stride else max(1, CHUNK_BYTES // (2 * columns))
    for row in range(0, rows, step):
        yield Rows(
            output.name,
            source.file,
            source.dtype,
            source.start + output.offset + row * columns * 2,
            (min(step, rows - row), columns),
            output.stride,
            codes_at + row * columns,
            scales_at + row * SCALE_BYTES,
        )


def quantize_into(rows: Rows, target: int, space: fp8.Workspace) -> int:
    """Read, quantize and write; returns the bytes of the source that are done. Raises DamagedShard."""
    try:
        codes, scales = fp8.quantize_rows(read_rows(rows, space), rows.dtype, space)
    except fp8.NotFinite:
        raise DamagedShard(f"{rows.source}: {rows.name} holds NaN or infinity: fetch it again") from None
    write_all(target, codes.data, rows.codes_at)
    write_all(target, scales.data, rows.scales_at)
    return codes.size * 2


def read_rows(rows: Rows, space: fp8.Workspace) -> fp8.Words:
    """The bits of the weights, uint16 [rows, columns], in an array of `space`. Raises DamagedShard."""
    count, columns = rows.shape
    elements = (columns - 1) * rows.stride + count if rows.stride else count * columns
    weights = space.array("weights", np.uint16, (columns * rows.stride if rows.stride else elements,))
    read_into(rows.source, rows.start, weights[:elements])
    if rows.stride:
        return np.ascontiguousarray(weights.reshape(columns, rows.stride)[:, :count].T)
    return weights.reshape(count, columns)


def read_into(path: Path, start: int, array: NDArray[np.generic]) -> None:
    """Fill it from byte `start` on. Raises DamagedShard."""
    left = array.view(np.uint8).data
    with path.open("rb", buffering=0) as stream:
        stream.seek(start)
        while left:
            done = stream.readinto(left)
            if not done:
                raise DamagedShard(f"{path} became shorter while it was read")
            left = left[done:]


def write_all(target: int, data: bytes | memoryview, at: int) -> None:
    left = memoryview(data).cast("B")
    while left:
        done = os.pwrite(target, left, at)
        left, at = left[done:], at + done
