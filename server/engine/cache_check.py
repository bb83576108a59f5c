"""Whether an engine can keep embeddings as it is told to: tried by the launcher, before vLLM is loaded.

A running engine counts whatever a folder does to it as misses, so that nobody may notice one that never worked.
"""

import errno
import tempfile
from collections.abc import Sequence
from pathlib import Path

from server.engine.cache_options import CacheOptions, folder_path
from server.engine.encoder_cache.ledger import open_ledger

WAIT_S = 2.0
# As much as an embedding of a middling picture.
ROOM_BYTES = 1 << 20

# One of them stands in the config of any model that takes more than text.
MORE_THAN_TEXT = ("vision", "visual", "image", "audio")


def refusal(options: CacheOptions, model: str, vllm_options: Sequence[str]) -> str:
    """Why the engine must not be started so, in one sentence; "" where it may."""
    if not takes_pictures(model, vllm_options):  # vLLM would end, but not before it has loaded it
        return f"{model} takes no pictures: start it without --embedding-cache."
    if options.folder and (reason := why_unusable(folder_path(options.folder))):
        return f"cannot keep embeddings in {options.folder} ({reason}): name another --embedding-cache."
    return ""


def warning(shared: str) -> str:
    """Of a shared folder that cannot be used: it may come later, as a store may."""
    if not shared or "://" in shared or not (reason := why_unusable(Path(shared))):
        return ""
    return f"cannot share embeddings in {shared} ({reason}): they are not shared until that is mended"


def takes_pictures(model: str, vllm_options: Sequence[str]) -> bool:
    """False where that is certain: of a hub id nothing is known yet."""
    if any(option.split("=", 1)[0].replace("_", "-") == "--language-model-only" for option in vllm_options):
        return False
    try:
        config = (Path(model) / "config.json").read_text()
    except OSError:
        return True
    return any(word in config for word in MORE_THAN_TEXT)


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
