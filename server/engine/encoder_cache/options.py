"""What the embedding cache is told: `ec_connector_extra_config` of vLLM's --ec-transfer-config, checked.

The launcher writes it (`cache_options.py`); the connector's halves read it. The shared tier's URL may hold a
password and vLLM logs its arguments, so that one comes by the environment.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from server.engine.encoder_cache.entry import Encoding
from server.engine.encoder_cache.ledger import read_sums

SHARED_VARIABLE = "FOVEA_EMBEDDING_CACHE_SHARED"
MIB = 1 << 20
GIB = 1 << 30
HOST_BYTES = GIB
HOST_BYTES_ON_CPU = 256 * MIB
DISK_BYTES = 20 * GIB
# A look-up that takes longer is worth less than to encode the picture again, which takes a CPU seconds.
LOOKUP_WAIT_S = 0.25
LOOKUP_WAIT_S_ON_CPU = 2.0
COMPRESSIONS: dict[str, Encoding] = {"none": "raw", "fp8-row": "fp8-row"}


class BadOptions(Exception):
    """The engine must not start with these: one sentence that says why."""


@dataclass(frozen=True, slots=True)
class Options:
    """`host_bytes`, `disk_bytes` and `lookup_wait_s` 0: what suits this machine. `shared`: a redis:// URL or a
    folder that several engines reach."""

    folder: str = ""
    disk_bytes: int = 0
    host_bytes: int = 0
    shared: str = ""
    shared_bytes: int = 100 * GIB
    ttl_s: float = 0.0
    queue_bytes: int = 256 * MIB
    lookup_wait_s: float = 0.0
    compress: str = "none"


def read_options(given: Mapping[str, Any], environ: Mapping[str, str]) -> Options:
    """Raises BadOptions for a name that is none of ours, a wrong type, or a number below zero."""
    known = {field.name: type(getattr(Options(), field.name)) for field in fields(Options)}
    if unknown := sorted(given.keys() - known.keys()):
        raise BadOptions(f"the embedding cache knows no {', '.join(unknown)}; it knows {', '.join(sorted(known))}")
    for name, value in given.items():
        kind = (int, float) if known[name] is float else known[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise BadOptions(f"the embedding cache's {name} must be of type {known[name].__name__}")
        if isinstance(value, int | float) and not 0 <= value < float("inf"):
            raise BadOptions(f"the embedding cache's {name} must not be below zero")
    options = Options(**{"shared": environ.get(SHARED_VARIABLE, ""), **given})
    if options.compress not in COMPRESSIONS:
        raise BadOptions(f"the embedding cache's compress must be one of {', '.join(COMPRESSIONS)}")
    if "://" in options.shared:
        check_store(options.shared)
    return options


def check_store(url: str) -> None:
    """Raises BadOptions, which does not quote the URL: it may hold a password."""
    try:
        # vLLM may be anybody's own, and only this tier needs redis.
        from server.engine.encoder_cache.redis_line import check_url
    except ImportError:
        raise BadOptions(
            "the embedding cache's shared tier needs redis beside vLLM: pip install 'redis>=8'"
        ) from None
    try:
        check_url(url)
    except ValueError as problem:
        raise BadOptions(f"the embedding cache: {problem}") from None


def encoding_of(options: Options) -> Encoding:
    return COMPRESSIONS[options.compress]


def folder_of(options: Options, environ: Mapping[str, str]) -> Path:
    if options.folder:
        return Path(options.folder).expanduser()
    caches = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".cache")
    return Path(caches) / "fovea" / "embeddings"


def disk_bytes_of(options: Options, folder: Path) -> int:
    """As set; else 20 GiB, but never more than half of what would be free without the cache, which must not shrink
    from one start to the next by what it holds."""
    if options.disk_bytes:
        return options.disk_bytes
    nearest = next((each for each in (folder, *folder.parents) if each.exists()), Path("/"))
    try:
        return min(DISK_BYTES, (shutil.disk_usage(nearest).free + held_bytes(folder)) // 2)
    except OSError:
        return DISK_BYTES


def held_bytes(folder: Path) -> int:
    try:
        sums = read_sums(str(folder))
    except OSError:
        return 0
    return sums.used_bytes if sums else 0


def host_bytes_of(options: Options, device: str) -> int:
    return options.host_bytes or (HOST_BYTES_ON_CPU if device == "cpu" else HOST_BYTES)


def lookup_wait_s_of(options: Options, device: str) -> float:
    return options.lookup_wait_s or (LOOKUP_WAIT_S_ON_CPU if device == "cpu" else LOOKUP_WAIT_S)


def options_here(given: Mapping[str, Any]) -> Options:
    return read_options(given, os.environ)
