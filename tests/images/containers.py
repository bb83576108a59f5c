"""Containers on this machine: buildah and podman as root, storage of their own, and a base image by debootstrap.

Nothing can be pulled where this runs, and there is no systemd: hence the settings.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAMS = ("buildah", "podman", "runc", "debootstrap")
# The name that Dockerfiles know, without the digest: this one is not the publisher's.
BASE = "python:3.11-slim-bookworm"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "fovea" / "debian-12-python.tar"
INSIDE_BASE = "--include=python3,python3-venv,ca-certificates,netbase,tzdata"
STORAGE = '[storage]\ndriver = "overlay"\nrunroot = "{0}/run"\ngraphroot = "{0}/graph"\n'
CONTAINERS = """\
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[network]
network_backend = "netavark"
network_config_dir = "{0}/networks"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


def missing() -> str:
    """Why there can be no containers here, and what to do; empty where there can."""
    if os.geteuid() != 0:
        return "images are built as root: run the tests as root"
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"no {', '.join(absent)}: make setup as root, or apt-get install {' '.join(PROGRAMS)}" if absent else ""


def settings_in(folder: Path) -> dict[str, str]:
    """Environment variables under which buildah and podman keep all that is theirs in `folder`."""
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    (folder / "storage.conf").write_text(STORAGE.format(folder))
    (folder / "containers.conf").write_text(CONTAINERS.format(folder))
    (folder / "registries.conf").write_text("unqualified-search-registries = []\n")
    return {
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf"),
        "TMPDIR": str(folder / "tmp"),
    }


def podman(*arguments: str, fails: bool = False) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["podman", *arguments], capture_output=True, text=True)
    assert fails or done.returncode == 0, (
        f"podman {' '.join(arguments)}: {done.stderr[-2000:]}{done.stdout[-2000:]}"
    )
    return done


def exists(image: str) -> bool:
    return podman("image", "exists", image, fails=True).returncode == 0


def inspect(kind: str, name: str) -> Any:
    told = json.loads(podman(kind, "inspect", name).stdout)
    return told[0] if isinstance(told, list) else told  # of a pod podman 4.3 tells no list


def import_base() -> None:
    """Debian 12 with its Python, made once a machine."""
    if not CACHE.exists():
        CACHE.parent.mkdir(parents=True, exist_ok=True)
        made = CACHE.with_suffix(f".{os.getpid()}.part")
        root = Path(os.environ["TMPDIR"]) / "base"
        command = ["debootstrap", "--variant=minbase", INSIDE_BASE, "bookworm", str(root)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:]
        subprocess.run(["tar", "--create", "--file", str(made), "--directory", str(root), "."], check=True)
        shutil.rmtree(root)
        os.replace(made, CACHE)
    if exists(BASE):
        return
    podman("import", "--quiet", "--change", "ENV PATH=/usr/local/bin:/usr/bin:/bin", str(CACHE), BASE)


@contextmanager
def mounted(image: str) -> Iterator[Path]:
    """The files of an image."""
    where = podman("image", "mount", image).stdout.strip()
    try:
        yield Path(where)
    finally:
        podman("image", "umount", image)


def remove_pods() -> None:
    podman("pod", "rm", "--all", "--force", "--time", "0", fails=True)
    podman("volume", "rm", "--all", "--force", fails=True)


def remove_all(folder: Path) -> None:
    remove_pods()
    podman("rm", "--all", "--force", "--time", "0", fails=True)
    podman("image", "umount", "--all", "--force", fails=True)
    # The storage is mounted upon itself: no plain folder before that ends.
    subprocess.run(["umount", str(folder / "graph" / "overlay")], capture_output=True)
    # Of a hundred thousand files, which take a minute: nobody waits for it.
    subprocess.Popen(["nice", "rm", "--recursive", "--force", "--one-file-system", str(folder)])
