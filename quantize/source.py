"""Where a checkpoint comes from: a folder, or the hub."""

import importlib.util
import re
from pathlib import Path

from quantize.checkpoint import WEIGHTS
from quantize.errors import UsageError

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
# The same weights in other formats, and in the forms that their authors train with.
OTHER_FORMATS = [f"*{suffix}" for suffix in sorted(WEIGHTS - {".safetensors"})] + ["original/*", "consolidated*"]


def find_source(text: str) -> Path:
    """The folder of that name, or one in the hub's cache once ORG/NAME has been fetched. Raises UsageError.

    Fetching shows the hub's own bars, goes on where it stopped, and uses the token of `hf auth login`.
    """
    folder = Path(text)
    if folder.exists() or not HUB_ID.fullmatch(text) or importlib.util.find_spec("huggingface_hub") is None:
        return folder
    import huggingface_hub

    try:
        return Path(huggingface_hub.snapshot_download(text, ignore_patterns=OTHER_FORMATS))
    except (OSError, ValueError) as problem:  # its errors are both
        raise UsageError(
            f"{text} is no folder, and could not be fetched from the hub ({type(problem).__name__})"
        ) from problem
