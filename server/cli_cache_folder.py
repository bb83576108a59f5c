"""What `fovea cache`'s commands are told: a folder, a namespace, names, sizes and times."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from tqdm import tqdm

from server.engine.cache_options import parse_duration, parse_size
from server.engine.encoder_cache.entry import key_of
from server.engine.encoder_cache.folder_layout import Found, namespaces
from server.engine.encoder_cache.folder_survey import find_all
from server.engine.encoder_cache.ledger import read_sums
from server.engine.encoder_cache.options import Options, folder_of

FolderOption = Annotated[
    Path | None, typer.Option("--folder", help="Where they are: $XDG_CACHE_HOME/fovea/embeddings, if not given.")
]
NamespaceOption = Annotated[
    str | None, typer.Option("--namespace", help="Of one vision fingerprint only: its first 16 digits, or all 64.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="For programs: one JSON object.")]
NamesArgument = Annotated[
    list[str],
    typer.Argument(help="A key as ls shows it (8 digits or more), or a picture's digest.", metavar="KEY..."),
]
NAMESPACE = re.compile(r"[0-9a-f]{16}(?:[0-9a-f]{48})?")
BEGINNING = re.compile(r"[0-9a-f]{8,64}")


@contextmanager
def opened_folder(given: Path | None, must_exist: bool = True) -> Iterator[str]:
    """The folder, and one line for whatever is wrong with it."""
    folder = given.expanduser() if given else folder_of(Options(), os.environ)
    if must_exist and not folder.is_dir():
        refuse(f"there are no embeddings in {folder}: no engine has kept any there (--folder says where to look)")
    try:
        yield str(folder)
    except BrokenPipeError:
        # Who reads has seen enough. Python would complain once more when it closes the output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as problem:
        refuse(f"{problem.filename or folder}: {problem.strerror or problem}")


def chosen(root: str, namespace: str | None) -> list[Found]:
    if namespace is not None and not NAMESPACE.fullmatch(namespace):
        refuse("a --namespace is 16 or 64 hex digits, as stat shows them")
    return find_all(root, namespace)


def only_namespace(root: str, given: str | None) -> str:
    """The one that is meant where there is but one."""
    if given:
        return given
    there = [name for name in namespaces(root) if find_all(root, name)]
    if len(there) != 1:
        refuse("say which --namespace: there are " + (", ".join(there) or "none"))
    return there[0]


def keys_named(name: str, there: set[str]) -> set[str]:
    """The key of the picture with that digest, and those that begin so: one, or the command says no."""
    beginning = name.lower()
    found = {key for key in there if BEGINNING.fullmatch(beginning) and key.startswith(beginning)}
    if len(found) > 1:
        refuse(f"{len(found)} keys begin with {name}: say more of it")
    return found | ({key_of(name)} & there)


def capacity_of(root: str, given: str | None) -> int:
    """What was said, or what the last engine gave the folder."""
    if given is not None:
        return bytes_in(given)
    sums = read_sums(root)
    if sums is None or not sums.capacity_bytes:
        refuse("no engine has used this folder yet: say its --capacity")
    return sums.capacity_bytes


def bytes_in(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as problem:
        refuse(str(problem))


def seconds_in(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as problem:
        refuse(str(problem))


def bar(total_bytes: int | None, verb: str) -> "tqdm[NoReturn]":
    """On standard error, and only where somebody watches."""
    return tqdm(total=total_bytes, desc=verb, unit="B", unit_scale=True, mininterval=0.5, leave=False, disable=None)


def say(text: str, err: bool = False) -> None:
    typer.echo(text, err=err)
    (sys.stderr if err else sys.stdout).flush()


def refuse(sentence: str) -> NoReturn:
    typer.echo(f"fovea: {sentence}", err=True)
    sys.exit(2)
