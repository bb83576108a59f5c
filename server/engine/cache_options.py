"""`fovea engine --embedding-cache...`: what the launcher tells vLLM, and through it the embedding cache."""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

ON, OFF = "on", "off"  # instead of a folder: in the usual place, or none
CONNECTOR = "FoveaEncoderCache"
MODULE = "fovea_encoder_cache"  # in the folder inside/
# A shared tier's URL may hold a password, and vLLM logs its arguments: this one goes by the environment.
SHARED_VARIABLE = "FOVEA_EMBEDDING_CACHE_SHARED"
UNITS = {
    **{"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40},
    **{"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40},
    **{"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12},
}
COMPRESSIONS = ("none", "fp8-row")
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")
DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")
SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """By the names of encoder_cache/options.py; None: its default."""

    folder: str | None = None
    host_bytes: int | None = None
    disk_bytes: int | None = None
    shared_bytes: int | None = None
    ttl_s: float | None = None
    lookup_wait_s: float | None = None
    compress: str | None = None


def parse_size(text: str) -> int:
    """Of "20GiB", "500 MB", "1048576". Raises ValueError."""
    match = SIZE.fullmatch(text.strip())
    if match is None or match[2].upper() not in UNITS:
        raise ValueError(f"{text!r} is no size: write it like 20GiB, 500MB or 1048576")
    return int(float(match[1]) * UNITS[match[2].upper()])


def parse_compression(text: str) -> str:
    """Raises ValueError."""
    if text not in COMPRESSIONS:
        raise ValueError(f"{text!r} is none of {', '.join(COMPRESSIONS)}")
    return text


def parse_duration(text: str) -> float:
    """Of "30d", "12h", "90" (seconds). Raises ValueError."""
    match = DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no time: write it like 30d, 12h, 15m or 90s")
    return float(match[1]) * SECONDS[match[2]]


def folder_path(text: str) -> Path:
    return Path(text).expanduser().absolute()


def transfer_config(options: CacheOptions) -> str:
    """For vLLM's --ec-transfer-config."""
    told = {name: value for name, value in asdict(options).items() if value is not None}
    if "folder" in told:
        told["folder"] = str(folder_path(told["folder"]))
    return json.dumps({
        "ec_connector": CONNECTOR,
        "ec_connector_module_path": MODULE,
        "ec_role": "ec_both",
        "ec_connector_extra_config": told,
    })  # fmt: skip
