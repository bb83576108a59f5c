"""`fovea cache`: what engines keep of pictures in a folder. Everything here works while engines use it."""

import sys
import time
from typing import Annotated

import typer

from server import cli_cache_show as show
from server.cli_cache_archive import export_archive, import_archive
from server.cli_cache_fingerprint import fingerprint
from server.cli_cache_folder import (
    FolderOption,
    JsonOption,
    NamesArgument,
    NamespaceOption,
    bar,
    bytes_in,
    capacity_of,
    chosen,
    keys_named,
    opened_folder,
    refuse,
    say,
    seconds_in,
)
from server.engine.encoder_cache import folder_survey as survey
from server.engine.encoder_cache.entry import key_of
from server.engine.encoder_cache.entry_file import remove
from server.engine.encoder_cache.folder_layout import KEY, Found, namespaces
from server.engine.encoder_cache.forgotten import forget_entry
from server.engine.encoder_cache.janitor import remove_empty
from server.engine.encoder_cache.ledger import read_sums
from server.engine.encoder_cache.pins import pin as pin_entry
from server.engine.encoder_cache.pins import unpin as unpin_entry

app = typer.Typer(
    help="Look after the embeddings that engines keep in a folder. Works while engines use it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command("ls")
def list_entries(
    folder: FolderOption = None,
    namespace: NamespaceOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Show no more than these, last used first.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List entries, last used first."""
    with opened_folder(folder) as root:
        found = sorted(chosen(root, namespace), key=lambda each: -each.changed_s)
        say(show.entries(found[:limit], len(found), as_json))


@app.command()
def stat(folder: FolderOption = None, as_json: JsonOption = False) -> None:
    """Say what each namespace holds, and how full the folder is."""
    with opened_folder(folder) as root:
        held = [survey.sum_up(root, name) for name in namespaces(root)]
        say(show.sums(root, held, read_sums(root), as_json))


@app.command()
def verify(
    folder: FolderOption = None,
    namespace: NamespaceOption = None,
    delete: Annotated[bool, typer.Option("--delete", help="Remove what is bad.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Read every entry and prove its checksums. Exits with 1 if anything bad remains.

    Engines prove what they read, each time: a bad entry is never served. This finds it ahead.
    """
    bad: list[tuple[Found, str, bool]] = []
    with opened_folder(folder) as root:
        found = chosen(root, namespace)
        with bar(sum(each.size_bytes for each in found), "verified") as progress:
            for each in found:
                if reason := survey.verify(each):
                    bad.append((each, reason, delete and remove(each.path)))
                progress.update(each.size_bytes)
        say(show.verified(found, bad, as_json))
    sys.exit(0 if all(is_gone for *_, is_gone in bad) else 1)


@app.command()
def prune(
    folder: FolderOption = None,
    to: Annotated[str | None, typer.Option(help="Evict until no more than this is held: 5GiB.")] = None,
    older_than: Annotated[str | None, typer.Option(help="Remove what was not used for so long: 12h, 30d.")] = None,
    namespace: NamespaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove entries: down to a size, or by their last use, or a whole namespace (its pinned entries, too).

    --older-than and --namespace together remove what is both. Only a whole namespace takes pinned entries along.
    """
    if (to is None) == (older_than is None and namespace is None):
        refuse("say --to, or --older-than, or --namespace")
    with opened_folder(folder) as root:
        if to is not None:
            say(show.pruned(survey.prune_to(root, bytes_in(to)), as_json))
            return
        wanted = {each.namespace for each in chosen(root, namespace)}
        if older_than is None:
            gone = survey.prune(root, lambda each: each.namespace in wanted)
            for name in wanted:
                if not survey.find_all(root, name):
                    remove_empty(root, name)
        else:
            before = time.time() - seconds_in(older_than)
            gone = survey.prune(
                root,
                lambda each: each.namespace in wanted and each.changed_s < before and each.shelf != "pinned",
            )
        say(show.pruned(gone, as_json))


@app.command()
def pin(names: NamesArgument, folder: FolderOption = None, namespace: NamespaceOption = None) -> None:
    """Keep entries from being evicted. All pins together may take up half of what the folder may hold."""
    with opened_folder(folder) as root:
        capacity = capacity_of(root, None)
        for each in named(root, names, namespace):
            if each.shelf != "pinned" and pin_entry(root, each.namespace, each.key, capacity):
                say(f"pinned {each.key[:16]} in {each.namespace}")


@app.command()
def unpin(names: NamesArgument, folder: FolderOption = None, namespace: NamespaceOption = None) -> None:
    """Let pinned entries be evicted again."""
    with opened_folder(folder) as root:
        for each in named(root, names, namespace):
            if unpin_entry(root, each.namespace, each.key):
                say(f"unpinned {each.key[:16]} in {each.namespace}")


@app.command()
def rm(names: NamesArgument, folder: FolderOption = None) -> None:
    """Forget pictures, in every namespace: engines that share the folder hear of it within seconds.

    What is being written at this moment does not come back, nor what engines hold in host memory. Whole keys and
    digests are forgotten also where nothing lies there yet.
    """
    with opened_folder(folder) as root:
        there = {each.key for each in survey.find_all(root)}
        missing = []
        for name in names:
            keys = keys_named(name, there)
            if not keys:
                missing.append(name)
                keys = {name, key_of(name)} if KEY.fullmatch(name) else set()
            for key in sorted(keys):
                count = sum([forget_entry(root, space, key) for space in namespaces(root)])
                if count:
                    say(f"forgot {key[:16]} in {count} namespace{'s' * (count > 1)}")
    if missing:
        say(f"fovea: nothing was kept of {', '.join(missing)}", err=True)
        sys.exit(1)


def named(root: str, names: list[str], namespace: str | None) -> list[Found]:
    found = chosen(root, namespace)
    wanted: set[str] = set()
    for name in names:
        keys = keys_named(name, {each.key for each in found})
        if not keys:
            refuse(f"there is no entry {name}")
        wanted |= keys
    return [each for each in found if each.key in wanted]


app.command()(fingerprint)
app.command("export")(export_archive)
app.command("import")(import_archive)
