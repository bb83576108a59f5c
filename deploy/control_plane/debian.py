"""Debian's packages and sources for a build, fetched by apt from where this machine gets its own, and unpacked.

The machine's list of sources rarely names sources in the other sense: what it says of its own release is copied
into a folder of ours with `deb-src` added. Nothing is installed, no list of the machine is touched, and root is not
needed.
"""

import hashlib
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

APT = Path("/etc/apt")
ONE_LINE = re.compile(r"^deb\s+(?P<where>(?:\[[^]]*\]\s+)?\S+\s+(?P<suite>\S+)\s.*)$")


class UnavailableError(Exception):
    """It cannot be had on this machine, and what to do: one sentence."""


class Debian:
    """apt with lists, cache and sources in `folder`."""

    def __init__(self, folder: Path, etc: Path = APT) -> None:
        if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
            raise UnavailableError("it is built from Debian's packages, and there is no apt-get here")
        self._folder = folder
        found = own_sources(etc, codename())
        if not any(found):
            raise UnavailableError(f"{etc} names no archive of Debian {codename()}")
        for kind in ("sources.d", "lists/partial", "cache/archives/partial"):
            (folder / kind).mkdir(parents=True)
        (folder / "sources.list").write_text(found[0])
        (folder / "sources.d" / "debian.sources").write_text(found[1])
        self._apt("update")

    def unpack(self, packages: Sequence[str], into: Path) -> None:
        self._apt("download", *packages)
        for package in packages:
            (path,) = self._folder.glob(f"{package}_*.deb")
            run(["dpkg-deb", "-x", str(path), str(into)], self._folder)
            path.unlink()

    def source(self, package: str, file: str, sha256: str) -> Path:
        """One file of a source package, whose content is what it was when this was written."""
        self._apt("source", "--download-only", package)
        path = self._folder / file
        if not path.exists():
            raise UnavailableError(f"Debian {codename()} has no {file}: it is in Debian 12")
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != sha256:
            raise UnavailableError(f"{file} has SHA-256 {found}, and should have {sha256}")
        return path

    def _apt(self, *arguments: str) -> None:
        own = {
            "Dir::Etc::sourcelist": self._folder / "sources.list",
            "Dir::Etc::sourceparts": self._folder / "sources.d",
            "Dir::State::lists": self._folder / "lists",
            "Dir::Cache": self._folder / "cache",
            "APT::Sandbox::User": "root",
            "Acquire::Retries": "3",
        }
        options = [part for name, value in own.items() for part in ("-o", f"{name}={value}")]
        run(["apt-get", "--quiet", "--quiet", *options, *arguments], self._folder)


def codename() -> str:
    """Of this machine's Debian, like bookworm."""
    release = Path("/etc/os-release")
    found = re.search(r"^VERSION_CODENAME=(\S+)$", release.read_text() if release.exists() else "", re.MULTILINE)
    return found.group(1) if found else "of no name"


def own_sources(etc: Path, release: str) -> tuple[str, str]:
    """What `etc` says of Debian's `release`, in apt's two formats, with its source packages; of nobody else's."""
    suites = {release, f"{release}-updates", f"{release}-security"}
    lines = [line for path in files(etc, "list") for line in path.read_text().splitlines()]
    wanted = [match for line in lines if (match := ONE_LINE.match(line)) and match["suite"] in suites]
    stanzas = [each for path in files(etc, "sources") for each in re.split(r"\n\s*\n", path.read_text())]
    kept = [re.sub(r"(?m)^Types:.*$", "Types: deb deb-src", each) for each in stanzas if suites & named(each)]
    return "".join(f"{kind} {match['where']}\n" for match in wanted for kind in ("deb", "deb-src")), "\n\n".join(
        kept
    )


def files(etc: Path, kind: str) -> list[Path]:
    return [*etc.glob(f"sources.{kind}"), *sorted((etc / "sources.list.d").glob(f"*.{kind}"))]


def named(stanza: str) -> set[str]:
    """The suites of a stanza."""
    found = re.search(r"(?m)^Suites:(.*)$", stanza)
    return set(found.group(1).split()) if found else set()


def run(command: list[str], folder: Path, environ: dict[str, str] | None = None) -> None:
    """What it prints is the log's."""
    print("+", " ".join(command[:6]), "..." if len(command) > 6 else "", flush=True)
    subprocess.run(command, cwd=folder, env=environ, check=True)
