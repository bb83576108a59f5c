"""Libraries that only some commands need, and only some installations have."""

import importlib
from typing import Any

from quantize.errors import UsageError


def library(name: str) -> Any:
    """The module of that name. Raises UsageError."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as problem:
        raise UsageError(f"{problem.name} is not installed: pip install 'fovea[push]'") from problem
