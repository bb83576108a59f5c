"""Sets up the gateway's process for large bodies beside many small answers. Each was measured (`loadtest`)."""

import ctypes
import gc

# malloc.h of glibc; what has no mallopt (musl) has none of these habits either.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -2, -3, -8
MALLOC = {
    # Memory of bodies is kept for the next ones: given back and asked for again it costs a page fault for every
    # 4 KiB, a thousand for a photograph, and holds up the event loop while the kernel fills them with zeros.
    M_TRIM_THRESHOLD: 512 * 1024 * 1024,
    M_MMAP_THRESHOLD: 32 * 1024 * 1024,
    M_TOP_PAD: 16 * 1024 * 1024,
    # One heap for all threads: what a body's thread gives back, an image's thread takes.
    M_ARENA_MAX: 1,
}
# Of objects, between collections. A pause for all of them is tens of milliseconds; requests leave no circles
# behind (`server.api.let_go`).
COLLECT_AFTER = (50_000, 50, 100)

# Besides two for each caller (its connection, and its request's at an engine): fetches, probes, files.
SPARE_FILES = 512


def files_for(connections: int) -> int:
    """Open files that a gateway may need."""
    return 2 * connections + SPARE_FILES


def tune_process() -> None:
    """Once, when all is imported and nothing served: what there is then is never looked at again."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for parameter, value in MALLOC.items():
            libc.mallopt(parameter, value)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
