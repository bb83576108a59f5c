"""Who calls the demonstration: keys of three tenants, and the settings of the gateway that they call."""

import hashlib
from pathlib import Path
from typing import Any

import yaml

from demo.observe.pictures import PictureHost

# Of our own gateway on loopback, made anew for each: nobody else's.
GALLERY, SHOP, NIGHTLY = "gallery-key", "shop-key", "nightly-key"
SHOP_REQUESTS = 3
RUNNING = 3


def keys_file(folder: Path) -> Path:
    """gallery may do everything, shop a few requests a minute, nightly comes last."""
    gallery = {**entry(GALLERY, "gallery"), "priority": "interactive"}
    shop = {**entry(SHOP, "shop"), "limits": {"requests": SHOP_REQUESTS}}
    nightly = {**entry(NIGHTLY, "nightly"), "priority": "batch"}
    path = folder / "keys.yaml"
    path.write_text(yaml.safe_dump({"keys": [gallery, shop, nightly]}))
    return path


def entry(key: str, tenant: str) -> dict[str, Any]:
    hashed = f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
    return {"hash": hashed, "tenant": tenant, "scopes": ["inference", "files"]}


def gateway_settings(folder: Path, valkey: str, host: PictureHost) -> dict[str, str]:
    """Few places, so that some wait; pictures from a host on this machine; everything on that dashboards show."""
    settings = {
        "FOVEA_AUTH__KEYS_FILE": str(keys_file(folder)),
        "FOVEA_ADMISSION__MAX_RUNNING": str(RUNNING),
        "FOVEA_FILES__PATH": str(folder / "files"),
        "FOVEA_IMAGES__ALLOW_HTTP": "true",
        "FOVEA_IMAGES__ALLOW_PRIVATE_ADDRESSES": "true",
        "FOVEA_IMAGES__ALLOW_DOMAINS": f'["{host.name}"]',
        "FOVEA_VIDEO__MAX_COUNT": "1",
        "FOVEA_HTTP__DRAIN_GRACE_S": "0",
        "FOVEA_LOGS__LEVEL": "warning",
    }
    if valkey:
        settings |= {"FOVEA_LIMITS__STORE_URL": valkey, "FOVEA_LIMITS__STORE_TIMEOUT_S": "2"}
    return settings
