"""`fovea cache export` and `import`: a namespace's entries to another folder, machine or day."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from server import cli_cache_show as show
from server.cli_cache_folder import (
    FolderOption,
    JsonOption,
    NamespaceOption,
    bar,
    capacity_of,
    chosen,
    only_namespace,
    opened_folder,
    refuse,
    say,
)
from server.engine.encoder_cache.archive import BadArchive, Moved, export_entries, import_entries
from server.engine.encoder_cache.folder_layout import Found

STANDARD = "-"


def export_archive(
    file: Annotated[Path, typer.Argument(help="The tar to write; - for standard output.")],
    folder: FolderOption = None,
    namespace: NamespaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write one namespace's entries, each proved, to a tar. Exits with 1 if any was left out as bad."""
    with opened_folder(folder) as root:
        found = chosen(root, only_namespace(root, namespace))
        with bar(sum(each.size_bytes for each in found), "exported") as progress:

            def in_turn() -> Iterator[Found]:
                for each in found:
                    yield each
                    progress.update(each.size_bytes)

            with written_whole(file) as stream:
                moved = export_entries(in_turn(), stream)
        say(show.moved("exported", moved, as_json), err=str(file) == STANDARD)
    sys.exit(1 if moved.refused else 0)


@contextmanager
def written_whole(file: Path) -> Iterator[BinaryIO]:
    """A broken export leaves no archive, and an older one as it was. Raises OSError."""
    if str(file) == STANDARD:
        yield sys.stdout.buffer
        return
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            yield stream
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def import_archive(
    file: Annotated[Path, typer.Argument(help="A tar that export wrote; - for standard input.")],
    folder: FolderOption = None,
    capacity: Annotated[
        str | None, typer.Option(help="What the folder may hold: as the last engine had it, if not given.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Take entries out of a tar, each proved before it is put in place. Exits with 1 if any was refused.

    Names in the tar are only compared with what the entries say of themselves: nothing is written by them.
    """
    moved = Moved()
    with opened_folder(folder, must_exist=False) as root:
        allowed = capacity_of(root, capacity)
        try:
            with opened(file) as stream, bar(None, "imported") as progress:
                for moved in import_entries(stream, root, allowed):
                    progress.update(moved.bytes - progress.n)
        except BadArchive as problem:
            say(show.moved("imported", moved, as_json))
            refuse(f"{file}: {problem}")
        say(show.moved("imported", moved, as_json))
    sys.exit(1 if moved.refused else 0)


@contextmanager
def opened(file: Path) -> Iterator[BinaryIO]:
    if str(file) == STANDARD:
        yield sys.stdin.buffer
        return
    with file.open("rb") as stream:
        yield stream
