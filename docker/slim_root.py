"""Run while an image is built: removes from the root whatever the programs in a folder do not need.

What stays of Debian are the packages that own Python and the shared libraries that anything in the folder loads,
and the few below; everything else goes, shells and package managers included, and is struck from dpkg's records, so
that scanners and SBOMs see what there is. Fails if a library is missing, before there is an image.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# No program loads these, but programs read them: time zones, certificates, names of protocols and of users.
ALWAYS = ("base-files", "base-passwd", "ca-certificates", "netbase", "tzdata")
INFO, STATUS = Path("/var/lib/dpkg/info"), Path("/var/lib/dpkg/status")
# Not Debian's: parts of Python that are for people who develop.
PARTS = (
    "ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "tkinter", "turtledemo", "site-packages/pip",
    "site-packages/setuptools", "site-packages/pkg_resources", "site-packages/wheel",
)  # fmt: skip
LEFTOVERS = (
    "root", "home", "media", "mnt", "srv", "opt/uv", "src", "boot", "usr/local/include", "usr/local/share",
    "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian", "usr/share/bug", "var/cache",
    "var/log", "var/lib/apt", "var/lib/systemd", "var/backups", "etc/apt", "etc/cron.daily", "etc/init.d",
    "etc/pam.d", "etc/skel", "etc/alternatives", "var/lib/pam", "var/spool", "usr/lib/*/gconv",
)  # fmt: skip
# Large, and imported by few or once: they start a little slower without their bytecode, and 27 MB are saved.
UNCOMPILED = ("kubernetes_asyncio", "pygments")
SOURCES = ("*.pyi", "*.pyx", "*.pxd", "*.c", "*.h")
USER = 10001


def main(folder: Path) -> None:
    # Wheels bring libraries of their own, which find one another once Python has loaded the first.
    brought = {path.name for path in folder.rglob("*.so*")}
    libraries = {path for elf in elves(folder) for path in loaded_by(elf, brought)}
    keep = {*ALWAYS, *owners({*map(real, libraries), *map(real, python_files())})}
    remove_packages(keep)
    remove_parts()
    thin_out(folder)
    add_user()
    Path(__file__).unlink()


def python_files() -> Iterator[Path]:
    """The interpreter, and one file of each folder that it imports from."""
    yield Path(sys.executable)
    for folder in map(Path, sys.path):
        yield from (path for path in folder.glob("*") if path.is_file())


def elves(folder: Path) -> Iterator[Path]:
    """Whatever may load shared libraries: Python, its extensions, and those in `folder`."""
    yield Path(sys.executable).resolve()
    for place in (folder, *(Path(path) for path in sys.path if path.endswith("lib-dynload"))):
        yield from (path for path in place.rglob("*.so*") if path.is_file() and not path.is_symlink())


def loaded_by(elf: Path, brought: set[str]) -> Iterator[Path]:
    told = subprocess.run(["ldd", str(elf)], capture_output=True, text=True, check=False).stdout
    for line in told.splitlines():
        if "=> not found" in line and line.split()[0] not in brought:
            sys.exit(f"slim_root: {elf} needs {line.split()[0]}, which is nowhere")
        yield from map(Path, re.findall(r"(?:=> |^\s)(/\S+) \(0x", line))


def real(path: Path) -> Path:
    """One name for what may be found at /lib and /usr/lib alike."""
    return path.parent.resolve() / path.name


def files_of(package: Path) -> list[Path]:
    return [real(Path(line)) for line in package.read_text().splitlines() if line != "/."]


def package_of(listing: Path) -> str:
    return listing.stem.partition(":")[0]


def owners(paths: set[Path]) -> set[str]:
    """The Debian packages that hold `paths`; none for what lies in /opt or /usr/local."""
    targets = paths | {path.resolve() for path in paths}
    return {package_of(each) for each in INFO.glob("*.list") if not targets.isdisjoint(files_of(each))}


def remove_packages(keep: set[str]) -> None:
    listings = {listing: files_of(listing) for listing in INFO.glob("*.list")}
    kept = {path for listing, paths in listings.items() if package_of(listing) in keep for path in paths}
    for listing, paths in listings.items():
        if package_of(listing) in keep:
            continue
        for path in sorted(set(paths) - kept, reverse=True):  # what is inside a folder before the folder
            if path.is_dir() and not path.is_symlink():
                if not any(path.iterdir()):
                    path.rmdir()
            else:
                path.unlink(missing_ok=True)
        for record in INFO.glob(f"{listing.stem}.*"):
            record.unlink()
    entries = STATUS.read_text().split("\n\n")
    STATUS.write_text("\n\n".join(entry for entry in entries if name_in(entry) in keep) + "\n\n")
    for old in (*STATUS.parent.glob("*-old"), *STATUS.parent.glob("available")):
        old.unlink()


def name_in(entry: str) -> str:
    found = re.search(r"^Package: (\S+)$", entry, re.MULTILINE)
    return found.group(1) if found else ""


def remove_parts() -> None:
    for folder in map(Path, sys.path):
        for part in PARTS:
            for path in (*folder.glob(part), *folder.glob(f"{part}-*.dist-info")):
                shutil.rmtree(path, ignore_errors=True)
    for pattern in ("pip*", "idle*", "2to3*", "pydoc*", "python*-config", "wheel"):
        for path in Path("/usr/local/bin").glob(pattern):
            path.unlink()
    for pattern in LEFTOVERS:
        for path in Path("/").glob(pattern):
            shutil.rmtree(path, ignore_errors=True)
    dangling = [path for path in Path("/").glob("*bin/*") if path.is_symlink() and not path.exists()]
    for path in (*dangling, *Path("/usr/share/doc").glob("*/*")):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != "copyright":
            path.unlink(missing_ok=True)
    shutil.rmtree("/var/lib/dpkg/alternatives", ignore_errors=True)


def thin_out(folder: Path) -> None:
    for pattern in SOURCES:
        for path in folder.glob(f"lib/python*/site-packages/**/{pattern}"):
            path.unlink()
    for name in UNCOMPILED:
        for path in folder.glob(f"lib/python*/site-packages/{name}/**/__pycache__"):
            shutil.rmtree(path)


def add_user() -> None:
    with Path("/etc/passwd").open("a") as users, Path("/etc/group").open("a") as groups:
        users.write(f"fovea:x:{USER}:{USER}:fovea:/tmp:/nonexistent\n")
        groups.write(f"fovea:x:{USER}:\n")
    # Where volumes are mounted: a new one takes over whose it is.
    volumes = Path("/var/lib/fovea")
    volumes.mkdir()
    os.chown(volumes, USER, USER)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
