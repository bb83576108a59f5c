"""`fovea keys`: makes API keys, of which the gateway only ever sees hashes."""

import getpass
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError

from server.admission.key_file import RULES, Entry
from server.admission.new_key import append_entry, hash_key, make_key, show_entry
from server.errors import ConfigError

app = typer.Typer(
    help="Make API keys. The gateway reads them from the file FOVEA_AUTH__KEYS_FILE, which holds hashes only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def new(
    tenant: Annotated[str, typer.Option(help="Whose requests these will be.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="inference, files or admin; repeat for several (inference).")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The key's own name, for the audit log.")] = None,
    expires: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%dT%H:%M:%S%z"], help="When it ends: 2027-01-31T00:00:00Z. Never, if not given."
        ),
    ] = None,
    priority: Annotated[
        str | None,
        typer.Option(help="Most urgent that its requests may be: interactive, standard (if not given), batch."),
    ] = None,
    weight: Annotated[
        float | None, typer.Option(help="The tenant's share where others wait, too: 1, if not given.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="Add the entry to this keys file, made if it is not there.")
    ] = None,
) -> None:
    """Make a key. It is shown this once; what is kept is its hash.

    Without --file, the entry for the keys file is printed too.
    """
    key = make_key()
    fields = {"hash": hash_key(key), "tenant": tenant, "scopes": scope or ["inference"]}
    try:
        entry = Entry.model_validate(
            {**fields, "name": name, "expires": expires, "priority": priority, "weight": weight}
        )
        if file is not None:
            append_entry(file, entry)
    except ValidationError as problem:
        field = str(problem.errors()[0]["loc"][0])
        refuse(f"{field.removesuffix('s') if field == 'scopes' else field} {RULES[field]}")
    except ConfigError as problem:
        refuse(str(problem))
    typer.echo(key)
    if file is None:
        typer.echo(f"\nThe entry for the keys file, below 'keys:'\n\n{show_entry(entry)}", nl=False)


@app.command()
def hash() -> None:
    """Print the hash of a key that is read from standard input (asked for, unseen, at a terminal)."""
    key = getpass.getpass("key: ") if sys.stdin.isatty() else sys.stdin.readline()
    try:
        typer.echo(hash_key(key.rstrip("\r\n")))
    except (ConfigError, UnicodeError):
        refuse("a key is visible ASCII without spaces, on one line")


def refuse(sentence: str) -> NoReturn:
    typer.echo(f"fovea: {sentence}", err=True)
    sys.exit(2)
