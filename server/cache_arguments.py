"""The arguments of `fovea engine` that are about the embedding cache (`engine/cache_options.py` hands them on)."""

import os
from typing import Annotated

import typer

from server.engine.cache_options import (
    OFF,
    ON,
    SHARED_VARIABLE,
    CacheOptions,
    parse_compression,
    parse_duration,
    parse_size,
)
from server.engine.encoder_cache.options import Options, folder_of
from server.errors import ConfigError

FolderArgument = Annotated[
    str,
    typer.Option(
        metavar="on|DIR|off", help="Keep pictures' embeddings beyond restarts: in the user's cache, or that folder."
    ),
]
HostArgument = Annotated[
    int | None,
    typer.Option(metavar="SIZE", parser=parse_size, help="Host memory for embeddings (1GiB; 256MiB on CPUs)."),
]
DiskArgument = Annotated[
    int | None,
    typer.Option(metavar="SIZE", parser=parse_size, help="What the folder may hold (20GiB, or half the disk)."),
]
SharedArgument = Annotated[
    str,
    typer.Option(metavar="URL|DIR", envvar=SHARED_VARIABLE, help="redis://... or a folder of several engines."),
]
SharedSizeArgument = Annotated[
    int | None, typer.Option(metavar="SIZE", parser=parse_size, help="What that folder or Redis may hold (100GiB).")
]
TtlArgument = Annotated[
    float | None,
    typer.Option(metavar="TIME", parser=parse_duration, help="Keep none longer, like 30d or 12h (for good)."),
]
WaitArgument = Annotated[
    float | None,
    typer.Option(metavar="TIME", parser=parse_duration, help="Look for one no longer, then encode (0.25s)."),
]
CompressArgument = Annotated[
    str | None,
    typer.Option(
        metavar="none|fp8-row", parser=parse_compression, help="Keep them at half the size, not exactly (none)."
    ),
]


def make_options(
    folder: str,
    host_bytes: int | None,
    disk_bytes: int | None,
    shared: str,
    shared_bytes: int | None,
    ttl_s: float | None,
    wait_s: float | None,
    compress: str | None,
) -> CacheOptions | None:
    """None: no cache. Raises ConfigError, rather than start without what something else given was meant for."""
    if not folder:
        raise ConfigError("--embedding-cache has no value: name a folder, or on, or off.")
    if folder == ON:
        folder = str(folder_of(Options(), os.environ))
    if folder != OFF:
        return CacheOptions(folder, host_bytes, disk_bytes, shared_bytes, ttl_s, wait_s, compress)
    others = {
        "--embedding-cache-host": host_bytes,
        "--embedding-cache-disk": disk_bytes,
        f"--embedding-cache-shared (or {SHARED_VARIABLE})": shared or None,
        "--embedding-cache-shared-size": shared_bytes,
        "--embedding-cache-ttl": ttl_s,
        "--embedding-cache-wait": wait_s,
        "--embedding-cache-compress": compress,
    }
    for name, value in others.items():
        if value is not None:
            raise ConfigError(
                f"{name} has no effect without --embedding-cache on (or a folder): add it, or not this."
            )
    return None
