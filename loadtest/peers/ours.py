"""Ours, as users run it, with everything on: keys, prices, limits, the audit log, metrics."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from loadtest.gateway.processes import always_with_bytes
from loadtest.peers.interpreter import python_with

NAME = "fovea"
# What Qwen3.5 takes: sides in steps of 32 pixels, up to 16 megapixels. The benchmark's pictures are within.
PREPROCESSOR = {
    "size": {"shortest_edge": 65536, "longest_edge": 16777216},
    "patch_size": 16,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "processor_class": "Qwen3VLProcessor",
    "image_processor_type": "Qwen2VLImageProcessorFast",
}
# High enough that none binds.
LIMITS = dict.fromkeys(("requests", "images", "image_tokens", "tokens"), 10**9) | {"places": 10**6}
SETTINGS = {
    "FOVEA_ADMISSION__MAX_RUNNING": "1024",
    "FOVEA_HTTP__MAX_BYTES_IN_FLIGHT": "1GiB",
    "FOVEA_LIMITS__KEY": json.dumps(LIMITS),
    "FOVEA_LIMITS__TENANT": json.dumps(LIMITS),
}


def make_key(keys: Path) -> str:
    """One more key in the file `keys`, as users make it."""
    command = [sys.executable, "-m", "server", "keys", "new", "--tenant", "bench", "--file", str(keys)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


class Ours:
    name = NAME
    settings = (
        "a key from a file, every check, exact image prices, limits that do not bind, the audit log, metrics; "
        "every picture is sent with its bytes (hash first is off: all requests hold the same one)"
    )
    get = "make setup"

    def is_there(self) -> bool:
        return True

    def version(self) -> str:
        return version("fovea")

    def __init__(self, keys: Path) -> None:
        self._keys = keys

    def environ(self, folder: Path) -> Mapping[str, str]:
        preprocessor = folder / "preprocessor_config.json"
        preprocessor.write_text(json.dumps(PREPROCESSOR))
        files = {
            "FOVEA_AUTH__KEYS_FILE": self._keys,
            "FOVEA_LOGS__AUDIT_FILE": folder / "audit.log",
            "FOVEA_ADMISSION__PREPROCESSOR": preprocessor,
        }
        source = {"PYTHONPATH": os.getcwd(), **always_with_bytes(Path.cwd())}  # this checkout's
        return {**SETTINGS, **source, **{name: str(path) for name, path in files.items()}}

    def command(self, port: int, upstream: int, folder: Path) -> list[str]:
        engine = f"http://127.0.0.1:{upstream}"
        python = python_with(Path(sys.prefix), folder)
        return [str(python), "-m", "server", "gateway", "--engine", engine, "--port", str(port)]
