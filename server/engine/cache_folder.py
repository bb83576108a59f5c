"""Whether embeddings can be kept in a folder: tried by the launcher, before vLLM is loaded.

A running engine counts whatever a folder does to it as misses, so that nobody may notice one that never worked.
"""

import errno
import tempfile
from pathlib import Path

from server.engine.encoder_cache.ledger import open_ledger

WAIT_S = 2.0
# As much as an embedding of a middling picture.
ROOM_BYTES = 1 << 20


def why_unusable(folder: Path) -> str:
    """Of the kernel's own words; "" where it can be used. Makes the folder where there is none.

    A full disk is a reason only where nothing is kept yet: what is kept can be read, and makes room.
    """
    try:
        with open_ledger(str(folder), WAIT_S) as ledger:
            sums = ledger.read()
        if sums is None or not sums.used_bytes:
            write_in(folder)
    except OSError as problem:
        if problem.errno == errno.ETIMEDOUT:  # it works, for others
            return ""
        return problem.strerror or type(problem).__name__
    return ""


def write_in(folder: Path) -> None:
    """To a file without a name, which is gone however this ends. Raises OSError."""
    with tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(bytes(ROOM_BYTES))
        probe.flush()
