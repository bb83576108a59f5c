"""BLAKE3 of every tensor that an embedding depends on, hashed once for as long as its file stays as it is.

Digests are kept in `fovea-vision.json` beside the checkpoint, by each file's size, times and header; whoever may
not write there has them in a folder of its own. What somebody wrote there who can write the checkpoint is believed:
the same hand could have changed the weights.
"""

import contextlib
import json
import mmap
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from blake3 import blake3

from server.engine.encoder_cache.checkpoint import Header, NoFingerprint, Tensor, read_header, weight_files
from server.engine.encoder_cache.sight import sight_of

NAME = "fovea-vision.json"
HEX = re.compile(r"[0-9a-f]{64}")
MOST_CACHE_BYTES = 64 << 20
MOST_THREADS = 8
# Written less than this ago, a file may be written again without that its time tells.
RACY_S = 2.0
# Of a file: what its digests are believed for. Its change time cannot be set back as its modification time can, by
# those who build images with one time for all files.
Key = dict[str, int | str]
Digests = dict[str, str]


def digest_sight(folder: Path, family: str, prunes_videos: bool, cache_folder: Path) -> list[tuple[Tensor, str]]:
    """Every tensor of the sight with its digest. Raises NoFingerprint."""
    places = [folder / NAME, cache_folder / f"{blake3(os.fsencode(folder.resolve())).hexdigest()[:32]}.json"]
    known = read_known(places)
    found: list[tuple[Tensor, str]] = []
    records: dict[str, Any] = {}
    hashed = False
    for path in weight_files(folder):
        try:
            header, key = read_key(path)
            sight = sight_of(header.tensors, family, prunes_videos)
            digests = known_digests(known.get(path.name), key, sight)
            if digests is None:
                digests, hashed = digest_tensors(path, sight), True
                if read_key(path)[1] != key:
                    raise NoFingerprint(f"{path} was changed while it was read")
        except OSError as problem:
            raise NoFingerprint(f"{path}: {problem.strerror}") from problem
        found += [(tensor, digests[tensor.name]) for tensor in sight]
        if time.time() - int(key["ctime_ns"]) / 1e9 > RACY_S:
            records[path.name] = {**key, "tensors": digests}
    if hashed:
        write_known(places, records)
    return found


def read_key(path: Path) -> tuple[Header, Key]:
    header, stat = read_header(path), path.stat()
    return header, {
        "size": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
        "ctime_ns": stat.st_ctime_ns,
        "header": header.digest,
    }


def known_digests(record: Any, key: Key, sight: Sequence[Tensor]) -> Digests | None:
    """Those of `sight`, where the record is of this very file and has them all."""
    if not isinstance(record, dict) or {name: record.get(name) for name in key} != key:
        return None
    held = record.get("tensors")
    if not isinstance(held, dict):
        return None
    digests = {tensor.name: str(held.get(tensor.name)) for tensor in sight}
    return digests if all(HEX.fullmatch(digest) for digest in digests.values()) else None


def digest_tensors(path: Path, tensors: Sequence[Tensor]) -> Digests:
    """Some at a time, each in a thread: BLAKE3 lets go of the interpreter."""
    if not tensors:
        return {}
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        with contextlib.suppress(OSError):
            mapped.madvise(mmap.MADV_SEQUENTIAL)
        with ThreadPoolExecutor(min(MOST_THREADS, len(os.sched_getaffinity(0)))) as threads:
            return dict(threads.map(lambda tensor: (tensor.name, _digest(mapped, tensor)), tensors))


def _digest(mapped: mmap.mmap, tensor: Tensor) -> str:
    with memoryview(mapped) as view, view[tensor.start : tensor.start + tensor.size] as data:
        return blake3(data).hexdigest()


def read_known(places: Sequence[Path]) -> dict[str, Any]:
    """What was kept of each file, or nothing: a damaged file is as good as none."""
    for place in places:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            if place.stat().st_size > MOST_CACHE_BYTES:
                continue
            content = json.loads(place.read_bytes())
            if content["sum"] == sum_of(content["files"]) and isinstance(content["files"], dict):
                return dict(content["files"])
    return {}


def write_known(places: Sequence[Path], records: dict[str, Any]) -> None:
    """In the first place that takes it; nowhere is no error: it is hashed again next time."""
    text = json.dumps({"files": records, "sum": sum_of(records)})
    for place in places:
        with contextlib.suppress(OSError):
            if place is not places[0]:
                place.parent.mkdir(parents=True, exist_ok=True)
            with _replacing(place) as stream:
                stream.write(text)
            return


@contextlib.contextmanager
def _replacing(place: Path) -> Iterator[Any]:
    """Whole or not at all, and for all to read."""
    with tempfile.NamedTemporaryFile("w", dir=place.parent, prefix=f".{NAME}.", delete=False) as stream:
        try:
            yield stream
            stream.flush()
            os.fchmod(stream.fileno(), 0o644)
            os.replace(stream.name, place)
        except BaseException:
            os.unlink(stream.name)
            raise


def sum_of(records: Any) -> str:
    return blake3(json.dumps(records, sort_keys=True).encode()).hexdigest()
